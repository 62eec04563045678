//! Real workers: what they make, what they cannot do, and how they and their bombs end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports")]

mod bombs;
mod processes;

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_domain::{ByteSize, ModuleId, Span};
use roadstead_engine::{CodeError, CodeSource, Engine, EngineConfig, VerifiedCode};
use roadstead_worker::{CompileConfig, CompileLimit, Layer, Upload, WorkerError, Workers, leash};

use crate::processes::{Killed, child, gone, worker_of};

roadstead_worker::worker_in_tests!();

/// Far more than anything here should take.
const PATIENCE: Duration = Duration::from_secs(120);

fn stack() -> ByteSize {
    EngineConfig::for_machine().stack
}

fn config() -> CompileConfig {
    CompileConfig { threads: 2, ..CompileConfig::for_machine() }
}

fn compile(config: CompileConfig, component: &[u8]) -> Result<File, WorkerError> {
    let file = tempfile::tempfile().unwrap();
    let (_leash, tether) = leash();
    Workers::new(config, stack()).compile(component, None, &file, tether)?;
    Ok(file)
}

fn upload() -> Upload {
    Upload {
        name: "m".parse().unwrap(),
        version: "0.1.0".parse().unwrap(),
        wit: Vec::new(),
        lock: String::new(),
        native: false,
    }
}

fn small() -> Vec<u8> {
    wat::parse_str(
        r#"(component
             (core module $m (func (export "f") (result i32) i32.const 7))
             (core instance $i (instantiate $m))
             (func (export "f") (result u32) (canon lift (core func $i "f"))))"#,
    )
    .unwrap()
}

fn limit(outcome: Result<File, WorkerError>) -> CompileLimit {
    match outcome {
        Err(WorkerError::Limit(limit)) => limit,
        Ok(file) => panic!("{} bytes of code", file.metadata().unwrap().len()),
        Err(other) => panic!("{other:?}"),
    }
}

struct Made(File);

impl CodeSource for Made {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        Ok(VerifiedCode::File(self.0.try_clone()?))
    }
}

#[test]
fn the_engine_loads_what_a_worker_made() {
    for stack in [ByteSize::mib(1), ByteSize::mib(2)] {
        let settings = EngineConfig { slots: 16, stack, ..EngineConfig::for_machine() };
        let engine = Engine::new(settings).unwrap();
        let workers = Workers::new(config(), engine.stack());
        assert_eq!(workers.probe().unwrap().fingerprint, engine.fingerprint());
        let file = tempfile::NamedTempFile::new().unwrap();
        let (_leash, tether) = leash();
        workers.compile(&small(), None, file.as_file(), tether).unwrap();
        let id = ModuleId {
            namespace: Default::default(),
            name: "m".parse().unwrap(),
            version: "0.1.0".parse().unwrap(),
        };
        let code = Arc::new(Made(File::open(file.path()).unwrap()));
        let module = engine.prepare(id, Default::default(), code).unwrap();
        module.load().unwrap();
    }
}

#[test]
fn a_worker_can_open_nothing_and_start_nothing() {
    let probed = Workers::new(config(), stack()).probe().unwrap();
    println!("{probed:?}");
    assert!(probed.is_confined(), "{probed:?}");
    let landlocked = probed.landlock != Layer::Off;
    assert_eq!(probed.denied.open_under_landlock, landlocked.then_some(libc::EACCES));
    if probed.seccomp == Layer::Full {
        let denied = &probed.denied;
        for errno in [denied.open, denied.socket, denied.program, denied.signal] {
            assert_eq!(errno, Some(libc::EPERM), "{probed:?}");
        }
    }
}

#[test]
fn what_does_not_compile_is_refused_in_words() {
    for bytes in [&b"garbage"[..], b"", b"\0asm\x01\0\0\0"] {
        let Err(WorkerError::Refused(why)) = compile(config(), bytes) else { panic!() };
        assert!(why.contains("not valid here"), "{why}");
    }
}

#[test]
fn whatever_comes_to_an_end_in_a_check_is_well() {
    let workers = Workers::new(config(), stack());
    let uploads = [small(), b"garbage".to_vec(), Vec::new(), vec![0; 1 << 20]];
    for bytes in &uploads {
        let (_leash, tether) = leash();
        workers.check(&upload(), bytes, tether).unwrap();
    }
}

