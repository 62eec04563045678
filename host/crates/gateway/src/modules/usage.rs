//! What a module uses against what it is granted, in the contract's messages.

use std::{collections::BTreeMap, time::Duration};

use roadstead_domain::Namespace;
use roadstead_engine::{BreakerState, Module};
use roadstead_proto::v1::{self as pb, ListUsageRequest, ListUsageResponse, ModuleUsage};
use roadstead_registry::{LiveModule, Registry};
use tonic::{Code, Request, Response, Status};

use super::{Modules, fleet, module_name, native};
use crate::{
    status::{from_change, from_fault},
    steps::permit,
};

/// What modules use on the hosts that are asked.
pub(super) async fn list(
    modules: &Modules,
    request: Request<ListUsageRequest>,
) -> Result<Response<ListUsageResponse>, Status> {
    let permit = permit(&request)?;
    let all = request.get_ref().all_namespaces;
    if all {
        permit.for_host().map_err(|fault| from_fault(&fault, true))?;
    }
    let inquiry = modules.fleet.inquiry(&permit, &request, request.get_ref().scope)?;
    let asked = request.into_inner();
    let namespace = permit.namespace().clone();
    let name = asked.name.clone();
    let own = modules.answer(move |registry| {
        let modules = if all {
            everything(registry)
        } else if name.is_empty() {
            registry.list(&namespace).iter().map(|one| of(registry, &namespace, one)).collect()
        } else {
            let module = registry.get(&namespace, &module_name(&name)?).map_err(from_change)?;
            vec![of(registry, &namespace, &module)]
        };
        Ok((modules, registry.engine().cpu().0))
    });
    let others = inquiry.ask(|mut host| {
        let asked = ListUsageRequest { scope: pb::Scope::Host.into(), ..asked.clone() };
        async move {
            match host.list_usage(asked).await {
                Ok(answer) => Ok(answer.into_inner()),
                // It does not know the module, or not yet.
                Err(status) if status.code() == Code::NotFound => Ok(ListUsageResponse::default()),
                Err(status) => Err(status),
            }
        }
    });
    let (own, others) = tokio::join!(own, others);
    let (own, host_millicores) = own?.into_inner();
    let here = &modules.fleet.name;
    let names = others.iter().map(|(name, answer)| (name, answer.as_ref().err()));
    let hosts = fleet::asked(names.chain([(here, None)]));
    let own = ListUsageResponse { modules: own, host_millicores, hosts: Vec::new() };
    let parts = others.into_iter().filter_map(|(name, answer)| Some((name, answer.ok()?)));
    let parts = parts.chain([(here.clone(), own)]);
    let mut told = ListUsageResponse { hosts, ..ListUsageResponse::default() };
    for (host, part) in parts {
        told.host_millicores = told.host_millicores.saturating_add(part.host_millicores);
        let host = if asked.by_host { host.to_string() } else { String::new() };
        let named = part.modules.into_iter();
        told.modules.extend(named.map(|usage| ModuleUsage { host: host.clone(), ..usage }));
    }
    told.modules = summed(told.modules);
    Ok(Response::new(told))
}

/// What all modules of the host use, in order.
fn everything(registry: &Registry) -> Vec<ModuleUsage> {
    let routes = registry.routes();
    routes.all().map(|(namespace, module)| of(registry, namespace, module)).collect()
}

/// One for each namespace, name and host, in order.
fn summed(all: Vec<ModuleUsage>) -> Vec<ModuleUsage> {
    let mut sums: BTreeMap<(String, String, String), ModuleUsage> = BTreeMap::new();
    for usage in all {
        let key = (usage.namespace.clone(), usage.name.clone(), usage.host.clone());
        match sums.get_mut(&key) {
            Some(sum) => add(sum, usage),
            None => drop(sums.insert(key, usage)),
        }
    }
    sums.into_values().collect()
}

