//! How this host is, and the others of its pool.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use roadstead_domain::{HostName, Namespace};
use roadstead_proto::v1::{self as pb, ListHostsRequest, ListHostsResponse};
use roadstead_registry::Registry;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Modules, fleet::Answered, native};
use crate::{Controller, Counters, status::from_fault, steps::permit};

/// What is known of this host beside its registry.
pub(crate) struct About {
    /// Where other hosts find it, else where it listens.
    pub address: String,
    pub since: SystemTime,
    pub counters: Arc<Counters>,
    pub unready: CancellationToken,
    pub controller: Option<Arc<dyn Controller>>,
}

/// Versions of one host that are named as failing at most.
const FAILING: usize = 1000;

pub(super) async fn list(
    modules: &Modules,
    request: Request<ListHostsRequest>,
) -> Result<Response<ListHostsResponse>, Status> {
    let permit = permit(&request)?;
    let ListHostsRequest { scope, all_namespaces } = *request.get_ref();
    if all_namespaces {
        permit.for_host().map_err(|fault| from_fault(&fault, true))?;
    }
    let inquiry = modules.fleet.inquiry(&permit, &request, scope)?;
    let within = (!all_namespaces).then(|| permit.namespace().clone());
    let (name, about) = (modules.fleet.name.clone(), Arc::clone(&modules.about));
    let own = modules.answer(move |registry| Ok(this(&name, &about, registry, within.as_ref())));
    let others = inquiry.ask(|mut host| async move {
        let asked = ListHostsRequest { scope: pb::Scope::Host.into(), all_namespaces };
        Ok(host.list_hosts(asked).await?.into_inner())
    });
    let (own, others) = tokio::join!(own, others);
    let mut hosts = vec![own?.into_inner()];
    hosts.extend(others.into_iter().map(|answered| other(modules, answered)));
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Response::new(ListHostsResponse { hosts }))
}

/// This host; its modules are those of a namespace, or all.
fn this(
    name: &HostName,
    about: &About,
    registry: &Registry,
    within: Option<&Namespace>,
) -> pb::Host {
    let (routes, engine) = (registry.routes(), registry.engine());
    let (mut modules, mut versions, mut failing) = (0, 0, Vec::new());
    let seen = routes.all().filter(|(namespace, _)| within.is_none_or(|one| one == *namespace));
    for (namespace, module) in seen {
        modules += 1;
        versions += module.versions.len() as u64;
        for (version, live) in &module.versions {
            if FAILING <= failing.len() {
                continue;
            }
            let problem = live.problem().map(ToString::to_string);
            let Some(problem) = problem.or_else(|| native::problem(registry, live)) else {
                continue;
            };
            failing.push(pb::FailingVersion {
                namespace: namespace.to_string(),
                module: module.name.to_string(),
                version: version.to_string(),
                problem,
            });
        }
    }
    let key =
        |one: &pb::FailingVersion| (one.namespace.clone(), one.module.clone(), one.version.clone());
    failing.sort_by_key(key);
    let since = about.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let controller = match about.controller.as_ref().map(|controller| controller.is_connected()) {
        None => pb::ControllerLink::Unspecified,
        Some(true) => pb::ControllerLink::Connected,
        Some(false) => pb::ControllerLink::Away,
    };
    pb::Host {
        name: name.to_string(),
        address: about.address.clone(),
        error: String::new(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        up_since_unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        catalog_revision: routes.revision(),
        catalog_current: registry.catalog_is_current(),
        modules,
        versions,
        failing,
        open_requests: about.counters.read().open_requests,
        memory_bytes: engine.memory_taken(),
        memory_limit_bytes: engine.config().memory_budget.0,
        ready: !about.unready.is_cancelled(),
        controller: controller.into(),
    }
}

/// Another host, by the name and the address that this one knows it by.
fn other(modules: &Modules, (name, answer): Answered<ListHostsResponse>) -> pb::Host {
    let known = modules.fleet.pool.as_ref().and_then(|pool| pool.address(&name));
    let address = known.map(|at| at.to_string()).unwrap_or_default();
    let told = answer.and_then(|answer| {
        answer.hosts.into_iter().next().ok_or_else(|| "it said nothing of itself".to_owned())
    });
    let host = told.unwrap_or_else(|error| pb::Host { error, ..pb::Host::default() });
    pb::Host { name: name.to_string(), address, ..host }
}
