//! Version 1 of control groups: a hierarchy for each controller, where it is mounted and may be
//! written. They limit what version 2 has no controller for.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use roadstead_domain::Resources;

use super::{Controller, PERIOD, empty, make, own, processes, quota, tables};

/// Where a host makes groups for one controller.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) controller: Controller,
    base: PathBuf,
}

impl Hierarchy {
    /// None where it is not mounted, or does not take limits.
    pub(super) fn find(controller: Controller, name: &str) -> Option<Self> {
        let found = Self { controller, base: base(controller, name)? };
        match found.probe() {
            Ok(()) => Some(found),
            Err(error) => {
                tracing::debug!(controller = controller.name(), %error, "not in version 1");
                found.remove();
                None
            }
        }
    }

    fn probe(&self) -> io::Result<()> {
        empty(&self.base)?;
        let limited = self.make("probe", &Resources::default());
        fs::remove_dir(self.base.join("probe"))?;
        limited
    }

    /// A group with a limit of a spec.
    pub(super) fn make(&self, name: &str, resources: &Resources) -> io::Result<()> {
        let group = self.base.join(name);
        make(&group)?;
        limit(&group, self.controller, resources)
    }

    /// Takes away what is empty.
    pub(super) fn remove(&self) {
        fs::remove_dir(&self.base).ok();
    }
}

pub(super) fn limit(group: &Path, controller: Controller, resources: &Resources) -> io::Result<()> {
    let write = |file: &str, number: u64| fs::write(group.join(file), number.to_string());
    match controller {
        Controller::Memory => {
            write("memory.limit_in_bytes", resources.memory.0)?;
            // Not there where the kernel has no swap: no more of both than of memory.
            write("memory.memsw.limit_in_bytes", resources.memory.0).ok();
            Ok(())
        }
        Controller::Pids => write("pids.max", processes(resources)),
        Controller::Cpu => {
            write("cpu.cfs_period_us", PERIOD)?;
            write("cpu.cfs_quota_us", quota(resources))
        }
    }
}

/// The groups that go with one of version 2: of its host's base, and of its name.
pub(super) fn of(unified: &Path) -> Vec<PathBuf> {
    let name = unified.file_name();
    let base_name = unified.parent().and_then(|base| base.file_name()?.to_str());
    let (Some(name), Some(base_name)) = (name, base_name) else { return Vec::new() };
    let Some((mounts, groups)) = tables() else { return Vec::new() };
    let all = Controller::ALL.into_iter().filter_map(|one| own(&mounts, &groups, Some(one)));
    all.map(|own| own.join(base_name).join(name)).filter(|group| group.is_dir()).collect()
}

fn base(controller: Controller, name: &str) -> Option<PathBuf> {
    let (mounts, groups) = tables()?;
    Some(own(&mounts, &groups, Some(controller))?.join(name))
}
