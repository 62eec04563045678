//! The host's front door: gRPC, JSON and reflection for every published module, on one port.
//!
//! It owns its accept loop, so that deadlines, limits and the end of service are answered in the
//! contract's words. What tonic generated serves the host's own services alone; a module's method
//! is a frame of bytes in and one out.
//!
//! Guarantees: the length of a message is looked at before it is taken in; whoever goes away has
//! its call cancelled; text of the host's own failures stays in the log; a panic ends one request.

mod app;
mod body;
mod budget;
mod builtin;
mod config;
mod connect;
mod connection;
mod cors;
mod counters;
mod frame;
mod grpc;
mod gzip;
mod health;
mod hurry;
mod json;
mod modules;
mod offload;
mod receive;
mod reflection;
mod route;
mod server;
mod status;
mod steps;
mod timeout;
mod tls;

pub use config::{AllowedOrigins, GatewayConfig, Tls};
pub use counters::{Counted, Counters};
pub use server::{BindError, Drained, Gateway};
pub use status::{ERROR_DOMAIN, from_fault};
pub use tls::TlsError;
