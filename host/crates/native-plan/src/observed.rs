//! What is seen of a module's servers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use roadstead_domain::{NativeSpec, Version};

use crate::{Moment, Restarts, Wanted};

/// A module, as it is wanted and as it is.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// The versions that are to run.
    pub versions: BTreeMap<Version, Wanted>,
    /// Those that live, and the latest that ended, up to [`KEPT`](crate::KEPT) of a version.
    pub attempts: Vec<Attempt>,
    /// The highest epoch that was ever claimed.
    pub epoch: u64,
    pub restarts: Restarts,
}

/// One server, from its start to its end.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub epoch: u64,
    pub version: Version,
    pub spec: Arc<NativeSpec>,
    pub started: Moment,
    pub contract: Contract,
    /// Whether it said that it serves when it was asked last.
    pub serving: bool,
    /// What keeps it from being ready, in words.
    pub trouble: Option<String>,
    /// When it was ready for the first time: it said that it serves, and keeps its contract.
    pub ready: Option<Moment>,
    /// Probes in a row that it left unanswered or answered with something else, since it was ready.
    pub missed: u32,
    /// Where it tells.
    pub progress: Option<Progress>,
    /// Since when it gets no more calls and is to end.
    pub draining: Option<Moment>,
    pub ended: Option<Ended>,
}

/// Whether a server has the services that the wire contract says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Contract {
    #[default]
    Unknown,
    Kept,
    /// How it differs.
    Broken(String),
}

/// How far a server says that it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Calls that run or wait in it.
    pub calls: u64,
    /// How long ago its last sign of progress was.
    pub idle: Duration,
}

/// That a server is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub at: Moment,
    pub how: End,
}

/// How a server came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Drained,
    /// By itself, or it was ended for what it did; how, in words.
    Failed(String),
    /// It does not keep its contract: it would not the next time either.
    Mismatch(String),
}

impl Attempt {
    /// One that begins now.
    pub fn new(epoch: u64, version: Version, spec: Arc<NativeSpec>, started: Moment) -> Self {
        Self {
            epoch,
            version,
            spec,
            started,
            contract: Contract::Unknown,
            serving: false,
            trouble: None,
            ready: None,
            missed: 0,
            progress: None,
            draining: None,
            ended: None,
        }
    }

    pub fn lives(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether it is there for calls, now or soon.
    pub fn stays(&self) -> bool {
        self.lives() && self.draining.is_none()
    }

    /// Whether it may be given calls.
    pub fn answers(&self) -> bool {
        self.stays() && self.ready.is_some() && self.serving
    }
}
