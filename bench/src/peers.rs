//! What the host is measured beside: the same functions in other runtimes, and other clients.

pub(crate) mod fastapi;
pub(crate) mod grpcio;
pub(crate) mod native;
mod native_flow;
pub(crate) mod native_module;
pub(crate) mod python;
pub(crate) mod wasm;
pub(crate) mod worker;
