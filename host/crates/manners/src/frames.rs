//! The frames of one direction of a connection, found in its bytes.

/// What a client sends before its first frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a frame's head.
const HEAD: usize = 9;
/// What of a head comes after the frame's type.
const AFTER_KIND: usize = 5;

/// The types of frames that are told apart.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RESET: u8 = 3;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    /// None that the protocol has: whoever gets one ignores it (RFC 9113, section 4.1).
    pub(crate) const UNKNOWN: u8 = 0xff;
}

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const PADDED: u8 = 8;

/// The head of a frame.
pub(crate) struct Head {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    flags: u8,
    pub(crate) stream: u32,
    /// Where it ends in the bytes that were scanned last.
    pub(crate) end: usize,
}

impl Head {
    /// Whether it answers a ping.
    pub(crate) fn is_pong(&self) -> bool {
        self.kind == kind::PING && self.flags & ACK != 0
    }

    /// Makes the frame one that is ignored, if its type is among the bytes that were scanned.
    pub(crate) fn void(&self, bytes: &mut [u8]) {
        let at = self.end.checked_sub(AFTER_KIND + 1);
        if let Some(kind) = at.and_then(|at| bytes.get_mut(at)) {
            *kind = kind::UNKNOWN;
        }
    }

    /// Whether it is the last of its stream.
    pub(crate) fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// Whether it surely carries bytes of a body. Padding could be all of it.
    pub(crate) fn carries(&self) -> bool {
        self.kind == kind::DATA && 0 < self.length && self.flags & PADDED == 0
    }
}

/// Where in the frames of one direction its bytes are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// What came of a head.
    head: Vec<u8>,
    /// Bytes of the payload that are still to come.
    left: usize,
}

impl Frames {
    /// Of a client, from its first byte on.
    pub(crate) fn after_preface() -> Self {
        Self { head: Vec::new(), left: PREFACE.len() }
    }

    /// Goes on through `bytes`, and says every head that is whole.
    pub(crate) fn scan(&mut self, mut bytes: &[u8], mut each: impl FnMut(Head)) {
        let all = bytes.len();
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            let rest = bytes.get(skipped..).unwrap_or_default();
            let wanted = rest.len().min(if self.left == 0 { HEAD - self.head.len() } else { 0 });
            let (part, rest) = rest.split_at(wanted);
            self.head.extend_from_slice(part);
            if let Ok([a, b, c, kind, flags, stream @ ..]) =
                <[u8; HEAD]>::try_from(self.head.as_slice())
            {
                let length = u32::from_be_bytes([0, a, b, c]);
                let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
                self.left = length as usize;
                self.head.clear();
                each(Head { length, kind, flags, stream, end: all - rest.len() });
            }
            bytes = rest;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn frame(kind: u8, length: u8) -> Vec<u8> {
        flagged(kind, 0, length)
    }

    pub(crate) fn ending(kind: u8, length: u8) -> Vec<u8> {
        flagged(kind, END_STREAM, length)
    }

    pub(crate) fn padded(kind: u8, length: u8) -> Vec<u8> {
        flagged(kind, PADDED, length)
    }

    fn flagged(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![0; length.into()]].concat()
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(
            frames in proptest::collection::vec((0..12_u8, 0..40_u8), 0..20),
            cuts in proptest::collection::vec(1..30_usize, 1..200),
        ) {
            let all: Vec<u8> = frames.iter().flat_map(|(kind, len)| frame(*kind, *len)).collect();
            let (mut found, mut scan, mut rest) = (Vec::new(), Frames::default(), &all[..]);
            for cut in cuts.into_iter().chain([all.len()]) {
                let (part, more) = rest.split_at(cut.min(rest.len()));
                scan.scan(part, |head| found.push((head.kind, u8::try_from(head.length).unwrap())));
                rest = more;
            }
            prop_assert_eq!(found, frames);
            prop_assert_eq!(scan, Frames::default());
        }
    }
}
