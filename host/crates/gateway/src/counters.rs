//! What the gateway counts.

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_domain::Fault;

/// Counted since the gateway started.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    open: AtomicU64,
    ended: [AtomicU64; Ended::ALL.len()],
    requests: AtomicU64,
    open_requests: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    forwarded: [AtomicU64; Forwarded::ALL.len()],
    arrived: AtomicU64,
    calls: AtomicU64,
    uploads: AtomicU64,
    panics: AtomicU64,
}

/// Why the host ended a connection, or did not begin it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The host has as many as it may.
    HostFull,
    /// The peer's address has as many as it may.
    PeerFull,
    /// TLS came to nothing, or not in time.
    Handshake,
    /// Control frames or resets beyond reason.
    Flood,
    /// Nothing was asked for the idle timeout.
    Idle,
    /// It got as old as it may.
    Age,
    /// What is not HTTP, stalls, or breaks off.
    Broken,
}

/// Why a request was turned away before anything looked for what answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// By a web page that has no business here.
    Foreign,
    /// Neither gRPC nor JSON.
    Misdirected,
    /// Without credentials, or with bad ones.
    Unauthenticated,
    /// By somebody who has no role there.
    NotGranted,
    /// As many requests are open as may be, of the host or of the peer.
    Overloaded,
    /// It says that a host of the pool forwarded it, and none did.
    Forged,
}

/// How a call ended that was forwarded to another host of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// That host answers it.
    Answered,
    /// That host is not there.
    Lost,
    /// It was not answered in time, or could not be sent.
    Failed,
}

/// The counters at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Connections that were let in.
    pub connections: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections that the host ended, by why.
    pub ended: Vec<(&'static str, u64)>,
    /// Requests of every kind.
    pub requests: u64,
    /// Requests that are open: their response is not whole yet.
    pub open_requests: u64,
    /// Requests that were turned away at the door, by why.
    pub refused: Vec<(&'static str, u64)>,
    /// Calls that were forwarded to other hosts of the pool, by how they ended.
    pub forwarded: Vec<(&'static str, u64)>,
    /// Calls that other hosts of the pool forwarded.
    pub arrived: u64,
    /// Requests that reached a module.
    pub calls: u64,
    /// Uploads that got their place.
    pub uploads: u64,
    /// Requests that ended in a panic of the host, each of them a bug.
    pub panics: u64,
}

impl Counters {
    pub fn read(&self) -> Counted {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            connections: load(&self.connections),
            open: load(&self.open),
            ended: Ended::ALL.into_iter().map(|why| (why.label(), self.ended(why))).collect(),
            requests: load(&self.requests),
            open_requests: load(&self.open_requests),
            refused: Refused::ALL.into_iter().map(|why| (why.label(), self.refused(why))).collect(),
            forwarded: Forwarded::ALL
                .into_iter()
                .map(|end| (end.label(), self.forwarded(end)))
                .collect(),
            arrived: load(&self.arrived),
            calls: load(&self.calls),
            uploads: load(&self.uploads),
            panics: load(&self.panics),
        }
    }

    pub fn ended(&self, why: Ended) -> u64 {
        self.ended.get(why as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub fn refused(&self, why: Refused) -> u64 {
        self.refused.get(why as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub fn forwarded(&self, end: Forwarded) -> u64 {
        self.forwarded.get(end as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(crate) fn forward(&self, end: Forwarded) {
        if let Some(counter) = self.forwarded.get(end as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, why: Ended) {
        if let Some(counter) = self.ended.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn begin(&self) {
        self.open_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finish(&self) {
        self.open_requests.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, why: Refused) {
        if let Some(counter) = self.refused.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request by somebody who is not known, or has nothing to do here.
    pub(crate) fn refuse_for(&self, fault: &Fault) {
        match fault {
            Fault::Unauthenticated { .. } => self.refuse(Refused::Unauthenticated),
            Fault::NotGranted(_) => self.refuse(Refused::NotGranted),
            _ => {}
        }
    }

    pub(crate) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn upload(&self) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

impl Ended {
    /// In the order of the variants.
    pub const ALL: [Self; 7] = [
        Self::HostFull,
        Self::PeerFull,
        Self::Handshake,
        Self::Flood,
        Self::Idle,
        Self::Age,
        Self::Broken,
    ];

    /// As metrics say it.
    pub fn label(self) -> &'static str {
        match self {
            Self::HostFull => "host_full",
            Self::PeerFull => "peer_full",
            Self::Handshake => "handshake",
            Self::Flood => "flood",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Broken => "broken",
        }
    }
}

impl Refused {
    /// In the order of the variants.
    pub const ALL: [Self; 6] = [
        Self::Foreign,
        Self::Misdirected,
        Self::Unauthenticated,
        Self::NotGranted,
        Self::Overloaded,
        Self::Forged,
    ];

    /// As metrics say it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Misdirected => "misdirected",
            Self::Unauthenticated => "unauthenticated",
            Self::NotGranted => "not_granted",
            Self::Overloaded => "overloaded",
            Self::Forged => "forged",
        }
    }
}

impl Forwarded {
    /// In the order of the variants.
    pub const ALL: [Self; 3] = [Self::Answered, Self::Lost, Self::Failed];

    /// As metrics say it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}
