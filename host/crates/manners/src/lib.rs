//! What the frames of an HTTP/2 connection say about its peer.
//!
//! The HTTP library bounds what costs memory. Some frames cost only time, and nothing there bounds
//! their number: pings, settings, priorities, window updates of a byte, streams that are reset as
//! soon as they are opened. Each is cheap to send and makes the host work. Here they are counted
//! against a credit that comes back with time and with the connection's work, so that a peer with
//! work to do never meets the bound; whoever uses the credit up is a [`Flood`].
//!
//! [`Client`] is for connections that the host serves, [`Server`] for those over which it asks.
//! Frames are read from the bytes of both directions as they pass; nothing is held, and nothing is
//! changed but what [`Client::received`] says.

mod client;
mod credit;
mod frames;
mod server;

pub use client::{Client, goaway};
pub use credit::Flood;
pub use frames::PREFACE;
pub use server::Server;
