//! Modules that are served outside of the sandbox: who answers their calls, and what passes between.
//!
//! Such a module is admitted, bounded in time, broken and counted like any other; only the part of
//! the guest is played by a [`Remote`].

mod answer;
mod passing;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use prost_types::FileDescriptorProto;
use roadstead_domain::{CallId, Fault, ModuleId, ModuleName, ModuleSpec, Namespace, Version};
use roadstead_transcode::MethodPlan;

pub use self::answer::{AnswerHold, AnswerRoom};
pub(crate) use self::passing::passing;
pub use self::passing::{Broken, Left, RemoteResponses, RequestStream};
use crate::{CallPath, CodeState, LoadError};

/// Serves the calls of one version of a module, wherever it runs. Messages are those of the derived
/// services, as they stand on the wire.
pub trait Remote: Send + Sync {
    /// Answers a call of a method without streams. Dropping the future cancels the call.
    fn call(&self, call: RemoteCall, request: Bytes) -> BoxFuture<'_, Result<Bytes, Fault>>;

    /// Serves a call of a method with streams until it ends. Dropping the future cancels the call.
    fn stream<'a>(
        &'a self,
        call: RemoteCall,
        requests: RemoteRequests,
        responses: RemoteResponses,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Whether it can be called: [`CodeState::Missing`] while it is made ready or lies idle.
    fn state(&self) -> CodeState;
}

/// What is said of a call to whoever serves it.
#[derive(Debug, Clone)]
pub struct RemoteCall {
    pub id: CallId,
    /// The version that is called.
    pub module: ModuleId,
    pub method: Arc<MethodPlan>,
    /// The answer comes by then or is not waited for.
    pub deadline: Instant,
    /// The caller's identity, where there is one.
    pub owner: Option<Arc<str>>,
    /// The modules that the call came through, outermost first.
    pub path: CallPath,
    /// As W3C's `traceparent` has it.
    pub traceparent: Option<Arc<str>>,
    /// What the answer takes while it arrives is to be charged there.
    pub room: AnswerRoom,
}

/// The caller's messages: of a method whose requests are no stream, the only one.
pub enum RemoteRequests {
    One(Bytes),
    Stream(RequestStream),
}

/// Runs native modules, wherever: as processes of this host, or as pods of a cluster.
pub trait Natives: Send + Sync {
    /// Whether a version could run here. It may never be published: nothing is kept of it.
    ///
    /// # Errors
    /// [`LoadError::NotOffered`] or [`LoadError::NeverFits`].
    fn accepts(&self, id: &ModuleId, spec: &ModuleSpec) -> Result<(), LoadError>;

    /// Who answers a version's calls; the one that was made last for an id counts. Nothing runs for
    /// that yet.
    ///
    /// # Errors
    /// Those of [`Natives::accepts`].
    fn remote(
        &self,
        id: &ModuleId,
        spec: &Arc<ModuleSpec>,
        contract: &Arc<Contract>,
    ) -> Result<Arc<dyn Remote>, LoadError>;

    /// Which native modules there are, once before any runs: what is kept of others is of deleted
    /// ones.
    fn begin(&self, modules: &[(Namespace, ModuleName)]);

    /// Which versions of a module are to run from now on.
    fn run(&self, namespace: &Namespace, name: &ModuleName, versions: &[Version]);

    /// A module is deleted: none of it runs, and its state is not that of the next one of its name.
    fn delete(&self, namespace: &Namespace, name: &ModuleName);

    /// A version was pushed again, as it is: what failed of it counts no more.
    fn again(&self, id: &ModuleId);

    /// How a version stands.
    fn standing(&self, id: &ModuleId) -> NativeStanding;
}

/// What a native version must serve, by the wire contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// The version's files, imported ones before those that import them; `google/protobuf/*` is
    /// not among them.
    pub files: Vec<FileDescriptorProto>,
    /// Full names of the services.
    pub services: Vec<String>,
}

/// How a native version stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeStanding {
    pub isolation: Isolation,
    /// How its servers are confined, or where they run, in words.
    pub confinement: String,
    pub state: NativeState,
    pub attempts: Vec<Attempt>,
}

/// What keeps a module from its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// A process of its own on the host's machine.
    Process,
    /// A container of its own.
    Container,
}

/// How the servers of a version stand together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NativeState {
    /// It is not to run: another version answers.
    Off,
    /// Nobody called it for so long that its servers ended; a call begins them.
    Idle,
    Starting,
    Ready,
    Draining,
    /// It ended or was not ready in time, and is tried again; why.
    BackingOff(String),
    /// It is not tried again by itself; why.
    Failed(String),
}

/// One server, or one that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub epoch: u64,
    pub state: NativeState,
}
