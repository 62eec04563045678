//! What the fuzzers call: functions of any bytes that return, whatever the bytes are.
//!
//! A panic, a hang or an abort is a finding. libFuzzer drives them (`libfuzzer/`, `scripts/fuzz.sh`),
//! and a plain test replays the kept inputs (`corpus/`) without it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a finding shows"
)]

mod codec;
mod compiled;
mod component;
mod make;
#[cfg(feature = "push")]
mod push;

#[allow(dead_code, reason = "the compiled codec's tests use the rest")]
#[path = "../../../host/crates/codec/tests/codec/guest.rs"]
mod guest;
// The codec's tests have a second, slower reading of the same contract.
#[allow(dead_code, unreachable_pub, reason = "the codec's tests use the rest")]
#[path = "../../../host/crates/transcode/tests/codec/reference.rs"]
mod reference;
#[allow(dead_code, reason = "the codec's tests use the rest")]
#[path = "../../../host/crates/transcode/tests/codec/soup.rs"]
mod soup;
#[allow(dead_code, reason = "the codec's tests use the rest")]
#[path = "../../../host/crates/transcode/tests/codec/types.rs"]
mod types;

pub use codec::codec;
pub use compiled::compiled;
pub use component::component;
#[cfg(feature = "push")]
pub use push::push;
/// For every program that calls [`push()`].
#[cfg(feature = "push")]
pub use roadstead_worker::worker_in_tests;

/// Leaves panics that are caught to whoever catches them, as in a host: libFuzzer's hook ends the
/// process at every one. Those that nobody catches end it all the same.
fn as_in_a_host() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| drop(std::panic::take_hook()));
}
