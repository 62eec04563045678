//! Server processes: started, asked for their memory and time, and ended with their owner.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Deref,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::time::{ClockId, clock_gettime};
use tonic::transport::{Channel, Endpoint};

/// How long a program that says nothing may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that serves, wherever its owner is.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    id: u32,
    url: String,
}

impl Process {
    /// A connection of its own.
    pub(crate) async fn connect(&self) -> anyhow::Result<Channel> {
        Endpoint::from_shared(self.url.clone())?
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .connect()
            .await
            .with_context(|| format!("connect to {}", self.url))
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .context("VmRSS of the child")?;
        Ok(kib * 1024)
    }

    /// Processor time that the process has used, in the kernel's clock ticks of 10 ms.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        // The name in parentheses may hold anything; user and system time are the 12th and 13th
        // field after it.
        let fields = stat.rsplit_once(')').context("the child's times")?.1.split_whitespace();
        let ticks: Vec<u64> = fields.skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
        Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
    }
}

/// A process of ours; killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    at: Process,
}

impl Child {
    /// Starts a program and waits for its line `listening on ADDR`.
    pub(crate) fn start(program: &Path, args: &[OsString]) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .args(args)
            .env("ROADSTEAD_LOG", "error")
            // A developer's setting, under which every dropped store captures a backtrace.
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = process.stdout.take().context("the child's stdout")?;
        for line in BufReader::new(stdout).lines() {
            if let Some((_, address)) = line?.split_once("listening on ") {
                let address = address.trim().trim_start_matches("http://");
                let at = Process { id: process.id(), url: format!("http://{address}") };
                return Ok(Self { process, at });
            }
        }
        bail!("{} ended before it listened: {}", program.display(), process.wait()?)
    }

    /// Starts a program that is told by a variable where to listen and does not say that it does.
    pub(crate) fn start_quiet(
        program: &Path,
        args: &[OsString],
        variable: &str,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let process = Command::new(program)
            .args(args)
            .env(variable, address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let at = Process { id: process.id(), url: format!("http://{address}") };
        let mut child = Self { process, at };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.process.try_wait()? {
                bail!("{} ended before it listened: {status}", program.display());
            }
            if PATIENCE < began.elapsed() {
                bail!("{} does not listen", program.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(child)
    }
}

impl Deref for Child {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.at
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only where the process is gone already, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An address of this machine that nobody uses now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Processor time that this process has used.
pub(crate) fn own_processor_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

/// Processor time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
