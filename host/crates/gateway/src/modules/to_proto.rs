//! What the registry knows, in the contract's messages.

use std::sync::Arc;

use roadstead_domain::{ModuleId, ModuleName, ModuleSpec, Namespace};
use roadstead_proto::v1 as pb;
use roadstead_registry::{
    BreakRecord, LiveModule, MethodRecord, Phase, Progress, Registry, ServiceRecord, VersionRecord,
};

use super::native;

pub(super) fn modules(
    registry: &Registry,
    namespace: &Namespace,
    modules: &[Arc<LiveModule>],
) -> Vec<pb::Module> {
    modules.iter().map(|found| module(registry, namespace, found)).collect()
}

pub(super) fn module(
    registry: &Registry,
    namespace: &Namespace,
    module: &LiveModule,
) -> pb::Module {
    let newest_first = module.versions.values().rev();
    pb::Module {
        name: module.name.to_string(),
        versions: newest_first
            .map(|live| pb::ModuleVersion {
                problem: live.problem().map(ToString::to_string).unwrap_or_default(),
                percent: module.percent(&live.id().version),
                native: native::of(registry, live.id(), live.record()).map(native::standing),
                ..version(registry, namespace, &module.name, live.record())
            })
            .collect(),
        pinned: module.pinned.as_ref().map(ToString::to_string).unwrap_or_default(),
        stats: Some(stats(module)),
        usage: Some(super::usage::of(registry, namespace, module)),
    }
}

pub(super) fn version(
    registry: &Registry,
    namespace: &Namespace,
    name: &ModuleName,
    record: &VersionRecord,
) -> pb::ModuleVersion {
    let id = ModuleId {
        namespace: namespace.clone(),
        name: name.clone(),
        version: record.version.clone(),
    };
    pb::ModuleVersion {
        namespace: namespace.to_string(),
        name: name.to_string(),
        version: record.version.to_string(),
        digest: record.digest.to_string(),
        size: record.size,
        published_unix_ms: record.published_unix_ms,
        services: record.services.iter().map(|found| service(found, &record.spec)).collect(),
        unmapped: record
            .unmapped
            .iter()
            .map(|found| pb::Unmapped {
                export: found.export.clone(),
                reason: found.reason.clone(),
            })
            .collect(),
        imports: record
            .imports
            .iter()
            .map(|found| pb::Import { name: found.name.clone(), grant: found.grant.clone() })
            .collect(),
        spec_json: serde_json::to_string(&record.spec).unwrap_or_default(),
        forced: breaks(&record.forced),
        isolation: native::isolation(registry, &id, record).to_owned(),
        problem: String::new(),
        percent: 0,
        kind: native::kind(record).to_owned(),
        native: None,
    }
}

pub(super) fn breaks(breaks: &[BreakRecord]) -> Vec<pb::Break> {
    let one = |found: &BreakRecord| pb::Break {
        subject: found.subject.clone(),
        description: found.description.clone(),
    };
    breaks.iter().map(one).collect()
}

pub(super) fn progress(progress: Progress) -> pb::Progress {
    let phase = match progress.phase {
        Phase::Validating => pb::progress::Phase::Validating,
        Phase::Compiling => pb::progress::Phase::Compiling,
        Phase::Storing => pb::progress::Phase::Storing,
        Phase::Publishing => pb::progress::Phase::Publishing,
    };
    pb::Progress { phase: phase.into(), bytes: progress.bytes }
}

fn service(record: &ServiceRecord, spec: &ModuleSpec) -> pb::Service {
    let limits = &spec.limits;
    let path = |method: &MethodRecord| match &spec.native {
        Some(_) => "passed",
        None if method.is_compiled() => "compiled",
        None => "dynamic",
    };
    let method = |method: &MethodRecord| pb::Method {
        name: method.name.clone(),
        export: method.export.clone(),
        path: path(method).to_owned(),
        path_reason: method.dynamic.clone().unwrap_or_default(),
        input_limit: limits.input.of(method.is_compiled()).0,
        output_limit: limits.output.of(method.is_compiled()).0,
    };
    pb::Service { name: record.name.clone(), methods: record.methods.iter().map(method).collect() }
}

/// All versions together.
fn stats(module: &LiveModule) -> pb::ModuleStats {
    let mut sum = pb::ModuleStats::default();
    for module in module.versions.values().filter_map(|live| live.module().ok()) {
        let stats = module.stats();
        sum.calls += stats.calls;
        sum.running += stats.running;
        sum.queued += stats.queued;
        sum.fuel = sum.fuel.saturating_add(stats.fuel);
        sum.peak_memory_bytes = sum.peak_memory_bytes.max(stats.peak_memory);
        for (reason, count) in stats.faults {
            *sum.faults.entry(reason.to_owned()).or_default() += count;
        }
    }
    sum
}