/// Adds what a module uses on another host. What one instance had or may have stays so.
fn add(sum: &mut ModuleUsage, usage: ModuleUsage) {
    for (to, from) in [
        (&mut sum.running, usage.running),
        (&mut sum.queued, usage.queued),
        (&mut sum.calls, usage.calls),
        (&mut sum.fuel, usage.fuel),
        (&mut sum.idle_instances, usage.idle_instances),
        (&mut sum.loaded_versions, usage.loaded_versions),
        (&mut sum.sessions, usage.sessions),
        (&mut sum.streams, usage.streams),
    ] {
        *to = to.saturating_add(from);
    }
    for (reason, count) in usage.faults {
        let to = sum.faults.entry(reason).or_default();
        *to = to.saturating_add(count);
    }
    for breaker in usage.open_breakers {
        let known = sum.open_breakers.iter_mut().find(|known| known.version == breaker.version);
        match known {
            // Open on one host says more than half open on another.
            Some(known) if breaker.state() == pb::BreakerState::Open => *known = breaker,
            Some(_) => {}
            None => sum.open_breakers.push(breaker),
        }
    }
    let (mut cpu, more) = (sum.cpu.unwrap_or_default(), usage.cpu.unwrap_or_default());
    // Without a ceiling on one host there is none for all.
    let limited = 0 < cpu.limit_millicores && 0 < more.limit_millicores;
    let limit = cpu.limit_millicores.saturating_add(more.limit_millicores);
    for (to, from) in [
        (&mut cpu.total_us, more.total_us),
        (&mut cpu.millicores_2s, more.millicores_2s),
        (&mut cpu.millicores_10s, more.millicores_10s),
        (&mut cpu.millicores_60s, more.millicores_60s),
        (&mut cpu.guaranteed_millicores, more.guaranteed_millicores),
        (&mut cpu.throttled_us, more.throttled_us),
    ] {
        *to = to.saturating_add(from);
    }
    cpu.limit_millicores = if limited { limit } else { 0 };
    cpu.weight = cpu.weight.max(more.weight);
    let (mut memory, more) = (sum.memory.unwrap_or_default(), usage.memory.unwrap_or_default());
    memory.current_bytes = memory.current_bytes.saturating_add(more.current_bytes);
    memory.limit_bytes = memory.limit_bytes.saturating_add(more.limit_bytes);
    memory.peak_instance_bytes = memory.peak_instance_bytes.max(more.peak_instance_bytes);
    memory.instance_limit_bytes = memory.instance_limit_bytes.max(more.instance_limit_bytes);
    (sum.cpu, sum.memory) = (Some(cpu), Some(memory));
}

/// All versions of a module together; what is granted is what the version says that answers for it.
pub(super) fn of(registry: &Registry, namespace: &Namespace, module: &LiveModule) -> ModuleUsage {
    let (namespace, name) = (namespace.to_string(), module.name.to_string());
    let mut usage = ModuleUsage { namespace, name, ..Default::default() };
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
        usage.isolation = native::isolation(registry, current.id(), current.record()).to_owned();
        usage.native_state = native::state_of(registry, module);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(name: &str, host: &str, calls: u64, limit_millicores: u64) -> ModuleUsage {
        let cpu = pb::CpuUsage {
            total_us: calls,
            limit_millicores,
            weight: calls,
            ..pb::CpuUsage::default()
        };
        let memory = pb::MemoryUsage {
            current_bytes: calls,
            peak_instance_bytes: calls,
            ..pb::MemoryUsage::default()
        };
        ModuleUsage {
            name: name.to_owned(),
            host: host.to_owned(),
            calls,
            faults: [("GUEST_TRAP".to_owned(), calls)].into(),
            cpu: Some(cpu),
            memory: Some(memory),
            ..ModuleUsage::default()
        }
    }

    #[test]
    fn what_adds_up_is_summed_and_what_does_not_is_the_most() {
        let all = vec![usage("b", "", 1, 5), usage("a", "", 2, 5), usage("a", "", 3, 7)];
        let sums = summed(all);
        assert_eq!(sums.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let (cpu, memory) = (sums[0].cpu.unwrap(), sums[0].memory.unwrap());
        assert_eq!((sums[0].calls, sums[0].faults["GUEST_TRAP"], cpu.total_us), (5, 5, 5));
        assert_eq!((cpu.limit_millicores, cpu.weight), (12, 3));
        assert_eq!((memory.current_bytes, memory.peak_instance_bytes), (5, 3));
        let free = summed(vec![usage("a", "", 1, 5), usage("a", "", 1, 0)]);
        assert_eq!(free[0].cpu.unwrap().limit_millicores, 0);
        let apart = summed(vec![usage("a", "two", 1, 0), usage("a", "one", 1, 0)]);
        assert_eq!(apart.iter().map(|one| one.host.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn a_breaker_that_is_open_anywhere_is_open() {
        let with = |state: pb::BreakerState| {
            let breaker = pb::OpenBreaker { version: "0.1.0".to_owned(), state: state.into() };
            ModuleUsage { open_breakers: vec![breaker], ..usage("a", "", 1, 0) }
        };
        let (open, half) = (pb::BreakerState::Open, pb::BreakerState::HalfOpen);
        for states in [[open, half], [half, open]] {
            let sums = summed(states.map(with).to_vec());
            assert_eq!(sums[0].open_breakers.len(), 1);
            assert_eq!(sums[0].open_breakers[0].state(), open);
        }
    }
}
