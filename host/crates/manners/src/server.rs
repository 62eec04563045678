//! Of a server: it pays for what nobody asked it for, and earns by the requests that it is sent.
//!
//! What answers is free: headers and trailers as many as there were requests for, and every frame
//! with bytes of a message, which whoever reads them bounds. Informational headers, window updates,
//! priorities, pings, settings, empty frames and unknown ones are paid for.

use crate::{
    credit::{BURST, Credit, Flood},
    frames::{Frames, kind},
};

/// Frames that a request earns: its window updates, a ping or two, a reset.
const PER_REQUEST: u64 = 8;
/// Headers of an answer: those that begin it, and those that end it.
const HEADERS: u64 = 2;
/// Frames that one with bytes of a message earns: servers send window updates of the stream and of
/// the connection along with it.
const PER_DATA: u64 = 2;
/// Frames that a message to the server earns, however short: window updates, too.
const PER_MESSAGE: u64 = 2;

/// The manners of a server over one connection.
#[derive(Debug)]
pub struct Server {
    inbound: Frames,
    outbound: Frames,
    credit: Credit,
    /// Headers and ends of answers that may still come for the requests that were sent.
    due: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            inbound: Frames::default(),
            outbound: Frames::after_preface(),
            credit: Credit::new(BURST),
            due: 0,
        }
    }
}

impl Server {
    /// Looks at bytes from the server.
    ///
    /// # Errors
    /// [`Flood`] if its credit is used up.
    pub fn received(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let (mut data, mut cost, mut due) = (0, 0, self.due);
        self.inbound.scan(bytes, |head| match head.kind {
            kind::DATA if head.carries() => data += 1,
            kind::HEADERS if 0 < due => due -= 1,
            kind::DATA if head.ends() && 0 < due => due -= 1,
            _ => cost += 1,
        });
        self.due = due;
        self.credit.earn(data * PER_DATA);
        self.credit.spend(cost)
    }

    /// Looks at bytes for the server, from the preface on.
    pub fn sent(&mut self, bytes: &[u8]) {
        let (mut data, mut requests) = (0, 0);
        self.outbound.scan(bytes, |head| match head.kind {
            kind::DATA => data += u64::from(head.length),
            kind::HEADERS => requests += 1,
            _ => {}
        });
        self.due = self.due.saturating_add(requests * HEADERS);
        self.credit.earn(requests * PER_REQUEST);
        self.credit.earn_bytes(data);
    }

    /// So many messages are on their way to it. Their frames do not tell: a server that opens its
    /// window by a byte at a time gets one for each byte.
    pub fn messages(&mut self, count: u64) {
        self.credit.earn(count.saturating_mul(PER_MESSAGE));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::frames::{
        PREFACE,
        tests::{ending, frame, padded},
    };

    const PRIORITY: u8 = 2;
    const SETTINGS: u8 = 4;
    const PING: u8 = kind::PING;
    const UPDATE: u8 = kind::WINDOW_UPDATE;
    const CONTINUATION: u8 = 9;
    const UNKNOWN: u8 = kind::UNKNOWN;

    fn begun() -> Server {
        let mut server = Server::default();
        server.sent(PREFACE);
        server
    }

    /// Headers and a message.
    fn request(length: u8) -> Vec<u8> {
        [frame(kind::HEADERS, 60), ending(kind::DATA, length)].concat()
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut server = Server::default();
            server.received(&bytes).ok();
            server.sent(&bytes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_frame_that_asks_for_nothing_is_paid_for() {
        let idle = [
            frame(PRIORITY, 5),
            frame(kind::RESET, 4),
            frame(SETTINGS, 0),
            frame(PING, 8),
            frame(UPDATE, 4),
            frame(CONTINUATION, 10),
            frame(UNKNOWN, 10),
            // Informational.
            frame(kind::HEADERS, 10),
            // Empty, and with padding alone.
            frame(kind::DATA, 0),
            padded(kind::DATA, 10),
        ];
        for frame in idle {
            let mut server = begun();
            server.sent(&request(10));
            let hundred = frame.repeat(100);
            let rounds = (0..1000).take_while(|_| server.received(&hundred).is_ok()).count();
            assert_eq!(rounds, 100, "kind {:?}", frame.get(3));
            advance(Duration::from_secs(1)).await;
            assert_eq!(server.received(&hundred), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_server_never_meets_the_bound() {
        let along = [frame(UPDATE, 4), frame(UPDATE, 4)].concat();
        let begins = [frame(PING, 8), frame(kind::HEADERS, 20)].concat();
        let (message, ends) = (frame(kind::DATA, 7), ending(kind::HEADERS, 20));
        let answer = [&along[..], &begins, &message, &ends].concat();
        let mut unary = begun();
        for _ in 0..100_000 {
            unary.sent(&request(10));
            assert_eq!(unary.received(&answer), Ok(()));
        }
        // All at once, and all refused.
        let mut crowded = begun();
        crowded.sent(&request(10).repeat(100_000));
        assert_eq!(crowded.received(&ends.repeat(100_000)), Ok(()));

        // Each message goes out with window updates.
        let mut streaming = begun();
        streaming.sent(&request(10));
        assert_eq!(streaming.received(&begins), Ok(()));
        for _ in 0..100_000 {
            assert_eq!(streaming.received(&[&message[..], &along].concat()), Ok(()));
        }
        assert_eq!(streaming.received(&ends), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_reads_may_say_so() {
        let updates = [frame(UPDATE, 4), frame(UPDATE, 4)].concat();
        // Short messages, each taken by itself.
        let mut reading = begun();
        for _ in 0..100_000 {
            reading.messages(1);
            reading.sent(&frame(kind::DATA, 7));
            assert_eq!(reading.received(&updates), Ok(()));
        }
        // A long one, little by little.
        let mut slow = begun();
        for _ in 0..100_000 {
            slow.sent(&frame(kind::DATA, 128).repeat(16));
            assert_eq!(slow.received(&updates), Ok(()));
        }
        // A long one by the byte.
        let mut trickling = begun();
        let reads = (0..100_000).take_while(|_| {
            trickling.sent(&frame(kind::DATA, 1));
            trickling.received(&updates).is_ok()
        });
        assert!(reads.count() < 5_100);
    }
}
