//! One call: what goes in, what comes out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use roadstead_domain::{CallId, Fault, InstanceOrigin};
use roadstead_transcode::MethodPlan;

/// A call of one method. The request is the protobuf message.
#[derive(Debug, Clone)]
pub struct Call {
    pub id: CallId,
    pub method: Arc<MethodPlan>,
    pub request: Bytes,
    /// What the caller allows, from now on; the module's own ceiling counts if it is shorter.
    pub timeout: Option<Duration>,
    /// The caller's identity, where there is one.
    pub owner: Option<Arc<str>>,
}

/// How a call ended, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The protobuf message of the response.
    pub result: Result<Bytes, Fault>,
    pub usage: Usage,
}

/// What a call took. After a deadline these are the figures of the last look at the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub fuel: u64,
    /// Memories and tables of the instance, at their largest.
    pub peak_memory: u64,
    /// None if the call never got an instance.
    pub instance: Option<InstanceOrigin>,
}
