//! Directories by name, and nothing outside them.

use std::{collections::BTreeMap, os::unix::fs::symlink, path::Path};

use roadstead_domain::{ByteSize, DirectoryMode, Grantee, LimitKind};
use tempfile::TempDir;

use super::harness::{Guest, probe_with, spec};
use crate::{OfferedDirectory, Offers};

fn offer(path: &Path, mode: DirectoryMode) -> Offers {
    let to = vec![Grantee::Everyone];
    let offered = OfferedDirectory { path: path.to_owned(), mode, size: None, files: None, to };
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
async fn links_of_the_guests_own_lead_nowhere_either() {
    let (folder, offered) = folder();
    let script = [
        "symlink /etc /data/absolute",
        "symlink ../secret /data/relative",
        "symlink ../new /data/dangling",
        "symlink /proc/self /data/process",
        "mkdir /data/deep",
        "symlink ../../secret /data/deep/up",
        "read /data/absolute/hostname",
        "read /data/relative",
        "read /data/deep/up",
        "read /data/process/environ",
        "read /data/process/root/etc/hostname",
        "write /data/dangling broken",
        "grow /data/dangling 10",
        "append /data/relative 10 10",
        "link /data/relative/ /data/stolen",
    ];
    let ran = probe_with(spec(RW), &offered, &script).await;
    assert!(ran.lines[6..].iter().all(|line| line.contains("failed")), "{:#?}", ran.lines);
    assert_eq!(ran.lines.len(), script.len());
    assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
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

/// Runs a script in a directory that may hold so much, and says what is in it afterwards.
async fn within(quota: &str, script: &[&str]) -> (super::harness::Ran, TempDir) {
    let (folder, offered) = folder();
    let ran = probe_with(spec(&format!("quota: {{{quota}}}\n{RW}")), &offered, script).await;
    (ran, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writable_directory_holds_what_the_spec_says() {
    // `file` is there, with seven bytes.
    let (ran, folder) = within(
        "disk: 1007",
        &["append /data/a 100 20", "append /data/b 1 1", "overwrite /data/a 10 text"],
    )
    .await;
    assert_eq!(ran.lines, ["append 10", "append 0", "overwrite done"]);
    assert_eq!((ran.trap, ran.exceeded), (None, None));
    assert_eq!(std::fs::metadata(folder.path().join("in/a")).unwrap().len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_file_counts_with_its_length() {
    let (ran, folder) = within(
        "disk: 1Mi",
        &[
            "grow /data/a 1099511627776",
            "grow /data/b 1000000",
            "grow /data/c 1000000",
            "overwrite /data/b 999990 exactly-10",
            "overwrite /data/b 1099511627776 x",
        ],
    )
    .await;
    assert!(ran.lines[0].contains("failed") && ran.lines[2].contains("failed"), "{:?}", ran.lines);
    assert_eq!(ran.lines[1], "grow done");
    assert_eq!(ran.lines[3], "overwrite done");
    assert!(ran.lines[4].contains("failed"), "{:?}", ran.lines);
    assert_eq!(std::fs::metadata(folder.path().join("in/a")).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_every_kind_are_limited() {
    for kind in ["file", "folder", "link", "symlink"] {
        // Five, with the one that is there.
        let made = format!("make {kind} /data 20");
        let (ran, folder) = within("inodes: 5", &[&made, "write /data/file other"]).await;
        assert_eq!(ran.lines, ["make 4", "write done"], "{kind}");
        assert_eq!(std::fs::read_dir(folder.path().join("in")).unwrap().count(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_makes_room_once_it_is_closed() {
    let (ran, _folder) =
        within("disk: 10007", &["churn /data 10 6000", "hoard /data 10 3000"]).await;
    assert_eq!(ran.lines, ["churn done", "hoard 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_for_want_of_room_is_put_down_to_the_quota() {
    let (ran, _folder) = within("disk: 100", &["append /data/a 200 1", "panic"]).await;
    let limit = ran.limit.unwrap();
    assert_eq!((limit.limit, limit.allowed), (LimitKind::Disk, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_allow_less_and_instances_share_what_there_is() {
    let (folder, mut offered) = folder();
    let data = offered.directories.get_mut("data").unwrap();
    (data.size, data.files) = (Some(ByteSize(1007)), Some(3));
    let run = async |script: &[&str]| probe_with(spec(RW), &offered, script).await.lines;
    assert_eq!(run(&["append /data/a 100 6"]).await, ["append 6"]);
    assert_eq!(run(&["append /data/b 100 6"]).await, ["append 4"]);
    assert_eq!(run(&["make file /data 3"]).await, ["make 0"]);
    std::fs::remove_file(folder.path().join("in/a")).unwrap();
    assert_eq!(run(&["append /data/c 100 20"]).await, ["append 6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_from_one_counted_directory_to_another() {
    let (folder, mut offered) = folder();
    let other = TempDir::new().unwrap();
    let second = offer(other.path(), DirectoryMode::Rw).directories.remove("data").unwrap();
    offered.directories.insert("other".to_owned(), second);
    let both = "capabilities: {files: [{host: data, guest: /data, mode: rw}, {host: other, guest: /other, mode: rw}]}";
    let script = ["rename /data/file /other/file", "link /data/file /other/file"];
    let ran = probe_with(spec(both), &offered, &script).await;
    assert!(ran.lines.iter().all(|line| line.contains("failed")), "{:?}", ran.lines);
    assert!(folder.path().join("in/file").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_no_clocks_where_clocks_are_fixed() {
    let (_folder, offered) = folder();
    let script = ["write /data/new text", "mtime /data/new", "mtime /data/file"];
    let ran = probe_with(spec(RW), &offered, &script).await;
    assert_eq!(ran.lines[1..], ["mtime 1735689600", "mtime 1735689600"]);
    let real = RW.replace("capabilities: {", "capabilities: {clocks: real, ");
    let ran = probe_with(spec(&real), &offered, &script).await;
    assert_ne!(ran.lines[1], "mtime 1735689600");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_have_a_sane_length() {
    let (_folder, offered) = folder();
    let ran = probe_with(spec(RO), &offered, &["long /data 100", "long /data 100000"]).await;
    assert_eq!(ran.lines[0], "long content");
    assert!(ran.lines[1].contains("failed"), "{:?}", ran.lines);
}
