//! Control groups (version 2) for servers, where they can be made: each server gets one with its
//! limits, and is ended as a whole by it. Without the controllers of memory, processes and
//! processor time a group only ends and counts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use roadstead_domain::Resources;

/// Where this host makes groups.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    base: PathBuf,
    /// Whether memory, processes and processor time are limited in them.
    pub(crate) limits: bool,
}

/// The group of one server.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
}

/// Under the host's own group.
const BASE: &str = "roadstead-native";
/// Where the host goes itself: a group with controllers for its children holds no processes.
const HOST: &str = "roadstead-host";
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Over which processor time is counted, in microseconds.
const PERIOD: u64 = 100_000;

impl Cgroups {
    /// None where no group can be made that ends what is in it.
    pub(crate) fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own(&mounts, &groups)?;
        match Self::at(&own) {
            Ok(groups) => Some(groups),
            Err(error) => {
                tracing::debug!(group = %own.display(), %error, "no control groups for servers");
                None
            }
        }
    }

    fn at(own: &Path) -> io::Result<Self> {
        let base = own.join(BASE);
        make(&base)?;
        let limits = enable(own).and_then(|()| enable(&base));
        if let Err(error) = &limits {
            tracing::debug!(%error, "control groups without limits");
        }
        let probe = base.join("probe");
        make(&probe)?;
        let ends = fs::write(probe.join("cgroup.kill"), "1");
        fs::remove_dir(&probe)?;
        ends?;
        Ok(Self { base, limits: limits.is_ok() })
    }

    /// A group with the limits of a spec.
    pub(crate) fn make(&self, name: &str, resources: &Resources) -> io::Result<Cgroup> {
        let path = self.base.join(name);
        make(&path)?;
        let group = Cgroup { path };
        if self.limits {
            group.limit(resources)?;
        }
        Ok(group)
    }
}

impl Cgroup {
    fn limit(&self, resources: &Resources) -> io::Result<()> {
        let write = |file: &str, text: String| fs::write(self.path.join(file), text);
        write("memory.max", resources.memory.0.to_string())?;
        // Not there where the kernel has no swap.
        write("memory.swap.max", "0".to_owned()).ok();
        write("memory.oom.group", "1".to_owned())?;
        write("pids.max", u64::from(resources.pids).saturating_add(HELPERS).to_string())?;
        let quota = resources.cpu.0.saturating_mul(PERIOD) / 1000;
        write("cpu.max", format!("{} {PERIOD}", quota.max(1000)))
    }

    /// Ends all that is in it.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Whether something in it was ended for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok();
        events.lines().filter_map(count).any(|count| count > 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events"));
        events.map_or(true, |text| text.lines().any(|line| line == "populated 0"))
    }

    /// Takes it away, once it is empty.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Processes and threads of the helpers, beside those of the spec.
pub(crate) const HELPERS: u64 = 3;

/// The directory of this process's group.
fn own(mounts: &str, groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (root, path) = (words.next()?, words.next()?);
        (after.split(' ').next()? == "cgroup2").then_some((root, path))
    })?;
    let (root, path) = mount;
    let below = Path::new(group).strip_prefix(root).ok()?;
    Some(Path::new(path).join(below))
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Lets the children of a group have limits.
fn enable(group: &Path) -> io::Result<()> {
    let there = fs::read_to_string(group.join("cgroup.controllers"))?;
    let missing =
        CONTROLLERS.iter().find(|name| !there.split_whitespace().any(|one| one == **name));
    if let Some(name) = missing {
        return Err(io::Error::other(format!("the controller {name} is not there")));
    }
    let all = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
    let control = group.join("cgroup.subtree_control");
    match fs::write(&control, &all) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            step_aside(group)?;
            fs::write(&control, &all)
        }
        written => written,
    }
}

/// Leaves a group in which there is nobody else for one of the host's own.
fn step_aside(group: &Path) -> io::Result<()> {
    let own = std::process::id().to_string();
    let there = fs::read_to_string(group.join("cgroup.procs"))?;
    if there.split_whitespace().any(|process| process != own) {
        return Err(io::Error::other("there are other processes in the host's group"));
    }
    let host = group.join(HOST);
    make(&host)?;
    fs::write(host.join("cgroup.procs"), own)
}

#[cfg(test)]
mod tests {
    use roadstead_domain::{ByteSize, Millicores};

    use super::*;

    #[test]
    fn the_host_s_group_is_found_where_it_is_mounted() {
        let hybrid = "30 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/x\n0::/a/b\n";
        assert_eq!(own(hybrid, groups), Some(PathBuf::from("/sys/fs/cgroup/unified/a/b")));
        let within = "30 1 0:26 /a /sys/fs/cgroup rw shared:2 - cgroup2 cgroup2 rw\n";
        assert_eq!(own(within, groups), Some(PathBuf::from("/sys/fs/cgroup/b")));
        assert_eq!(own("30 1 0:26 / /x rw - cgroup c rw\n", groups), None);
        assert_eq!(own(hybrid, "4:memory:/x\n"), None);
    }

    #[test]
    fn every_resource_of_a_spec_is_a_limit_of_its_group() {
        let directory = tempfile::tempdir().unwrap();
        let group = Cgroup { path: directory.path().to_owned() };
        let resources = Resources {
            cpu: Millicores(1500),
            memory: ByteSize::mib(64),
            pids: 9,
            ..Resources::default()
        };
        group.limit(&resources).unwrap();
        let read = |file: &str| fs::read_to_string(directory.path().join(file)).unwrap();
        assert_eq!(read("memory.max"), (64 << 20).to_string());
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("pids.max"), "12");
        assert_eq!(read("cpu.max"), "150000 100000");
    }
}
