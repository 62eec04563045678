//! What the catalog keeps, as it is written to disk.
//!
//! Fields may be added with a default; a change of meaning is a new format of the whole file.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_domain::{Digest, ModuleName, ModuleSpec, Namespace, Traffic, Version};
use serde::{Deserialize, Serialize};

/// One published version. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    pub version: Version,
    /// The bytes as they were uploaded.
    pub digest: Digest,
    /// Bytes of the upload.
    pub size: u64,
    /// Bytes of what is stored beside the upload: this record, its interface, its WIT texts and its
    /// locks, also where another version shares them. 0 in records from before they were counted.
    #[serde(default)]
    pub stored_beside: u64,
    /// What runs: the upload itself, or the component made from an uploaded core module.
    pub component: Digest,
    /// The component's interfaces without its code.
    pub interface: Digest,
    /// Instances of components, itself among them, of which an instance of the component consists.
    #[serde(default = "one")]
    pub component_instances: u64,
    /// WIT texts that came beside the component.
    pub wit: Option<Digest>,
    /// Limits and capabilities; its name and version are those of the record.
    pub spec: ModuleSpec,
    pub services: Vec<ServiceRecord>,
    pub unmapped: Vec<UnmappedRecord>,
    pub imports: Vec<ImportRecord>,
    /// The wire lock of every protobuf package that the version's files need.
    pub locks: BTreeMap<String, Digest>,
    /// What the push broke and was forced to.
    pub forced: Vec<BreakRecord>,
    pub published_unix_ms: i64,
}

fn one() -> u64 {
    1
}

impl VersionRecord {
    /// Whether a server of its own serves it, outside of the sandbox.
    pub fn is_native(&self) -> bool {
        self.spec.native.is_some()
    }

    /// Whether the compiled codec serves any of its methods.
    pub fn has_codec(&self) -> bool {
        self.services.iter().flat_map(|service| &service.methods).any(MethodRecord::is_compiled)
    }
}

impl MethodRecord {
    /// Whether the compiled codec serves it.
    pub fn is_compiled(&self) -> bool {
        self.dynamic.is_none()
    }
}

/// A gRPC service that a version exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Full name.
    pub name: String,
    pub methods: Vec<MethodRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodRecord {
    pub name: String,
    /// The export behind it, like `demo:calc/ops@0.1.0#add`.
    pub export: String,
    /// Why the compiled codec does not serve it; none if it does.
    #[serde(default = "before_the_codec")]
    pub dynamic: Option<String>,
}

fn before_the_codec() -> Option<String> {
    Some("it was published before there was a compiled codec: push it as a new version".to_owned())
}

/// An export that cannot be called, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmappedRecord {
    pub export: String,
    pub reason: String,
}

/// An import, and what the module gets for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRecord {
    pub name: String,
    pub grant: String,
}

/// A change that broke callers with old stubs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakRecord {
    pub subject: String,
    pub description: String,
}

/// One module with its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRecord {
    pub versions: BTreeMap<Version, Arc<VersionRecord>>,
    pub pinned: Option<Version>,
    /// How its calls are split, or the word that they are not; none where nothing splits calls.
    pub traffic: Option<Traffic>,
    /// The highest version that ever was: a number that was given out is not given out again.
    pub highest: Version,
}

impl ModuleRecord {
    /// Whether its versions are native: all are, or none is. None without a version.
    pub fn is_native(&self) -> Option<bool> {
        self.versions.last_key_value().map(|(_, version)| version.is_native())
    }
}

/// Everything, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    pub revision: u64,
    pub modules: BTreeMap<(Namespace, ModuleName), ModuleRecord>,
    /// The newest lock of every protobuf package of a namespace.
    pub locks: BTreeMap<(Namespace, String), Digest>,
}

/// Who chose the version of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionChoice {
    /// The person who pushed.
    Explicit,
    /// Nobody: it must be the next one when the catalog comes to it.
    Next,
}

/// One lock that a publication was derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockChange {
    pub package: String,
    /// The lock that was read; none if there was none.
    pub from: Option<Digest>,
    /// The lock to hold from now on, perhaps the same.
    pub to: Digest,
}

/// One version to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub namespace: Namespace,
    pub name: ModuleName,
    pub choice: VersionChoice,
    pub record: VersionRecord,
    pub locks: Vec<LockChange>,
}

/// A module after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<T> {
    pub revision: u64,
    /// None if it is gone.
    pub module: Option<ModuleRecord>,
    pub outcome: T,
}

/// How a publication ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    Created(Change<Arc<VersionRecord>>),
    /// The same content was there already; nothing changed.
    Unchanged(Arc<VersionRecord>),
}

/// A version that is written and not published: someone applied it by hand, or the host that pushed
/// it ended on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub namespace: Namespace,
    pub name: ModuleName,
    pub record: Arc<VersionRecord>,
}

/// What a host found about a pending version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its locks follow from those that hold, and it breaks nobody but those it says it does.
    Follows(Vec<LockChange>),
    Refused(Refusal, String),
}

/// Why a pending version cannot be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It breaks callers with old stubs and does not say so.
    BreaksContract,
    /// Its locks are not those that follow from the ones that hold now.
    LocksMoved,
    /// Bytes that it names are not there.
    BlobMissing,
    /// It does not say what its component is.
    Malformed,
}
