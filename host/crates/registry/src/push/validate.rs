//! Is it a component, does anything here run it, and under which name.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use roadstead_blobs::Staged;
use roadstead_catalog::{ImportRecord, VersionRecord};
use roadstead_domain::{Digest, ModuleId, ModuleName, ModuleSpec, Namespace, Version};
use roadstead_engine::Engine;
use roadstead_transcode::{Locks, World, to_component};
use roadstead_worker::{Unserved, Upload, leash};

use crate::{PushError, PushRequest, Registry, turns::Turn};

/// An upload that this host could run, with everything about it that no other push can change.
pub(crate) struct Validated {
    pub(crate) namespace: Namespace,
    pub(crate) name: ModuleName,
    /// The version that was asked for.
    pub(crate) wanted: Option<Version>,
    pub(crate) component: Bytes,
    pub(crate) world: World,
    pub(crate) wit: Option<Bytes>,
    /// Locks to begin from, where the namespace has none.
    pub(crate) supplied: Locks,
    pub(crate) force: bool,
    /// Which methods the compiled codec would not serve.
    pub(crate) unserved: Unserved,
    /// What is known of the record: no version, services and locks yet, nor what they take.
    pub(crate) record: VersionRecord,
}

impl Validated {
    pub(crate) fn id_of(&self, record: &VersionRecord) -> ModuleId {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        ModuleId { namespace, name, version: record.version.clone() }
    }
}

impl Registry {
    pub(super) async fn validate(
        &self,
        turn: &Turn,
        namespace: &Namespace,
        request: PushRequest,
        staged: Staged,
    ) -> Result<Validated, PushError> {
        let PushRequest { name, version, mut spec, wit, lock, force } = request;
        let name = name.or(spec.name.take()).ok_or(PushError::NoName)?;
        let wanted = version.or(spec.version.take());
        // The record says both; a spec that does not is the same under any name and version.
        (spec.name, spec.version) = (None, None);
        let surroundings = Upload {
            name: name.clone(),
            version: wanted.clone().unwrap_or_else(Version::first),
            wit,
            lock: lock.unwrap_or_default(),
            native: spec.native.is_some(),
        };
        let namespace = namespace.clone();
        let (engine, workers) = (Arc::clone(&self.engine), Arc::clone(&self.workers));
        // Dropped with the future, which ends the worker.
        let (_leash, tether) = leash();
        turn.run(move || {
            let upload = staged.read()?;
            // What a worker came to an end with, this process can take apart again.
            let unserved = workers.check(&surroundings, &upload, tether)?;
            let Upload { wit, lock, .. } = surroundings;
            let supplied: Locks = match lock.trim() {
                "" => Locks::default(),
                text => text.parse().map_err(lock_error)?,
            };
            let Read { component, digest, mut world, imports } = match spec.native {
                Some(_) => read_package(&staged, upload)?,
                None => read_component(&engine, &spec, &staged, upload)?,
            };
            let mut wit_bytes = None;
            if !wit.is_empty() {
                world = world.with_comments(&wit).map_err(world_error)?;
                wit_bytes = Some(serde_json::to_vec(&wit).map_err(PushError::host)?.into());
            }
            let wit = wit_bytes;
            let record = VersionRecord {
                component_instances: world.component_instances(),
                ..record(&staged, spec, digest, wit.as_ref(), imports)
            };
            Ok(Validated {
                namespace,
                name,
                wanted,
                component,
                world,
                wit,
                supplied,
                force,
                unserved,
                record,
            })
        })
        .await?
    }
}

/// What an upload is.
struct Read {
    component: Bytes,
    digest: Digest,
    world: World,
    imports: Vec<ImportRecord>,
}

/// A component, or a core module that is made one.
fn read_component(
    engine: &Engine,
    spec: &ModuleSpec,
    staged: &Staged,
    upload: Bytes,
) -> Result<Read, PushError> {
    let made = match to_component(&upload).map_err(world_error)? {
        Cow::Borrowed(_) => None,
        Cow::Owned(made) => Some(Bytes::from(made)),
    };
    let (component, digest) = match made {
        None => (upload, staged.digest()),
        Some(made) => (made.clone(), Digest::of(&made)),
    };
    let world = World::decode(&component).map_err(world_error)?;
    let imports = engine.inspect(&component, spec)?;
    let imports =
        imports.into_iter().map(|import| ImportRecord { name: import.name, grant: import.grant });
    Ok(Read { imports: imports.collect(), component, digest, world })
}

/// The WIT of a native module. What its world imports is nobody's but its own.
fn read_package(staged: &Staged, upload: Bytes) -> Result<Read, PushError> {
    let world = World::decode_package(&upload).map_err(world_error)?;
    Ok(Read { component: upload, digest: staged.digest(), world, imports: Vec::new() })
}

fn record(
    staged: &Staged,
    spec: ModuleSpec,
    component: Digest,
    wit: Option<&Bytes>,
    imports: Vec<ImportRecord>,
) -> VersionRecord {
    VersionRecord {
        version: Version::first(),
        digest: staged.digest(),
        size: staged.size(),
        stored_beside: 0,
        component,
        interface: component,
        component_instances: 1,
        wit: wit.map(|wit| Digest::of(wit)),
        spec,
        services: Vec::new(),
        unmapped: Vec::new(),
        imports,
        locks: BTreeMap::new(),
        forced: Vec::new(),
        published_unix_ms: 0,
    }
}

fn world_error(error: roadstead_transcode::WorldError) -> PushError {
    PushError::Invalid(error.to_string())
}

fn lock_error(error: roadstead_transcode::LockError) -> PushError {
    PushError::Lock(error.to_string())
}
