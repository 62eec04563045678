//! Holds servers to their memory and processes where the kernel does not end what has more: looks
//! at all of them again and again, from a thread of its own that what they do does not hold up.

use std::{io, sync::Arc, thread, time::Duration};

use crate::{
    cgroup::{Cgroup, HELPERS},
    memory,
    module::Module,
    process::Process,
    seen::{self, Seen},
    server::Server,
};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(100);
/// Before everything of the usual priority, where this user may have it.
const PRIORITY: i32 = -10;

/// Looks at the servers of all modules that are told, until there are none to be told of.
pub(crate) fn watch(
    modules: impl Fn() -> Option<Vec<Arc<Module>>> + Send + 'static,
) -> io::Result<()> {
    let watch = move || {
        // Of this thread alone.
        rustix::process::setpriority_process(None, PRIORITY).ok();
        while let Some(modules) = modules() {
            modules.iter().flat_map(|module| module.servers()).for_each(|server| look(&server));
            drop(modules);
            thread::sleep(EVERY);
        }
    };
    thread::Builder::new().name("native watchdog".to_owned()).spawn(watch).map(drop)
}

fn look(server: &Server) {
    let Some(process) = server.process() else { return };
    let resources = &server.version.native.resources;
    let group = process.cgroup.as_ref();
    let most = resources.memory.0;
    let threads = group.and_then(Cgroup::threads).map(|all| all.saturating_sub(HELPERS));
    let bounded = group.is_some_and(Cgroup::bounds_memory);
    let own = if threads.is_some() && bounded { Vec::new() } else { own(&process) };
    let threads = threads.unwrap_or_else(|| own.iter().map(|one| one.threads).sum());
    let over = if threads > u64::from(resources.pids) {
        format!("{threads} processes and threads, more than native.resources.pids")
    } else if group.is_some_and(Cgroup::ran_out_of_memory) {
        "more memory than native.resources.memory".to_owned()
    } else {
        match if bounded { 0 } else { memory::used(&own, most) } {
            used if used > most => {
                format!("{used} bytes of memory, more than native.resources.memory")
            }
            _ => return,
        }
    };
    process.kill(Some(format!("it used {over}")));
}

/// What there is of a server, without the two helpers.
fn own(process: &Process) -> Vec<Seen> {
    let helper = process.started.pid;
    let group = process.cgroup.as_ref().and_then(Cgroup::processes);
    let all = match group {
        Some(pids) => pids.into_iter().filter_map(Seen::of).collect(),
        None => seen::tree(&seen::all(), helper),
    };
    all.into_iter().filter(|one| one.pid != helper && one.parent != helper).collect()
}
