//! Publishing, deleting and pinning, by compare-and-swap of single objects.
//!
//! Each change reads what it needs anew, decides by the catalog's rules, and writes so that only
//! what is still as it was read is changed; where others were first, it begins again. One object
//! decides whether a change has happened:
//!
//! * publishing: the locks, or the version's object where no lock moves;
//! * deleting: the module's object, which names what is deleted; then the objects go;
//! * pinning, and how new versions roll out: the module's object.

use std::time::{Duration, Instant};

use roadstead_catalog::{
    CatalogError, Change, LockChange, ModuleRecord, Publication, Published, Rollout, RolloutEdit,
    rules::{self, Decision},
};
use roadstead_domain::{ModuleName, Namespace, Version, with_causes};
use roadstead_k8s_api::{DELETED, HIGHEST, LOCKS, PUSHED_BY, rules::Deleted, version_object};
use serde_json::{Value, json};

use crate::{
    assemble::{self, STALE},
    cluster::{Edit, resource},
    convert,
    error::Failure,
    ground::{Ground, Place, place},
    inner::Inner,
    objects::{Kind, Object},
    rollout,
};

/// How long a change tries again while others are first.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often moving the locks is tried while others move other ones.
const MOVES: usize = 32;

/// The first pause before trying again; it doubles up to half a second.
const PAUSE: Duration = Duration::from_millis(10);

