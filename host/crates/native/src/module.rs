//! One native module: its versions, its servers, and what is known of them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use roadstead_domain::{self as domain, ModuleName};
use roadstead_native_plan::{self as plan, Attempt, KEPT, Moment, Standing};
use tokio::sync::{Notify, watch};

use crate::{
    cgroup::Cgroups,
    config::ProcessesConfig,
    deletion,
    helper::Layers,
    records::{self, Record},
    server::Server,
    spawner::Spawner,
    version::{Clock, Version},
};

/// What all modules of a host share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) config: ProcessesConfig,
    pub(crate) clock: Clock,
    pub(crate) spawner: Spawner,
    pub(crate) layers: Layers,
    pub(crate) cgroups: Option<Cgroups>,
    /// Of servers of an earlier host that do not end.
    pub(crate) left: Mutex<Vec<Record>>,
}

/// A module, of all its versions.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) ground: Arc<Ground>,
    pub(crate) name: ModuleName,
    /// Its epoch and its state.
    pub(crate) directory: PathBuf,
    state: Mutex<State>,
    /// Held while its state is marked or set aside.
    aside: Mutex<()>,
    /// Wakes the supervisor.
    pub(crate) changed: Notify,
    /// Wakes calls that wait for a server: counts what they should look at.
    round: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    versions: HashMap<domain::Version, Weak<Version>>,
    wanted: Vec<domain::Version>,
    /// Until its state is set aside: nothing of its name begins before.
    deleted: bool,
    /// Of this host.
    deletions: u64,
    servers: Vec<Arc<Server>>,
    /// Servers that ended, the latest last.
    ended: VecDeque<Attempt>,
    epoch: u64,
    standings: BTreeMap<domain::Version, Standing>,
}

impl Module {
    pub(crate) fn new(
        ground: Arc<Ground>,
        name: ModuleName,
        directory: PathBuf,
    ) -> io::Result<Self> {
        let epoch = records::epoch(&directory)?;
        let deleted = deletion::is_marked(&directory)?;
        Ok(Self {
            ground,
            name,
            directory,
            state: Mutex::new(State { epoch, deleted, ..State::default() }),
            aside: Mutex::default(),
            changed: Notify::new(),
            round: watch::Sender::new(0),
        })
    }

    pub(crate) fn now(&self) -> Moment {
        self.ground.clock.now()
    }

    /// Where its state lies, whichever version runs.
    pub(crate) fn state_directory(&self) -> PathBuf {
        self.directory.join("state")
    }

    pub(crate) fn register(&self, version: &Arc<Version>) {
        let mut state = self.state.lock();
        state.versions.retain(|_, version| version.strong_count() > 0);
        state.versions.insert(version.id.version.clone(), Arc::downgrade(version));
        drop(state);
        self.changed.notify_one();
    }

    /// None of it runs any more, and its state is another's no more.
    pub(crate) fn delete(&self) {
        let marked = {
            let _alone = self.aside.lock();
            deletion::mark(&self.directory)
        };
        if let Err(error) = marked {
            tracing::error!(module = %self.name, %error, "mark a deleted module's state");
        }
        let mut state = self.state.lock();
        state.wanted.clear();
        state.deleted = true;
        state.deletions = state.deletions.wrapping_add(1);
        drop(state);
        self.changed.notify_one();
    }

    /// Says which versions are to run. What failed of those that did not counts no more.
    pub(crate) fn want(&self, versions: &[domain::Version]) {
        let mut state = self.state.lock();
        let new = |version: &&domain::Version| !state.wanted.contains(*version);
        let new: Vec<_> = versions.iter().filter(new).cloned().collect();
        state.ended.retain(|one| !new.contains(&one.version));
        for version in &new {
            if let Some(version) = state.versions.get(version).and_then(Weak::upgrade) {
                version.touch();
            }
            state.standings.remove(version);
        }
        state.wanted = versions.to_vec();
        drop(state);
        self.changed.notify_one();
    }

    /// A version was pushed again: what failed of it counts no more.
    pub(crate) fn again(&self, version: &domain::Version) {
        let mut state = self.state.lock();
        let standing = state.standings.get(version).map(|standing| &standing.state);
        if !matches!(standing, Some(plan::State::Failed(_) | plan::State::BackingOff(_))) {
            return;
        }
        state.ended.retain(|one| one.version != *version);
        state.standings.remove(version);
        drop(state);
        self.changed.notify_one();
    }

