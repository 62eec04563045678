//! The keys of one issuer: of a file, read once with the policy, or asked for in the background and
//! kept while the issuer is away.
//!
//! Calls read what is there and wait for nothing. A key that is not there makes the host ask
//! again, no more often than the policy says.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle as AbortOnDrop;

use crate::{
    jwt::KeySet,
    policy::{IssuerSettings, KeysFrom},
    sources::{FetchError, fetch, from_file},
};

/// Pauses between failed attempts: the first, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An issuer whose keys are looked after until it is dropped.
pub(crate) struct Issuer {
    state: Arc<State>,
    /// None for a file: a change of it is a change of the policy.
    task: Option<AbortOnDrop<()>>,
}

struct State {
    settings: IssuerSettings,
    /// None until they were there once.
    keys: ArcSwapOption<Keys>,
    wanted: Notify,
    attempts: watch::Sender<u64>,
}

/// The keys as they were at one time.
pub(crate) struct Keys {
    pub set: KeySet,
    /// Counts the changes.
    pub number: u64,
}

impl Issuer {
    /// # Errors
    /// The keys are in a file, and it holds none.
    pub(crate) fn start(settings: IssuerSettings) -> Result<Self, FetchError> {
        let file = match &settings.keys {
            KeysFrom::File(path) => Some(from_file(path)?),
            KeysFrom::Web { .. } => None,
        };
        let state = Arc::new(State {
            settings,
            keys: ArcSwapOption::empty(),
            wanted: Notify::new(),
            attempts: watch::Sender::new(0),
        });
        if let Some(keys) = file {
            state.take(keys);
            state.attempts.send_replace(1);
            return Ok(Self { state, task: None });
        }
        let task = tokio::spawn(look_after(Arc::clone(&state)));
        Ok(Self { state, task: Some(AbortOnDrop::new(task)) })
    }

    /// Whether the keys are looked after, so that they outlive a change of the policy.
    pub(crate) fn is_followed(&self) -> bool {
        self.task.is_some()
    }

    pub(crate) fn settings(&self) -> &IssuerSettings {
        &self.state.settings
    }

    pub(crate) fn keys(&self) -> Option<Arc<Keys>> {
        self.state.keys.load_full()
    }

    /// Which keys there are now; 0 for none.
    pub(crate) fn number(&self) -> u64 {
        self.state.keys.load().as_ref().map_or(0, |keys| keys.number)
    }

    /// Has the keys asked for again, soon.
    pub(crate) fn want(&self) {
        self.state.wanted.notify_one();
    }

    /// Until the keys were asked for once, successfully or not.
    pub(crate) async fn asked(&self) {
        let mut attempts = self.state.attempts.subscribe();
        // A sender that is gone asks no more.
        let _gone = attempts.wait_for(|attempts| 0 < *attempts).await.is_err();
    }
}

async fn look_after(state: Arc<State>) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        let next = match fetch(&state.settings).await {
            Ok(set) => {
                state.take(set);
                pause = PAUSE;
                state.settings.refresh
            }
            Err(error) => {
                let next = pause;
                pause = LONGEST_PAUSE.min(pause * 2);
                state.complain(&error);
                next
            }
        };
        state.attempts.send_modify(|attempts| *attempts += 1);
        tokio::time::sleep_until(began + next.min(state.settings.min_refresh)).await;
        let rest = next.saturating_sub(began.elapsed());
        tokio::select! {
            () = state.wanted.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

impl State {
    fn take(&self, set: KeySet) {
        let old = self.keys.load();
        let same = old.as_ref().is_some_and(|old| old.set.is_same_as(&set));
        if !same {
            let number = old.as_ref().map_or(1, |old| old.number + 1);
            self.keys.store(Some(Arc::new(Keys { set, number })));
            tracing::info!(issuer = self.settings.name, number, "took an issuer's keys");
        }
    }

    fn complain(&self, error: &FetchError) {
        let kept = self.keys.load().is_some();
        tracing::warn!(issuer = self.settings.name, %error, kept, "ask for an issuer's keys");
    }
}