impl Inner {
    /// Repeats an attempt while others are first.
    async fn persist<T, F>(
        &self,
        name: &ModuleName,
        attempt: impl Fn() -> F,
    ) -> Result<T, CatalogError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let contended = || CatalogError::Contended(name.clone());
        let until = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let failure = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let again = matches!(failure, Failure::Conflict | Failure::Exists | Failure::Gone);
            if !again || until < Instant::now() {
                return Err(failure.into_error(contended));
            }
            // Not in step with the other.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    pub(crate) async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Published, CatalogError> {
        let _turn = self.changing.lock().await;
        self.persist(&publication.name, async || self.try_to_publish(&publication).await).await
    }

    async fn try_to_publish(&self, publication: &Publication) -> Result<Published, Failure> {
        let Publication { namespace, name, record, .. } = publication;
        self.refresh(namespace, name).await?;
        let (ground, place, decision) = self.read(namespace, |objects| {
            let ground = Ground::of(objects, name);
            let place = place(objects, name, record, Instant::now());
            let lock = |package: &str| Ok(assemble::newest(objects, package));
            let decision = rules::publish(ground.record.clone(), publication, lock);
            (ground, place, decision)
        })?;
        let module = match decision? {
            Decision::Create(module, _) => module,
            Decision::Unchanged(record) => return Ok(Published::Unchanged(record)),
        };
        if let Some((other, _)) = &ground.object
            && other.stands()
            && other.native != record.is_native()
        {
            let (name, native) = (name.clone(), other.native);
            return Err(CatalogError::NameTaken { name, native }.into());
        }
        let object = version_object(name, &record.version);
        let kind = Kind::version(record.is_native());
        let wrong = |message: String| {
            Err(CatalogError::Refused { doing: "write the version", message }.into())
        };
        let stands = match place {
            Place::Free => None,
            Place::Same(stands) => Some(stands),
            Place::Left { uid } => {
                self.remove(namespace, kind, &object, &uid).await?;
                None
            }
            Place::Busy => return Err(Failure::Conflict),
            Place::Taken => {
                let (name, version) = (name.clone(), record.version.clone());
                return Err(CatalogError::VersionExists { name, version }.into());
            }
            Place::Malformed(why) => {
                let kind = resource(kind).kind;
                return wrong(format!("{kind} {object} is malformed ({why}): delete it"));
            }
        };
        if let Some((kind, why)) = &ground.malformed {
            let kind = resource(*kind).kind;
            return wrong(format!("{kind} {name} is malformed ({why}): delete it"));
        }
        let uid = self.claim(publication, &ground, &module).await?;
        let began = Instant::now();
        let mut revision = match &stands {
            Some(_) => {
                self.read(namespace, |objects| objects.known(kind, &object).unwrap_or_default())?
            }
            None => self.write(publication, &object, &uid).await?,
        };
        match self.move_locks(publication).await {
            Ok(Some(moved)) => revision = moved,
            Ok(None) => {}
            Err(failure) => {
                if stands.is_none() {
                    self.take_back(namespace, kind, &object).await;
                }
                return Err(failure);
            }
        }
        self.confirm(namespace, name, (kind, &object), began).await?;
        let module = self.read(namespace, |objects| assemble::module(objects, name))?;
        let outcome = stands.unwrap_or_else(|| record.clone().into());
        Ok(Published::Created(Change { revision, module, outcome }))
    }

    /// Makes the module's object say the number that is given out, and returns its uid. Who gives
    /// out another at the same time conflicts here.
    async fn claim(
        &self,
        publication: &Publication,
        ground: &Ground,
        module: &ModuleRecord,
    ) -> Result<String, Failure> {
        let Publication { namespace, name, record, .. } = publication;
        let highest = module.highest.to_string();
        let kind = Kind::module(record.is_native());
        let Some((object, revision)) = &ground.object else {
            let metadata = json!({"name": name, "annotations": {HIGHEST: highest}});
            let read = self.cluster.create(namespace, kind, metadata, json!({})).await?;
            let uid = self.learn(namespace, kind, read);
            self.yield_name(namespace, name, kind, &uid).await?;
            return Ok(uid);
        };
        if !object.stands() {
            self.finish(namespace, name).await?;
            return Err(Failure::Conflict);
        }
        let marks = ground.marks(Some(&record.version));
        if object.highest.as_ref() == Some(&module.highest) && object.deleted == marks {
            return Ok(object.uid.clone());
        }
        let annotations = json!({HIGHEST: highest, DELETED: marks.to_text()});
        let change = Edit::Annotations(annotations);
        let patched = self.cluster.patch(namespace, kind, name.as_str(), *revision, change).await?;
        Ok(self.learn(namespace, kind, patched))
    }

    /// Takes a module back that was just created, if one of the other kind came to its name
    /// meanwhile. Who creates looks afterwards, so of two at the same time at least one yields.
    async fn yield_name(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        kind: Kind,
        uid: &str,
    ) -> Result<(), Failure> {
        let other = Kind::module(kind == Kind::Module);
        self.look_again(namespace, other, name.as_str()).await?;
        let taken = self.read(namespace, |objects| {
            assemble::object_of(objects, other, name).is_some_and(|(other, _)| other.stands())
        })?;
        if !taken {
            return Ok(());
        }
        self.remove(namespace, kind, name.as_str(), uid).await?;
        Err(Failure::Conflict)
    }

    /// Writes the version's object, and says at which revision.
    async fn write(
        &self,
        publication: &Publication,
        object: &str,
        owner: &str,
    ) -> Result<u64, Failure> {
        let Publication { namespace, name, record, .. } = publication;
        let kind = Kind::version(record.is_native());
        let owner_kind = resource(Kind::module(record.is_native())).kind;
        let metadata = json!({
            "name": object,
            "annotations": {PUSHED_BY: self.pool},
            "ownerReferences": [{
                "apiVersion": "roadstead.dev/v1alpha1", "kind": owner_kind, "name": name, "uid": owner,
            }],
        });
        let spec = serde_json::to_value(convert::to_object(name, record)).map_err(|error| {
            CatalogError::Storage { doing: "write a version as JSON", source: error.into() }
        })?;
        let read = self.cluster.create(namespace, kind, metadata, spec).await?;
        let kept = matches!(&read.object, Object::Version(kept) if *kept.record == *record);
        let revision = read.revision;
        self.learn(namespace, kind, read);
        if !kept {
            self.take_back(namespace, kind, object).await;
            let message = "it does not keep all that this release says of a version: apply the \
                           k8s/crds of this release"
                .to_owned();
            return Err(CatalogError::Refused { doing: "write the version", message }.into());
        }
        Ok(revision)
    }

    /// Appends the locks that move to their chains, all or none; the revision, if any do.
    async fn move_locks(&self, publication: &Publication) -> Result<Option<u64>, Failure> {
        let Publication { namespace, locks, name, .. } = publication;
        for _ in 0..MOVES {
            let malformed = self.read(namespace, assemble::malformed_locks)?;
            if let Some(why) = malformed {
                let message = format!("WireLocks {LOCKS} is malformed ({why}): repair it");
                return Err(CatalogError::Refused { doing: "move the locks", message }.into());
            }
            let (change, revision) = self.read(namespace, |objects| {
                let chains = assemble::chains(objects);
                let change = longer(locks, |package| {
                    chains.and_then(|(chains, _)| chains.packages.get(package)).cloned()
                });
                change.map(|change| (change, chains.map(|(_, revision)| revision)))
            })??;
            let Some(packages) = change else { return Ok(None) };
            let spec = json!({"packages": packages});
            let moved = match revision {
                Some(revision) => {
                    let change = Edit::Spec(spec);
                    self.cluster.patch(namespace, Kind::Locks, LOCKS, revision, change).await
                }
                None => {
                    let metadata = json!({"name": LOCKS});
                    self.cluster.create(namespace, Kind::Locks, metadata, spec).await
                }
            };
            match moved {
                Ok(read) => {
                    let revision = read.revision;
                    self.learn(namespace, Kind::Locks, read);
                    return Ok(Some(revision));
                }
                Err(Failure::Conflict | Failure::Exists | Failure::Gone) => {
                    self.refresh_locks(namespace).await?;
                }
                Err(failure) => {
                    // The answer stayed out; the change may have happened.
                    self.refresh_locks(namespace).await.map_err(|_| lost(&failure, name))?;
                    let held = self.read(namespace, |objects| {
                        assemble::chains(objects).map(|(chains, revision)| {
                            let moved =
                                |lock: &LockChange| chains.newest(&lock.package) == Some(lock.to);
                            (locks.iter().all(moved), revision)
                        })
                    })?;
                    match held {
                        Some((true, revision)) => return Ok(Some(revision)),
                        _ => return Err(failure),
                    }
                }
            }
        }
        Err(Failure::Conflict)
    }

    /// Takes back a version that was not published. What cannot be taken back now is swept later.
    async fn take_back(&self, namespace: &Namespace, kind: Kind, object: &str) {
        let uid = self.read(namespace, |objects| {
            objects.get(kind, object).map(|(object, _)| object.uid().to_owned())
        });
        let Ok(Some(uid)) = uid else { return };
        if let Err(failure) = self.remove(namespace, kind, object, &uid).await {
            tracing::warn!(%namespace, object, ?failure,
                "a version that was not published is left: it is deleted later");
        }
    }

    /// A host that stood still for a while may have lost its object to another that swept.
    async fn confirm(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        (kind, object): (Kind, &str),
        began: Instant,
    ) -> Result<(), Failure> {
        if began.elapsed() < STALE / 3 {
            return Ok(());
        }
        self.refresh(namespace, name).await?;
        let there = self.read(namespace, |objects| objects.get(kind, object).is_some())?;
        if there { Ok(()) } else { Err(Failure::Conflict) }
    }

    pub(crate) async fn delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, CatalogError> {
        let _turn = self.changing.lock().await;
        self.persist(name, async || self.try_to_delete(namespace, name, version).await).await
    }

    async fn try_to_delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, Failure> {
        self.refresh(namespace, name).await?;
        let ground = self.read(namespace, |objects| Ground::of(objects, name))?;
        let highest = ground.record.as_ref().map(|module| module.highest.to_string());
        let (left, outcome) = rules::delete(ground.record.clone(), name, version)?;
        let Some((object, revision)) = &ground.object else { return Err(Failure::Conflict) };
        let (kind, revision) = (object.kind(), *revision);
        let mut marks = ground.marks(None);
        match &mut marks {
            Deleted::Versions(marked) if left.is_some() => marked.extend(outcome.iter().cloned()),
            marks => *marks = Deleted::All,
        }
        let annotations = json!({HIGHEST: highest, DELETED: marks.to_text()});
        let change = Edit::Annotations(annotations);
        let read = self.cluster.patch(namespace, kind, name.as_str(), revision, change).await?;
        let revision = read.revision;
        self.learn(namespace, kind, read);
        // It is deleted. What cannot be cleaned up now is swept later.
        if let Err(failure) = self.finish(namespace, name).await {
            tracing::warn!(%namespace, %name, ?failure, "objects of what is deleted are left");
        }
        let module = self.read(namespace, |objects| assemble::module(objects, name))?;
        Ok(Change { revision, module, outcome })
    }

    /// Deletes the objects of a module that deletions left.
    async fn finish(&self, namespace: &Namespace, name: &ModuleName) -> Result<(), Failure> {
        let left = self.read(namespace, assemble::garbage)?;
        for garbage in left.into_iter().filter(|garbage| garbage.module == *name) {
            self.remove(namespace, garbage.kind, &garbage.name, &garbage.uid).await?;
        }
        Ok(())
    }

    pub(crate) async fn pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, CatalogError> {
        let _turn = self.changing.lock().await;
        self.persist(name, async || self.try_to_pin(namespace, name, version).await).await
    }

    async fn try_to_pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, Failure> {
        self.refresh(namespace, name).await?;
        let ground = self.read(namespace, |objects| Ground::of(objects, name))?;
        let mut module = ground.record;
        if !rules::pin(&mut module, name, version)? {
            let revision = *self.revision.borrow();
            return Ok(Change { revision, module, outcome: () });
        }
        let Some((object, revision)) = ground.object else { return Err(Failure::Conflict) };
        let change = Edit::Spec(json!({"pinned": version}));
        let kind = object.kind();
        let read = self.cluster.patch(namespace, kind, name.as_str(), revision, change).await?;
        let revision = read.revision;
        self.learn(namespace, kind, read);
        let module = self.read(namespace, |objects| assemble::module(objects, name))?;
        Ok(Change { revision, module, outcome: () })
    }
}

