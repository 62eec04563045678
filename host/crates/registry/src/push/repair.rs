//! Pushing again what is published, or with the lock that is damaged: it is stored anew.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    iter,
    sync::Arc,
};

use bytes::Bytes;
use roadstead_blobs::{BlobError, Kind};
use roadstead_catalog::VersionRecord;
use roadstead_domain::Digest;
use roadstead_transcode::Locks;

use super::{Validated, joined};
use crate::{DamagedLock, PushError, Registry, derive, recipe::Recipe, turns::Turn};

/// What a stored text is found by.
type Text = (Kind, Digest);

impl Registry {
    /// Makes a version that exists whole again, from an upload of the same content. A lock that
    /// does not follow from it is refused, so that no one takes the version for whole.
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
        let lost = self.lost_texts(record).await?;
        let recipe = Recipe::of(&validated.name, record);
        // Without its locks the codec is not known: the first call compiles it when they are back.
        let code = match derive::locks(&self.blobs, record).await {
            Ok(locks) => self.compile(turn, validated, &recipe, locks.to_string()).await?,
            Err(_) => None,
        };
        let validated_too = Arc::clone(validated);
        let storing = Arc::clone(self).store(turn.clone(), validated_too, recipe.key(), code);
        let mut stored = joined(tokio::spawn(storing)).await?;
        // What this host has a copy of, the pool may have lost.
        if lost.is_empty() {
            self.renew_texts(record).await?;
        }
        let mut still_lost = None;
        if !lost.is_empty() {
            let found = self.follow(turn, validated, record, &lost).await?;
            let gone = |text: Text| lost.contains(&text) && !found.contains_key(&text);
            let mut locks = record.locks.iter();
            let still = locks.find(|(_, digest)| gone((Kind::Lock, **digest)));
            still_lost = still.map(|(package, _)| package.clone());
            for ((kind, _), text) in found {
                stored.add(self, kind, text).await?;
            }
        }
        let (registry, validated, record) =
            (Arc::clone(self), Arc::clone(validated), Arc::clone(record));
        let serving = async move {
            let _changing = registry.changing.lock().await;
            let serves = registry.serves(&validated, &record);
            let reloaded = if serves { Ok(()) } else { registry.reload(&HashMap::new()).await };
            drop(stored);
            reloaded.map_err(PushError::host)
        };
        joined(tokio::spawn(serving)).await?;
        still_lost.map_or(Ok(()), |package| Err(DamagedLock { package, holder: None }.into()))
    }

    async fn follow(
        &self,
        turn: &Turn,
        validated: &Arc<Validated>,
        record: &Arc<VersionRecord>,
        lost: &HashSet<Text>,
    ) -> Result<HashMap<Text, Bytes>, PushError> {
        let bases = self.bases(validated, record).await;
        let (validated, record, lost) = (Arc::clone(validated), Arc::clone(record), lost.clone());
        turn.run(move || texts(&validated, &record, &bases, lost)).await
    }

    /// Takes damaged locks of the namespace from those that the push brings, where they are the
    /// very same.
    pub(super) async fn restore_locks(&self, validated: &Validated) -> Result<(), PushError> {
        let book = self.routes().locks(&validated.namespace);
        let mut restored = false;
        for (package, digest) in book.damaged() {
            let text = derive::lock_text(&validated.supplied, package);
            if Digest::of(&text) == digest {
                self.blobs.put(Kind::Lock, text).await?;
                restored = true;
            }
        }
        if restored {
            let _changing = self.changing.lock().await;
            self.reload(&HashMap::new()).await.map_err(PushError::host)?;
        }
        Ok(())
    }

    /// Locks that a version may have been published with: those of the push alone, or over them
    /// the newest, or those that any version of its packages has left.
    async fn bases(&self, validated: &Validated, record: &VersionRecord) -> Vec<Locks> {
        let Validated { namespace, supplied, .. } = validated;
        let routes = self.routes();
        let versions = routes.modules(namespace).flat_map(|module| module.versions.values());
        let left: BTreeSet<Vec<Digest>> = versions
            .map(|live| {
                let shared = |package: &String| live.record().locks.get(package).copied();
                record.locks.keys().filter_map(shared).collect()
            })
            .collect();
        let mut newest = supplied.clone();
        for package in record.locks.keys() {
            let one = routes.newest_locks(namespace, iter::once(package.as_str()));
            newest.extend(one.unwrap_or_default());
        }
        let mut bases = vec![newest, supplied.clone(), Locks::default()];
        for digests in left.into_iter().filter(|digests| !digests.is_empty()) {
            let mut base = supplied.clone();
            for digest in digests {
                let Ok(text) = self.blobs.get(Kind::Lock, digest).await else { continue };
                base.extend(derive::lock_from(&text).unwrap_or_default());
            }
            bases.push(base);
        }
        bases
    }

    /// Texts of a version that do not read.
    async fn lost_texts(&self, record: &VersionRecord) -> Result<HashSet<Text>, PushError> {
        let locks = record.locks.values().map(|digest| (Kind::Lock, *digest));
        let interface =
            (record.interface != record.component).then_some((Kind::Interface, record.interface));
        let mut lost = HashSet::new();
        for (kind, digest) in locks.chain(interface) {
            match self.blobs.get(kind, digest).await {
                Ok(_) => {}
                Err(BlobError::Missing(_) | BlobError::Damaged(_)) => {
                    lost.insert((kind, digest));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(lost)
    }

    fn serves(&self, validated: &Validated, record: &VersionRecord) -> bool {
        let routes = self.routes();
        let module = routes.module(&validated.namespace, &validated.name);
        let live = module.and_then(|module| module.versions.get(&record.version));
        let packages = record.locks.keys().map(String::as_str);
        live.is_some_and(|live| live.module().is_ok())
            && routes.newest_locks(&validated.namespace, packages).is_ok()
    }
}

/// Those of the lost texts of a version that follow from its component and one of the bases.
fn texts(
    validated: &Validated,
    record: &VersionRecord,
    bases: &[Locks],
    mut lost: HashSet<Text>,
) -> HashMap<Text, Bytes> {
    let Validated { name, world, .. } = validated;
    let mut found = HashMap::new();
    for base in bases {
        if lost.is_empty() {
            break;
        }
        let derived = roadstead_transcode::derive(world, name, &record.version, base);
        let Ok(derived) = derived else { continue };
        let locks = derive::lock_blobs(&derived).into_iter();
        let mut texts: Vec<_> =
            locks.map(|(_, digest, text)| ((Kind::Lock, digest), text)).collect();
        if lost.contains(&(Kind::Interface, record.interface)) {
            let interface =
                derive::interface_text(world, &derived, name, &record.version, &validated.imports);
            texts.extend(interface.map(|text| ((Kind::Interface, Digest::of(&text)), text)));
        }
        found.extend(texts.into_iter().filter(|(text, _)| lost.remove(text)));
    }
    found
}
