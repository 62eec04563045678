//! The way of an upload, one type per step: uploaded → [`Validated`] → [`Planned`] → [`Stored`] →
//! published.
//!
//! Everything up to the catalog's transaction only adds bytes that nobody names. They are swept up
//! after a refusal, and at the next start after a crash.

mod book;
mod plan;
mod publish;
mod repair;
mod validate;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use roadstead_blobs::{Hold, Kind, Staged, StagedCode};
use roadstead_domain::{Digest, Namespace, with_causes};
use roadstead_engine::{BadBinding, InspectError, LoadError, Module};
use roadstead_transcode::Unbindable;
use roadstead_worker::leash;
use tokio::{sync::Notify, task::JoinHandle};

pub(crate) use self::book::{LockBook, NewestLock, Unreadable};
pub(crate) use self::plan::{Plan, Planned, previous};
pub(crate) use self::validate::Validated;
use crate::{
    Checked, Phase, Progress, PushError, PushRequest, Pushed, Registry,
    bindings::BoundImports,
    recipe::Recipe,
    registry::{RETRY_AFTER, blocking},
    turns::Turn,
};

/// Bytes that are stored, and stay so for as long as this lives.
pub(crate) struct Stored {
    holds: Vec<Hold>,
    /// When the first of them was, by two clocks: one stands still with the machine, the other may
    /// be set.
    since: (Instant, SystemTime),
    /// Told if they are garbage in the end; none once they are published.
    collect: Option<Arc<Notify>>,
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
        let turn = self.turns.take().await?;
        let bytes = staged.size();
        let at = |phase| progress(Progress { phase, bytes });
        at(Phase::Validating);
        let validated = Arc::new(self.validate(&turn, namespace, request, staged).await?);
        let planned = match self.plan(&turn, &validated).await? {
            Plan::Exists(record) => {
                self.repair(&turn, &validated, &record).await?;
                self.pushed_again(&validated.id_of(&record), &record);
                let name = validated.name.clone();
                return Ok(Pushed { name, record, created: false });
            }
            Plan::New(planned) => planned.accepted(&validated)?,
        };
        let (id, bound) = (validated.id_of(&planned.record), self.bound(&validated));
        let module = self.accept(&id, &planned.record, &planned.derived, bound.as_ref()).await?;
        at(Phase::Compiling);
        let recipe = Recipe::of(&validated.name, &planned.record);
        let locks = planned.derived.locks.to_string();
        let code = self.compile(&turn, &validated, &recipe, locks).await?;
        at(Phase::Storing);
        // What is being written is written to its end, so that it is known what to sweep.
        let storing = Arc::clone(self).store(turn, Arc::clone(&validated), recipe.key(), code);
        let stored = joined(tokio::spawn(storing)).await?;
        if let Some(module) = &module {
            try_to_load(module).await?;
        }
        at(Phase::Publishing);
        // The catalog's transaction cannot be taken back, so what follows it must happen too, even
        // if whoever pushed is gone.
        let publishing = Arc::clone(self).publish(validated, planned, (module, recipe), stored);
        joined(tokio::spawn(publishing)).await
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
        let turn = self.turns.take().await?;
        let validated = Arc::new(self.validate(&turn, namespace, request, staged).await?);
        let plan = self.plan(&turn, &validated).await;
        drop(turn);
        let name = validated.name.clone();
        let planned = match plan? {
            Plan::Exists(record) => {
                return Ok(Checked { name, record: (*record).clone(), breaks: Vec::new() });
            }
            Plan::New(planned) => planned,
        };
        let (id, bound) = (validated.id_of(&planned.record), self.bound(&validated));
        self.accept(&id, &planned.record, &planned.derived, bound.as_ref()).await?;
        Ok(Checked { name, breaks: planned.breaks, record: planned.record })
    }

    fn bound(&self, validated: &Validated) -> Option<Arc<BoundImports>> {
        self.bind(&validated.namespace, &validated.record.spec, &validated.imports)
    }

    fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, PushError> {
        let place = Arc::clone(&self.pushes).try_acquire_owned();
        place.map_err(|_| PushError::Overloaded { retry_after: RETRY_AFTER })
    }

    /// Compiles what is not compiled yet, where there is anything to compile. Dropping the future ends it at once.
    async fn compile(
        &self,
        turn: &Turn,
        validated: &Arc<Validated>,
        recipe: &Recipe,
        locks: String,
    ) -> Result<Option<StagedCode>, PushError> {
        if validated.record.spec.native.is_some() {
            return Ok(None);
        }
        let (engine, blobs) = (Arc::clone(&self.engine), Arc::clone(&self.blobs));
        let code = Arc::clone(blobs.code());
        let (validated, workers) = (Arc::clone(validated), Arc::clone(&self.workers));
        let (_leash, tether) = leash();
        let (key, upload) = (recipe.key(), recipe.codec.as_ref().map(|codec| codec.upload(locks)));
        let compiled = turn.run(move || {
            if code.open(engine.fingerprint(), key).is_ok() {
                return Ok(None);
            }
            if matches!(blobs.fetch_code(engine.fingerprint(), key), Ok(Some(_))) {
                return Ok(None);
            }
            let staged = code.stage()?;
            workers.compile(&validated.component, upload.as_ref(), staged.file(), tether)?;
            Ok(Some(staged))
        });
        compiled.await?
    }

    async fn store(
        self: Arc<Self>,
        turn: Turn,
        validated: Arc<Validated>,
        key: Digest,
        code: Option<StagedCode>,
    ) -> Result<Stored, PushError> {
        let since = (Instant::now(), SystemTime::now());
        let collect = Some(Arc::clone(&self.collect));
        let mut stored = Stored { holds: Vec::new(), since, collect };
        stored.holds.push(self.blobs.hold(key).await);
        let component = self.blobs.put(Kind::Component, validated.component.clone());
        let wit = async {
            match &validated.wit {
                Some(wit) => Ok(Some(self.blobs.put(Kind::Wit, wit.clone()).await?)),
                None => Ok::<_, PushError>(None),
            }
        };
        let code = async {
            let Some(code) = code else { return Ok(()) };
            let (engine, blobs) = (Arc::clone(&self.engine), Arc::clone(&self.blobs));
            let put = move || {
                blobs.code().put(engine.fingerprint(), key, code)?;
                blobs.share_code(engine.fingerprint(), key)
            };
            Ok(turn.run(put).await??)
        };
        // All are waited for, so that nothing is still being written when one has failed.
        let (component, wit, code): (_, _, Result<(), PushError>) =
            futures::join!(component, wit, code);
        stored.holds.push(component?);
        stored.holds.extend(wit?);
        code?;
        Ok(stored)
    }
}

