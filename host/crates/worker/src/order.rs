//! What the host tells a worker, and what a worker says of itself.

use std::ffi::{OsStr, OsString};

use roadstead_domain::ByteSize;
use serde::{Deserialize, Serialize};

/// The verb of workers, which no help mentions.
pub(crate) const VERB: &str = "compile-worker";

/// Exit statuses besides 0. A panic is 101, as everywhere.
pub(crate) mod status {
    /// Standard output says why the component cannot be compiled.
    pub(crate) const REFUSED: u8 = 65;
    /// Standard error says why the worker could not begin.
    pub(crate) const FAILED: u8 = 70;
    /// No room for the result.
    pub(crate) const FULL: u8 = 73;
    pub(crate) const PANICKED: u8 = 101;
}

/// All that a worker knows before it is confined. Trusted: it comes from the host alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) task: Task,
    /// The process whose end is the worker's end.
    pub(crate) host: u32,
    /// Bytes on standard input.
    pub(crate) input: ByteSize,
    pub(crate) memory: ByteSize,
    /// Of processor time.
    pub(crate) seconds: u64,
    /// Bytes of any file that it writes to.
    pub(crate) output: ByteSize,
    pub(crate) threads: usize,
    /// Of each thread.
    pub(crate) thread_stack: ByteSize,
    /// On which compiled code depends.
    pub(crate) guest_stack: ByteSize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Do what the host will do with an upload, and say on standard output which of its methods
    /// the compiled codec does not serve.
    Check,
    /// Standard input is a component, standard output its code.
    Compile,
    /// The same, with the codec of its methods. Standard error says why it goes without.
    CompileWithCodec,
    /// Say how confined a worker is here.
    Probe,
}

impl Order {
    pub(crate) fn arguments(&self) -> Result<[OsString; 2], serde_json::Error> {
        Ok([VERB.into(), serde_json::to_string(self)?.into()])
    }

    pub(crate) fn parse(argument: &OsStr) -> Option<Self> {
        serde_json::from_str(argument.to_str()?).ok()
    }
}

/// How far one of the kernel's means holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    Full,
    /// An older kernel: less than was asked for.
    Partial,
    Off,
}

/// What a worker on this machine is confined by, as found by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Of the code that it makes.
    pub fingerprint: String,
    pub landlock: Layer,
    pub seccomp: Layer,
    pub denied: Denied,
}

/// What a confined worker tried: the error of the kernel, or none where it was let.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Opening a file under landlock alone.
    pub open_under_landlock: Option<i32>,
    pub open: Option<i32>,
    pub socket: Option<i32>,
    /// Starting a thread, and so a process.
    pub thread: Option<i32>,
    pub program: Option<i32>,
    /// Signalling the host.
    pub signal: Option<i32>,
}

impl Probed {
    /// Whether nothing that was tried succeeded.
    pub fn is_confined(&self) -> bool {
        let Denied { open_under_landlock: _, open, socket, thread, program, signal } = self.denied;
        [open, socket, thread, program, signal].iter().all(Option::is_some)
    }
}
