//! Processes that die in the middle of pushes, and disks that fill up under them.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use roadstead_domain::Namespace;
use roadstead_registry::PushError;

use crate::harness::{Host, OPS, add, calc, module};

/// Where a child process of these tests finds its data directory.
const DATA: &str = "ROADSTEAD_REGISTRY_CHILD";
const KILLS: u64 = 14;

/// A component that no former run of the child pushed.
fn unique(round: u64, index: u64) -> (u32, Vec<u8>) {
    let more = u32::try_from(round * 1000 + index).unwrap();
    (more, calc(more))
}

/// The child: pushes one version after the other and says so after each acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_pushes() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let round: u64 = std::env::var("ROUND").unwrap().parse().unwrap();
    let host = Host::open(Path::new(&data)).await;
    println!("\nopened");
    for index in 0..1000 {
        let (more, bytes) = unique(round, index);
        let pushed = host.push("m", &bytes).await.unwrap();
        println!("\nacknowledged {} {more}", pushed.record.version);
        std::io::stdout().flush().unwrap();
        if index % 3 == 2 {
            let version = pushed.record.version.clone();
            let deleted =
                host.registry.delete(&Namespace::default(), &module("m"), Some(&version)).await;
            println!("\ndeleted {}", deleted.unwrap()[0]);
            std::io::stdout().flush().unwrap();
        }
    }
}

fn child(data: &Path, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(DATA, data);
    command
}

/// Kills when it goes out of scope, so that a failing test leaves no process.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

/// What was acknowledged: versions that must be there, and those whose deletion was begun.
#[derive(Default)]
struct Acknowledged {
    there: BTreeMap<String, u32>,
    gone: Vec<String>,
}

impl Acknowledged {
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("acknowledged"), Some(version), Some(more)) => {
                self.there.insert(version.to_owned(), more.parse().unwrap());
            }
            (Some("deleted"), Some(version), None) => {
                self.there.remove(version);
                self.gone.push(version.to_owned());
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_instant_loses_nothing_and_leaves_nothing_half() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let mut acknowledged = Acknowledged::default();
    for round in 0..KILLS {
        let mut running = child(data, "crash::child_that_pushes");
        let running = running.env("ROUND", round.to_string()).stdout(Stdio::piped());
        let mut running = Killed(running.spawn().unwrap());
        let output = running.0.stdout.take().unwrap();
        let (lines, read) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                lines.send(line.unwrap()).unwrap();
            }
        });
        // Somewhere within the next pushes, each of which takes a few tens of milliseconds.
        while read.recv_timeout(Duration::from_secs(120)).unwrap() != "opened" {}
        let delay = round * 73_856 % 300_000;
        std::thread::sleep(Duration::from_micros(delay));
        drop(running);
        reader.join().unwrap();
        for line in read.try_iter() {
            acknowledged.read(&line);
        }
        verify(data, &mut acknowledged).await;
    }
    assert!(acknowledged.there.len() > 3, "the child got somewhere: {:?}", acknowledged.there);
}

/// Everything acknowledged is there and answers; at most the one change in flight is unknown.
async fn verify(data: &Path, acknowledged: &mut Acknowledged) {
    let host = Host::open(data).await;
    let versions = host.versions("m");
    // The last acknowledged version may be on its way out: every third is deleted at once.
    let newest = acknowledged.there.iter().max_by_key(|(version, _)| patch(version));
    if let Some((version, more)) = newest.map(|(version, more)| (version.clone(), *more))
        && !versions.contains(&version)
    {
        assert_eq!(more % 1000 % 3, 2, "only one whose deletion was next can be gone");
        acknowledged.there.remove(&version);
    }
    for (version, more) in &acknowledged.there {
        assert!(versions.contains(version), "{version} was acknowledged and is lost");
        let live = host.resolve(OPS, Some(&format!("m@{version}"))).unwrap();
        assert_eq!(add(&live, 2, 3).await, 5 + u64::from(*more), "{version}");
    }
    let deleted: Vec<_> = acknowledged.gone.iter().filter(|v| versions.contains(v)).collect();
    assert!(deleted.is_empty(), "deleted versions came back: {deleted:?}");
    // Whatever is there is whole, one more than acknowledged included.
    for version in &versions {
        let live = host.resolve(OPS, Some(&format!("m@{version}"))).unwrap();
        add(&live, 1, 1).await;
    }
    if let Some(last) = versions.iter().max_by_key(|version| patch(version)) {
        assert_eq!(host.answers(None).unwrap(), format!("m@{last}"));
    }
    // Nothing is stored that nothing names: a component and its code for each version, no more.
    let count = |directory: &str, suffix: &str| {
        let files = host.files().into_iter();
        let within = host.data.join(directory);
        files.filter(|p| p.starts_with(&within) && p.to_str().unwrap().ends_with(suffix)).count()
    };
    assert_eq!(count("blobs/components", ""), versions.len());
    assert_eq!(count("compiled", ".code"), versions.len());
    assert_eq!(count("compiled", ".sig"), versions.len());
    assert_eq!(count("staging", ""), 0);
}

fn patch(version: &str) -> u64 {
    version.rsplit('.').next().unwrap().parse().unwrap()
}

/// No file of the child may grow over 3 MiB: to the program that is a disk without room. The
/// catalog's file is smaller than that, the large component is not.
#[tokio::test]
async fn a_full_disk_refuses_the_push_and_the_old_version_serves_on() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path()).await;
    host.push("m", &calc(0)).await.unwrap();
    let files = host.files();
    host.closed().await;
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 6144; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_on_a_full_disk", "--nocapture"])
        .env(DATA, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("refused for want of room"), "{text}");
    let host = Host::open(directory.path()).await;
    assert_eq!(host.versions("m"), ["0.1.0", "0.1.1"]);
    assert_eq!(host.call().await, 6);
    let more: Vec<PathBuf> = host.files().difference(&files).cloned().collect();
    assert_eq!(more.len(), 3, "component, code and signature of 0.1.1: {more:?}");
}

#[tokio::test]
async fn child_on_a_full_disk() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let host = Host::open(Path::new(&data)).await;
    let files = host.files();
    // A valid component, 4 MiB of it in a custom section.
    let mut large = calc(9);
    let payload = vec![7_u8; 4 << 20];
    large.push(0);
    leb128(&mut large, payload.len() + 5);
    large.extend(b"\x04room");
    large.extend(payload);
    let error = host.push("m", &large).await.unwrap_err();
    assert!(matches!(error, PushError::Full(_)), "{error:?}");
    host.settles_to(&files).await;
    assert_eq!(host.call().await, 5);
    // There is room for a small one.
    host.push("m", &calc(1)).await.unwrap();
    assert_eq!(host.call().await, 6);
    println!("refused for want of room");
}

fn leb128(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    to.push(u8::try_from(value).unwrap());
}

#[tokio::test]
async fn only_one_process_may_open_a_data_directory() {
    let host = Host::new().await;
    let output = child(&host.data, "crash::child_that_opens").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("in use: true true"), "{text}");
    host.push("m", &calc(0)).await.unwrap();
    assert_eq!(host.call().await, 5);
}

#[test]
fn child_that_opens() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let data = Path::new(&data);
    let blobs = roadstead_blobs::BlobStore::open(data).unwrap_err();
    let catalog = roadstead_catalog::RedbCatalog::open(&data.join("catalog.redb")).unwrap_err();
    println!(
        "in use: {} {}",
        matches!(blobs, roadstead_blobs::OpenError::InUse(_)),
        matches!(catalog, roadstead_catalog::CatalogError::InUse(_))
    );
}