/// Maps and links the code, so that nothing is published that could never be called.
async fn try_to_load(module: &Arc<Module>) -> Result<(), PushError> {
    let module = Arc::clone(module);
    blocking(move || module.load()).await?.map_err(|error| match &*error {
        LoadError::Link(_) => PushError::Invalid(with_causes(&*error)),
        LoadError::NeverFits(why) => PushError::NeverFits(why.clone()),
        LoadError::NotOffered(why) => PushError::NotOffered(why.clone()),
        _ => PushError::host(error),
    })
}

async fn joined<T>(task: JoinHandle<Result<T, PushError>>) -> Result<T, PushError> {
    task.await.unwrap_or_else(|error| Err(PushError::host(error)))
}

impl Stored {
    fn age(&self) -> Duration {
        let (started, since) = self.since;
        started.elapsed().max(since.elapsed().unwrap_or_default())
    }

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

impl Drop for Stored {
    fn drop(&mut self) {
        // The holds first: who is told must find them gone.
        self.holds.clear();
        if let Some(collect) = &self.collect {
            collect.notify_one();
        }
    }
}

impl From<InspectError> for PushError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Invalid(problem) => Self::Invalid(problem),
            InspectError::UnknownImports(imports) => Self::UnknownImports(imports),
            InspectError::NoSuchImports(imports) => {
                let problem = Unbindable::NotImported.to_string();
                let bad = |import| BadBinding { import, problem: problem.clone() };
                Self::Bindings(imports.into_iter().map(bad).collect())
            }
            InspectError::NeverFits(why) => Self::NeverFits(why),
        }
    }
}
