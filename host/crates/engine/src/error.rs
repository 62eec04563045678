//! What can go wrong outside a call: making an engine, compiling, inspecting and loading.
//!
//! A call itself ends in a [`roadstead_domain::Fault`]. Texts of [`CompileError`],
//! [`InspectError`] and [`LoadError::NeverFits`] are meant for the person who pushes a module;
//! the others are for the host's log.

/// The engine could not be made on this machine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("engine setting `{setting}`: {problem}")]
    Setting { setting: &'static str, problem: String },
    #[error("configure wasmtime")]
    Wasmtime(#[source] wasmtime::Error),
    #[error("link the host's interfaces")]
    Linker(#[source] wasmtime::Error),
    #[error("start a thread")]
    Thread(#[source] std::io::Error),
}

/// The component does not compile.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Not a valid component, or one that needs wasm features that this host keeps off.
    #[error("the component is not valid here: {0}")]
    Invalid(String),
}

/// One import that the host does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownImport {
    pub name: String,
    /// What to do about it.
    pub hint: String,
}

/// A binding of the spec that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBinding {
    /// The interface that it is for.
    pub import: String,
    pub problem: String,
}

/// The component and its spec were refused before compiling.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("not a component: {0}")]
    Invalid(String),
    #[error("unknown imports: {}", list(.0))]
    UnknownImports(Vec<UnknownImport>),
    #[error("bindings of what it does not import: {}", .0.join(", "))]
    NoSuchImports(Vec<String>),
    /// The spec asks for more than this host's settings can ever give.
    #[error("this host can never run it: {0}")]
    NeverFits(String),
}

/// A module's code could not be opened, mapped or linked.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("open the compiled code")]
    Code(#[from] CodeError),
    #[error("map the compiled code")]
    Map(#[source] wasmtime::Error),
    /// An import has another type than the one that the host serves.
    #[error("link the module's imports")]
    Link(#[source] wasmtime::Error),
    #[error("this host can never run it: {0}")]
    NeverFits(String),
    /// The spec asks for what the operator does not offer to this module.
    #[error("not offered here: {0}")]
    NotOffered(String),
    /// Loading panicked, or the engine shuts down.
    #[error("loading was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// Where the compiled code should come from, it does not come.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// There is none, and what it would be made of is lost: the module must be pushed again.
    #[error("what it is compiled from is lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is none, and what it is made of does not compile within this host's limits.
    #[error("{0}")]
    Uncompilable(String),
    /// There is none, and what it is made of cannot be read now: later it may.
    #[error("what it is compiled from cannot be read now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("read compiled code")]
    Io(#[from] std::io::Error),
    #[error("make compiled code")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn list(imports: &[UnknownImport]) -> String {
    imports
        .iter()
        .map(|import| format!("`{}` ({})", import.name, import.hint))
        .collect::<Vec<_>>()
        .join(", ")
}
