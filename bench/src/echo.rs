//! The function that is measured: `demo:echo/echo@0.1.0#bytes`, as its protobuf messages.

use bytes::Bytes;

/// Where the method answers, at the host and at the native peer alike.
pub(crate) const METHOD: &str = "/demo.echo.echo.v0_1.Echo/Bytes";

/// The service's full name.
pub(crate) const SERVICE: &str = "demo.echo.echo.v0_1.Echo";

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BytesRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BytesResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub value: Bytes,
}

/// A small message, the same for everyone.
pub(crate) fn request() -> BytesRequest {
    BytesRequest { data: Bytes::from_static(b"sixteen bytes ok") }
}
