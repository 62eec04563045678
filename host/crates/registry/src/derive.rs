//! The typed side of a component: read from an upload, kept without the code, and read again.

use std::collections::HashSet;

use bytes::Bytes;
use roadstead_blobs::{BlobError, BlobStore, Kind};
use roadstead_catalog::{MethodRecord, ServiceRecord, UnmappedRecord, VersionRecord};
use roadstead_domain::{Digest, ModuleName, Version};
use roadstead_transcode::{DeriveError, Derived, Locks, World, WorldError};
use roadstead_worker::Unserved;

use crate::{LiveMethod, Schema};

/// Why a published version's schema could not be made again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviveError {
    #[error("read the stored interface")]
    Blob(#[from] BlobError),
    #[error("decode the stored interface")]
    World(#[from] WorldError),
    #[error("derive the stored interface")]
    Derive(#[from] DeriveError),
    #[error("decode stored text: {0}")]
    Text(String),
}

/// The interface as text, if it says all that the component says: else the component itself must
/// be read again after a restart, which costs more and works as well.
pub(crate) fn interface_text(
    world: &World,
    derived: &Derived,
    name: &ModuleName,
    version: &Version,
) -> Option<Bytes> {
    let text = world.to_wit().ok()?;
    let again = read_interface(&text).ok()?;
    let again = roadstead_transcode::derive(&again, name, version, &derived.locks).ok()?;
    let plans = |derived: &Derived| -> Vec<_> {
        derived.services.iter().flat_map(|service| service.methods.clone()).collect()
    };
    let same = again.files == derived.files && plans(&again) == plans(derived);
    if !same {
        tracing::debug!(module = %name, "the interface as text is not the whole interface");
    }
    same.then(|| text.into())
}

fn read_interface(text: &str) -> Result<World, WorldError> {
    World::from_wit(&[("interface.wit".to_owned(), text.to_owned())], None)
}

/// Derives a published version again, with the very locks it was published with.
pub(crate) async fn revive(
    blobs: &BlobStore,
    name: &ModuleName,
    record: &VersionRecord,
) -> Result<Derived, ReviveError> {
    let locks = locks(blobs, record).await?;
    derive_with(blobs, name, record, locks).await
}

/// Derives a stored version with the given locks.
pub(crate) async fn derive_with(
    blobs: &BlobStore,
    name: &ModuleName,
    record: &VersionRecord,
    locks: Locks,
) -> Result<Derived, ReviveError> {
    let source = source(blobs, record).await?;
    let (name, version) = (name.clone(), record.version.clone());
    let derive = move || -> Result<Derived, ReviveError> {
        Ok(roadstead_transcode::derive(&source.world()?, &name, &version, &locks)?)
    };
    let derived = tokio::task::spawn_blocking(derive).await;
    derived.unwrap_or_else(|error| Err(ReviveError::Text(error.to_string())))
}

/// The locks that a version was published with.
pub(crate) async fn locks(blobs: &BlobStore, record: &VersionRecord) -> Result<Locks, ReviveError> {
    let mut locks = Locks::default();
    for digest in record.locks.values() {
        let text = blobs.get(Kind::Lock, *digest).await?;
        locks.extend(lock_from(&text)?);
    }
    Ok(locks)
}

pub(crate) fn lock_from(text: &[u8]) -> Result<Locks, ReviveError> {
    let text = str::from_utf8(text).map_err(|error| ReviveError::Text(error.to_string()))?;
    text.parse()
        .map_err(|error: roadstead_transcode::LockError| ReviveError::Text(error.to_string()))
}

/// What a world is read from.
enum Source {
    Interface(Bytes),
    Component { component: Bytes, wit: Option<Bytes>, native: bool },
}

async fn source(blobs: &BlobStore, record: &VersionRecord) -> Result<Source, ReviveError> {
    if record.interface != record.component {
        match blobs.get(Kind::Interface, record.interface).await {
            Ok(text) => return Ok(Source::Interface(text)),
            Err(error) => tracing::warn!(interface = %record.interface,
                error = &error as &dyn std::error::Error,
                "a stored interface does not read: reading the component instead"),
        }
    }
    let component = blobs.get(Kind::Component, record.component).await?;
    let wit = match record.wit {
        Some(wit) => Some(blobs.get(Kind::Wit, wit).await?),
        None => None,
    };
    Ok(Source::Component { component, wit, native: record.spec.native.is_some() })
}

impl Source {
    fn world(&self) -> Result<World, ReviveError> {
        match self {
            Self::Interface(text) => {
                let text =
                    str::from_utf8(text).map_err(|error| ReviveError::Text(error.to_string()))?;
                Ok(read_interface(text)?)
            }
            Self::Component { component, wit, native } => {
                let world = match native {
                    true => World::decode_package(component)?,
                    false => World::decode(component)?,
                };
                let Some(wit) = wit else { return Ok(world) };
                let files: Vec<(String, String)> = serde_json::from_slice(wit)
                    .map_err(|error| ReviveError::Text(error.to_string()))?;
                Ok(world.with_comments(&files)?)
            }
        }
    }
}

/// The protobuf packages that a derived schema has files of.
pub(crate) fn packages(derived: &Derived) -> impl Iterator<Item = &str> {
    derived.files.iter().map(|file| file.package())
}

/// The lock of a single package, as it is stored.
pub(crate) fn lock_text(locks: &Locks, package: &str) -> Bytes {
    locks.restricted(|name| name == package).to_string().into()
}

/// The locks of single packages, as they are stored: text by its digest.
pub(crate) fn lock_blobs(derived: &Derived) -> Vec<(String, Digest, Bytes)> {
    packages(derived)
        .map(|package| {
            let text = lock_text(&derived.locks, package);
            (package.to_owned(), Digest::of(&text), text)
        })
        .collect()
}

pub(crate) fn schema(derived: &Derived, record: &VersionRecord) -> Schema {
    let compiled: HashSet<&str> = record
        .services
        .iter()
        .flat_map(|service| &service.methods)
        .filter(|method| method.is_compiled())
        .map(|method| &*method.export)
        .collect();
    let methods = derived.services.iter().flat_map(|service| service.methods.iter().cloned());
    let methods = methods.map(|plan| {
        let compiled = compiled.contains(&*plan.export.to_string());
        LiveMethod { plan, compiled }
    });
    let (surface, interfaces) = (derived.surface.clone(), derived.interfaces.clone());
    Schema::new(derived.files.clone(), methods, surface, interfaces)
}

pub(crate) fn services(derived: &Derived, unserved: &Unserved) -> Vec<ServiceRecord> {
    let method = |plan: &roadstead_transcode::MethodPlan| {
        let export = plan.export.to_string();
        let dynamic = match unserved.get(&export) {
            Some(reason) => reason.clone(),
            None => Some("the check of the upload did not come to it".to_owned()),
        };
        MethodRecord { name: plan.method.clone(), export, dynamic }
    };
    let services = derived.services.iter().map(|service| ServiceRecord {
        name: service.name.clone(),
        methods: service.methods.iter().map(|plan| method(plan)).collect(),
    });
    services.collect()
}

pub(crate) fn unmapped(derived: &Derived) -> Vec<UnmappedRecord> {
    let unmapped = derived.unmapped.iter();
    unmapped
        .map(|one| UnmappedRecord { export: one.export.clone(), reason: one.reason.clone() })
        .collect()
}
