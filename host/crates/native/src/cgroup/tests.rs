//! Groups of both versions in directories that are none of the kernel's, and the words about them.

use roadstead_domain::{ByteSize, Millicores};

use super::*;

fn resources() -> Resources {
    Resources { cpu: Millicores(1500), memory: ByteSize::mib(64), pids: 9, ..Resources::default() }
}

#[test]
fn the_host_s_group_is_found_where_it_is_mounted() {
    let hybrid = "30 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                  31 1 0:27 / /sys/fs/cgroup/both rw - cgroup cgroup rw,cpu,cpuacct\n\
                  32 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    let groups = "5:cpu,cpuacct:/y\n4:memory:/x\n0::/a/b\n";
    let path = |path: &str| Some(PathBuf::from(path));
    assert_eq!(own(hybrid, groups, None), path("/sys/fs/cgroup/unified/a/b"));
    assert_eq!(own(hybrid, groups, Some(Controller::Memory)), path("/sys/fs/cgroup/memory/x"));
    assert_eq!(own(hybrid, groups, Some(Controller::Cpu)), path("/sys/fs/cgroup/both/y"));
    assert_eq!(own(hybrid, groups, Some(Controller::Pids)), None);
    let within = "30 1 0:26 /a /sys/fs/cgroup rw shared:2 - cgroup2 cgroup2 rw\n";
    assert_eq!(own(within, groups, None), path("/sys/fs/cgroup/b"));
    assert_eq!(own("30 1 0:26 / /x rw - cgroup c rw\n", groups, None), None);
    assert_eq!(own(hybrid, "4:memory:/x\n", None), None);
}

#[test]
fn every_resource_of_a_spec_is_a_limit_of_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let group = Cgroup { path: directory.path().to_owned() };
    group.limit(&Controller::ALL, &resources()).unwrap();
    let read = |file: &str| fs::read_to_string(directory.path().join(file)).unwrap();
    assert_eq!(read("memory.max"), (64 << 20).to_string());
    assert_eq!(read("memory.oom.group"), "1");
    assert_eq!(read("pids.max"), "12");
    assert_eq!(read("cpu.max"), "150000 100000");
}

#[test]
fn version_1_has_the_same_limits() {
    let directory = tempfile::tempdir().unwrap();
    for controller in Controller::ALL {
        legacy::limit(directory.path(), controller, &resources()).unwrap();
    }
    let read = |file: &str| fs::read_to_string(directory.path().join(file)).unwrap();
    assert_eq!(read("memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(read("memory.memsw.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(read("pids.max"), "12");
    assert_eq!(read("cpu.cfs_quota_us"), "150000");
    assert_eq!(read("cpu.cfs_period_us"), "100000");
}

#[test]
fn what_is_not_bounded_is_said() {
    let groups = |unified: &[Controller]| Cgroups {
        base: PathBuf::from("/nowhere/at/all"),
        unified: unified.to_vec(),
        legacy: Vec::new(),
    };
    assert_eq!(
        describe(Some(&groups(&Controller::ALL))),
        "control group with limits of memory, processes, processor time"
    );
    assert_eq!(
        describe(Some(&groups(&[Controller::Memory]))),
        "control group with limits of memory; processes only watched, not bounded at once; \
         processor time not bounded"
    );
    assert_eq!(
        describe(None),
        "no control group; memory, processes only watched, not bounded at once; processor time \
         not bounded"
    );
}

#[test]
fn hosts_have_groups_of_their_own() {
    assert_ne!(base(Path::new("/a")), base(Path::new("/b")));
    assert_eq!(base(Path::new("/a")), base(Path::new("/a")));
}

/// What a kernel with the controllers in either version is seen to do; where it has none, or does
/// not let this user, that is said.
#[test]
fn groups_that_can_be_made_hold_what_they_say() {
    let directory = tempfile::tempdir().unwrap();
    let Some(groups) = Cgroups::find(directory.path()) else {
        println!("no control groups here");
        return;
    };
    println!("{}", describe(Some(&groups)));
    let group = groups.make("test", &resources()).unwrap();
    let all: Vec<_> = legacy::of(&group.path).into_iter().chain([group.path.clone()]).collect();
    let read = |file: &str| all.iter().find_map(|one| fs::read_to_string(one.join(file)).ok());
    let either = |new: &str, old: &str| read(new).or_else(|| read(old)).unwrap();
    if groups.holds(Controller::Memory) {
        let limit = either("memory.max", "memory.limit_in_bytes");
        assert_eq!(limit.trim(), (64 << 20).to_string());
    }
    if groups.holds(Controller::Pids) {
        assert_eq!(read("pids.max").unwrap().trim(), "12");
    }
    if groups.holds(Controller::Cpu) {
        assert!(either("cpu.max", "cpu.cfs_quota_us").starts_with("150000"));
    }
    assert!(!group.ran_out_of_memory());
    group.remove().unwrap();
    drop(groups);
    assert!(all.iter().all(|one| !one.parent().unwrap().exists()));
}
