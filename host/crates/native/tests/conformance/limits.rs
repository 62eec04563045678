//! How much a process may take: of memory and of processes, by the kernel's own limits and by the
//! watchdog's.

use roadstead_domain::Fault;
use roadstead_engine::{NativeState, Natives as _};

use crate::{
    confinement::has_namespaces,
    processes::LocalProcesses,
    stage::{Program, Stage, id, until},
    wire::text,
};

const ALL: &str = "concurrent: ['*']";

fn confinement(backend: &LocalProcesses) -> String {
    backend.processes.standing(&id("any", "1.0.0")).confinement
}

fn holds_processes(backend: &LocalProcesses) -> bool {
    let words = confinement(backend);
    words.split(';').next().is_some_and(|held| held.contains("processes"))
}

/// What takes ever more of something ends for that, or is refused it by the kernel.
async fn is_held(backend: &LocalProcesses, how: &str, says: &str) {
    let native = format!("{ALL}, resources: {{memory: 192Mi, pids: 64}}");
    let stage = Stage::run(backend, Program::Probe, &native, "limits: {deadline: 60s}");
    let first = stage.ready(1).await[0];
    let fault = stage.call("fail", text(how)).await;
    assert!(matches!(fault, Err(Fault::Interrupted(_) | Fault::GuestTrap { .. })), "{fault:?}");
    if matches!(fault, Err(Fault::Interrupted(_))) {
        let why = || {
            let attempts = backend.processes.standing(&stage.id).attempts;
            let one = attempts.into_iter().find(|one| one.epoch == first);
            let NativeState::Failed(why) = one?.state else { return None };
            Some(why)
        };
        until("it ended", || why().is_some()).await;
        let why = why().unwrap();
        // Of threads that it may not have, gRPC says so by a signal.
        let by_kernel = how == "processes" && why.contains("signal 6");
        assert!(why.contains(says) || by_kernel, "{how}: {why}");
    }
    stage.wanted(&[]);
    stage.becomes(NativeState::Off).await;
}

const RESOURCES: [(&str, &str); 3] = [
    ("memory", "native.resources.memory"),
    ("memfd", "native.resources.memory"),
    ("processes", "native.resources.pids"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_held_to_its_memory_and_its_processes() {
    let backend = LocalProcesses::new();
    let held = holds_processes(&backend);
    // What becomes of gRPC where the kernel refuses it threads is its own affair.
    for (how, says) in RESOURCES.into_iter().filter(|(how, _)| *how != "processes" || !held) {
        is_held(&backend, how, says).await;
    }
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_control_group_is_watched() {
    let backend = LocalProcesses::with(|config| config.cgroups = false);
    let words = confinement(&backend);
    assert!(words.contains("memory, processes only watched"), "{words}");
    assert!(words.contains("processor time not bounded"), "{words}");
    for (how, says) in RESOURCES {
        is_held(&backend, how, says).await;
    }
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_refuses_processes_beyond_the_limit() {
    let backend = LocalProcesses::new();
    if !holds_processes(&backend) {
        println!("this machine has no controller for it: {}", confinement(&backend));
        return;
    }
    let native = format!("{ALL}, resources: {{pids: 96}}");
    let stage = Stage::run(&backend, Program::Probe, &native, "");
    let forks: u64 = stage.look("forks:200").await.parse().unwrap();
    assert!(0 < forks && forks < 96, "{forks}");
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_no_namespaces_of_users_to_make() {
    let backend = LocalProcesses::new();
    let flags = rustix::fs::statvfs("/proc/sys").unwrap().f_flag;
    if !has_namespaces(&backend) || flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        println!("this machine does not allow it: {}", confinement(&backend));
        return;
    }
    let stage = Stage::run(&backend, Program::Probe, ALL, "");
    let none = format!("error {}", rustix::io::Errno::NOSPC.raw_os_error());
    assert_eq!(stage.look("users").await, none);
    backend.shutdown().await;
}
