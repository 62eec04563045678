//! Judging versions that are written and not published: whether their locks follow from those that
//! hold, and whom they would break. A push judges in the same way before it writes.

use std::collections::{BTreeMap, HashSet};

use roadstead_blobs::{BlobError, Kind};
use roadstead_catalog::{LockChange, Pending, Refusal, ServiceRecord, Verdict};
use roadstead_domain::{Digest, with_causes};
use roadstead_transcode::Derived;

use crate::{
    Registry,
    derive::{self, ReviveError},
    push::previous,
};

impl Registry {
    /// Judges what waits for it, and lets the catalog act on it.
    pub(super) async fn settle(&self) {
        for pending in self.catalog.pending().await {
            let id = format!("{}@{}", pending.name, pending.record.version);
            let settled = match self.judge(&pending).await {
                Ok(verdict) => {
                    // What it names may be older than anyone's promise to keep it.
                    let kept = match &verdict {
                        Verdict::Follows(_) => self.renew(&pending.record).await,
                        Verdict::Refused(..) => Ok(()),
                    };
                    if let Err(error) = kept {
                        tracing::warn!(module = id, error = with_causes(&error), "store it anew");
                        continue;
                    }
                    self.catalog.settle(&pending, verdict).await
                }
                // Another look may find it readable.
                Err(error) => {
                    tracing::warn!(
                        module = id,
                        error = with_causes(&error),
                        "judge a written version"
                    );
                    continue;
                }
            };
            if let Err(error) = settled {
                tracing::warn!(
                    module = id,
                    error = with_causes(&error),
                    "settle a written version"
                );
            }
        }
    }

    async fn judge(&self, pending: &Pending) -> Result<Verdict, ReviveError> {
        let Pending { namespace, name, record } = pending;
        let refused = |why, text: String| Ok(Verdict::Refused(why, text));
        let own = match derive::locks(&self.blobs, record).await {
            Err(ReviveError::Blob(BlobError::Missing(digest) | BlobError::Damaged(digest))) => {
                return refused(Refusal::BlobMissing, format!("its lock {digest} is not stored"));
            }
            own => own?,
        };
        match self.blobs.get(Kind::Component, record.component).await {
            Ok(_) => {}
            Err(BlobError::Missing(digest) | BlobError::Damaged(digest)) => {
                let text = format!("its component {digest} is not stored");
                return refused(Refusal::BlobMissing, text);
            }
            Err(error) => return Err(error.into()),
        }
        let routes = self.routes();
        let mut locks = own;
        let packages = record.locks.keys().map(String::as_str);
        match routes.newest_locks(namespace, packages) {
            Ok(newest) => locks.extend(newest),
            Err(damaged) => return refused(Refusal::BlobMissing, damaged.to_string()),
        }
        let (derived, _) = derive::derive_with(&self.blobs, name, record, locks.clone()).await?;
        let follow: BTreeMap<String, Digest> =
            derive::lock_blobs(&derived).into_iter().map(|(p, digest, _)| (p, digest)).collect();
        if follow != record.locks {
            let text = "its locks do not follow from those that hold now: push it again".to_owned();
            return refused(Refusal::LocksMoved, text);
        }
        if !same_services(&record.services, &derived) {
            let text = "its services are not those of its component: push it again".to_owned();
            return refused(Refusal::Malformed, text);
        }
        let before = routes
            .module(namespace, name)
            .map(|module| previous(module, &record.version, &derived, &locks));
        let breaks = roadstead_transcode::compare(&locks, &before.unwrap_or_default(), &derived);
        let forced: HashSet<&str> = record.forced.iter().map(|one| one.subject.as_str()).collect();
        let unsaid: Vec<String> = breaks
            .iter()
            .filter(|one| !forced.contains(one.subject.as_str()))
            .map(|one| format!("{}: {}", one.subject, one.description))
            .collect();
        if !unsaid.is_empty() {
            return refused(Refusal::BreaksContract, unsaid.join("; "));
        }
        let book = routes.locks(namespace);
        let change = |(package, to): (String, Digest)| LockChange {
            from: book.digest(&package),
            package,
            to,
        };
        Ok(Verdict::Follows(follow.into_iter().map(change).collect()))
    }
}

/// Whether the services are those that the component has.
fn same_services(said: &[ServiceRecord], derived: &Derived) -> bool {
    let said = said.iter().flat_map(|service| {
        let methods = service.methods.iter();
        methods.map(|method| (service.name.clone(), method.name.clone(), method.export.clone()))
    });
    let has = derived.services.iter().flat_map(|service| {
        let methods = service.methods.iter();
        methods.map(|plan| (service.name.clone(), plan.method.clone(), plan.export.to_string()))
    });
    said.collect::<HashSet<_>>() == has.collect::<HashSet<_>>()
}
