//! Which blobs are counted on although the catalog does not name them (yet, or any more).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use roadstead_domain::Digest;

/// Keeps one digest from being swept, in every kind of storage, as long as it lives.
#[derive(Debug)]
pub struct Hold {
    digest: Digest,
    holds: Arc<Holds>,
}

/// All holds of a store, and those that a running sweep has seen.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    state: Mutex<State>,
    /// Held while one blob is swept, so that nobody takes a hold between the look and the deletion.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Digest, usize>,
    /// Everything held at some time since a sweep began: what it was published under may be newer
    /// than the sweep's list of what is referenced.
    touched: Option<HashSet<Digest>>,
}

impl Hold {
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.holds.state.lock();
        if let Some(count) = state.held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.digest);
            }
        }
    }
}

impl Holds {
    pub(crate) async fn hold(self: &Arc<Self>, digest: Digest) -> Hold {
        let _gate = self.gate.lock().await;
        let mut state = self.state.lock();
        *state.held.entry(digest).or_default() += 1;
        if let Some(touched) = &mut state.touched {
            touched.insert(digest);
        }
        Hold { digest, holds: Arc::clone(self) }
    }

    pub(crate) fn begin_sweep(&self) {
        let mut state = self.state.lock();
        let touched = state.held.keys().copied().collect();
        state.touched = Some(touched);
    }

    pub(crate) fn end_sweep(&self) {
        self.state.lock().touched = None;
    }

    /// Whether the running sweep must leave the digest alone.
    pub(crate) fn is_touched(&self, digest: Digest) -> bool {
        self.state.lock().touched.as_ref().is_none_or(|touched| touched.contains(&digest))
    }
}