impl Inner {
    pub(crate) fn rollout(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
    ) -> Result<Rollout, CatalogError> {
        self.read(namespace, |objects| {
            let known = assemble::module(objects, name);
            let object = assemble::module_object(objects, name).filter(|_| known.is_some());
            let (object, _) = object.ok_or_else(|| CatalogError::NoSuchModule(name.clone()))?;
            rollout::of(object)
        })?
    }

    pub(crate) async fn edit_rollout(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        edit: &RolloutEdit,
    ) -> Result<Change<Rollout>, CatalogError> {
        let _turn = self.changing.lock().await;
        self.persist(name, async || self.try_to_edit_rollout(namespace, name, edit).await).await
    }

    async fn try_to_edit_rollout(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        edit: &RolloutEdit,
    ) -> Result<Change<Rollout>, Failure> {
        self.refresh(namespace, name).await?;
        let ground = self.read(namespace, |objects| Ground::of(objects, name))?;
        let record = ground.record.ok_or_else(|| CatalogError::NoSuchModule(name.clone()))?;
        let Some((object, revision)) = ground.object else { return Err(Failure::Conflict) };
        let mut now = *self.revision.borrow();
        if let Some(after) = rollout::edited(&object, &record, edit.clone())? {
            let change = Edit::Spec(json!({"rollout": after}));
            let (kind, name) = (object.kind(), name.as_str());
            let read = self.cluster.patch(namespace, kind, name, revision, change).await?;
            now = read.revision;
            self.learn(namespace, kind, read);
        }
        let module = self.read(namespace, |objects| assemble::module(objects, name))?;
        let outcome = self.rollout(namespace, name)?;
        Ok(Change { revision: now, module, outcome })
    }
}

