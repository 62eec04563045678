//! Starts a worker, feeds it, and ends it when its time is over or nobody waits for it any more.
//! When this returns, the process is gone and reaped.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

/// Held by whoever waits for a worker; the worker is killed when it is dropped.
#[derive(Debug)]
pub struct Leash(Sender<Event>);

/// The worker's end of a [`Leash`], for one worker.
#[derive(Debug)]
pub struct Tether {
    events: Receiver<Event>,
    tell: Sender<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Ended,
    Abandoned,
}

pub fn leash() -> (Leash, Tether) {
    let (tell, events) = channel();
    (Leash(tell.clone()), Tether { events, tell })
}

impl Drop for Leash {
    fn drop(&mut self) {
        // A worker that has ended hears nothing.
        let _heard = self.0.send(Event::Abandoned).is_ok();
    }
}

/// How a worker came to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Itself(ExitStatus),
    OutOfTime,
    Abandoned,
}

/// Runs this process's own executable, which is the same program even if its file was replaced.
/// Blocks to the end: the kernel ends a worker with the *thread* that started it.
pub(crate) fn run(
    arguments: [OsString; 2],
    input: &[&[u8]],
    output: &File,
    errors: &File,
    limit: Duration,
    tether: Tether,
) -> io::Result<End> {
    use std::os::unix::process::CommandExt as _;
    let mut child = Command::new("/proc/self/exe")
        .args(arguments)
        .env_clear()
        // Memory is taken in small parts, so that its limit is met where it is used up.
        .env("MIMALLOC_ARENA_RESERVE", "64MiB")
        .current_dir("/")
        // An interrupt from the terminal is for the host, which drains.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(output.try_clone()?)
        .stderr(errors.try_clone()?)
        .spawn()?;
    let supervised = supervise(&mut child, input, limit, tether);
    if supervised.is_err() {
        // Killed before it is reaped: the number is still its own.
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(supervised?.unwrap_or(End::Itself(status)))
}

/// Why the worker was killed, if it was.
fn supervise(
    child: &mut Child,
    input: &[&[u8]],
    limit: Duration,
    tether: Tether,
) -> io::Result<Option<End>> {
    let Tether { events, tell } = tether;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        let feeding = move || {
            feed(stdin, input);
            // Its end is seen and not yet reaped, so that a kill never meets another process.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
            let _heard = tell.send(Event::Ended).is_ok();
        };
        thread::Builder::new().name("compile worker".to_owned()).spawn_scoped(scope, feeding)?;
        let end = match events.recv_timeout(limit) {
            Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => None,
            Ok(Event::Abandoned) => Some(End::Abandoned),
            Err(RecvTimeoutError::Timeout) => Some(End::OutOfTime),
        };
        if end.is_some() {
            child.kill()?;
        }
        Ok(end)
    })
}

fn feed(stdin: Option<ChildStdin>, input: &[&[u8]]) {
    let Some(mut stdin) = stdin else { return };
    for part in input {
        // One that ended says why by how it ended.
        if stdin.write_all(part).is_err() {
            return;
        }
    }
}
