//! Processes that take hostile components apart, so that the host need not: checking and compiling
//! an upload can cost any time and memory, and a decoder may have a hole.
//!
//! A worker is the host's own executable under a verb of its own: [`entry`] comes first in `main`.
//! Before it reads a byte of an upload it can open no file, no socket and no process, and its
//! memory and time are limited; where a kernel lacks one of the means the others hold, and
//! [`Workers::probe`] says which. It does one task and ends. It dies with the host, and with
//! whoever waits for it.

mod child;
mod config;
mod confine;
mod error;
mod filter;
mod order;
mod supervise;
mod task;
mod workers;

pub use child::entry;
pub use config::CompileConfig;
pub use error::{CompileLimit, WorkerError};
pub use order::{Denied, Layer, Probed};
pub use supervise::{Leash, Tether, leash};
pub use task::{Unserved, Upload};
pub use workers::{WorkerCounts, Workers};

/// Makes a test's executable its own worker, as the host's is: the line runs before its `main`.
#[macro_export]
macro_rules! worker_in_tests {
    () => {
        #[expect(unsafe_code, reason = "a function that runs before main")]
        #[used]
        #[unsafe(link_section = ".init_array")]
        static WORKER: extern "C" fn() = {
            #[expect(clippy::exit, reason = "a worker is no test")]
            extern "C" fn worker() {
                if let Some(status) = $crate::entry() {
                    ::std::process::exit(status.into());
                }
            }
            worker
        };
    };
}
