//! What the gateway counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the gateway started.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    calls: AtomicU64,
    panics: AtomicU64,
}

/// The counters at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub connections: u64,
    /// Requests of every kind.
    pub requests: u64,
    /// Requests that reached a module.
    pub calls: u64,
    /// Requests that ended in a panic of the host, each of them a bug.
    pub panics: u64,
}

impl Counters {
    pub fn read(&self) -> Counted {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            connections: load(&self.connections),
            requests: load(&self.requests),
            calls: load(&self.calls),
            panics: load(&self.panics),
        }
    }

    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}
