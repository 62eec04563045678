//! The sandbox: compiles components, holds their code, and runs calls under every limit of a spec.
//!
//! This is the only crate that names wasmtime's runtime. Guests run on threads of their own, so a
//! guest that spins never keeps the gateway from answering; an instance never serves two owners
//! and never survives a trap. Guest-controlled input cannot panic the host: a panic inside a call
//! ends that call with a host fault and nothing else.

mod admission;
mod binding;
mod breaker;
mod call;
mod capability;
mod code;
mod code_cache;
mod compiler;
mod config;
mod engine;
mod error;
mod gate;
mod idle;
mod inspect;
mod instance;
mod instances;
mod limiter;
mod logs;
mod module;
mod overload;
mod panics;
mod parts;
mod remote;
mod room;
mod scheduler;
mod session;
mod spares;
mod standing;
mod stats;
mod store;
mod stream;
mod timing;
mod trap;
mod weight;

pub use binding::{Bindings, CallPath, CountsOutcomes, Target};
pub use breaker::{BreakerConfig, BreakerState};
pub use call::{Call, Outcome, Usage};
pub use capability::{
    NativeSecrets, Offer, OfferKind, OfferedDirectory, OfferedNetwork, OfferedSecret, Offers,
};
pub use code::{CodeSource, CodeState, VerifiedCode};
pub use compiler::Compiler;
pub use config::{EngineConfig, machine_memory};
pub use engine::Engine;
pub use error::{
    BadBinding, CodeError, CompileError, EngineError, InspectError, LoadError, UnknownImport,
};
pub use inspect::inspect;
pub use logs::{
    LogEvent, LogFollower, LogLine, LogStore, ServerLog, ServerOutput, Source as LogSource,
};
pub use module::{ImportGrant, Module};
pub use panics::panics_caught;
pub use parts::NamespaceShare;
pub use remote::{
    AnswerHold, AnswerRoom, Attempt, Broken, Contract, Isolation, Left, NativeStanding,
    NativeState, Natives, Remote, RemoteCall, RemoteRequests, RemoteResponses, RequestStream,
};
pub use scheduler::CpuUsage;
pub use session::{SessionKey, SessionPlace};
pub use stats::Stats;
pub use stream::{NotRead, Requests, Response, Responses};
pub use timing::Run;
