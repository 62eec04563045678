//! Throwing away stored bytes that nothing names: of this host at once, of a pool after a grace.

use std::{collections::HashSet, sync::Weak, time::Duration};

use roadstead_blobs::{BlobError, Kind};
use roadstead_catalog::{Snapshot, VersionRecord};
use roadstead_domain::{Digest, with_causes};

use crate::{OpenError, PushError, Registry, recipe::Recipe};

/// How often a pool's store is looked at, by one host for all; more often where its grace is short.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// How long a new registry has other things to do.
const START: Duration = Duration::from_secs(1);

/// The task that one host of a pool is chosen for.
const TASK: &str = "sweep";

/// Looks after the store of a pool with this grace, as long as the registry lives.
pub(super) async fn keep_swept(registry: Weak<Registry>, grace: Option<Duration>) {
    let Some(pause) = grace.map(|grace| LOOK.min(grace / 4)) else { return };
    let mut next = START.min(pause);
    loop {
        tokio::time::sleep(next).await;
        next = pause;
        let Some(registry) = registry.upgrade() else { return };
        match registry.look_after_pool(pause).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "swept what the pool needs no more"),
            Err(error) => tracing::warn!(error = with_causes(&error), "sweep what the pool shares"),
        }
    }
}

impl Registry {
    /// Deletes stored bytes that nothing names and nobody holds. What goes wrong is logged: garbage
    /// takes room and does no other harm.
    pub(crate) async fn sweep(&self) {
        let swept = async {
            let sweep = self.blobs.begin_sweep().await?;
            let snapshot = match (self.blobs.grace(), self.catalog.election()) {
                // Copies, which can be had again.
                (Some(_), _) => Some(self.catalog.snapshot().await?),
                (None, None) => self.catalog.needed().await?,
                // A host of a cluster with blobs of its own: a namespace that it does not see for a
                // while would be lost.
                (None, Some(_)) => None,
            };
            let Some(snapshot) = snapshot else { return Ok(0) };
            Ok::<_, OpenError>(sweep.finish(&referenced(snapshot)).await?)
        };
        match swept.await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "swept blobs"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "sweep blobs");
            }
        }
    }

    /// Keeps this engine's code in the pool's store, and sweeps the store if it is this host's turn.
    async fn look_after_pool(&self, pause: Duration) -> Result<usize, OpenError> {
        self.blobs.mark_engine(self.engine.fingerprint()).await?;
        let Some(election) = self.catalog.election() else { return Ok(0) };
        let Some(_office) = election.stand(TASK).await? else { return Ok(0) };
        let Some(sweep) = self.blobs.begin_shared_sweep(pause).await? else { return Ok(0) };
        // Asked for after the look: whatever was published before it is in there.
        let Some(needed) = self.catalog.needed().await? else {
            tracing::debug!("the catalog is not current: nothing is swept");
            return Ok(0);
        };
        Ok(sweep.finish(&referenced(needed)).await?)
    }

    /// Stores anew all that a version names, before it is published or acknowledged so late that
    /// the pool might have begun to throw it away.
    pub(crate) async fn renew(&self, record: &VersionRecord) -> Result<(), BlobError> {
        drop(self.blobs.renew(Kind::Component, record.component).await?);
        self.renew_texts(record).await
    }

    /// As [`Registry::renew`], of all but the component.
    pub(crate) async fn renew_texts(&self, record: &VersionRecord) -> Result<(), BlobError> {
        for (kind, digest) in blobs(record) {
            if kind != Kind::Component {
                drop(self.blobs.renew(kind, digest).await?);
            }
        }
        Ok(())
    }

    /// As [`Registry::renew`], if that is how late it is.
    pub(crate) async fn renew_if_late(
        &self,
        record: &VersionRecord,
        age: Duration,
    ) -> Result<(), PushError> {
        match self.blobs.grace() {
            Some(grace) if grace / 2 < age => Ok(self.renew(record).await?),
            _ => Ok(()),
        }
    }
}

/// All that a version names by digest but its code.
fn blobs(record: &VersionRecord) -> Vec<(Kind, Digest)> {
    let mut named = vec![(Kind::Component, record.component)];
    if record.interface != record.component {
        named.push((Kind::Interface, record.interface));
    }
    named.extend(record.wit.map(|wit| (Kind::Wit, wit)));
    named.extend(record.locks.values().map(|lock| (Kind::Lock, *lock)));
    named
}

fn referenced(snapshot: Snapshot) -> HashSet<Digest> {
    let mut referenced: HashSet<_> = snapshot.locks.into_values().collect();
    for ((_, name), module) in &snapshot.modules {
        for record in module.versions.values() {
            referenced.extend(blobs(record).into_iter().map(|(_, digest)| digest));
            referenced.insert(Recipe::of(name, record).key());
        }
    }
    referenced
}
