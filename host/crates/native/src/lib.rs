//! Runs native modules as processes of the host's machine, or calls those that a cluster runs as
//! pods ([`Pods`]). A process is a gRPC server of its own, confined
//! as far as the kernel allows, watched, begun again and ended, and called by a proxy that adds
//! nothing but who calls.
//!
//! What should run is planned by `roadstead-native-plan`; here it is observed and done. What holds:
//! a server that does not keep its module's wire contract gets no call; no server outlives its host
//! for longer than until the next one starts; what a server says or does is never passed on as it
//! is, but messages.

mod cgroup;
mod config;
mod contract;
mod deletion;
mod environment;
mod grpc;
mod helper;
mod link;
mod mannered;
mod memory;
mod messages;
mod module;
mod place;
mod pods;
mod process;
mod processes;
mod records;
mod reflection;
mod remote;
mod removal;
mod seen;
mod server;
mod sign;
mod socket;
mod spawner;
mod statuses;
mod supervisor;
mod version;
mod watch;
mod watchdog;

pub use config::ProcessesConfig;
pub use contract::{ContractMismatch, compare};
pub use helper::{Layers, entry};
pub use pods::{Pods, PodsConfig};
pub use processes::{OpenError, Processes};

/// Makes a test's executable its own helper, as the host's is: the line runs before its `main`.
#[macro_export]
macro_rules! helper_in_tests {
    () => {
        #[expect(unsafe_code, reason = "a function that runs before main")]
        #[used]
        #[unsafe(link_section = ".init_array")]
        static HELPER: extern "C" fn() = {
            #[expect(clippy::exit, reason = "a helper is no test")]
            extern "C" fn helper() {
                if let Some(status) = $crate::entry() {
                    ::std::process::exit(status.into());
                }
            }
            helper
        };
    };
}
