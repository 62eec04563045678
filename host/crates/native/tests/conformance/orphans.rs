//! A host that is killed leaves nothing behind for the next one.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use roadstead_engine::{NativeState, Natives as _};
use roadstead_native::{OpenError, Processes};

use crate::{
    processes::{LocalProcesses, child, config, lives, records, server},
    stage::{Backend as _, PATIENCE, Program, Stage, engine, id, until},
    wire::Number,
};

const DIRECTORY: &str = "NATIVE_TEST_DIRECTORY";
const UNCONFINED: &str = "NATIVE_TEST_UNCONFINED";

/// A host in a process of its own, which `kill_9_of_the_host_leaves_no_orphan` starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_to_be_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let engine = engine();
    let mut config = config(Path::new(&directory), &engine);
    if std::env::var_os(UNCONFINED).is_some() {
        (config.namespaces, config.cgroups) = (false, false);
    }
    let backend = LocalProcesses::at(Path::new(&directory), engine, config);
    let _stage = Stage::run(&backend, Program::Counter, "", "");
    std::future::pending::<()>().await;
}

fn host(directory: &Path, confined: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "orphans::a_host_to_be_killed"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !confined {
        command.env(UNCONFINED, "1");
    }
    command.spawn().unwrap()
}

/// Of the first attempt that there is: its helpers and its server, as far as they are there.
fn family(directory: &Path) -> Vec<i64> {
    let Some((_, Some(outer))) = records(directory).first().copied() else { return Vec::new() };
    let mut family = vec![outer];
    while let Some(next) = child(*family.last().unwrap()) {
        family.push(next);
    }
    family
}