    /// What is to be planned for.
    pub(crate) fn observe(&self) -> plan::Module {
        let held = self.is_held();
        let state = self.state.lock();
        let begins = !state.deleted && !held;
        let wanted = state.wanted.iter().filter(|_| begins).filter_map(|version| {
            let known = state.versions.get(version)?.upgrade()?;
            let wanted = plan::Wanted { spec: Arc::clone(&known.native), demand: known.demand() };
            Some((version.clone(), wanted))
        });
        let live = state.servers.iter().map(|server| server.seen());
        plan::Module {
            versions: wanted.collect(),
            attempts: live.chain(state.ended.iter().cloned()).collect(),
            epoch: state.epoch,
            restarts: self.ground.config.restarts,
        }
    }

    pub(crate) fn version(&self, version: &domain::Version) -> Option<Arc<Version>> {
        self.state.lock().versions.get(version)?.upgrade()
    }

    pub(crate) fn server(&self, epoch: u64) -> Option<Arc<Server>> {
        self.state.lock().servers.iter().find(|server| server.epoch() == epoch).cloned()
    }

    pub(crate) fn servers(&self) -> Vec<Arc<Server>> {
        self.state.lock().servers.clone()
    }

    pub(crate) fn add(&self, server: &Arc<Server>) {
        self.state.lock().servers.push(Arc::clone(server));
    }

    pub(crate) fn claimed(&self, epoch: u64) {
        let mut state = self.state.lock();
        state.epoch = state.epoch.max(epoch);
    }

    /// A server is no more: what it was is kept for a while.
    pub(crate) fn remove(&self, server: &Arc<Server>) {
        let mut state = self.state.lock();
        state.servers.retain(|other| !Arc::ptr_eq(other, server));
        let seen = server.seen();
        let of_version = |one: &&Attempt| one.version == seen.version;
        if state.ended.iter().filter(of_version).count() >= KEPT {
            let oldest = state.ended.iter().position(|one| one.version == seen.version);
            oldest.and_then(|at| state.ended.remove(at));
        }
        state.ended.push_back(seen);
        drop(state);
        self.look();
        self.changed.notify_one();
    }

    /// Changes what is seen of a server, and tells those whom it concerns.
    pub(crate) fn see(&self, server: &Server, change: impl FnOnce(&mut Attempt)) {
        let (before, after) = server.see(change);
        if before != after {
            self.look();
        }
        self.changed.notify_one();
    }

    pub(crate) fn publish(&self, standings: BTreeMap<domain::Version, Standing>) {
        let mut state = self.state.lock();
        if state.standings != standings {
            state.standings = standings;
            drop(state);
            self.look();
        }
    }

    fn look(&self) {
        self.round.send_modify(|round| *round = round.wrapping_add(1));
    }

    pub(crate) fn rounds(&self) -> watch::Receiver<u64> {
        self.round.subscribe()
    }

    /// How a version stands by the last plan; none before the first.
    pub(crate) fn standing(&self, version: &domain::Version) -> Option<Standing> {
        self.state.lock().standings.get(version).cloned()
    }

    pub(crate) fn is_wanted(&self, version: &domain::Version) -> bool {
        self.state.lock().wanted.contains(version)
    }

    /// Whether a server of an earlier host has its state still.
    fn is_held(&self) -> bool {
        let state = self.state_directory();
        self.ground.left.lock().iter().any(|record| record.order.own.contains(&state))
    }

    /// Which deletion it is that nothing of it runs after, if it is deleted.
    pub(crate) fn gone(&self) -> Option<u64> {
        let held = self.is_held();
        let state = self.state.lock();
        (state.deleted && state.servers.is_empty() && !held).then_some(state.deletions)
    }

    /// Sets the state of a deleted module aside. Blocks.
    pub(crate) fn set_aside(&self) -> io::Result<()> {
        let _alone = self.aside.lock();
        deletion::set_aside(&self.directory)
    }

    /// What it was before a deletion is out of the way of what has its name now.
    pub(crate) fn begin_anew(&self, deletion: u64) {
        let mut state = self.state.lock();
        state.deleted = state.deletions != deletion;
        drop(state);
        self.changed.notify_one();
    }

    /// The attempts of a version, the latest last.
    pub(crate) fn attempts(&self, version: &domain::Version) -> Vec<Attempt> {
        let mut all = self.observe().attempts;
        all.retain(|one| one.version == *version);
        all.sort_by_key(|one| one.epoch);
        all
    }

    /// The server with the fewest calls of those that answer for a version.
    pub(crate) fn pick(&self, version: &domain::Version, but: &[u64]) -> Option<Arc<Server>> {
        let state = self.state.lock();
        let fits = |server: &&Arc<Server>| {
            server.version.id.version == *version
                && server.answers()
                && server.link().is_some()
                && !but.contains(&server.epoch())
        };
        state.servers.iter().filter(fits).min_by_key(|server| server.running()).cloned()
    }
}
