//! Finding workers among the machine's processes.

use std::{
    fs,
    process::{Child, Command},
    time::{Duration, Instant},
};

use rustix::process::Pid;

use crate::PATIENCE;

/// This very executable, running one test.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command
}

/// Kills when it goes out of scope, so that a failing test leaves no process.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

/// Waits for the worker that a host started with this many seconds to work.
pub(crate) fn worker_of(host: u32, seconds: u64) -> Pid {
    let (host, seconds) = (format!("\"host\":{host},"), format!("\"seconds\":{seconds},"));
    let started = Instant::now();
    loop {
        for entry in fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            let Ok(arguments) = fs::read_to_string(path.join("cmdline")) else { continue };
            if arguments.contains(&host) && arguments.contains(&seconds) {
                let pid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                return Pid::from_raw(pid).unwrap();
            }
        }
        assert!(started.elapsed() < PATIENCE, "no worker");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is no more, or dead and waiting for its parent.
pub(crate) fn gone(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = stat.ok().and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('Z')));
    state.unwrap_or(true)
}
