//! Real components against the real linker: what is allowed works, what is not is refused.

mod files;
pub(crate) mod harness;
mod interfaces;
mod network;
mod probe;
mod quotas;
pub(crate) mod servers;
