//! What a process can see and do, and how much it may take.

use std::collections::BTreeMap;

use roadstead_domain::Fault;
use roadstead_engine::{LoadError, NativeState, Natives as _, OfferedSecret, Offers};

use crate::{
    processes::{LocalProcesses, config, lives, server},
    stage::{Backend, Program, Stage, contract, engine, fixtures, id, until},
    wire::{Number, read, text},
};

const ALL: &str = "concurrent: ['*']";

/// What no kernel that runs the tests refuses to root, and to most users.
pub(crate) fn has_namespaces(backend: &LocalProcesses) -> bool {
    let words = backend.processes.standing(&id("any", "1.0.0")).confinement;
    words.contains("users, files, network, processes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_s_environment_is_made_from_nothing() {
    let backend = LocalProcesses::new();
    let stage = Stage::run(&backend, Program::Probe, &format!("{ALL}, env: {{MODE: x}}"), "");
    let variables = stage.look("variables").await;
    let expected = "HOME LANG MODE PATH ROADSTEAD_CALL_KEY ROADSTEAD_EPOCH ROADSTEAD_GRACE ROADSTEAD_MAX_MESSAGE \
                    ROADSTEAD_SECRETS ROADSTEAD_SOCKET TMPDIR";
    // Python's own beside it.
    let variables: Vec<_> = variables.split(' ').filter(|name| !name.starts_with("LC_")).collect();
    assert_eq!(variables.join(" "), expected);
    assert_eq!(stage.look("env:MODE").await, "x");
    assert_eq!(stage.look("env:ROADSTEAD_MAX_MESSAGE").await, (32 << 20).to_string());
    let home = stage.look("env:HOME").await;
    assert_eq!(stage.look(&format!("write:{home}/x")).await, "written");
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_no_privileges_and_no_foreign_descriptors() {
    let backend = LocalProcesses::new();
    let stage =
        Stage::run(&backend, Program::Probe, &format!("{ALL}, resources: {{pids: 77}}"), "");
    for (line, value) in
        [("NoNewPrivs", "1"), ("CapEff", "0000000000000000"), ("CapPrm", "0000000000000000")]
    {
        assert_eq!(stage.look(&format!("status:{line}")).await, value, "{line}");
    }
    assert_eq!(stage.look("limit:RLIMIT_CORE").await, "0");
    assert_eq!(stage.look("limit:RLIMIT_NOFILE").await, "4096");
    let descriptors = stage.look("descriptors").await;
    let descriptors: Vec<_> = descriptors.split(' ').collect();
    assert_eq!(descriptors[0], "/dev/null");
    assert!(descriptors[1..].iter().all(|one| one.starts_with("pipe:")), "{descriptors:?}");
    assert_eq!(stage.look("session").await, "True");
    if has_namespaces(&backend) {
        assert_eq!(stage.look("limit:RLIMIT_NPROC").await, "77");
    }
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_sees_files_to_read_and_nobody_else() {
    let backend = LocalProcesses::new();
    if !has_namespaces(&backend) {
        let words = backend.processes.standing(&id("any", "1.0.0")).confinement;
        println!("this kernel does not allow it: {words}");
        return;
    }
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let stage = Stage::run(&backend, Program::Probe, ALL, "");
    // Its own processes alone: the helper and itself.
    let processes = stage.look("processes").await;
    assert!(processes.split(' ').count() <= 3, "{processes}");
    // Not the host's network.
    assert_ne!(stage.look(&format!("connect:{port}")).await, "connected");
    assert_eq!(stage.look("loopback").await, "connected");
    // The machine's files, to read.
    let python = crate::processes::python();
    let root = python.ancestors().nth(3).unwrap();
    let probe = format!("write:{}/host/crates/native/written", root.display());
    let read_only = format!("error {}", rustix::io::Errno::ROFS.raw_os_error());
    for path in [probe.as_str(), "write:/etc/written", "write:/proc/sys/kernel/core_pattern"] {
        assert_eq!(stage.look(path).await, read_only, "{path}");
    }
    for path in ["/tmp", "/var/tmp", "/dev/shm"] {
        assert_eq!(stage.look(&format!("write:{path}/written")).await, "written", "{path}");
        assert!(!std::path::Path::new(path).join("written").exists(), "{path}");
    }
    let devices = stage.look("list:/dev").await;
    assert!(!devices.contains("sd") && devices.contains("urandom"), "{devices}");
    // Of the host's directory, its own.
    let directory = backend.path().display().to_string();
    assert_eq!(stage.look(&format!("list:{directory}")).await, "run");
    let own = stage.look(&format!("list:{directory}/run")).await;
    assert_eq!(own.split(' ').count(), 1, "{own}");
    assert_eq!(stage.look("list:/run").await, "");
    // It cannot read the record that it was started by.
    let records = stage.look(&format!("list:{directory}/records")).await;
    assert!(records.starts_with("error"), "{records}");
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_run_where_nothing_confines_them() {
    let backend = LocalProcesses::with(|config| {
        config.namespaces = false;
        config.cgroups = false;
    });
    let stage = Stage::run(&backend, Program::Probe, ALL, "limits: {deadline: 60s}");
    assert!(stage.look("processes").await.split(' ').count() > 3);
    let words = backend.processes.standing(&stage.id).confinement;
    assert!(words.contains("no control group") && words.contains("no namespaces"), "{words}");
    // What leaves its parent and its session ends with it.
    let daemon = stage.call("fail", text("daemon")).await;
    assert!(daemon.is_ok(), "{daemon:?}");
    let first = stage.ready(1).await[0];
    let pid = server(backend.path(), first).unwrap();
    let session = std::process::id();
    assert_ne!(pid, i64::from(session));
    backend.signal(first, "KILL").await;
    until("it is gone", || !lives(pid)).await;
    let daemons = || {
        let all = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|one| one.ok()?.file_name().into_string().ok());
        let home = format!("ROADSTEAD_SOCKET={}", backend.path().display());
        let ours = |pid: &String| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains(&home)
        };
        all.filter(ours).count()
    };
    // The next server, and nothing of the first.
    stage.ready(1).await;
    until("what it left is gone", || daemons() == 1).await;
    backend.shutdown().await;
}

/// A host that offers a secret.
fn with_a_word() -> (tempfile::NamedTempFile, LocalProcesses) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "correct horse\n").unwrap();
    let backend = LocalProcesses::with(|config| {
        let to = vec!["default/probe".parse().unwrap()];
        let offered = OfferedSecret { file: file.path().to_owned(), to };
        config.offers =
            Offers { secrets: BTreeMap::from([("word".to_owned(), offered)]), ..Offers::default() };
    });
    (file, backend)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_of_itself_has_no_secret_and_is_cut() {
    let (_file, backend) = with_a_word();
    let native = format!("{ALL}, secrets: [word], probes: {{startup: 3s}}");
    let is_fit = |text: &str| {
        assert!(!text.contains("horse") && !text.contains(char::is_control), "{text}");
        assert!(text.len() < 400, "{text}");
    };
    let tells = |text: &str| {
        is_fit(text);
        assert!(text.contains("the word is [secret word]"), "{text}");
    };
    let stage = Stage::run(&backend, Program::Liar("tell"), &native, "");
    let trap = stage.call("echo", bytes::Bytes::new()).await.unwrap_err();
    assert!(matches!(trap, Fault::GuestTrap { .. }), "{trap:?}");
    tells(&trap.to_string());
    let bad = stage.call("echo", text("x")).await.unwrap_err();
    assert!(matches!(bad, Fault::BadInput(_)), "{bad:?}");
    tells(&bad.to_string());

    for (lie, is_told) in [("tell-health", true), ("tell-and-die", false)] {
        stage.wanted(&[]);
        stage.becomes(NativeState::Off).await;
        let hasty = format!("{native}, activation_timeout: 1s");
        let stage = Stage::run(&backend, Program::Liar(lie), &hasty, "");
        is_fit(&stage.call("echo", text("x")).await.unwrap_err().to_string());
        let why = stage.failed().await;
        if is_told { tells(&why) } else { is_fit(&why) }
    }
    let lines = backend.engine().logs().tail(&stage.id.namespace, &stage.id.name, 1000);
    assert!(lines.iter().any(|line| line.text.contains("the word is [secret word]")));
    for line in lines {
        assert!(!line.text.contains("horse"), "{line:?}");
    }
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_files_of_those_they_are_offered_to_and_in_no_log() {
    let (file, backend) = with_a_word();
    let native = format!("{ALL}, secrets: [word]");
    let stage = Stage::run(&backend, Program::Probe, &native, "");
    let directory = stage.look("env:ROADSTEAD_SECRETS").await;
    assert_eq!(stage.look(&format!("list:{directory}")).await, "word");
    assert_eq!(stage.look(&format!("read:{directory}/word")).await, "correct horse");
    // Rotated: the next server has the new one.
    std::fs::write(file.path(), "battery staple\n").unwrap();
    let first = stage.ready(1).await[0];
    backend.signal(first, "KILL").await;
    until("there is another", || !stage.epochs(&NativeState::Ready).contains(&first)).await;
    let directory = stage.look("env:ROADSTEAD_SECRETS").await;
    assert_eq!(stage.look(&format!("read:{directory}/word")).await, "battery staple");

    let other = id("other", "1.0.0");
    let yaml = format!("native: {{{}, secrets: [word]}}", backend.program(Program::Probe));
    let spec = roadstead_domain::ModuleSpec::parse(&yaml, roadstead_domain::SpecFormat::Yaml);
    let (contract, _) = contract(&other);
    let refused = backend.processes.remote(&other, &spec.unwrap().into(), &contract).err().unwrap();
    let LoadError::NotOffered(why) = refused else { panic!("{refused:?}") };
    assert!(why.contains("native.secrets asks for `word`"), "{why}");
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_bounded_and_hurts_nobody() {
    let backend = LocalProcesses::new();
    let limits = "limits: {log_rate: 4Ki/s, deadline: 60s}";
    let stage = Stage::run(&backend, Program::Probe, ALL, limits);
    stage.ready(1).await;
    let both = futures::future::join(stage.call("fail", text("flood")), async {
        until("it runs", || stage.module.stats().running == 1).await;
        stage.who().await
    });
    let (done, _) = both.await;
    assert_eq!(read::<Number>(&done.unwrap()).value, 0);
    let lines = backend.engine().logs().tail(&stage.id.namespace, &stage.id.name, 100_000);
    let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
    assert!(bytes < 256 << 10, "{bytes}");
    assert!(lines.iter().all(|line| line.text.len() <= 8 << 10));
    assert!(lines.iter().any(|line| line.text.contains("were dropped")));
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_machine_does_not_have_is_refused() {
    let backend = LocalProcesses::new();
    for (native, says) in [
        ("image: registry.example.com/a:1", "native.command"),
        ("command: [a], resources: {memory: 1024Ti}", "native.resources.memory"),
        (
            "command: [a], resources: {tpu: {accelerator: v5e, topology: 2x2}}",
            "native.resources.tpu",
        ),
    ] {
        let id = id("probe", "1.0.0");
        let yaml = format!("native: {{{native}}}");
        let spec = roadstead_domain::ModuleSpec::parse(&yaml, roadstead_domain::SpecFormat::Yaml);
        let (contract, _) = contract(&id);
        let refused =
            backend.processes.remote(&id, &spec.unwrap().into(), &contract).err().unwrap();
        let LoadError::NeverFits(why) = refused else { panic!("{refused:?}") };
        assert!(why.contains(says), "{why}");
    }
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_named() {
    let backend = LocalProcesses::new();
    let id = id("probe", "1.0.0");
    let yaml = "native: {command: [no-such-program], activation_timeout: 200ms}";
    let spec = roadstead_domain::ModuleSpec::parse(yaml, roadstead_domain::SpecFormat::Yaml);
    let (contract, _) = contract(&id);
    let _remote = backend.processes.remote(&id, &spec.unwrap().into(), &contract).unwrap();
    backend.processes.run(&id.namespace, &id.name, std::slice::from_ref(&id.version));
    until("it failed", || {
        matches!(backend.processes.standing(&id).state, NativeState::BackingOff(_))
    })
    .await;
    let lines = backend.engine().logs().tail(&id.namespace, &id.name, 100);
    assert!(lines.iter().any(|line| line.text.contains("run `no-such-program`")), "{lines:?}");
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_found_where_the_operator_says_and_see_what_it_lets_them() {
    let other = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::create_dir(other.path().join("bin")).unwrap();
    std::fs::write(other.path().join("plans"), "secret plans").unwrap();
    let python = crate::processes::python();
    let link = other.path().join("bin/snake");
    std::fs::write(&link, format!("#!/bin/sh\nexec {} \"$@\"\n", python.display())).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&link, executable).unwrap();
    let hidden = other.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    std::fs::write(hidden.join("key"), "key").unwrap();
    let backend = LocalProcesses::with(|config| {
        config.path = format!("{}:{}", other.path().join("bin").display(), config.path);
        config.hidden.push(hidden.clone());
        config.working = fixtures().join("probe");
    });
    let id = id("probe", "1.0.0");
    let yaml = format!("native: {{command: [snake, -m, roadstead.native, probe.py], {ALL}}}");
    let stage = Stage::of(&backend, id, &yaml).and_run();
    assert_eq!(stage.look(&format!("read:{}/plans", other.path().display())).await, "secret plans");
    let seen = stage.look(&format!("list:{}", hidden.display())).await;
    assert_eq!(seen, if has_namespaces(&backend) { "" } else { "key" });
    backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_working_directory_may_hold_the_host_s_own() {
    // Below what servers see a directory of their own instead of.
    let working = tempfile::tempdir_in("/tmp").unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&fixtures().join("probe"), working.path()])
        .status();
    assert!(copied.unwrap().success());
    let directory = working.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("secret"), "x").unwrap();
    let engine = engine();
    let mut config = config(&directory, &engine);
    config.working = working.path().to_owned();
    config.hidden.push(directory.clone());
    let backend = LocalProcesses::at(&directory, engine, config);
    let stage = Stage::run(&backend, Program::Probe, ALL, "");
    let read = stage.look(&format!("read:{}/secret", directory.display())).await;
    if has_namespaces(&backend) {
        assert!(read.starts_with("error"), "{read}");
    }
    backend.shutdown().await;
}