/// The longer chains of the packages whose locks move; none if none does.
///
/// # Errors
/// [`CatalogError::LockMoved`] if a chain does not end where the publication found it.
fn longer(
    locks: &[LockChange],
    chain: impl Fn(&str) -> Option<Vec<roadstead_domain::Digest>>,
) -> Result<Option<Value>, CatalogError> {
    let mut packages = serde_json::Map::new();
    for LockChange { package, from, to } in locks {
        let mut chain = chain(package).unwrap_or_default();
        let now = chain.last().copied();
        if now != *from {
            return Err(CatalogError::LockMoved { package: package.clone(), now });
        }
        if now != Some(*to) {
            chain.push(*to);
            packages.insert(package.clone(), json!(chain));
        }
    }
    Ok((!packages.is_empty()).then_some(Value::Object(packages)))
}

/// Neither the change nor a look at what became of it got through.
fn lost(failure: &Failure, name: &ModuleName) -> Failure {
    let why = match failure {
        Failure::Other(error) => with_causes(error),
        other => format!("{other:?}"),
    };
    let message = format!("what became of the push of `{name}` is not known: {why}");
    Failure::Other(CatalogError::Unavailable { doing: "move the locks", source: message.into() })
}

#[cfg(test)]
mod tests {
    use roadstead_domain::Digest;

    use super::*;

    #[test]
    fn chains_grow_at_their_end_or_not_at_all() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let chain = |package: &str| (package == "p").then(|| vec![digest("p1"), digest("p2")]);
        let change = |package: &str, from: Option<&str>, to: &str| LockChange {
            package: package.to_owned(),
            from: from.map(digest),
            to: digest(to),
        };
        assert_eq!(longer(&[change("p", Some("p2"), "p2")], chain).unwrap(), None);
        let both = [change("p", Some("p2"), "p3"), change("q", None, "q1")];
        let packages = longer(&both, chain).unwrap().unwrap();
        assert_eq!(packages["p"], json!([digest("p1"), digest("p2"), digest("p3")]));
        assert_eq!(packages["q"], json!([digest("q1")]));
        let stale = [change("q", None, "q1"), change("p", Some("p1"), "p3")];
        let error = longer(&stale, chain).unwrap_err();
        assert!(matches!(error, CatalogError::LockMoved { now, .. } if now == Some(digest("p2"))));
    }
}
