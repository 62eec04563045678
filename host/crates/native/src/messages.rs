//! The messages of gRPC's own services and statuses that a host reads and writes.

use prost::{Message, Oneof};

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Health {
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

pub(crate) const SERVING: i32 = 1;

/// `grpc.reflection.v1.ServerReflectionRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReflectionRequest {
    #[prost(oneof = "Asked", tags = "3, 4")]
    pub(crate) asked: Option<Asked>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Asked {
    #[prost(string, tag = "3")]
    FileByFilename(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
}

/// `grpc.reflection.v1.ServerReflectionResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReflectionResponse {
    #[prost(message, optional, tag = "4")]
    pub(crate) files: Option<ReflectionFiles>,
    #[prost(message, optional, tag = "7")]
    pub(crate) error: Option<ReflectionError>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReflectionFiles {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) files: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReflectionError {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) violations: Vec<Violation>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Violation {
    #[prost(string, tag = "1")]
    pub(crate) field: String,
    #[prost(string, tag = "2")]
    pub(crate) description: String,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) delay: Option<prost_types::Duration>,
}

/// `google.rpc.ErrorInfo`, but for its facts.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
}

impl RpcStatus {
    /// The first of its details that is of a type.
    pub(crate) fn find<M: Message + Default>(&self, name: &str) -> Option<M> {
        let named = |any: &&prost_types::Any| any.type_url.rsplit('/').next() == Some(name);
        M::decode(self.details.iter().find(named)?.value.as_slice()).ok()
    }
}
