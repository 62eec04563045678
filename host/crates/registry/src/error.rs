//! Why a push or a change was refused or failed, by meaning.
//!
//! Texts are for the person who asked, except those of `Host`: its causes are for the log alone.

use std::{error::Error, time::Duration};

use roadstead_blobs::BlobError;
use roadstead_catalog::{BreakRecord, CatalogError};
use roadstead_domain::{ByteSize, Millicores, ModuleId, ModuleName, Version};
use roadstead_engine::{BadBinding, UnknownImport};
use roadstead_worker::{CompileLimit, WorkerError};

/// A push or a check that came to nothing. Nothing is published then, and nothing stays stored.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("the module has no name: give one with --name or in the spec")]
    NoName,
    /// The upload is neither a component nor a core module that can be made one, or its parts do
    /// not fit together.
    #[error("{0}")]
    Invalid(String),
    #[error("the lock does not read: {0}")]
    Lock(String),
    #[error("the component is larger than the host's limit of {} bytes", .0.0)]
    TooLarge(ByteSize),
    #[error("unknown imports: {}", imports(.0))]
    UnknownImports(Vec<UnknownImport>),
    #[error("bindings that cannot be: {}", bindings(.0))]
    Bindings(Vec<BadBinding>),
    #[error("this host can never run it: {0}")]
    NeverFits(String),
    /// Its operator does not offer what the spec asks for.
    #[error("not offered here: {0}")]
    NotOffered(String),
    /// The guarantee fits the host, but not beside what it has promised to others.
    #[error(
        "quota.cpu is {wanted}, and {free} of this host's {whole} are not promised to other modules: \
         ask for less, or delete one or give it less"
    )]
    CpuPromised { wanted: Millicores, free: Millicores, whole: Millicores },
    /// The namespace is full.
    #[error(
        "namespace.{setting} is {allowed} on this host, and with this push the namespace would \
         have {would_be}: delete something of it"
    )]
    NamespaceFull { setting: &'static str, allowed: u64, would_be: u64 },
    #[error("the push would break callers with old stubs: {}", breaks(.0))]
    Breaks(Vec<BreakRecord>),
    #[error("`{name}@{version}` exists with other content; versions are immutable")]
    VersionExists { name: ModuleName, version: Version },
    /// A module is native as a whole, or not at all.
    #[error(transparent)]
    NameTaken(CatalogError),
    #[error(transparent)]
    DamagedLock(#[from] DamagedLock),
    /// Checking or compiling it costs more than this host spends on one component.
    #[error(transparent)]
    CompileLimit(#[from] CompileLimit),
    /// Checking or compiling it ended in a crash, which hurt nobody else.
    #[error("{0}")]
    CompileCrash(String),
    #[error("too many pushes wait: try again")]
    Overloaded { retry_after: Duration },
    /// The catalog does not answer, or others change the same module: later it may.
    #[error(transparent)]
    Unavailable(CatalogError),
    /// The store that hosts share does not answer: later it may.
    #[error("the store that hosts share does not answer: try again")]
    StoreUnavailable(#[source] BlobError),
    /// Hosts do not serve the namespace.
    #[error(transparent)]
    NotEnabled(CatalogError),
    /// The catalog does not keep records of that size.
    #[error(transparent)]
    RecordTooLarge(CatalogError),
    #[error("the host's disk is full")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    #[error("the host failed")]
    Host(#[source] Box<dyn Error + Send + Sync>),
}

/// Another change of the catalog, or a look at it, that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("no module `{0}` here")]
    NoSuchModule(ModuleName),
    #[error("module `{name}` has no version {version}")]
    NoSuchVersion { name: ModuleName, version: Version },
    #[error(
        "`{name}@{version}` is pinned: unpin `{name}` or pin another version before deleting it"
    )]
    Pinned { name: ModuleName, version: Version },
    #[error(transparent)]
    DamagedLock(#[from] DamagedLock),
    /// Nobody moves calls to new versions step by step here.
    #[error(transparent)]
    RolloutUnsupported(CatalogError),
    /// The change makes no sense as things are.
    #[error("{0}")]
    RolloutRefused(String),
    /// The catalog does not answer, or others change the same module: later it may.
    #[error(transparent)]
    Unavailable(CatalogError),
    #[error("the host's disk is full")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    #[error("the host failed")]
    Host(#[source] Box<dyn Error + Send + Sync>),
}

/// The newest wire lock of a package does not read, so that nothing new can be told from a break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored wire lock of `{package}` is damaged: {}", remedy(.holder.as_ref()))]
pub struct DamagedLock {
    pub package: String,
    /// A version that was published with it.
    pub holder: Option<ModuleId>,
}

/// The registry could not start from what is stored.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read the catalog")]
    Catalog(#[from] CatalogError),
    #[error("read the stored modules")]
    Blobs(#[from] BlobError),
}

impl PushError {
    pub(crate) fn host(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Host(error.into())
    }
}

impl From<BlobError> for PushError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::TooLarge(limit) => Self::TooLarge(limit),
            BlobError::Full(_) => Self::Full(error.into()),
            error if error.is_unavailable() => Self::StoreUnavailable(error),
            error => Self::host(error),
        }
    }
}

impl From<WorkerError> for PushError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Refused(problem) => Self::Invalid(problem),
            WorkerError::Limit(limit) => Self::CompileLimit(limit),
            WorkerError::Crashed { .. } => Self::CompileCrash(error.to_string()),
            WorkerError::Full => Self::Full(error.into()),
            error => Self::host(error),
        }
    }
}

impl From<CatalogError> for PushError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::VersionExists { name, version } => Self::VersionExists { name, version },
            CatalogError::Full(_) => Self::Full(error.into()),
            CatalogError::Unavailable { .. } | CatalogError::Contended(_) => {
                Self::Unavailable(error)
            }
            CatalogError::NameTaken { .. } => Self::NameTaken(error),
            CatalogError::NotEnabled(_) => Self::NotEnabled(error),
            CatalogError::TooLarge(_) => Self::RecordTooLarge(error),
            error => Self::host(error),
        }
    }
}

impl From<CatalogError> for ChangeError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NoSuchModule(name) => Self::NoSuchModule(name),
            CatalogError::NoSuchVersion { name, version } => Self::NoSuchVersion { name, version },
            CatalogError::Pinned { name, version } => Self::Pinned { name, version },
            CatalogError::RolloutUnsupported => Self::RolloutUnsupported(error),
            CatalogError::RolloutRefused(why) => Self::RolloutRefused(why),
            CatalogError::Full(_) => Self::Full(error.into()),
            CatalogError::Unavailable { .. } | CatalogError::Contended(_) => {
                Self::Unavailable(error)
            }
            error => Self::Host(error.into()),
        }
    }
}

fn remedy(holder: Option<&ModuleId>) -> String {
    let with_lock = "push with its last `roadstead.lock`";
    holder.map_or_else(
        || with_lock.to_owned(),
        |holder| format!("push `{holder}` again, unchanged, or {with_lock}"),
    )
}

fn bindings(problems: &[BadBinding]) -> String {
    let each = problems.iter().map(|one| format!("`{}` ({})", one.import, one.problem));
    each.collect::<Vec<_>>().join(", ")
}

fn imports(unknown: &[UnknownImport]) -> String {
    unknown
        .iter()
        .map(|import| format!("`{}` ({})", import.name, import.hint))
        .collect::<Vec<_>>()
        .join(", ")
}

fn breaks(breaks: &[BreakRecord]) -> String {
    breaks
        .iter()
        .map(|found| format!("{}: {}", found.subject, found.description))
        .collect::<Vec<_>>()
        .join("; ")
}
