//! A worker, from its first instruction to its exit status.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use rayon::ThreadPool;
use roadstead_domain::{ByteSize, with_causes};
use roadstead_engine::{Compiler, EngineConfig};

use crate::{
    confine, filter,
    order::{Denied, Order, Probed, Task, VERB, status},
    task::{self, Upload},
};

/// The exit status of this process, if it was started as a worker. Goes before everything else.
pub fn entry() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != VERB {
        return None;
    }
    let order = arguments.next().and_then(|argument| Order::parse(&argument));
    let Some(order) = order else {
        complain("this verb is for the host alone");
        return Some(status::FAILED);
    };
    Some(match catch_unwind(AssertUnwindSafe(|| work(&order))) {
        Ok(Ok(())) => 0,
        Ok(Err(Stop::Refused)) => status::REFUSED,
        Ok(Err(Stop::Failed(error))) if is_full(&error) => status::FULL,
        Ok(Err(Stop::Failed(error))) => {
            complain(&error);
            status::FAILED
        }
        Err(_) => status::PANICKED,
    })
}

enum Stop {
    Refused,
    Failed(io::Error),
}

impl<E: Into<io::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Everything that a task needs, made before the worker is confined.
struct Tools {
    compiler: Compiler,
    config: EngineConfig,
    output: File,
    pool: ThreadPool,
}

fn work(order: &Order) -> Result<(), Stop> {
    confine::follow(order.host)?;
    // Memory without a bound, so that only the spec decides what fits.
    let config = EngineConfig { memory_budget: ByteSize(1 << 50), ..EngineConfig::for_machine() };
    let program = confine::program();
    let landlock = confine::before_threads();
    let open_under_landlock = (order.task == Task::Probe).then(open).flatten();
    let tools = Tools {
        compiler: Compiler::new(order.guest_stack).map_err(io::Error::other)?,
        config,
        output: File::from(io::stdout().as_fd().try_clone_to_owned()?),
        pool: rayon::ThreadPoolBuilder::new()
            .num_threads(order.threads)
            .stack_size(order.thread_stack.as_usize())
            .build()
            .map_err(io::Error::other)?,
    };
    // Threads are fully there before they can do little.
    tools.pool.broadcast(|_| ());
    confine::limit(order, program)?;
    let seccomp = filter::install();
    let Tools { compiler, config, mut output, pool } = tools;
    pool.install(|| match order.task {
        Task::Check => check(&read(order)?, &config, &mut output),
        Task::Compile => compile(&compiler, &read(order)?, &mut output),
        Task::CompileWithCodec => compile_with_codec(&compiler, &read(order)?, &mut output),
        Task::Probe => {
            let fingerprint = compiler.fingerprint().to_owned();
            let denied = denied(order.host, open_under_landlock);
            let found = Probed { fingerprint, landlock, seccomp, denied };
            Ok(serde_json::to_writer(&mut output, &found)?)
        }
    })
}

fn read(order: &Order) -> io::Result<Vec<u8>> {
    let mut input = Vec::with_capacity(order.input.as_usize());
    io::stdin().lock().read_to_end(&mut input)?;
    Ok(input)
}

fn check(mut input: &[u8], config: &EngineConfig, output: &mut File) -> Result<(), Stop> {
    let upload = Upload::read(&mut input)?;
    let found = task::check(&upload, input, config).unwrap_or_default();
    Ok(serde_json::to_writer(output, &found)?)
}

fn compile_with_codec(
    compiler: &Compiler,
    mut input: &[u8],
    output: &mut File,
) -> Result<(), Stop> {
    let upload = Upload::read(&mut input)?;
    match task::with_codec(&upload, input) {
        Ok(component) => compile(compiler, &component, output),
        Err(error) => {
            complain(with_causes(&error));
            compile(compiler, input, output)
        }
    }
}

fn compile(compiler: &Compiler, component: &[u8], output: &mut File) -> Result<(), Stop> {
    match compiler.compile(component) {
        Ok(code) => Ok(output.write_all(&code)?),
        Err(error) => {
            output.write_all(error.to_string().as_bytes())?;
            Err(Stop::Refused)
        }
    }
}

/// Tries what no upload shall make a worker do.
fn denied(host: u32, open_under_landlock: Option<i32>) -> Denied {
    let code = |error: io::Error| error.raw_os_error();
    let host = i32::try_from(host).ok().and_then(rustix::process::Pid::from_raw);
    Denied {
        open_under_landlock,
        open: open(),
        socket: std::os::unix::net::UnixDatagram::unbound().err().and_then(code),
        thread: std::thread::Builder::new().spawn(|| ()).err().and_then(code),
        program: std::process::Command::new("/proc/self/exe").spawn().err().and_then(code),
        signal: host
            .and_then(|host| rustix::process::test_kill_process(host).err())
            .map(rustix::io::Errno::raw_os_error),
    }
}

fn open() -> Option<i32> {
    File::open("/proc/self/exe").err().and_then(|error| error.raw_os_error())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn complain(text: impl std::fmt::Display) {
    // Where nobody listens, the exit status has to do.
    let _said = writeln!(io::stderr(), "{text}").is_ok();
}
