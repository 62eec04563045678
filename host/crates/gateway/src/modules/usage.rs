//! What a module uses against what it is granted, in the contract's messages.

use std::time::Duration;

use roadstead_domain::Namespace;
use roadstead_engine::{BreakerState, Module};
use roadstead_proto::v1 as pb;
use roadstead_registry::LiveModule;

/// All versions of a module together; what is granted is what the version says that answers for it.
pub(super) fn of(namespace: &Namespace, module: &LiveModule) -> pb::ModuleUsage {
    let (namespace, name) = (namespace.to_string(), module.name.to_string());
    let mut usage = pb::ModuleUsage { namespace, name, ..Default::default() };
    let mut cpu = pb::CpuUsage::default();
    let mut memory = pb::MemoryUsage::default();
    for version in module.versions.values().filter_map(|live| live.module().ok()) {
        let stats = version.stats();
        usage.running += stats.running;
        usage.queued += stats.queued;
        usage.calls += stats.calls;
        usage.fuel = usage.fuel.saturating_add(stats.fuel);
        usage.idle_instances += stats.idle_instances;
        usage.sessions += stats.sessions;
        usage.streams += stats.streams;
        usage.loaded_versions += u64::from(stats.loaded);
        usage.open_breakers.extend(breaker(version, stats.breaker));
        for (reason, count) in stats.faults {
            *usage.faults.entry(reason.to_owned()).or_default() += count;
        }
        memory.peak_instance_bytes = memory.peak_instance_bytes.max(stats.peak_memory);
        // The versions of a module share these.
        (memory.current_bytes, memory.limit_bytes) = (stats.memory, stats.memory_limit);
        let used = version.cpu();
        cpu.total_us = micros(used.total);
        cpu.throttled_us = micros(used.throttled);
        cpu.millicores_2s = used.millicores_2s;
        cpu.millicores_10s = used.millicores_10s;
        cpu.millicores_60s = used.millicores_60s;
    }
    if let Some(current) = module.current() {
        let spec = &current.record().spec;
        cpu.guaranteed_millicores = spec.quota.cpu.map_or(0, |cpu| cpu.0);
        cpu.limit_millicores = if spec.quota.borrow { 0 } else { cpu.guaranteed_millicores };
        cpu.weight = spec.quota.weight;
        memory.instance_limit_bytes = spec.limits.memory.0;
    }
    (usage.cpu, usage.memory) = (Some(cpu), Some(memory));
    usage
}

fn breaker(module: &Module, state: BreakerState) -> Option<pb::OpenBreaker> {
    let state = match state {
        BreakerState::Closed => return None,
        BreakerState::Open => pb::BreakerState::Open,
        BreakerState::HalfOpen => pb::BreakerState::HalfOpen,
    };
    let version = module.id().version.to_string();
    Some(pb::OpenBreaker { version, state: state.into() })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
