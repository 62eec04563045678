//! The host's side of its fleet: one stream to the cluster's controller, for as long as the host
//! lives.
//!
//! The host tells which versions it serves, how their calls end and how busy it is; the controller
//! tells how calls are shared between versions.
//!
//! Guarantees:
//! * Nothing waits for the controller. Without it the host serves on by what it was told last, and
//!   tries again for ever, not in step with other hosts.
//! * Host and controller show each other certificates; there is no way around that.
//! * Of two splits of a module the one of the higher revision holds, whoever told it.
//! * What a controller may send is bounded, and what of it makes no sense changes nothing.

mod backoff;
mod client;
mod instructions;
mod observe;
mod report;
mod session;

pub use client::{ControllerFiles, Fleet, FleetConfig, Hello};
pub use observe::{Judgement, Load, Observed};
