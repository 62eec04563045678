//! The way of an upload, one type per step: uploaded → [`Validated`] → [`Planned`] → [`Stored`] →
//! published.
//!
//! Everything up to the catalog's transaction only adds bytes that nobody names. A refusal sweeps
//! them up; a crash leaves them for the sweep at the next start.

mod plan;
mod publish;
mod validate;

use std::sync::Arc;

use bytes::Bytes;
use roadstead_blobs::{Hold, Kind, Staged};
use roadstead_domain::Namespace;
use roadstead_engine::{InspectError, LoadError};

pub(crate) use self::plan::{LockBook, Plan, Planned};
pub(crate) use self::validate::Validated;
use crate::{
    Checked, Phase, Progress, PushError, PushRequest, Pushed, Registry,
    registry::{RETRY_AFTER, blocking},
};

/// Bytes that are stored, and stay so for as long as this lives.
pub(crate) struct Stored {
    holds: Vec<Hold>,
}

impl Registry {
    /// Publishes what was uploaded. Dropping the future before [`Phase::Publishing`] ends the push;
    /// from then on it comes to its end either way.
    ///
    /// # Errors
    /// [`PushError`] says what to change; nothing is published then.
    pub async fn push(
        self: &Arc<Self>,
        namespace: &Namespace,
        request: PushRequest,
        staged: Staged,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, PushError> {
        let _place = self.place()?;
        let mut collect = CollectOnDrop { registry: Arc::clone(self), armed: true };
        let pushed = self.publish_upload(namespace, request, staged, progress).await;
        collect.armed = false;
        if pushed.is_err() {
            self.sweep().await;
        }
        pushed
    }

    /// Says what [`Registry::push`] would come to, short of compiling and storing.
    ///
    /// # Errors
    /// [`PushError`], except for breaks, which are part of the answer.
    pub async fn check(
        self: &Arc<Self>,
        namespace: &Namespace,
        request: PushRequest,
        staged: Staged,
    ) -> Result<Checked, PushError> {
        let _place = self.place()?;
        let turn = self.compilation().await?;
        let validated = self.validate(namespace, request, staged).await?;
        let name = validated.name.clone();
        let plan = self.plan(&Arc::new(validated)).await;
        drop(turn);
        Ok(match plan? {
            Plan::Exists(record) => Checked { name, record: (*record).clone(), breaks: Vec::new() },
            Plan::New(planned) => Checked { name, breaks: planned.breaks, record: planned.record },
        })
    }

    fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, PushError> {
        let place = Arc::clone(&self.pushes).try_acquire_owned();
        place.map_err(|_| PushError::Overloaded { retry_after: RETRY_AFTER })
    }

    /// A turn to work on whole components, which takes memory and time.
    async fn compilation(&self) -> Result<tokio::sync::OwnedSemaphorePermit, PushError> {
        Arc::clone(&self.compilations).acquire_owned().await.map_err(PushError::host)
    }

    async fn publish_upload(
        self: &Arc<Self>,
        namespace: &Namespace,
        request: PushRequest,
        staged: Staged,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, PushError> {
        let turn = self.compilation().await?;
        let bytes = staged.size();
        let at = |phase| progress(Progress { phase, bytes });
        at(Phase::Validating);
        let validated = Arc::new(self.validate(namespace, request, staged).await?);
        let planned = match self.plan(&validated).await? {
            Plan::Exists(record) => {
                let name = validated.name.clone();
                return Ok(Pushed { name, record, created: false });
            }
            Plan::New(planned) => planned.accepted(&validated)?,
        };
        at(Phase::Compiling);
        let (code, hold) = self.compile(&validated).await?;
        at(Phase::Storing);
        let stored = self.store(&validated, code, hold).await?;
        drop(turn);
        let stored = self.try_to_load(&validated, &planned, stored).await?;
        at(Phase::Publishing);
        // The catalog's transaction cannot be taken back, so what follows it must happen too, even
        // if whoever pushed is gone.
        let registry = Arc::clone(self);
        let publishing =
            tokio::spawn(async move { registry.publish(validated, planned, stored).await });
        publishing.await.unwrap_or_else(|error| Err(PushError::host(error)))
    }

    /// Compiles what is not compiled yet.
    async fn compile(
        &self,
        validated: &Arc<Validated>,
    ) -> Result<(Option<Vec<u8>>, Hold), PushError> {
        let hold = self.blobs.hold(validated.record.component).await;
        let (engine, code) = (Arc::clone(&self.engine), Arc::clone(self.blobs.code()));
        let validated = Arc::clone(validated);
        let compiled = blocking(move || {
            if code.open(engine.fingerprint(), validated.record.component).is_ok() {
                return Ok(None);
            }
            engine.compile(&validated.component).map(Some)
        });
        let compiled = compiled.await?.map_err(|error| PushError::Invalid(error.to_string()))?;
        Ok((compiled, hold))
    }

    async fn store(
        &self,
        validated: &Arc<Validated>,
        code: Option<Vec<u8>>,
        hold: Hold,
    ) -> Result<Stored, PushError> {
        let mut holds = vec![hold];
        holds.push(self.blobs.put(Kind::Component, validated.component.clone()).await?);
        if let Some(wit) = &validated.wit {
            holds.push(self.blobs.put(Kind::Wit, wit.clone()).await?);
        }
        if let Some(code) = code {
            let (engine, store) = (Arc::clone(&self.engine), Arc::clone(self.blobs.code()));
            let component = validated.record.component;
            blocking(move || store.put(engine.fingerprint(), component, &code)).await??;
        }
        Ok(Stored { holds })
    }

    /// Maps and links the code, so that nothing is published that could never be called.
    async fn try_to_load(
        &self,
        validated: &Arc<Validated>,
        planned: &Planned,
        stored: Stored,
    ) -> Result<Stored, PushError> {
        let module = self.prepare(&validated.id(planned), &planned.record).await?;
        blocking(move || module.load()).await?.map_err(|error| match &*error {
            LoadError::Link(_) => PushError::Invalid(chain(&*error)),
            LoadError::NeverFits(why) => PushError::NeverFits(why.clone()),
            _ => PushError::host(error),
        })?;
        Ok(stored)
    }
}

impl Stored {
    async fn add(
        &mut self,
        registry: &Registry,
        kind: Kind,
        bytes: Bytes,
    ) -> Result<(), PushError> {
        self.holds.push(registry.blobs.put(kind, bytes).await?);
        Ok(())
    }
}

/// Has garbage collected after a push that was given up.
struct CollectOnDrop {
    registry: Arc<Registry>,
    armed: bool,
}

impl Drop for CollectOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.registry.collect.notify_one();
        }
    }
}

impl From<InspectError> for PushError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Invalid(problem) => Self::Invalid(problem),
            InspectError::UnknownImports(imports) => Self::UnknownImports(imports),
            InspectError::NeverFits(why) => Self::NeverFits(why),
        }
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
