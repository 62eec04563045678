//! Directories by name, and nothing outside them.

use std::{collections::BTreeMap, os::unix::fs::symlink, path::Path};

use roadstead_domain::{DirectoryMode, Grantee, LimitKind};
use tempfile::TempDir;

use super::harness::{Guest, probe_with, spec};
use crate::{OfferedDirectory, Offers};

fn offer(path: &Path, mode: DirectoryMode) -> Offers {
    let to = vec![Grantee::Everyone];
    let offered = OfferedDirectory { path: path.to_owned(), mode, to };
    Offers { directories: BTreeMap::from([("data".to_owned(), offered)]), ..Offers::default() }
}

/// `secret` beside the offered directory `in`, which holds `file`.
fn folder() -> (TempDir, Offers) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/file"), "content").unwrap();
    let offered = offer(&folder.path().join("in"), DirectoryMode::Rw);
    (folder, offered)
}

const RO: &str = "capabilities: {files: [{host: data, guest: /data}]}";
const RW: &str = "capabilities: {files: [{host: data, guest: /data, mode: rw}]}";

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_is_read_and_not_changed() {
    let (folder, offered) = folder();
    let ran = probe_with(
        spec(RO),
        &offered,
        &[
            "read /data/file",
            "list /data",
            "write /data/file other",
            "write /data/new text",
            "mkdir /data/folder",
            "remove /data/file",
            "rename /data/file /data/moved",
            "link /data/file /data/linked",
        ],
    )
    .await;
    assert_eq!(ran.lines[..2], ["read content", "list 1"]);
    assert!(ran.lines[2..].iter().all(|line| line.contains("failed")), "{:?}", ran.lines);
    assert_eq!(ran.lines.len(), 8);
    assert_eq!(std::fs::read_dir(folder.path().join("in")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writable_directory_is_written() {
    let (folder, offered) = folder();
    let ran = probe_with(
        spec(RW),
        &offered,
        &["write /data/new text", "mkdir /data/folder", "rename /data/new /data/folder/new"],
    )
    .await;
    assert_eq!(ran.lines, ["write done", "mkdir done", "rename done"]);
    let written = std::fs::read_to_string(folder.path().join("in/folder/new")).unwrap();
    assert_eq!(written, "text");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_a_directory() {
    let (folder, offered) = folder();
    let inside = folder.path().join("in");
    symlink("../secret", inside.join("relative")).unwrap();
    symlink(folder.path().join("secret"), inside.join("absolute")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    symlink("/", inside.join("root")).unwrap();
    let script = [
        "read /data/../secret",
        "read /data/./../secret",
        "read /data/relative",
        "read /data/relative/",
        "read /data/absolute",
        "read /data/up/secret",
        "read /data/up/secret/",
        "read /data/root/etc/hostname",
        "list /data/up",
        "list /data/up/",
        "list /data/root/",
        "list /data/..",
        "list /data/../",
        "write /data/relative broken",
        "write /data/absolute/ broken",
        "write /data/up/new broken",
        "rename /data/file /data/up/file",
        "link /data/file /data/up/file",
        "link /data/up/secret /data/stolen",
        "remove /data/up/secret",
        "mkdir /data/up/folder",
        "mkdir /data/up/folder/",
        "read /secret",
        "read /data/file",
    ];
    let ran = probe_with(spec(RW), &offered, &script).await;
    let (last, escapes) = ran.lines.split_last().unwrap();
    assert!(escapes.iter().all(|line| line.contains("failed")), "{escapes:#?}");
    assert_eq!((escapes.len() + 1, last.as_str()), (script.len(), "read content"));
    assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "secret");
    let beside: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_files_are_limited_and_closed_ones_do_not_count() {
    let (_folder, offered) = folder();
    let limited = format!("limits: {{open_files: 5}}\n{RO}");
    let script = ["reopen 50 /data/file", "open 5 /data/file", "open 6 /data/file"];
    let ran = probe_with(spec(&limited), &offered, &script).await;
    assert_eq!(ran.lines, ["reopen 50", "open 5", "open 5"]);
    assert_eq!(ran.trap, None);
    assert_eq!(ran.exceeded, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_after_the_last_file_is_put_down_to_the_limit() {
    let (_folder, offered) = folder();
    let limited = format!("limits: {{open_files: 1}}\n{RO}");
    let ran = probe_with(spec(&limited), &offered, &["open 2 /data/file", "panic"]).await;
    assert_eq!(ran.limit.unwrap().limit, LimitKind::OpenFiles);
}

#[test]
fn unknown_names_and_modes_are_refused_with_words() {
    let (folder, _) = folder();
    let offered = offer(&folder.path().join("in"), DirectoryMode::Ro);
    let refusal = |yaml: &str| Guest::offered(&spec(yaml), &offered).err().unwrap();
    let unknown = refusal("capabilities: {files: [{host: other, guest: /data}]}");
    assert!(unknown.contains("`other`") && unknown.contains("to this module: data."), "{unknown}");
    let mode = refusal(RW);
    assert!(mode.contains("read-only"), "{mode}");
    std::fs::remove_dir_all(folder.path().join("in")).unwrap();
    let gone = refusal(RO);
    assert!(gone.contains("`data`") && !gone.contains("/tmp"), "{gone}");
}
