//! Holds servers to their memory and processes where no control group does: looks at all of them
//! again and again, and ends those that have more.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    module::Module,
    process::blocking,
    seen::{self, Seen},
    server::Server,
};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(250);

/// Looks at the servers of all modules that are told; runs for as long as the host.
pub(crate) async fn watch(modules: impl Fn() -> Vec<Arc<Module>>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let servers: Vec<_> = modules().iter().flat_map(|module| module.servers()).collect();
        if servers.is_empty() {
            continue;
        }
        // Nothing of it can fail but the runtime.
        blocking(move || {
            look(&servers);
            Ok(())
        })
        .await
        .ok();
    }
}

fn look(servers: &[Arc<Server>]) {
    let all = seen::all();
    for server in servers {
        let Some(process) = server.process() else { continue };
        let tree = seen::tree(&all, process.started.pid);
        let resources = &server.version.native.resources;
        // Its two helpers are not its own.
        let own: Vec<_> = tree.iter().skip(2).collect();
        let sum = |of: fn(&Seen) -> u64| own.iter().map(|one| of(one)).fold(0, u64::saturating_add);
        let threads = sum(|one| one.threads);
        let most = resources.memory.0;
        // Processes that share most of their memory seem to have more of it than they do.
        let memory = if sum(|one| one.resident) > most { sum(Seen::share) } else { 0 };
        let over = if threads > u64::from(resources.pids) {
            format!("{threads} processes and threads, more than native.resources.pids")
        } else if memory > most {
            format!("{memory} bytes of memory, more than native.resources.memory")
        } else {
            continue;
        };
        process.kill(Some(format!("it used {over}")));
    }
}