async fn kill_9(confined: bool, also: Option<usize>, when: impl Fn(&Path) -> bool) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("records")).unwrap();
    let mut host = host(directory.path(), confined);
    until("the host is so far", || when(directory.path())).await;
    let family = family(directory.path());
    // The helper as well: then nobody is left who would end the server.
    if let Some(pid) = also.and_then(|at| family.get(at)) {
        let status = Command::new("kill").args(["-STOP", &pid.to_string()]).status();
        assert!(status.unwrap().success());
    }
    host.kill().unwrap();
    host.wait().unwrap();

    let engine = engine();
    let config = config(directory.path(), &engine);
    let backend = LocalProcesses::at(directory.path(), engine, config);
    assert!(!family.iter().any(|pid| lives(*pid)), "{family:?}");
    assert_eq!(records(directory.path()), []);
    // What is to run is reached again, and no epoch twice.
    let earlier: u64 =
        std::fs::read_to_string(directory.path().join("modules/default.probe/epoch"))
            .map_or(0, |text| text.trim().parse().unwrap());
    let stage = Stage::run(&backend, Program::Counter, "", "");
    assert!(stage.ready(1).await[0] > earlier);
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_host_leaves_no_orphan() {
    // While a server starts, and once it answers.
    kill_9(true, None, |directory| !records(directory).is_empty()).await;
    let answers = |directory: &Path| directory.join("modules/default.probe/state/notes").exists();
    kill_9(true, None, answers).await;
    kill_9(false, None, |directory| family(directory).len() >= 3).await;
    // A helper that is stopped cannot pass the host's end on.
    kill_9(false, Some(1), answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_that_is_killed_takes_its_server_along() {
    for confined in [true, false] {
        let backend = LocalProcesses::with(|config| {
            (config.namespaces, config.cgroups) = (confined, confined);
        });
        let stage = Stage::run(&backend, Program::Probe, "", "");
        for generation in 0..2 {
            let epoch = stage.ready(1).await[0];
            let server = server(backend.path(), epoch).unwrap();
            let helper = family(backend.path())[generation];
            let status = Command::new("kill").args(["-KILL", &helper.to_string()]).status();
            assert!(status.unwrap().success());
            until("the server is gone", || !lives(server)).await;
            until("there is another", || {
                stage.epochs(&NativeState::Ready).iter().any(|one| *one > epoch)
            })
            .await;
        }
        backend.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_and_state_outlive_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for count in 1..=2 {
        let engine = engine();
        let config = config(directory.path(), &engine);
        let backend = LocalProcesses::at(directory.path(), engine, config);
        let stage = Stage::run(&backend, Program::Counter, "", "");
        let answer: Number = stage.answer("step", bytes::Bytes::new()).await;
        assert_eq!(answer.value, count);
        let epoch = stage.ready(1).await[0];
        assert!(epoch > last);
        last = epoch;
        backend.shutdown().await;
    }
    // What is deleted begins anew, its epochs do not; of what only does not run all is kept.
    let engine = engine();
    let config = config(directory.path(), &engine);
    let backend = LocalProcesses::at(directory.path(), engine, config);
    let stage = Stage::run(&backend, Program::Counter, "", "");
    stage.ready(1).await;
    stage.wanted(&[]);
    stage.becomes(NativeState::Off).await;
    stage.wanted(std::slice::from_ref(&stage.id.version));
    assert_eq!(stage.answer::<Number>("step", bytes::Bytes::new()).await.value, 3);
    stage.deleted();
    stage.becomes(NativeState::Off).await;
    let state = directory.path().join("modules/default.probe/state");
    until("its state is out of the way", || !state.exists()).await;
    let stage = Stage::run(&backend, Program::Counter, "", "");
    assert_eq!(stage.answer::<Number>("step", bytes::Bytes::new()).await.value, 1);
    assert!(stage.ready(1).await[0] > last + 1);
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_whose_host_was_killed_while_it_was_deleted_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    for (are_there, expected) in [(false, 1), (true, 2), (false, 1)] {
        let engine = engine();
        let config = config(directory.path(), &engine);
        let backend = LocalProcesses::at(directory.path(), engine, config);
        let key = ("default".parse().unwrap(), "probe".parse().unwrap());
        backend.processes.begin(if are_there { std::slice::from_ref(&key) } else { &[] });
        let stage = Stage::run(&backend, Program::Counter, "", "");
        let steps = stage.answer::<Number>("step", bytes::Bytes::new()).await.value;
        assert_eq!(steps, expected);
        backend.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_of_a_deleted_one_s_name_has_nothing_of_its_state() {
    let backend = LocalProcesses::new();
    let stage = Stage::run(&backend, Program::Counter, "", "");
    assert_eq!(stage.answer::<Number>("step", bytes::Bytes::new()).await.value, 1);
    stage.deleted();
    // As it would be, were the host killed now.
    let later = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-r").args([&backend.path().join("modules"), later.path()]).status();
    assert!(copied.unwrap().success());
    // The first server has not ended.
    let stage = Stage::run(&backend, Program::Counter, "", "");
    assert_eq!(stage.answer::<Number>("step", bytes::Bytes::new()).await.value, 1);
    backend.shutdown().await;

    let engine = engine();
    let config = config(later.path(), &engine);
    let backend = LocalProcesses::at(later.path(), engine, config);
    let stage = Stage::run(&backend, Program::Counter, "", "");
    assert_eq!(stage.answer::<Number>("step", bytes::Bytes::new()).await.value, 1);
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_host_is_later_than_no_grace() {
    let backend = LocalProcesses::new();
    let stage = Stage::run(&backend, Program::Liar("stubborn"), "grace: 1h", "");
    stage.ready(1).await;
    let ended = backend.processes.shutdown(Duration::from_millis(100));
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(records(backend.path()), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_host_left_and_does_not_end_holds_only_its_own_module() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    // A group that cannot be taken away yet.
    std::fs::create_dir_all(root.join("group/in")).unwrap();
    std::fs::create_dir(root.join("records")).unwrap();
    let record = serde_json::json!({
        "file": "", "host": 1, "layers": {"user": false, "mount": false, "net": false, "pid": false}, "command": ["x"], "env": {}, "working": "/",
        "own": [root.join("modules/default.probe/state")], "temporary": "/", "hidden": [],
        "devices": false, "cgroup": root.join("group"), "pids": 1, "files": 1,
        "boot": "an earlier one", "process": null, "directory": root.join("run/left"),
    });
    std::fs::write(root.join("records/left.json"), record.to_string()).unwrap();

    let engine = engine();
    let config = config(&root, &engine);
    let backend = LocalProcesses::at(&root, engine, config);
    let free = format!("native: {{{}}}", backend.program(Program::Probe));
    let free = Stage::of(&backend, id("free", "1.0.0"), &free).and_run();
    let held = Stage::run(&backend, Program::Counter, "", "");
    free.ready(1).await;
    assert_eq!(held.state(), NativeState::Off);
    std::fs::remove_dir(root.join("group/in")).unwrap();
    held.ready(1).await;
    assert!(!root.join("records/left.json").exists() && !root.join("group").exists());
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_has_one_host_and_room_for_sockets() {
    let backend = LocalProcesses::new();
    let engine = engine();
    let second = Processes::open(config(backend.path(), &engine));
    assert!(matches!(second, Err(OpenError::Locked(_))), "{second:?}");
    let deep = backend.path().join("x".repeat(80));
    let second = Processes::open(config(&deep, &engine));
    assert!(matches!(second, Err(OpenError::TooLong(_))), "{second:?}");
    backend.shutdown().await;
}
