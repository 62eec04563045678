//! What a push would publish, as things are now: its version, its schema, and whom it breaks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use roadstead_catalog::{
    BreakRecord, LockChange, Publication, VersionChoice, VersionRecord, rules,
};
use roadstead_domain::{Digest, Millicores, Version};
use roadstead_transcode::{DeriveError, Derived, Locks};

use super::Validated;
use crate::{
    LiveModule, LiveVersion, NamespaceQuota, PushError, Registry, RouteTable, bindings::misfits,
    derive, registry::blocking, turns::Turn,
};

/// What a push comes to.
pub(crate) enum Plan {
    /// The same content is published already.
    Exists(Arc<VersionRecord>),
    New(Box<Planned>),
}

/// What this host has for modules, and for a namespace.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    cpu: Millicores,
    namespace: NamespaceQuota,
}

/// A version that could be published, if nothing changes in between.
pub(crate) struct Planned {
    /// The namespace's revision that the plan was made at.
    pub(crate) basis: crate::Edition,
    pub(crate) choice: VersionChoice,
    pub(crate) record: VersionRecord,
    pub(crate) derived: Derived,
    pub(crate) breaks: Vec<BreakRecord>,
    pub(crate) locks: Vec<LockChange>,
    pub(crate) lock_texts: Vec<Bytes>,
    /// None where the component itself must be kept for it.
    pub(crate) interface: Option<Bytes>,
}

impl Planned {
    /// The plan, if it breaks nobody or is forced; breaks are recorded then.
    pub(crate) fn accepted(
        mut self: Box<Self>,
        validated: &Validated,
    ) -> Result<Box<Self>, PushError> {
        if !self.breaks.is_empty() && !validated.force {
            return Err(PushError::Breaks(self.breaks));
        }
        self.record.forced = self.breaks.clone();
        Ok(self)
    }

    pub(crate) fn publication(&self, validated: &Validated) -> Publication {
        Publication {
            namespace: validated.namespace.clone(),
            name: validated.name.clone(),
            choice: self.choice,
            record: self.record.clone(),
            locks: self.locks.clone(),
        }
    }
}

impl Registry {
    /// Plans against what serves now.
    pub(crate) async fn plan(
        &self,
        turn: &Turn,
        validated: &Arc<Validated>,
    ) -> Result<Plan, PushError> {
        self.restore_locks(validated).await?;
        let (routes, validated) = (self.routes(), Arc::clone(validated));
        let bounds = self.bounds();
        turn.run(move || plan(&routes, &validated, bounds)).await?
    }

    /// Plans anew while nothing else may change, which is turn enough: there is one such push.
    pub(crate) async fn plan_again(&self, validated: &Arc<Validated>) -> Result<Plan, PushError> {
        let (routes, validated) = (self.routes(), Arc::clone(validated));
        let bounds = self.bounds();
        blocking(move || plan(&routes, &validated, bounds)).await?
    }

    /// Whether the plan still fits beside what other namespaces were promised since it was made.
    ///
    /// # Errors
    /// [`PushError::CpuPromised`].
    pub(super) fn keep_promises(
        &self,
        validated: &Validated,
        planned: &Planned,
    ) -> Result<(), PushError> {
        let (routes, version) = (self.routes(), &planned.record.version);
        keep_promises(&routes, validated, version, self.engine.cpu())
    }

    fn bounds(&self) -> Bounds {
        Bounds { cpu: self.engine.cpu(), namespace: self.namespace_quota() }
    }
}

fn plan(routes: &RouteTable, validated: &Validated, bounds: Bounds) -> Result<Plan, PushError> {
    let Validated { namespace, name, world, .. } = validated;
    let module = routes.module(namespace, name).map(|module| &**module);
    let (choice, version) = match choose(module, validated)? {
        Choice::Exists(record) => return Ok(Plan::Exists(record)),
        Choice::New(choice, version) => (choice, version),
    };
    keep_promises(routes, validated, &version, bounds.cpu)?;
    let module_name = (namespace, name);
    let misfits = misfits(routes, module_name, &validated.record.spec, &validated.imports);
    if !misfits.is_empty() {
        return Err(PushError::Bindings(misfits));
    }
    let book = routes.locks(namespace);
    let derive = |locks: &Locks| {
        roadstead_transcode::derive(world, name, &version, locks).map_err(derive_error)
    };
    let mut locks = validated.supplied.clone();
    // Which packages are needed does not depend on their locks.
    let needed = derive(&locks)?;
    locks.extend(routes.newest_locks(namespace, derive::packages(&needed))?);
    let derived = derive(&locks)?;
    let previous =
        module.map(|module| previous(module, &version, &derived, &locks)).unwrap_or_default();
    let breaks = roadstead_transcode::compare(&locks, &previous, &derived)
        .into_iter()
        .map(|one| BreakRecord { subject: one.subject, description: one.description })
        .collect();

    let interface = derive::interface_text(world, &derived, name, &version, &validated.imports);
    let mut record = validated.record.clone();
    if let Some(interface) = &interface {
        record.interface = Digest::of(interface);
    }
    record.version = version;
    record.services = derive::services(&derived, &validated.unserved);
    record.unmapped = derive::unmapped(&derived);
    record.published_unix_ms = now();
    let mut changes = Vec::new();
    let mut lock_texts = Vec::new();
    for (package, to, text) in derive::lock_blobs(&derived) {
        record.locks.insert(package.clone(), to);
        changes.push(LockChange { from: book.digest(&package), package, to });
        lock_texts.push(text);
    }
    let texts = lock_texts.iter().chain(&interface).chain(&validated.wit);
    record.stored_beside = stored_beside(&record, texts)?;
    keep_quota(routes, validated, &record, bounds.namespace)?;
    let basis = routes.edition(namespace);
    let locks = changes;
    Ok(Plan::New(Box::new(Planned {
        basis,
        choice,
        record,
        derived,
        breaks,
        locks,
        lock_texts,
        interface,
    })))
}

