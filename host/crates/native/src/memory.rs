//! How much memory processes have, by what the kernel tells of each: for where no control group
//! counts it.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt as _};

use crate::seen::Seen;

/// Of all of them together. More than `most` only where that is so, however much they share.
pub(crate) fn used(processes: &[Seen], most: u64) -> u64 {
    let files = files(processes);
    let resident = processes.iter().map(|one| one.resident).fold(files, u64::saturating_add);
    if resident <= most {
        return resident;
    }
    // Costs more to know.
    let parts = processes.iter().map(part).fold(Part::default(), |all, one| Part {
        own: all.own.saturating_add(one.own),
        shared: all.shared.saturating_add(one.shared),
    });
    // Files in memory may be mapped too.
    parts.own.saturating_add(parts.shared.max(files))
}

/// What a process has of memory that is there: of what it shares with others, a share.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    own: u64,
    /// Files in memory, and what is shared with children.
    shared: u64,
}

/// All of what is resident where the kernel does not say.
fn part(process: &Seen) -> Part {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid));
    let text = text.unwrap_or_default();
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let shared = bytes("Pss_Shmem:").unwrap_or(0);
    let own = bytes("Pss:").map_or(process.resident, |all| all.saturating_sub(shared));
    Part { own, shared }
}

/// Bytes of files in memory that are open, mapped or not, each counted once.
fn files(processes: &[Seen]) -> u64 {
    let mut found = HashMap::new();
    for process in processes {
        let Ok(all) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else { continue };
        for path in all.filter_map(|entry| Some(entry.ok()?.path())) {
            let is_memory = fs::read_link(&path)
                .is_ok_and(|file| file.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"));
            if let Some(file) = is_memory.then(|| fs::metadata(&path).ok()).flatten() {
                found.insert((file.dev(), file.ino()), file.blocks().saturating_mul(512));
            }
        }
    }
    found.into_values().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;

    const SIZE: usize = 8 << 20;

    fn this() -> Seen {
        Seen::of(i32::try_from(std::process::id()).unwrap()).unwrap()
    }

    #[test]
    fn files_in_memory_count_once_whoever_has_them_open() {
        let before = files(&[this()]);
        let file = rustix::fs::memfd_create("hoard", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(file);
        file.write_all(&vec![1; SIZE]).unwrap();
        let _again = file.try_clone().unwrap();
        let after = files(&[this(), this()]);
        assert!(after - before >= SIZE as u64, "{before} {after}");
        assert!(after - before < 2 * SIZE as u64, "{before} {after}");
        // Of which nothing is mapped, and so nothing resident.
        let small = Seen { resident: 5, ..this() };
        assert_eq!(used(&[small], u64::MAX), after + 5);
        assert!(used(&[this()], 0) >= after);
    }

    #[test]
    fn what_processes_share_is_not_counted_for_each() {
        let part = part(&this());
        assert!(0 < part.own && part.own <= 2 * this().resident);
        let whole = used(&[this()], 0);
        assert!(whole <= 2 * this().resident + files(&[this()]));
    }
}
