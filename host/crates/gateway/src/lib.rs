//! The host's front door: gRPC, JSON and reflection for every published module, on one port.
//!
//! It owns its accept loop, so that deadlines, limits and the end of service are answered in the
//! contract's words. What tonic generated serves the host's own services alone; a module's method
//! is a frame of bytes in and one out.
//!
//! Guarantees: the length of a message is looked at before it is taken in; whoever goes away has
//! its call cancelled; text of the host's own failures stays in the log; a panic ends one request.
//!
//! All connections of one address hold half of the message budget and of the open requests at
//! most. A connection holds a quarter of the message budget, and beyond it the first KiB of each
//! message, for as many streams as it may have; 128 requests to the host's own services; and a
//! quarter of the uploads. Frames that ask for nothing end it once they are many. What it leaves half-sent or unread is given up after the receive and
//! write timeouts.

mod age;
mod app;
mod batched;
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
mod linger;
mod metrics;
mod modules;
mod offload;
mod origin;
mod peers;
mod pool;
mod receive;
mod reflection;
mod route;
mod server;
mod session;
mod stall;
mod status;
mod steps;
mod timeout;
mod tls;
mod trace;
mod traces;
mod upload;

pub use config::{AllowedOrigins, Controller, GatewayConfig, Tls};
pub use counters::{Counted, Counters, Ended, Forwarded, Refused};
pub use metrics::Monitor;
pub use origin::AllowedHosts;
pub use pool::{Hosts, PoolConfig, PoolKey, PoolTls};
pub use roadstead_metrics_port::{MetricsBindError, MetricsListener, Monitored};
pub use server::{BindError, Drained, Gateway};
pub use status::{ERROR_DOMAIN, from_fault};
pub use tls::TlsError;
pub use traces::{TracesConfig, TracesError};