/// Bombs of every kind end at a limit, in their time, and leave the next one its worker.
#[test]
fn compile_bombs_end_at_a_limit() {
    let bounds = CompileConfig { time: Span::secs(1), memory: ByteSize::mib(256), ..config() };
    let bombs = [
        ("a huge function", bombs::huge_function()),
        ("huge jump tables", bombs::jump_tables()),
        ("many locals", bombs::many_locals()),
    ];
    for (what, bomb) in bombs {
        let started = Instant::now();
        let reached = limit(compile(bounds.clone(), &bomb));
        println!("{what}: {} KiB, {:?}: {reached}", bomb.len() >> 10, started.elapsed());
        assert!(["memory", "time"].contains(&reached.what), "{what}: {reached}");
        assert!(started.elapsed() < PATIENCE, "{what}");
        compile(bounds.clone(), &small()).unwrap();
    }
}

#[test]
fn blocks_without_end_hurt_nobody() {
    let bounds = CompileConfig { time: Span::secs(5), memory: ByteSize::mib(256), ..config() };
    let bomb = bombs::deep_blocks();
    match compile(bounds.clone(), &bomb) {
        Ok(_) | Err(WorkerError::Limit(_) | WorkerError::Refused(_)) => {}
        other => panic!("{other:?}"),
    }
    compile(bounds, &small()).unwrap();
}

#[test]
fn memory_is_bounded() {
    let bounds = CompileConfig { memory: ByteSize::mib(96), ..config() };
    compile(bounds.clone(), &small()).unwrap();
    let reached = limit(compile(bounds, &bombs::huge_function()));
    assert_eq!((reached.setting, &*reached.allowed), ("compile.memory", "96Mi"));
    let whole = CompileConfig { memory: ByteSize(8 << 30), ..config() };
    compile(whole, &bombs::function_of(100_000)).unwrap();
}

#[test]
fn time_is_bounded() {
    let bounds = CompileConfig { time: Span::secs(1), memory: ByteSize(4 << 30), ..config() };
    let started = Instant::now();
    let reached = limit(compile(bounds.clone(), &bombs::many_locals()));
    assert_eq!((reached.setting, &*reached.allowed), ("compile.time", "1s"));
    assert!(started.elapsed() < PATIENCE);
    compile(bounds, &small()).unwrap();
}

#[test]
fn code_is_bounded() {
    let bounds = CompileConfig { code: ByteSize::kib(256), ..config() };
    compile(bounds.clone(), &small()).unwrap();
    let large = bombs::many_functions();
    let reached = limit(compile(bounds.clone(), &large));
    assert_eq!((reached.setting, &*reached.allowed), ("compile.code", "256Ki"));
    let code = compile(config(), &large).unwrap();
    assert!(bounds.code.0 < code.metadata().unwrap().len());
}

#[test]
fn a_worker_that_is_killed_is_a_crash_and_the_next_one_works() {
    let config = CompileConfig { time: Span::secs(1117), ..config() };
    let (killed, next) = (config.clone(), config);
    let compiling = std::thread::spawn(move || compile(killed, &bombs::many_locals()));
    let worker = worker_of(std::process::id(), 1117);
    rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    let error = compiling.join().unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::Crashed { doing: "compiling", .. }), "{error:?}");
    assert!(error.to_string().contains("killed from outside"), "{error}");
    assert!(gone(worker), "reaped");
    compile(next, &small()).unwrap();
}

#[test]
fn a_worker_that_nobody_waits_for_is_killed() {
    let config = CompileConfig { time: Span::secs(1129), ..config() };
    let (leash, tether) = leash();
    let compiling = std::thread::spawn(move || {
        let file = tempfile::tempfile().unwrap();
        Workers::new(config, stack()).compile(&bombs::many_locals(), None, &file, tether)
    });
    let worker = worker_of(std::process::id(), 1129);
    drop(leash);
    assert!(matches!(compiling.join().unwrap(), Err(WorkerError::Abandoned)));
    assert!(gone(worker), "reaped");
}

const HOST: &str = "ROADSTEAD_WORKER_CHILD";

#[test]
fn host_that_compiles() {
    if std::env::var_os(HOST).is_none() {
        return;
    }
    let config = CompileConfig { time: Span::secs(1151), ..config() };
    compile(config, &bombs::many_locals()).unwrap();
}

#[test]
fn workers_die_with_their_host() {
    let mut host = Killed(child("host_that_compiles").env(HOST, "1").spawn().unwrap());
    let worker = worker_of(host.0.id(), 1151);
    host.0.kill().unwrap();
    let started = Instant::now();
    while !gone(worker) {
        assert!(started.elapsed() < PATIENCE, "it lives on without its host");
        std::thread::sleep(Duration::from_millis(5));
    }
}
