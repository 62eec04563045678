//! What the host asks of workers, and what it makes of how they end.

use std::{
    fs::File,
    io::{self, Read, Seek as _},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use roadstead_domain::{ByteSize, Digest, Span};
use rustix::fs::MemfdFlags;

use crate::{
    CompileConfig, CompileLimit, Probed, Unserved, Upload, WorkerError,
    order::{Order, Task, status},
    supervise::{self, End, Tether, leash},
};

/// The most that is read of what a worker says.
const SAID: u64 = 16 << 10;
/// The most that is read of what a check found.
const FOUND: u64 = 16 << 20;

/// How much longer on the clock than on the processor a worker may take.
const PATIENCE: u32 = 5;
/// What a worker that checks has at least.
const CHECKING_MEMORY: ByteSize = ByteSize::mib(256);

/// Of each thread that checks: less than the host's threads have, on which the same is done again.
const CHECKING_STACK: ByteSize = ByteSize::mib(1);
const COMPILING_STACK: ByteSize = ByteSize::mib(4);

/// Starts workers; each call runs one and blocks to its end.
#[derive(Debug)]
pub struct Workers {
    config: CompileConfig,
    guest_stack: ByteSize,
    counters: Counters,
}

/// How many tasks there were since the start, by how they ended, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerCounts {
    pub running: u64,
    pub done: u64,
    /// The component was at fault.
    pub refused: u64,
    /// A limit of [`CompileConfig`] was reached.
    pub limits: u64,
    /// It crashed, was given up, or could not be run.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    running: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
    limits: AtomicU64,
    failed: AtomicU64,
}

impl Workers {
    /// Workers for an engine whose guests have this stack.
    pub fn new(config: CompileConfig, guest_stack: ByteSize) -> Self {
        Self { config, guest_stack, counters: Counters::default() }
    }

    pub fn counts(&self) -> WorkerCounts {
        let Counters { running, done, refused, limits, failed } = &self.counters;
        let [running, done, refused, limits, failed] =
            [running, done, refused, limits, failed].map(|count| count.load(Ordering::Relaxed));
        WorkerCounts { running, done, refused, limits, failed }
    }

    /// Starts one that tries to break out, and says what it found.
    ///
    /// # Errors
    /// [`WorkerError::Host`] if no worker can be started here.
    pub fn probe(&self) -> Result<Probed, WorkerError> {
        let (_leash, tether) = leash();
        let output = memory_file()?;
        self.run(Task::Probe, &[], &output, tether)?;
        let said = said(&output).map_err(WorkerError::Host)?;
        serde_json::from_str(&said).map_err(|error| WorkerError::Host(error.into()))
    }

    /// Does to an upload all that the host does before it compiles it, and stops where the host
    /// would refuse it. What comes back well may be done again by the host. Says which methods the
    /// compiled codec would not serve, and why.
    ///
    /// # Errors
    /// [`WorkerError`], but for `Refused`.
    pub fn check(
        &self,
        upload: &Upload,
        bytes: &[u8],
        tether: Tether,
    ) -> Result<Unserved, WorkerError> {
        let header = upload.header().map_err(|error| WorkerError::Host(error.into()))?;
        let output = memory_file()?;
        self.run(Task::Check, &[&header, bytes], &output, tether)?;
        let found = read_to(&output, FOUND).map_err(WorkerError::Host)?;
        serde_json::from_slice(&found).map_err(|error| WorkerError::Host(error.into()))
    }

    /// Writes a component's code to an empty file: with the compiled codec of its methods if it is
    /// said which those are.
    ///
    /// # Errors
    /// [`WorkerError`]; what the file holds is of no use then.
    pub fn compile(
        &self,
        component: &[u8],
        codec: Option<&Upload>,
        code: &File,
        tether: Tether,
    ) -> Result<(), WorkerError> {
        let Some(upload) = codec else {
            return self.run(Task::Compile, &[component], code, tether).map(drop);
        };
        let header = upload.header().map_err(|error| WorkerError::Host(error.into()))?;
        let remark = self.run(Task::CompileWithCodec, &[&header, component], code, tether)?;
        if !remark.is_empty() {
            tracing::error!(component = %Digest::of(component), remark,
                "a component is compiled without its codec");
        }
        Ok(())
    }

