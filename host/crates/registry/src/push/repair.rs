//! Pushing again what is published: whatever is damaged of it is stored anew.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_blobs::{BlobError, Kind};
use roadstead_catalog::VersionRecord;
use roadstead_domain::Digest;
use roadstead_transcode::Locks;

use super::{Validated, joined};
use crate::{PushError, Registry, RouteTable, derive, turns::Turn};

impl Registry {
    /// Makes a version that exists whole again, from an upload of the same content.
    pub(super) async fn repair(
        self: &Arc<Self>,
        turn: &Turn,
        validated: &Arc<Validated>,
        record: &Arc<VersionRecord>,
    ) -> Result<(), PushError> {
        // A core module may become another component with another release.
        if record.component != validated.record.component {
            return Ok(());
        }
        let code = self.compile(turn, validated).await?;
        let storing = Arc::clone(self).store(turn.clone(), Arc::clone(validated), code);
        let mut stored = joined(tokio::spawn(storing)).await?;
        let lost = self.lost_texts(record).await?;
        if !lost.is_empty() {
            let routes = self.routes();
            let (validated, record) = (Arc::clone(validated), Arc::clone(record));
            let texts = turn.run(move || texts(&routes, &validated, &record)).await?;
            for (kind, text) in texts {
                if lost.contains(&(kind, Digest::of(&text))) {
                    stored.add(self, kind, text).await?;
                }
            }
        }
        let (registry, validated, record) =
            (Arc::clone(self), Arc::clone(validated), Arc::clone(record));
        let serving = async move {
            let _changing = registry.changing.lock().await;
            let serves = registry.serves(&validated, &record);
            let reloaded = if serves { Ok(()) } else { registry.reload().await };
            drop(stored);
            reloaded.map_err(PushError::host)
        };
        joined(tokio::spawn(serving)).await
    }

    /// Texts of a version that do not read.
    async fn lost_texts(&self, record: &VersionRecord) -> Result<Vec<(Kind, Digest)>, PushError> {
        let locks = record.locks.values().map(|digest| (Kind::Lock, *digest));
        let interface =
            (record.interface != record.component).then_some((Kind::Interface, record.interface));
        let mut lost = Vec::new();
        for (kind, digest) in locks.chain(interface) {
            match self.blobs.get(kind, digest).await {
                Ok(_) => {}
                Err(BlobError::Missing(_) | BlobError::Damaged(_)) => lost.push((kind, digest)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(lost)
    }

    fn serves(&self, validated: &Validated, record: &VersionRecord) -> bool {
        let routes = self.routes();
        let module = routes.module(&validated.namespace, &validated.name);
        let live = module.and_then(|module| module.versions.get(&record.version));
        live.is_some_and(|live| live.module().is_ok())
    }
}

/// The locks and the interface of a version, as far as they follow from its component with the
/// locks that it may have been published with.
fn texts(routes: &RouteTable, validated: &Validated, record: &VersionRecord) -> Vec<(Kind, Bytes)> {
    let Validated { namespace, name, world, supplied, .. } = validated;
    let derive = |locks| roadstead_transcode::derive(world, name, &record.version, locks).ok();
    let mut newest = supplied.clone();
    newest.extend(routes.locks(namespace).locks(record.locks.keys().map(String::as_str)));
    let mut texts = Vec::new();
    for locks in [&newest, supplied, &Locks::default()] {
        let Some(derived) = derive(locks) else { continue };
        let locks = derive::lock_blobs(&derived).into_iter();
        texts.extend(locks.map(|(_, _, text)| (Kind::Lock, text)));
        let interface = derive::interface_text(world, &derived, name, &record.version);
        texts.extend(interface.map(|text| (Kind::Interface, text)));
    }
    texts
}
