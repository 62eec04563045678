//! Every cut of a body gives the same message, and no bytes make the parser panic.

use proptest::prelude::*;
use roadstead_domain::ByteSize;

use super::*;
use crate::budget::{Budget, FREE};

fn framed(packed: bool, message: &[u8]) -> Vec<u8> {
    let mut body = header(packed, u32::try_from(message.len()).unwrap()).to_vec();
    body.extend_from_slice(message);
    body
}

fn parse(limit: u64, chunks: &[&[u8]]) -> Result<Payload, Fault> {
    let mut frame = UnaryFrame::new(limit, Budget::new(ByteSize::mib(1)).charge());
    for chunk in chunks {
        frame.push(Bytes::copy_from_slice(chunk))?;
    }
    frame.finish().map(|(payload, _)| payload)
}

#[test]
fn one_chunk_is_not_copied_but_a_small_message_leaves_its_buffer() {
    for (length, stays) in [(SMALL, true), (SMALL - 1, false)] {
        let message = vec![7; length];
        let body = Bytes::from(framed(false, &message));
        let mut frame = UnaryFrame::new(1 << 20, Budget::new(ByteSize::mib(1)).charge());
        frame.push(body.clone()).unwrap();
        let (payload, _) = frame.finish().unwrap();
        assert_eq!(payload, Payload { packed: false, bytes: message.into() });
        assert_eq!(payload.bytes.as_ptr() == body[5..].as_ptr(), stays, "{length}");
    }
}

#[test]
fn the_limit_is_looked_at_before_the_message_arrives() {
    let header = header(false, 101);
    assert_eq!(parse(100, &[&header]), Err(Fault::limit(LimitKind::Input, 100, Some(101))));
    let body = framed(false, &[1; 100]);
    assert_eq!(parse(100, &[&body]).unwrap().bytes.len(), 100);
}

#[test]
fn none_two_and_cut_messages_are_bad_input() {
    let one = framed(false, b"x");
    let text = |result: Result<Payload, Fault>| result.unwrap_err().to_string();
    assert!(text(parse(10, &[])).contains("got none"));
    assert!(text(parse(10, &[&one, &one])).contains("more than one"));
    assert!(text(parse(10, &[&one, b"\0"])).contains("more than one"));
    assert!(text(parse(10, &[&one[..3]])).contains("ended within"));
    assert!(text(parse(10, &[&one[..5]])).contains("ended within"));
    assert!(text(parse(10, &[b"\x02\0\0\0\0"])).contains("flag"));
    assert_eq!(parse(10, &[&framed(false, b"")]).unwrap().bytes.len(), 0);
}

#[test]
fn what_arrives_is_counted_and_what_is_announced_is_not() {
    let budget = Budget::new(ByteSize(10));
    let length = u32::try_from(FREE).unwrap() + 10;
    let mut idle: Vec<_> = (0..100).map(|_| UnaryFrame::new(1 << 20, budget.charge())).collect();
    for frame in &mut idle {
        frame.push(Bytes::copy_from_slice(&header(false, length))).unwrap();
        frame.push(Bytes::from_static(b"few")).unwrap();
    }
    let body = vec![0; FREE];
    let mut fits = UnaryFrame::new(1 << 20, budget.charge());
    fits.push(framed(false, &[&body[..], b"0123456789"].concat()).into()).unwrap();
    let refused = idle[0].push([&body[..], b"0"].concat().into());
    assert!(matches!(refused, Err(Fault::Overloaded { .. })), "{refused:?}");
    drop(fits);
    assert!(idle[1].push([&body[..], b"0"].concat().into()).is_ok());
}

proptest! {
    #[test]
    fn every_cut_gives_the_same_message(
        message: Vec<u8>,
        packed: bool,
        cuts in prop::collection::vec(0..200usize, 0..6),
    ) {
        let body = framed(packed, &message);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.push(body.len());
        cuts.sort_unstable();
        let mut from = 0;
        let chunks: Vec<&[u8]> = cuts
            .into_iter()
            .map(|to| {
                let chunk = &body[from..to];
                from = to;
                chunk
            })
            .collect();
        let payload = parse(1 << 20, &chunks).unwrap();
        prop_assert_eq!(payload, Payload { packed, bytes: message.into() });
    }

    #[test]
    fn random_bytes_never_panic(chunks: Vec<Vec<u8>>, limit in 0..300u64) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        if let Ok(payload) = parse(limit, &chunks) {
            prop_assert!(payload.bytes.len() as u64 <= limit + PACKED_SLACK);
        }
    }
}
