//! gzip of messages, with a bound on what comes out: a few kilobytes can hold gigabytes.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use roadstead_domain::{Fault, LimitKind};

use crate::{budget::Charge, receive::Message};

/// Bytes below which compressing costs more than it saves.
pub(crate) const WORTH_COMPRESSING: usize = 1 << 10;

/// How much longer than its packing a message is taken to be before it is unpacked. gzip gets to a
/// thousand; most messages stay below this.
pub(crate) const RATIO: usize = 16;

/// Bytes that are unpacked before they are counted.
const STEP: u64 = 64 << 10;

/// Unpacks a message that may be `limit` bytes long, and counts what comes out as `charge`.
///
/// # Errors
/// [`LimitKind::Input`] if it is longer, and those of [`Charge::grow`], either found without
/// unpacking more; [`Fault::BadInput`] if it is not gzip.
pub(crate) fn unpack(packed: &[u8], limit: u64, mut charge: Charge) -> Result<Message, Fault> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut message = Vec::new();
    loop {
        let left = limit.saturating_add(1).saturating_sub(message.len() as u64);
        let step = left.min(STEP);
        let read = decoder.by_ref().take(step).read_to_end(&mut message);
        let read = read.map_err(|_| Fault::bad_input("", "the message is not valid gzip"))? as u64;
        if message.len() as u64 > limit {
            return Err(Fault::limit(LimitKind::Input, limit, None));
        }
        charge.grow(read)?;
        if read < step {
            return Ok(Message { bytes: message.into(), charge });
        }
    }
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
    use roadstead_domain::ByteSize;

    use super::*;
    use crate::budget::{Budget, FREE};

    fn unpacked(packed: &[u8], limit: u64) -> Result<Bytes, Fault> {
        let charge = Budget::new(ByteSize::mib(64)).charge();
        unpack(packed, limit, charge).map(|message| message.bytes)
    }

    #[test]
    fn a_message_at_its_limit_passes_and_one_beyond_it_does_not() {
        let packed = pack(&[7; 1000]).unwrap();
        assert_eq!(unpacked(&packed, 1000).unwrap(), vec![7; 1000]);
        assert_eq!(unpacked(&packed, 999), Err(Fault::limit(LimitKind::Input, 999, None)));
    }

    #[test]
    fn messages_of_whole_steps_are_unpacked_whole() {
        for length in [STEP - 1, STEP, STEP + 1, 2 * STEP, 2 * STEP + 1] {
            let message = vec![7; usize::try_from(length).unwrap()];
            let packed = pack(&message).unwrap();
            for limit in [length, length + 1, u64::MAX] {
                assert_eq!(unpacked(&packed, limit).unwrap(), message);
            }
            assert!(matches!(unpacked(&packed, length - 1), Err(Fault::Limit(_))));
        }
    }

    #[test]
    fn what_comes_out_is_counted_as_it_does() {
        let budget = Budget::new(ByteSize::mib(1));
        let bomb = pack(&vec![0; 64 << 20]).unwrap();
        // Half of it is missing, which is not even seen.
        let refused = unpack(&bomb[..bomb.len() / 2], u64::MAX, budget.charge()).unwrap_err();
        assert!(matches!(refused, Fault::NeverFits(_)), "{refused}");
        assert_eq!(budget.used(), 0);
        let fits = pack(&vec![0; 1 << 20]).unwrap();
        let fits = unpack(&fits, u64::MAX, budget.charge()).unwrap();
        assert_eq!(budget.used(), (fits.bytes.len() - FREE) as u64);
        let packed = pack(&[0; 3 * FREE]).unwrap();
        let full = unpack(&packed, u64::MAX, budget.charge()).unwrap_err();
        assert!(matches!(full, Fault::Overloaded { .. }), "{full}");
        drop(fits);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = pack(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(unpacked(&bomb, 1 << 16), Err(Fault::Limit(_))));
    }

    #[test]
    fn garbage_and_cut_streams_are_bad_input() {
        let packed = pack(b"some message").unwrap();
        for bad in [&b""[..], b"\x1f\x8b", b"not gzip at all", &packed[..packed.len() - 3]] {
            assert!(matches!(unpacked(bad, 100), Err(Fault::BadInput(_))), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, limit in 0..10_000u64) {
            unpacked(&bytes, limit).ok();
        }

        #[test]
        fn packed_is_unpacked(bytes: Vec<u8>) {
            let packed = pack(&bytes).unwrap();
            prop_assert_eq!(unpacked(&packed, bytes.len() as u64).unwrap(), bytes);
        }
    }
}
