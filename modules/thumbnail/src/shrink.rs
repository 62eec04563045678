//! Makes the thumbnail.

use std::io::Cursor;

use image::{DynamicImage, Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops::FilterType};

use crate::{
    bindings::exports::demo::thumbnail::pictures::{
        Fit, Format, Options, Problem, Size, Thumbnail,
    },
    picture::Picture,
};

const MAX_SIDE: u32 = 2048;
const DEFAULT_QUALITY: u8 = 80;

pub(crate) fn shrink(bytes: &[u8], options: &Options) -> Result<Thumbnail, Problem> {
    let quality = check(options)?;
    let picture = Picture::open(bytes)?;
    let original = picture.details();
    let small = resize(picture.decode()?, options.size, options.fit);
    let format = options.format.unwrap_or(original.format);
    let data = match format {
        Format::Png => png(&small)?,
        Format::Jpeg => jpeg(&small, quality)?,
    };
    let size = Size { width: small.width(), height: small.height() };
    Ok(Thumbnail { data, format, size, original })
}

/// The quality, if all options make sense.
fn check(options: &Options) -> Result<u8, Problem> {
    for (name, side) in [("width", options.size.width), ("height", options.size.height)] {
        if side == 0 || MAX_SIDE < side {
            let problem = format!("{name} is {side}, not between 1 and {MAX_SIDE}");
            return Err(Problem::BadOptions(problem));
        }
    }
    match options.quality {
        0 => Ok(DEFAULT_QUALITY),
        quality @ 1..=100 => Ok(quality),
        quality => Err(Problem::BadOptions(format!("quality is {quality}, not between 0 and 100"))),
    }
}

fn resize(picture: DynamicImage, size: Size, fit: Fit) -> DynamicImage {
    let Size { width, height } = size;
    let fits = picture.width() <= width && picture.height() <= height;
    match fit {
        Fit::Stretch => picture.resize_exact(width, height, FilterType::Triangle),
        _ if fits => picture,
        Fit::Contain => picture.resize(width, height, FilterType::Triangle),
        Fit::Cover => {
            // A side that is shorter than asked for stays as it is.
            let (width, height) = (width.min(picture.width()), height.min(picture.height()));
            picture.resize_to_fill(width, height, FilterType::Triangle)
        }
    }
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>, Problem> {
    let mut data = Cursor::new(Vec::new());
    picture.write_to(&mut data, image::ImageFormat::Png).map_err(not_encoded)?;
    Ok(data.into_inner())
}

/// JPEG knows no transparency: what shines through is white.
fn jpeg(picture: &DynamicImage, quality: u8) -> Result<Vec<u8>, Problem> {
    let opaque = if picture.color().has_alpha() { on_white(picture) } else { picture.to_rgb8() };
    let mut data = Vec::new();
    JpegEncoder::new_with_quality(&mut data, quality).encode_image(&opaque).map_err(not_encoded)?;
    Ok(data)
}

fn on_white(picture: &DynamicImage) -> RgbImage {
    let pixels = picture.to_rgba8();
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let [red, green, blue, alpha] = pixels.get_pixel(x, y).0;
        let alpha = u16::from(alpha);
        let mix = |channel: u8| {
            let mixed = (u16::from(channel) * alpha + 255 * (255 - alpha)) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        Rgb([mix(red), mix(green), mix(blue)])
    })
}