    /// Gives what the worker said beside its result.
    fn run(
        &self,
        task: Task,
        input: &[&[u8]],
        output: &File,
        tether: Tether,
    ) -> Result<String, WorkerError> {
        self.counters.running.fetch_add(1, Ordering::Relaxed);
        let ended = self.run_one(task, input, output, tether);
        self.counters.running.fetch_sub(1, Ordering::Relaxed);
        let count = match &ended {
            Ok(_) => &self.counters.done,
            Err(WorkerError::Refused(_)) => &self.counters.refused,
            Err(WorkerError::Limit(_)) => &self.counters.limits,
            Err(_) => &self.counters.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        ended
    }

    fn run_one(
        &self,
        task: Task,
        input: &[&[u8]],
        output: &File,
        tether: Tether,
    ) -> Result<String, WorkerError> {
        let bytes = input.iter().map(|part| part.len()).sum::<usize>();
        let order = self.order(task, ByteSize(u64::try_from(bytes).unwrap_or(u64::MAX)));
        let errors = memory_file()?;
        let arguments = order.arguments().map_err(|error| WorkerError::Host(error.into()))?;
        let limit = Duration::from_secs(order.seconds).saturating_mul(PATIENCE);
        let end = supervise::run(arguments, input, output, &errors, limit, tether)
            .map_err(WorkerError::Host)?;
        let status = match end {
            End::Itself(status) => status,
            End::OutOfTime => return Err(self.limit(task, "time").into()),
            End::Abandoned => return Err(WorkerError::Abandoned),
        };
        self.outcome(task, status, output, &errors)
    }

    fn order(&self, task: Task, input: ByteSize) -> Order {
        let (threads, thread_stack) = match task {
            Task::Check | Task::Probe => (1, CHECKING_STACK),
            Task::Compile | Task::CompileWithCodec => (self.config.threads.max(1), COMPILING_STACK),
        };
        Order {
            task,
            host: std::process::id(),
            input,
            memory: self.memory(task),
            seconds: self.seconds(task),
            output: self.config.code,
            threads,
            thread_stack,
            guest_stack: self.guest_stack,
        }
    }

    fn memory(&self, task: Task) -> ByteSize {
        let whole = self.config.memory;
        match task {
            Task::Compile | Task::CompileWithCodec => whole,
            Task::Check | Task::Probe => ByteSize(whole.0 / 4).max(whole.min(CHECKING_MEMORY)),
        }
    }

    fn seconds(&self, task: Task) -> u64 {
        let whole = whole_seconds(self.config.time);
        match task {
            Task::Compile | Task::CompileWithCodec => whole,
            Task::Check | Task::Probe => whole.div_ceil(4),
        }
    }

    fn outcome(
        &self,
        task: Task,
        status: ExitStatus,
        output: &File,
        errors: &File,
    ) -> Result<String, WorkerError> {
        let code = status.code().map(u8::try_from);
        let complaint = || said(errors).unwrap_or_else(|error| error.to_string());
        match (code, status.signal()) {
            (Some(Ok(0)), _) => Ok(complaint()),
            (Some(Ok(status::REFUSED)), _) => {
                Err(WorkerError::Refused(said(output).map_err(WorkerError::Host)?))
            }
            (Some(Ok(status::FULL)), _) => Err(WorkerError::Full),
            (Some(Ok(status::FAILED)), _) => Err(WorkerError::Host(io::Error::other(complaint()))),
            (_, Some(libc::SIGXCPU)) => Err(self.limit(task, "time").into()),
            (_, Some(libc::SIGXFSZ)) => Err(self.limit(task, "compiled code").into()),
            (_, Some(libc::SIGABRT)) if is_out_of_memory(&complaint()) => {
                Err(self.limit(task, "memory").into())
            }
            _ => {
                let how = how(status, &complaint());
                tracing::warn!(%status, said = complaint(), "a compile worker crashed");
                Err(WorkerError::Crashed { doing: doing(task), how })
            }
        }
    }

    fn limit(&self, task: Task, what: &'static str) -> CompileLimit {
        let (setting, allowed) = match what {
            "memory" => ("compile.memory", self.memory(task).to_string()),
            "time" => ("compile.time", Span::secs(self.seconds(task)).to_string()),
            _ => ("compile.code", self.config.code.to_string()),
        };
        CompileLimit { doing: doing(task), what, setting, allowed }
    }
}

fn doing(task: Task) -> &'static str {
    match task {
        Task::Check => "checking",
        Task::Compile | Task::CompileWithCodec => "compiling",
        Task::Probe => "starting",
    }
}

fn whole_seconds(time: Span) -> u64 {
    let time: Duration = time.duration();
    time.as_secs() + u64::from(time.subsec_nanos() != 0)
}

fn memory_file() -> Result<File, WorkerError> {
    rustix::fs::memfd_create("compile-worker", MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|error| WorkerError::Host(error.into()))
}

/// What was written to a file, as text.
fn said(file: &File) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read_to(file, SAID)?).into_owned())
}

fn read_to(mut file: &File, most: u64) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What Rust says before it aborts for want of memory.
fn is_out_of_memory(complaint: &str) -> bool {
    complaint.contains("memory allocation of ")
}

fn how(status: ExitStatus, complaint: &str) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(status::PANICKED) => "it panicked".to_owned(),
        (_, Some(libc::SIGABRT)) if complaint.contains("overflowed its stack") => {
            "something in it is nested too deeply".to_owned()
        }
        (_, Some(libc::SIGKILL)) => {
            "it was killed from outside, perhaps because the machine's memory was used up"
                .to_owned()
        }
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => format!("exit status {code}"),
        (None, None) => "for no known reason".to_owned(),
    }
}
