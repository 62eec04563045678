//! What a peer may send ahead, and how it comes back.

use std::time::Duration;

use tokio::time::Instant;

/// Frames that a peer may send ahead of what it earns.
pub(crate) const BURST: u64 = 10_000;
/// Frames that every second earns.
const PER_SECOND: u64 = 500;
/// Bytes sent that earn a frame: a window update for each is slow reading, for each byte it is not.
const BYTES: u64 = 1 << 10;

/// The peer has used its credit up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more control frames than the connection's work explains")]
pub struct Flood;

/// The credit of one connection, in frames.
#[derive(Debug)]
pub(crate) struct Credit {
    most: u64,
    left: u64,
    /// When it was last filled up.
    filled: Instant,
    /// Bytes sent that have earned nothing yet.
    unearned: u64,
}

impl Credit {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, left: most, filled: Instant::now(), unearned: 0 }
    }

    pub(crate) fn earn(&mut self, frames: u64) {
        self.left = self.left.saturating_add(frames).min(self.most);
    }

    /// Earns what so many bytes that were sent are worth.
    pub(crate) fn earn_bytes(&mut self, bytes: u64) {
        self.unearned += bytes;
        self.earn(self.unearned / BYTES);
        self.unearned %= BYTES;
    }

    /// Takes as much as there is of it.
    pub(crate) fn lose(&mut self, frames: u64) {
        self.left = self.left.saturating_sub(frames);
    }

    /// Looks at the clock only where there is not enough.
    pub(crate) fn spend(&mut self, frames: u64) -> Result<(), Flood> {
        if frames > self.left {
            let passed = self.filled.elapsed().min(Duration::from_secs(3600));
            self.earn(u64::try_from(passed.as_millis()).unwrap_or(0) * PER_SECOND / 1000);
            self.filled = Instant::now();
        }
        self.left = self.left.checked_sub(frames).ok_or(Flood)?;
        Ok(())
    }
}