fn not_encoded(error: image::ImageError) -> Problem {
    Problem::Unreadable(format!("the thumbnail could not be encoded: {error}"))
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgba, RgbaImage};

    use super::*;
    use crate::bindings::exports::demo::thumbnail::pictures::Details;

    fn options(width: u32, height: u32, fit: Fit) -> Options {
        Options { size: Size { width, height }, fit, format: None, quality: 0 }
    }

    /// Left half red, right half clear.
    fn flag(width: u32, height: u32) -> Vec<u8> {
        let pixels = RgbaImage::from_fn(width, height, |x, _| {
            if x < width / 2 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 0, 0, 0]) }
        });
        png(&DynamicImage::ImageRgba8(pixels)).unwrap()
    }

    fn photo(width: u32, height: u32) -> Vec<u8> {
        let pixels = RgbImage::from_fn(width, height, |x, y| {
            let shade = |value: u32| u8::try_from(value % 256).unwrap();
            Rgb([shade(x), shade(y), shade(x + y)])
        });
        jpeg(&DynamicImage::ImageRgb8(pixels), 90).unwrap()
    }

    fn size_of(width: u32, height: u32, options: &Options) -> (u32, u32) {
        let thumbnail = shrink(&flag(width, height), options).unwrap();
        let decoded = image::load_from_memory(&thumbnail.data).unwrap();
        assert_eq!(
            (decoded.width(), decoded.height()),
            (thumbnail.size.width, thumbnail.size.height)
        );
        (decoded.width(), decoded.height())
    }

    #[test]
    fn each_fit_has_its_size() {
        assert_eq!(size_of(400, 200, &options(100, 100, Fit::Contain)), (100, 50));
        assert_eq!(size_of(400, 200, &options(100, 100, Fit::Cover)), (100, 100));
        assert_eq!(size_of(400, 200, &options(100, 100, Fit::Stretch)), (100, 100));
    }

    #[test]
    fn only_stretching_enlarges() {
        assert_eq!(size_of(40, 20, &options(100, 100, Fit::Contain)), (40, 20));
        assert_eq!(size_of(40, 20, &options(100, 100, Fit::Cover)), (40, 20));
        assert_eq!(size_of(400, 20, &options(100, 100, Fit::Cover)), (100, 20));
        assert_eq!(size_of(40, 20, &options(100, 100, Fit::Stretch)), (100, 100));
    }

    #[test]
    fn transparent_pixels_become_white_in_a_jpeg() {
        let options = Options { format: Some(Format::Jpeg), ..options(64, 64, Fit::Contain) };
        let thumbnail = shrink(&flag(64, 64), &options).unwrap();
        assert_eq!(image::guess_format(&thumbnail.data).unwrap(), ImageFormat::Jpeg);
        let pixels = image::load_from_memory(&thumbnail.data).unwrap().to_rgb8();
        let near = |pixel: &Rgb<u8>, wanted: [u8; 3]| {
            pixel.0.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 12)
        };
        assert!(near(pixels.get_pixel(8, 32), [255, 0, 0]));
        assert!(near(pixels.get_pixel(56, 32), [255, 255, 255]));
    }

    #[test]
    fn the_format_stays_unless_another_is_asked_for() {
        let kept = shrink(&photo(64, 48), &options(16, 16, Fit::Contain)).unwrap();
        assert_eq!((kept.format, kept.size), (Format::Jpeg, Size { width: 16, height: 12 }));
        assert_eq!(
            kept.original,
            Details { format: Format::Jpeg, size: Size { width: 64, height: 48 }, alpha: false }
        );
        let png = Options { format: Some(Format::Png), ..options(16, 16, Fit::Contain) };
        let changed = shrink(&photo(64, 48), &png).unwrap();
        assert_eq!(image::guess_format(&changed.data).unwrap(), ImageFormat::Png);
    }

    #[test]
    fn quality_costs_bytes() {
        let bytes = |quality| {
            let options = Options { quality, ..options(64, 64, Fit::Contain) };
            shrink(&photo(64, 64), &options).unwrap().data.len()
        };
        assert!(bytes(5) < bytes(50) && bytes(50) < bytes(100));
        assert_eq!(bytes(0), bytes(DEFAULT_QUALITY));
    }

    #[test]
    fn a_photograph_is_turned_as_its_camera_says() {
        // An APP1 segment with one EXIF entry: orientation 6, a quarter turn to the right.
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let plain = photo(64, 48);
        let turned = [&plain[..2], exif, &plain[2..]].concat();
        assert_eq!(Picture::open(&plain).unwrap().details().size, Size { width: 64, height: 48 });
        assert_eq!(Picture::open(&turned).unwrap().details().size, Size { width: 48, height: 64 });
        let thumbnail = shrink(&turned, &options(24, 24, Fit::Contain)).unwrap();
        assert_eq!(thumbnail.size, Size { width: 18, height: 24 });
    }

    #[test]
    fn bad_options_are_refused() {
        for options in [
            options(0, 10, Fit::Contain),
            options(10, 2049, Fit::Contain),
            Options { quality: 101, ..options(10, 10, Fit::Contain) },
        ] {
            let problem = shrink(&flag(8, 8), &options).unwrap_err();
            assert!(matches!(problem, Problem::BadOptions(_)), "{problem:?}");
        }
    }

    #[test]
    fn what_is_no_picture_is_unreadable() {
        let png = flag(64, 64);
        let jpeg = photo(64, 64);
        let gif = b"GIF89a\x01\0\x01\0\0\0\0;".to_vec();
        for bytes in [Vec::new(), b"hello".to_vec(), gif, png[..60].to_vec(), jpeg[..100].to_vec()]
        {
            let problem = shrink(&bytes, &options(8, 8, Fit::Contain)).unwrap_err();
            assert!(matches!(problem, Problem::Unreadable(_)), "{problem:?}");
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        for good in [flag(32, 32), photo(32, 32)] {
            for index in 0..good.len() {
                for value in [0, 0xff, good[index] ^ 0x10] {
                    let mut bytes = good.clone();
                    bytes[index] = value;
                    let _any = shrink(&bytes, &options(8, 8, Fit::Contain));
                }
            }
        }
    }

    #[test]
    fn the_number_of_pixels_is_bounded_before_decoding() {
        // The header of a PNG that claims 60,000 by 60,000 pixels.
        let mut huge = flag(8, 8);
        huge[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        huge[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        let checksum = crc32(&huge[12..29]);
        huge[29..33].copy_from_slice(&checksum.to_be_bytes());
        let problem = shrink(&huge, &options(8, 8, Fit::Contain)).unwrap_err();
        assert_eq!(problem, Problem::TooLarge(Size { width: 60_000, height: 60_000 }));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }
}
