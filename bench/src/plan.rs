//! How much of everything is measured. Pure.

use std::time::Duration;

/// The sizes of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Time of each measurement of calls.
    pub slice: Duration,
    /// Time before it.
    pub warm_up: Duration,
    /// Rounds over all subjects; medians count.
    pub rounds: usize,
    pub quick: bool,
    /// Callers of small unary calls.
    pub callers: Vec<usize>,
    /// Bytes of payloads.
    pub payloads: Vec<u32>,
    /// Items of lists of records and texts; lists of numbers have ten times as many.
    pub items: u32,
    /// Numbers in a stream, each a message.
    pub stream_numbers: u32,
    /// Bytes in a stream.
    pub stream_bytes: u32,
    /// Modules that are called at random, and published when a host starts.
    pub modules: Vec<usize>,
    /// Idle instances of one module whose memory is measured.
    pub instances: usize,
}

impl Plan {
    /// Everything that is promised.
    pub(crate) fn full() -> Self {
        Self {
            slice: Duration::from_secs(2),
            warm_up: Duration::from_millis(300),
            rounds: 3,
            quick: false,
            callers: vec![1, 16, 64, 256],
            payloads: vec![1 << 10, 64 << 10, 1 << 20, 16 << 20],
            items: 100_000,
            stream_numbers: 100_000,
            stream_bytes: 64 << 20,
            modules: vec![1, 10, 100, 1000],
            instances: 100,
        }
    }

    /// As little as shows that everything can be measured.
    pub(crate) fn quick() -> Self {
        Self {
            slice: Duration::from_millis(50),
            warm_up: Duration::from_millis(10),
            rounds: 1,
            quick: true,
            callers: vec![1, 4],
            payloads: vec![1 << 10],
            items: 20,
            stream_numbers: 100,
            stream_bytes: 100_000,
            modules: vec![1, 2],
            instances: 4,
        }
    }
}
