//! Of a client: it pays for what it asks, and earns by the answers that it gets.
//!
//! Who has used its credit up is told to calm down.

use crate::{
    credit::{BURST, Credit, Flood},
    frames::{Frames, kind},
};

/// Frames that the headers or trailers of an answer earn: the request, its window updates, a
/// ping, and the reset that ends it.
const PER_ANSWER: u64 = 4;
/// What a reset costs: the request that it ends has been looked at.
const RESET: u64 = 2;

/// The code of a connection that is ended for its manners.
const ENHANCE_YOUR_CALM: u32 = 11;

/// The manners of a client over one connection.
#[derive(Debug)]
pub struct Client {
    inbound: Frames,
    outbound: Frames,
    credit: Credit,
    last_stream: u32,
}

impl Client {
    /// Of a connection with so many streams, all of which may be reset at once.
    pub fn new(streams: u32) -> Self {
        Self {
            inbound: Frames::default(),
            outbound: Frames::default(),
            credit: Credit::new(BURST.max(u64::from(streams) * RESET * 2)),
            last_stream: 0,
        }
    }

    /// Looks at bytes from the client, after the preface.
    ///
    /// # Errors
    /// [`Flood`] if its credit is used up.
    pub fn received(&mut self, bytes: &[u8]) -> Result<(), Flood> {
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
        self.credit.spend(cost)
    }

    /// Looks at bytes for the client; says how many of them are of bodies.
    pub fn sent(&mut self, bytes: &[u8]) -> u64 {
        let (mut data, mut answers, mut resets) = (0, 0, 0);
        self.outbound.scan(bytes, |head| match head.kind {
            kind::DATA => data += u64::from(head.length),
            kind::HEADERS => answers += 1,
            // A stream beyond those allowed, or a broken one. An answer that ends one comes first.
            kind::RESET => resets += 1,
            _ => {}
        });
        self.credit.earn(answers * PER_ANSWER);
        self.credit.earn_bytes(data);
        self.credit.lose(resets * RESET);
        data
    }

    /// The frame that ends the connection, where one may begin.
    pub fn farewell(&self) -> Option<Vec<u8>> {
        let between = self.outbound == Frames::default();
        between.then(|| goaway(self.last_stream, "too many control frames or resets"))
    }
}

/// GOAWAY, for want of calm; `why` is for people.
pub fn goaway(last_stream: u32, why: &str) -> Vec<u8> {
    let payload =
        [&last_stream.to_be_bytes()[..], &ENHANCE_YOUR_CALM.to_be_bytes(), why.as_bytes()].concat();
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    [&[0, 0, length, kind::GOAWAY, 0, 0, 0, 0, 0][..], &payload].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::frames::tests::frame;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut manners = Client::new(100);
            manners.received(&bytes).ok();
            manners.sent(&bytes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn floods_are_told_from_work() {
        const PING: u8 = 6;
        let pings = frame(PING, 8).repeat(100);
        let mut idle = Client::new(100);
        let rounds = (0..1000).take_while(|_| idle.received(&pings).is_ok()).count();
        assert_eq!(rounds, 100);
        advance(Duration::from_secs(1)).await;
        assert_eq!(idle.received(&pings), Ok(()));

        let mut slow = Client::new(100);
        for _ in 0..1000 {
            assert_eq!(slow.received(&pings), Ok(()));
            advance(Duration::from_millis(200)).await;
        }
        // An answer of some KiB for each: busy, not rude.
        let (ping, answer) = (frame(PING, 8).repeat(4), frame(kind::HEADERS, 10));
        let mut busy = Client::new(100);
        for _ in 0..100_000 {
            assert_eq!(busy.received(&ping), Ok(()));
            busy.sent(&answer);
        }
        let (update, byte) = (frame(8, 4), frame(kind::DATA, 1));
        let mut trickling = Client::new(100);
        let reads = (0..100_000).take_while(|_| {
            trickling.sent(&byte);
            trickling.received(&update).is_ok()
        });
        assert!(reads.count() < 10_100);
    }

    #[tokio::test(start_paused = true)]
    async fn every_stream_may_be_reset_at_once_but_not_again_and_again() {
        let reset = frame(kind::RESET, 4);
        let mut manners = Client::new(1 << 14);
        assert_eq!(manners.received(&reset.repeat(1 << 14)), Ok(()));
        assert_eq!(manners.received(&reset.repeat(1 << 14)), Ok(()));
        assert_eq!(manners.received(&reset), Err(Flood));
    }
}
