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

/// What the HTTP library (h2 0.4) asks of a client that it told to go. Of what the client begins
/// after it has answered, nothing is answered.
const LAST_PING: [u8; 8] = [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

/// The code of a connection that is ended for its manners.
const ENHANCE_YOUR_CALM: u32 = 11;

/// The manners of a client over one connection.
#[derive(Debug)]
pub struct Client {
    inbound: Frames,
    outbound: Frames,
    credit: Credit,
    last_stream: u32,
    /// The last stream that is answered, once the client was told to go and has heard it.
    last_answered: Option<u32>,
}

impl Client {
    /// Of a connection with so many streams, all of which may be reset at once.
    pub fn new(streams: u32) -> Self {
        Self {
            inbound: Frames::default(),
            outbound: Frames::default(),
            credit: Credit::new(BURST.max(u64::from(streams) * RESET * 2)),
            last_stream: 0,
            last_answered: None,
        }
    }

    /// Looks at bytes from the client, after the preface.
    ///
    /// Of a client that was told to go, the HTTP library ignores the streams that it began before
    /// it knew, but takes a window update of one for an error of the connection, which would fail
    /// those that run. Such updates are made frames of an unknown type, which it ignores; as far as
    /// what tells them comes in one read, as clients send it.
    ///
    /// # Errors
    /// [`Flood`] if its credit is used up.
    pub fn received(&mut self, bytes: &mut [u8]) -> Result<(), Flood> {
        let (mut cost, mut last, mut answered) = (0, self.last_stream, self.last_answered);
        let mut late = Vec::new();
        let scanned = &*bytes;
        self.inbound.scan(scanned, |head| match head.kind {
            // The HTTP library bounds empty and tiny ones.
            kind::DATA => {}
            kind::HEADERS => {
                last = last.max(head.stream);
                cost += 1;
            }
            kind::RESET => cost += RESET,
            kind::PING if head.is_pong() => {
                let payload = scanned.get(head.end..).unwrap_or_default();
                if payload.starts_with(&LAST_PING) {
                    answered.get_or_insert(last);
                }
                cost += 1;
            }
            kind::WINDOW_UPDATE => {
                if answered.is_some_and(|answered| answered < head.stream) {
                    late.push(head);
                }
                cost += 1;
            }
            _ => cost += 1,
        });
        (self.last_stream, self.last_answered) = (last, answered);
        late.iter().for_each(|head| head.void(bytes));
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
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut manners = Client::new(100);
            manners.sent(&bytes);
            manners.received(&mut bytes).ok();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn floods_are_told_from_work() {
        let mut pings = frame(kind::PING, 8).repeat(100);
        let mut idle = Client::new(100);
        let rounds = (0..1000).take_while(|_| idle.received(&mut pings).is_ok()).count();
        assert_eq!(rounds, 100);
        advance(Duration::from_secs(1)).await;
        assert_eq!(idle.received(&mut pings), Ok(()));

        let mut slow = Client::new(100);
        for _ in 0..1000 {
            assert_eq!(slow.received(&mut pings), Ok(()));
            advance(Duration::from_millis(200)).await;
        }
        // An answer of some KiB for each: busy, not rude.
        let (mut ping, answer) = (frame(kind::PING, 8).repeat(4), frame(kind::HEADERS, 10));
        let mut busy = Client::new(100);
        for _ in 0..100_000 {
            assert_eq!(busy.received(&mut ping), Ok(()));
            busy.sent(&answer);
        }
        let (mut update, byte) = (frame(kind::WINDOW_UPDATE, 4), frame(kind::DATA, 1));
        let mut trickling = Client::new(100);
        let reads = (0..100_000).take_while(|_| {
            trickling.sent(&byte);
            trickling.received(&mut update).is_ok()
        });
        assert!(reads.count() < 10_100);
    }

    #[tokio::test(start_paused = true)]
    async fn every_stream_may_be_reset_at_once_but_not_again_and_again() {
        let reset = frame(kind::RESET, 4);
        let mut manners = Client::new(1 << 14);
        assert_eq!(manners.received(&mut reset.repeat(1 << 14)), Ok(()));
        assert_eq!(manners.received(&mut reset.repeat(1 << 14)), Ok(()));
        assert_eq!(manners.received(&mut reset.clone()), Err(Flood));
    }

    /// A frame of a stream.
    fn of(stream: u8, kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn window_updates_of_streams_that_are_not_answered_are_ignored() {
        let begin = |stream| of(stream, kind::HEADERS, 4, b"headers");
        let update = |stream| of(stream, kind::WINDOW_UPDATE, 0, &[0, 0, 0, 5]);
        let void = |stream| of(stream, kind::UNKNOWN, 0, &[0, 0, 0, 5]);
        let pong = of(0, kind::PING, 1, &LAST_PING);
        let before = [begin(1), update(1), of(0, kind::PING, 1, &[0; 8]), begin(3), update(3)];
        let after = [pong, update(0), update(3), begin(5)];
        let (late, ignored) = ([update(5), update(1)], [void(5), update(1)]);
        let mut sent = [before.concat(), after.concat(), late.concat()].concat();
        let seen = [before.concat(), after.concat(), ignored.concat()].concat();
        let mut manners = Client::new(100);
        assert_eq!(manners.received(&mut sent), Ok(()));
        assert_eq!(sent, seen);
        // However it is cut, as long as the type comes along with the stream.
        for cut in 0..4 {
            let mut late = update(7);
            let (first, rest) = late.split_at_mut(cut);
            manners.received(first).unwrap();
            manners.received(rest).unwrap();
            assert_eq!(late, void(7));
        }
    }
}
