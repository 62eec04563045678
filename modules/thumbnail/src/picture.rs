//! Reads a picture: first what it says about itself, then, if it is small enough, its pixels.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, metadata::Orientation,
};

use crate::bindings::exports::demo::thumbnail::pictures::{Details, Format, Problem, Size};

/// Pixels that a picture may have. Decoded they take at most 8 bytes each.
const MAX_PIXELS: u64 = 24_000_000;
const MAX_DECODED: u64 = 192 << 20;

/// A picture whose header was read.
pub(crate) struct Picture<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    format: Format,
    orientation: Orientation,
}

impl<'a> Picture<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Problem> {
        let mut reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| Problem::Unreadable(error.to_string()))?;
        let format = match reader.format() {
            Some(ImageFormat::Png) => Format::Png,
            Some(ImageFormat::Jpeg) => Format::Jpeg,
            _ => return Err(Problem::Unreadable("neither PNG nor JPEG".to_owned())),
        };
        let mut limits = Limits::default();
        limits.max_alloc = Some(MAX_DECODED);
        reader.limits(limits);
        let mut decoder: Box<dyn ImageDecoder + 'a> =
            Box::new(reader.into_decoder().map_err(unreadable)?);
        // A picture whose camera said nothing, or nonsense, is shown as it is stored.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(Self { decoder, format, orientation })
    }

    pub(crate) fn details(&self) -> Details {
        let (width, height) = self.decoder.dimensions();
        let size = match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => Size { width: height, height: width },
            _ => Size { width, height },
        };
        Details { format: self.format, size, alpha: self.decoder.color_type().has_alpha() }
    }

    /// The pixels, turned as they are shown.
    pub(crate) fn decode(self) -> Result<DynamicImage, Problem> {
        let size = self.details().size;
        if MAX_PIXELS < u64::from(size.width) * u64::from(size.height) {
            return Err(Problem::TooLarge(size));
        }
        let mut pixels = DynamicImage::from_decoder(self.decoder).map_err(unreadable)?;
        pixels.apply_orientation(self.orientation);
        Ok(pixels)
    }
}

fn unreadable(error: ImageError) -> Problem {
    Problem::Unreadable(error.to_string())
}
