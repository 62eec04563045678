//! What the frames of an HTTP/2 connection say about its peer.
//!
//! The HTTP library bounds what costs memory. Some frames cost only time, and nothing there bounds
//! their number: pings, settings, priorities, window updates of a byte, streams that are reset as
//! soon as they are opened. Each is cheap to send and makes the host work. Here they are counted
//! against a credit that comes back with time and with answers that were sent, so that a client
//! with work to do never meets the bound; whoever uses the credit up is told to calm down.
//!
//! Frames are read from the bytes of both directions as they pass; nothing is held or changed.

use std::time::Duration;

use tokio::time::Instant;

/// Frames that a peer may send ahead of what it earns.
const BURST: u64 = 10_000;
/// Frames that every second earns.
const PER_SECOND: u64 = 500;
/// Frames that the headers or trailers of an answer earn: the request, its window updates, a
/// ping, and the reset that ends it.
const PER_ANSWER: u64 = 4;
/// Bytes sent that earn a frame: a window update for each is slow reading, for each byte it is not.
const BYTES: u64 = 1 << 10;
/// What a reset costs: the request that it ends has been looked at.
const RESET: u64 = 2;

/// Length of a frame's head.
const HEAD: usize = 9;

/// The types of frames that are told apart.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RESET: u8 = 3;
    pub(super) const GOAWAY: u8 = 7;
}

/// The code of a connection that is ended for its manners.
const ENHANCE_YOUR_CALM: u32 = 11;

/// The peer has used its credit up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more control frames than the connection's work explains")]
pub(crate) struct Flood;

/// The credit of one connection.
#[derive(Debug)]
pub(crate) struct Manners {
    inbound: Frames,
    outbound: Frames,
    most: u64,
    credit: u64,
    /// When the credit was last filled up.
    filled: Instant,
    /// Bytes sent that have earned nothing yet.
    unearned: u64,
    last_stream: u32,
}

impl Manners {
    /// Of a connection with so many streams, all of which may be reset at once.
    pub(crate) fn new(streams: u32) -> Self {
        let most = BURST.max(u64::from(streams) * RESET * 2);
        Self {
            inbound: Frames::default(),
            outbound: Frames::default(),
            most,
            credit: most,
            filled: Instant::now(),
            unearned: 0,
            last_stream: 0,
        }
    }

    /// Looks at bytes from the peer, after the preface.
    ///
    /// # Errors
    /// [`Flood`] if its credit is used up.
    pub(crate) fn received(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let (mut cost, mut last) = (0, self.last_stream);
        self.inbound.scan(bytes, |head| match head.kind {
            // The HTTP library bounds empty and tiny ones.
            kind::DATA => {}
            kind::HEADERS => {
                last = last.max(head.stream);
                cost += 1;
            }
            kind::RESET => cost += RESET,
            _ => cost += 1,
        });
        self.last_stream = last;
        self.spend(cost)
    }

    /// Looks at bytes for the peer; says how many of them are of bodies.
    pub(crate) fn sent(&mut self, bytes: &[u8]) -> u64 {
        let (mut data, mut answers, mut resets) = (0, 0, 0);
        self.outbound.scan(bytes, |head| match head.kind {
            kind::DATA => data += u64::from(head.length),
            kind::HEADERS => answers += 1,
            // A stream beyond those allowed, or a broken one. An answer that ends one comes first.
            kind::RESET => resets += 1,
            _ => {}
        });
        self.unearned += data;
        let earned = answers * PER_ANSWER + self.unearned / BYTES;
        self.unearned %= BYTES;
        self.credit = (self.credit + earned).min(self.most).saturating_sub(resets * RESET);
        data
    }

    /// The frame that ends the connection, where one may begin.
    pub(crate) fn farewell(&self) -> Option<Vec<u8>> {
        let between = self.outbound == Frames::default();
        between.then(|| goaway(self.last_stream, "too many control frames or resets"))
    }

