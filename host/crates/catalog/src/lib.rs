//! What is published: modules, their immutable versions, pins and wire locks.
//!
//! [`Catalog`] is one compare-and-swap per change. Every implementation applies the same pure rules
//! ([`rules`]) in one transaction, and passes one conformance suite (feature `conformance`). A
//! version that exists never changes; a change that was acknowledged is durable; changes have one
//! order, told by a revision that grows with each.
//!
//! The catalog knows names and digests, never bytes: those are stored before they are named here.

#[cfg(feature = "conformance")]
pub mod conformance;
mod election;
mod error;
mod memory;
mod record;
mod redb;
mod rollout;
pub mod rules;

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_domain::{ModuleName, Namespace, Version};
use tokio::sync::watch;

pub use crate::{
    election::{Election, Office},
    error::CatalogError,
    memory::MemoryCatalog,
    record::{
        BreakRecord, Change, ImportRecord, LockChange, MethodRecord, ModuleRecord, Pending,
        Publication, Published, Refusal, ServiceRecord, Snapshot, UnmappedRecord, Verdict,
        VersionChoice, VersionRecord,
    },
    redb::RedbCatalog,
    rollout::{PlanEdit, Rollout, RolloutAction, RolloutCondition, RolloutEdit, RolloutProgress},
};

/// Names and versions, behind one small seam.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Everything, as of one revision.
    async fn snapshot(&self) -> Result<Snapshot, CatalogError>;

    /// Publishes one version and moves the locks it was derived with, or changes nothing.
    async fn publish(&self, publication: Publication) -> Result<Published, CatalogError>;

    /// Deletes one version, or the module with all its versions.
    async fn delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, CatalogError>;

    /// Pins a version that exists, or removes the pin.
    async fn pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, CatalogError>;

    /// How new versions of a module roll out.
    ///
    /// # Errors
    /// [`CatalogError::RolloutUnsupported`] where nobody moves calls to new versions step by step.
    async fn rollout(
        &self,
        _namespace: &Namespace,
        _name: &ModuleName,
    ) -> Result<Rollout, CatalogError> {
        Err(CatalogError::RolloutUnsupported)
    }

    /// Changes how they do, or decides about one of them.
    ///
    /// # Errors
    /// As of [`Catalog::rollout`], and [`CatalogError::RolloutRefused`].
    async fn edit_rollout(
        &self,
        _namespace: &Namespace,
        _name: &ModuleName,
        _edit: RolloutEdit,
    ) -> Result<Change<Rollout>, CatalogError> {
        Err(CatalogError::RolloutUnsupported)
    }

    /// The newest revision, and every later one (some may be skipped).
    fn watch(&self) -> watch::Receiver<u64>;

    /// Whether changes are heard of as they happen. Where not, this is what was known last.
    fn is_current(&self) -> bool {
        true
    }

    /// Everything that stored bytes are kept for, what is written and not published included. None
    /// while this host cannot tell: its view is not current, or part of it does not read.
    async fn needed(&self) -> Result<Option<Snapshot>, CatalogError> {
        self.snapshot().await.map(Some)
    }

    /// How hosts agree on who does what only one should. None where there is one host.
    fn election(&self) -> Option<Arc<dyn Election>> {
        None
    }

    /// Versions that are written but not published, and wait for someone to judge them. None where
    /// publishing is one transaction.
    async fn pending(&self) -> Vec<Pending> {
        Vec::new()
    }

    /// Acts on what a host found about a pending version.
    async fn settle(&self, _pending: &Pending, _verdict: Verdict) -> Result<(), CatalogError> {
        Ok(())
    }
}
