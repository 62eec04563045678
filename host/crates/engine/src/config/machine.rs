//! What this machine has, as far as the engine's sizes depend on it.

use std::fs;

use roadstead_domain::ByteSize;

/// Assumed where the machine does not say.
const UNKNOWN_MEMORY: ByteSize = ByteSize::mib(2048);

/// Memory of the machine, or of the control group where that is smaller.
pub fn memory() -> ByteSize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(ByteSize);
    [machine, group].into_iter().flatten().min().unwrap_or(UNKNOWN_MEMORY)
}

/// One slot for every 8 MiB, within what the kernel's default of 65,530 mappings a process and the
/// address space (4 GiB a slot of 128 TiB) leave room for.
pub(super) fn slots(memory: ByteSize) -> u32 {
    u32::try_from(memory.0 >> 23).unwrap_or(u32::MAX).clamp(64, 1000)
}

fn total_of(meminfo: &str) -> Option<ByteSize> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(ByteSize::kib(kib))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernels_table() {
        let text = "MemTotal:       24594296 kB\nMemFree:        22345678 kB\n";
        assert_eq!(total_of(text), Some(ByteSize::kib(24_594_296)));
        assert_eq!(total_of("nothing"), None);
        assert!(0 < memory().0);
    }

    #[test]
    fn small_and_large_machines_get_sane_slots() {
        assert_eq!(slots(ByteSize::mib(128)), 64);
        assert_eq!(slots(ByteSize::mib(4096)), 512);
        assert_eq!(slots(ByteSize(1 << 50)), 1000);
    }
}