    fn spend(&mut self, cost: u64) -> Result<(), Flood> {
        if cost > self.credit {
            let passed = self.filled.elapsed().min(Duration::from_secs(3600));
            let earned = u64::try_from(passed.as_millis()).unwrap_or(0) * PER_SECOND / 1000;
            self.credit = (self.credit + earned).min(self.most);
            self.filled = Instant::now();
        }
        self.credit = self.credit.checked_sub(cost).ok_or(Flood)?;
        Ok(())
    }
}

/// GOAWAY, for want of calm; `why` is for people.
pub(crate) fn goaway(last_stream: u32, why: &str) -> Vec<u8> {
    let payload =
        [&last_stream.to_be_bytes()[..], &ENHANCE_YOUR_CALM.to_be_bytes(), why.as_bytes()].concat();
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    [&[0, 0, length, kind::GOAWAY, 0, 0, 0, 0, 0][..], &payload].concat()
}

/// The head of a frame.
struct Head {
    length: u32,
    kind: u8,
    stream: u32,
}

/// Where in the frames of one direction its bytes are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frames {
    /// What came of a head.
    head: Vec<u8>,
    /// Bytes of the payload that are still to come.
    left: usize,
}

impl Frames {
    /// Goes on through `bytes`, and says every head that is whole.
    fn scan(&mut self, mut bytes: &[u8], mut each: impl FnMut(&Head)) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            let rest = bytes.get(skipped..).unwrap_or_default();
            let wanted = rest.len().min(if self.left == 0 { HEAD - self.head.len() } else { 0 });
            let (part, rest) = rest.split_at(wanted);
            self.head.extend_from_slice(part);
            if let Ok([a, b, c, kind, _, stream @ ..]) =
                <[u8; HEAD]>::try_from(self.head.as_slice())
            {
                let length = u32::from_be_bytes([0, a, b, c]);
                let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
                let head = Head { length, kind, stream };
                self.left = head.length as usize;
                self.head.clear();
                each(&head);
            }
            bytes = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, 0, 0, 0, 0, 1][..], &vec![0; length.into()]].concat()
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

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut manners = Manners::new(100);
            manners.received(&bytes).ok();
            manners.sent(&bytes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn floods_are_told_from_work() {
        const PING: u8 = 6;
        let pings = frame(PING, 8).repeat(100);
        let mut idle = Manners::new(100);
        let rounds = (0..1000).take_while(|_| idle.received(&pings).is_ok()).count();
        assert_eq!(rounds, 100);
        advance(Duration::from_secs(1)).await;
        assert_eq!(idle.received(&pings), Ok(()));

        let mut slow = Manners::new(100);
        for _ in 0..1000 {
            assert_eq!(slow.received(&pings), Ok(()));
            advance(Duration::from_millis(200)).await;
        }
        // An answer of some KiB for each: busy, not rude.
        let (ping, answer) = (frame(PING, 8).repeat(4), frame(kind::HEADERS, 10));
        let mut busy = Manners::new(100);
        for _ in 0..100_000 {
            assert_eq!(busy.received(&ping), Ok(()));
            busy.sent(&answer);
        }
        let (update, byte) = (frame(8, 4), frame(kind::DATA, 1));
        let mut trickling = Manners::new(100);
        let reads = (0..100_000).take_while(|_| {
            trickling.sent(&byte);
            trickling.received(&update).is_ok()
        });
        assert!(reads.count() < 10_100);
    }

    #[tokio::test(start_paused = true)]
    async fn every_stream_may_be_reset_at_once_but_not_again_and_again() {
        let reset = frame(kind::RESET, 4);
        let mut manners = Manners::new(1 << 14);
        assert_eq!(manners.received(&reset.repeat(1 << 14)), Ok(()));
        assert_eq!(manners.received(&reset.repeat(1 << 14)), Ok(()));
        assert_eq!(manners.received(&reset), Err(Flood));
    }
}