/// Bytes that are stored for a version beside its component: its record and its texts.
fn stored_beside<'a>(
    record: &VersionRecord,
    texts: impl Iterator<Item = &'a Bytes>,
) -> Result<u64, PushError> {
    let record = serde_json::to_vec(record).map_err(PushError::host)?;
    Ok(texts.fold(count(record.len()), |sum, text| sum.saturating_add(count(text.len()))))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A namespace that is full takes nothing more.
fn keep_quota(
    routes: &RouteTable,
    validated: &Validated,
    record: &VersionRecord,
    quota: NamespaceQuota,
) -> Result<(), PushError> {
    let Validated { namespace, name, .. } = validated;
    let new = u64::from(routes.module(namespace, name).is_none());
    let published = || {
        let modules = routes.modules(namespace);
        modules.flat_map(|module| module.versions.values()).map(|live| &**live.record())
    };
    let mut uploads: HashMap<Digest, u64> =
        published().map(|record| (record.digest, record.size)).collect();
    uploads.insert(record.digest, record.size);
    let beside = published().map(|record| record.stored_beside);
    let sizes = uploads.into_values().chain(beside);
    let stored = sizes.fold(record.stored_beside, u64::saturating_add);
    for (setting, allowed, would_be) in [
        ("modules", quota.modules, count(routes.modules(namespace).count()) + new),
        ("versions", quota.versions, count(published().count()) + 1),
        ("stored", quota.stored.map(|size| size.0), stored),
    ] {
        if let Some(allowed) = allowed.filter(|allowed| *allowed < would_be) {
            return Err(PushError::NamespaceFull { setting, allowed, would_be });
        }
    }
    Ok(())
}

/// A guarantee that cannot be kept beside those of other modules is not given. Only the versions
/// that answer for their modules count. Guarantees beyond the whole host are refused elsewhere.
fn keep_promises(
    routes: &RouteTable,
    validated: &Validated,
    version: &Version,
    whole: Millicores,
) -> Result<(), PushError> {
    let Validated { namespace, name, .. } = validated;
    let Some(wanted) = validated.record.spec.quota.cpu else { return Ok(()) };
    let module = routes.module(namespace, name);
    if module.is_some_and(|module| !module.gives_way_to(version)) {
        return Ok(());
    }
    let promised = routes.promised(Some((namespace, name)));
    let free = Millicores(whole.0.saturating_sub(promised.0));
    if free < wanted && wanted <= whole {
        return Err(PushError::CpuPromised { wanted, free, whole });
    }
    Ok(())
}

enum Choice {
    Exists(Arc<VersionRecord>),
    New(VersionChoice, Version),
}

/// The version to publish as. The catalog decides; this spares compiling what it would refuse.
fn choose(module: Option<&LiveModule>, validated: &Validated) -> Result<Choice, PushError> {
    let same = |live: &LiveVersion| rules::same_content(live.record(), &validated.record);
    let Some(wanted) = &validated.wanted else {
        let newest = module.and_then(|module| module.versions.last_key_value());
        if let Some((_, newest)) = newest.filter(|(_, newest)| same(newest)) {
            return Ok(Choice::Exists(Arc::clone(newest.record())));
        }
        let next = module.map_or_else(Version::first, |module| module.highest.next_patch());
        return Ok(Choice::New(VersionChoice::Next, next));
    };
    match module.and_then(|module| module.versions.get(wanted)) {
        Some(live) if same(live) => Ok(Choice::Exists(Arc::clone(live.record()))),
        Some(_) => {
            Err(PushError::VersionExists { name: validated.name.clone(), version: wanted.clone() })
        }
        None => Ok(Choice::New(VersionChoice::Explicit, wanted.clone())),
    }
}

/// What callers of the module have stubs of, package by package: the surface of the version that a
/// new one takes the package's service over from, which is the newest below it that exports the
/// service. A package of types alone is taken over from the newest of those versions.
///
/// Where that version's schema is lost, callers may rely on anything that the locks ever gave out.
pub(crate) fn previous(
    module: &LiveModule,
    version: &Version,
    derived: &Derived,
    locks: &Locks,
) -> Locks {
    let mut previous = Locks::default();
    let mut taken_over: BTreeMap<&Version, &Locks> = BTreeMap::new();
    for service in &derived.services {
        let below = module.versions.range(..version).rev();
        let former = below.into_iter().find(|(_, live)| live.exports(&service.name));
        let Some((version, live)) = former else { continue };
        let surface = live.schema().map_or_else(
            |_| {
                tracing::warn!(module = %live.id(), "its schema is lost: comparing with its locks");
                locks
            },
            |schema| schema.surface(),
        );
        taken_over.insert(version, surface);
        let package = service.name.rsplit_once('.').map(|(package, _)| package);
        if let Some(package) = package
            && let Some(lock) = surface.get(package)
        {
            previous.insert(package, lock.clone());
        }
    }
    for package in derive::packages(derived) {
        let of_types = taken_over.values().rev().find_map(|surface| surface.get(package));
        if previous.get(package).is_none()
            && let Some(lock) = of_types
        {
            previous.insert(package, lock.clone());
        }
    }
    previous
}

/// A lock that leads nowhere is the pusher's; so is a world too large to express.
fn derive_error(error: DeriveError) -> PushError {
    PushError::Invalid(error.to_string())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
