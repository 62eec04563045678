//! What a push asks for and what it answers.

use std::sync::Arc;

use roadstead_catalog::{BreakRecord, VersionRecord};
use roadstead_domain::{ModuleName, ModuleSpec, Version};

/// Everything about a push but the bytes.
#[derive(Debug, Clone, Default)]
pub struct PushRequest {
    /// Goes before the spec's name.
    pub name: Option<ModuleName>,
    /// Goes before the spec's version. Without either the push gets the next patch.
    pub version: Option<Version>,
    pub spec: ModuleSpec,
    /// Path and text of the WIT files that supply the comments.
    pub wit: Vec<(String, String)>,
    /// The text of a lock to begin from.
    pub lock: Option<String>,
    /// Publishes even if callers with old stubs break.
    pub force: bool,
}

/// Where a push is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Validating,
    Compiling,
    Storing,
    Publishing,
}

/// A push has come to a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    /// Bytes that the phase works on.
    pub bytes: u64,
}

/// A push that succeeded.
#[derive(Debug, Clone)]
pub struct Pushed {
    pub name: ModuleName,
    pub record: Arc<VersionRecord>,
    /// False where the same content was published already.
    pub created: bool,
}

/// What a push would come to.
#[derive(Debug, Clone)]
pub struct Checked {
    pub name: ModuleName,
    pub record: VersionRecord,
    /// What would make the push refused, unless it is forced.
    pub breaks: Vec<BreakRecord>,
}

/// The `.proto` files of a version, the lock, and the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protos {
    /// Path and text.
    pub files: Vec<(String, String)>,
    /// The text of `roadstead.lock`.
    pub lock: String,
    /// What the version offers and how its messages are read and written, as JSON.
    pub plan: String,
}
