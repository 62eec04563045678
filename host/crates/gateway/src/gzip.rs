//! gzip of messages, with a bound on what comes out: a few kilobytes can hold gigabytes.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use roadstead_domain::{Fault, LimitKind};

/// Bytes below which compressing costs more than it saves.
pub(crate) const WORTH_COMPRESSING: usize = 1 << 10;

/// Unpacks a message that may be `limit` bytes long.
///
/// # Errors
/// [`LimitKind::Input`] if it is longer, found without unpacking more; [`Fault::BadInput`] if it
/// is not gzip.
pub(crate) fn unpack(packed: &[u8], limit: u64) -> Result<Bytes, Fault> {
    let mut message = Vec::new();
    MultiGzDecoder::new(packed)
        .take(limit.saturating_add(1))
        .read_to_end(&mut message)
        .map_err(|_| Fault::bad_input("", "the message is not valid gzip"))?;
    if message.len() as u64 > limit {
        return Err(Fault::limit(LimitKind::Input, limit, None));
    }
    Ok(message.into())
}

/// Packs a message; none where that fails, which memory never does.
pub(crate) fn pack(message: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 2), Compression::fast());
    encoder.write_all(message).ok()?;
    Some(encoder.finish().ok()?.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_at_its_limit_passes_and_one_beyond_it_does_not() {
        let packed = pack(&[7; 1000]).unwrap();
        assert_eq!(unpack(&packed, 1000).unwrap(), vec![7; 1000]);
        assert_eq!(unpack(&packed, 999), Err(Fault::limit(LimitKind::Input, 999, None)));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = pack(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(unpack(&bomb, 1 << 16), Err(Fault::Limit(_))));
    }

    #[test]
    fn garbage_and_cut_streams_are_bad_input() {
        let packed = pack(b"some message").unwrap();
        for bad in [&b""[..], b"\x1f\x8b", b"not gzip at all", &packed[..packed.len() - 3]] {
            assert!(matches!(unpack(bad, 100), Err(Fault::BadInput(_))), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, limit in 0..10_000u64) {
            unpack(&bytes, limit).ok();
        }

        #[test]
        fn packed_is_unpacked(bytes: Vec<u8>) {
            prop_assert_eq!(unpack(&pack(&bytes).unwrap(), bytes.len() as u64).unwrap(), bytes);
        }
    }
}
