//! One server as a process of this machine: from its record to its last process's end.

use std::{io, process::Stdio, sync::Arc, time::Duration};

use parking_lot::Mutex;
use roadstead_engine::{LogSource, ServerOutput};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::{mpsc, watch},
};

use crate::{
    cgroup::Cgroup,
    helper::{GO, OUTER, TERM},
    records::{Record, Started},
    seen,
    spawner::Spawner,
};

/// Read of an output at once.
const CHUNK: usize = 64 << 10;
/// Between two full chunks: what floods its log is slowed down, not its host.
const BREATH: Duration = Duration::from_millis(1);
/// A server's processes.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) started: Started,
    pub(crate) cgroup: Option<Cgroup>,
    orders: mpsc::UnboundedSender<u8>,
    /// Why it was killed, where that is not its own doing.
    why: Arc<Mutex<Option<String>>>,
    ended: watch::Receiver<Option<String>>,
}

impl Process {
    /// Starts what a record says. What it tells of is durable before it runs.
    pub(crate) async fn start(
        spawner: &Spawner,
        record: Record,
        output: Arc<ServerOutput>,
    ) -> io::Result<Self> {
        let failed = record.clone();
        let started = Self::begin(spawner, record, output).await;
        if started.is_err() {
            // The helper, if it was started, waits for a word that does not come.
            blocking(move || failed.clear()).await.ok();
        }
        started
    }

    async fn begin(
        spawner: &Spawner,
        mut record: Record,
        output: Arc<ServerOutput>,
    ) -> io::Result<Self> {
        let record_of = record.clone();
        blocking(move || record_of.write()).await?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(OUTER)
            .arg(&record.order.file)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = spawner.spawn(command).await?;
        let gone = || io::Error::other("the helper ended at once");
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(gone)?;
        let started = Started { pid, started: seen::Seen::of(pid).ok_or_else(gone)?.started };
        record.process = Some(started);
        let record_of = record.clone();
        blocking(move || record_of.write()).await?;
        let mut stdin = child.stdin.take().ok_or_else(gone)?;
        stdin.write_all(&[GO]).await?;
        let (orders, mut queue) = mpsc::unbounded_channel();
        let cgroup = record.order.cgroup.clone().map(|path| Cgroup { path });
        let why = Arc::new(Mutex::new(None));
        let (tell, ended) = watch::channel(None);
        let ending = Ending { record, cgroup: cgroup.clone(), why: Arc::clone(&why), output };
        tokio::spawn(async move {
            let orders = async {
                while let Some(order) = queue.recv().await {
                    // One that ended needs no orders.
                    if stdin.write_all(&[order]).await.is_err() {
                        break;
                    }
                }
                std::future::pending::<()>().await;
            };
            let how = tokio::select! {
                how = ending.run(child) => how,
                () = orders => String::new(),
            };
            tell.send_replace(Some(how));
        });
        Ok(Self { started, cgroup, orders, why, ended })
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        // One that ended needs no orders.
        self.orders.send(TERM).ok();
    }

    /// Ends all of it now. Why is said of its end, where that was not said before.
    pub(crate) fn kill(&self, why: Option<String>) {
        if let Some(why) = why {
            self.why.lock().get_or_insert(why);
        }
        if self.cgroup.as_ref().is_some_and(|group| group.kill().is_ok()) {
            return;
        }
        if let Some(helper) = seen::Seen::of(self.started.pid) {
            let all = seen::all();
            // Its own children first: those of a helper that is gone are nobody's.
            for one in seen::tree(&all, helper.pid).iter().rev() {
                one.kill();
            }
        }
    }

    /// How it ended, once nothing of it is left.
    pub(crate) async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "nobody looked after it".to_owned(),
        }
    }
}

/// What is done at a server's end.
struct Ending {
    record: Record,
    cgroup: Option<Cgroup>,
    why: Arc<Mutex<Option<String>>>,
    output: Arc<ServerOutput>,
}

impl Ending {
    async fn run(self, mut child: Child) -> String {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reading = tokio::spawn({
            let output = Arc::clone(&self.output);
            async move {
                let out = read(stdout, LogSource::Stdout, &output);
                let err = read(stderr, LogSource::Stderr, &output);
                tokio::join!(out, err);
            }
        });
        let status = child.wait().await;
        let memory = self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory);
        // It has not ended before the last of its processes has: another attempt may wait for that.
        loop {
            let record = self.record.clone();
            match blocking(move || record.clear()).await {
                Ok(()) => break,
                Err(error) => tracing::error!(%error, "clear up after a server"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // Whatever held the outputs is gone.
        tokio::time::timeout(Duration::from_secs(1), reading).await.ok();
        self.output.end();
        let said = self.why.lock().take();
        said.unwrap_or_else(|| match status {
            Err(error) => format!("it cannot be waited for: {error}"),
            Ok(_) if memory => "it used more memory than native.resources.memory".to_owned(),
            Ok(status) => describe(status),
        })
    }
}

/// What a server wrote before is in its log alone.
fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code @ 129..=192), _) => format!("it was ended by signal {}", code - 128),
        (Some(code), _) => format!("it ended with status {code}: see the module's log"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, source: LogSource, output: &ServerOutput) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        output.write(source, chunk.get(..length).unwrap_or_default());
        if length == CHUNK {
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// Runs what waits for the disk beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
