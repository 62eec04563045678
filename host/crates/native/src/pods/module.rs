//! The servers of one native module, as the controller tells them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use roadstead_domain as domain;
use roadstead_native_plan::{Attempt, Standing, State as Stands};
use roadstead_proto::v1::{NativeServers, NativeUse, StuckServer, VersionKey};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{PodsConfig, watch::watch};
use crate::{
    place::Place,
    server::Server,
    sign::CallKey,
    version::{Clock, Version},
};

/// Tells servers apart, of all modules.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A module, of all its versions.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) config: Arc<PodsConfig>,
    clock: Clock,
    state: Mutex<State>,
    round: watch::Sender<u64>,
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    versions: HashMap<domain::Version, Weak<Version>>,
    told: Option<NativeServers>,
    /// By the ids of pods.
    servers: BTreeMap<String, (Arc<Server>, Arc<AbortOnDropHandle<()>>)>,
    /// Versions that were called.
    called: BTreeSet<domain::Version>,
    mismatches: BTreeMap<domain::Version, String>,
    /// By the ids of pods, servers that do not get on, and why.
    stuck: BTreeMap<String, (domain::Version, String)>,
}

/// Where a server is, and what it is known by.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The pod's.
    pub(super) id: String,
    pub(super) address: String,
    pub(super) name: String,
    /// PEM.
    pub(super) authority: String,
}

impl Module {
    pub(super) fn new(config: Arc<PodsConfig>, clock: Clock, news: watch::Sender<u64>) -> Self {
        let (state, round) = (Mutex::default(), watch::Sender::new(0));
        Self { config, clock, state, round, news }
    }

    pub(super) fn register(self: &Arc<Self>, version: &Arc<Version>) {
        let mut state = self.state.lock();
        state.versions.retain(|_, version| version.strong_count() > 0);
        state.versions.insert(version.id.version.clone(), Arc::downgrade(version));
        // Servers of an earlier registration have its spec.
        state.servers.retain(|_, (server, _)| server.version.id.version != version.id.version);
        drop(state);
        self.arrange();
    }

    pub(super) fn told(self: &Arc<Self>, servers: NativeServers) {
        self.state.lock().told = Some(servers);
        self.arrange();
    }

    /// Follows what is told, as far as the versions are registered.
    fn arrange(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let Some(told) = state.told.clone() else { return };
        let ids: BTreeSet<&str> = told.servers.iter().map(|server| server.id.as_str()).collect();
        state.servers.retain(|id, _| ids.contains(id.as_str()));
        state.stuck.retain(|id, _| ids.contains(id.as_str()));
        let key: Result<[u8; 32], _> = told.call_key.as_ref().try_into();
        for server in &told.servers {
            let version = server.version.parse::<domain::Version>().ok();
            let version = version.and_then(|version| state.versions.get(&version)?.upgrade());
            let (Some(version), Ok(key)) = (version, key) else { continue };
            if state.servers.contains_key(&server.id) {
                continue;
            }
            let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
            let spec = Arc::clone(&version.native);
            let seen = Attempt::new(number, version.id.version.clone(), spec, self.clock.now());
            let made = Arc::new(Server::new(version, CallKey::of(key), seen));
            let address = Address {
                id: server.id.clone(),
                address: server.address.clone(),
                name: told.server_name.clone(),
                authority: told.authority.clone(),
            };
            let watching = watch(Arc::downgrade(self), Arc::clone(&made), address);
            let watching = Arc::new(AbortOnDropHandle::new(tokio::spawn(watching)));
            state.servers.insert(server.id.clone(), (made, watching));
        }
        drop(state);
        self.look();
    }

    /// Changes what is seen of a server, and tells calls that wait for one.
    pub(super) fn see(&self, server: &Server, change: impl FnOnce(&mut Attempt)) {
        let (before, after) = server.see(change);
        if before != after {
            self.look();
        }
    }

    /// Whether a version's servers keep its contract, and how not.
    pub(super) fn keeps(&self, version: &Version, broken: Option<String>) {
        let mut state = self.state.lock();
        let id = version.id.version.clone();
        let before = match broken {
            Some(how) => state.mismatches.insert(id, how.clone()).is_some_and(|old| old == how),
            None => state.mismatches.remove(&id).is_none(),
        };
        drop(state);
        if !before {
            self.tell();
        }
    }

    /// Whether a server gets on, and why not.
    pub(super) fn stands(&self, server: &Server, id: &str, stuck: Option<String>) {
        let mut state = self.state.lock();
        let is_known = state.stuck.contains_key(id);
        let is_stuck = stuck.is_some();
        match stuck {
            Some(why) if !is_known => {
                server.version.log.host(&why);
                state.stuck.insert(id.to_owned(), (server.version.id.version.clone(), why));
            }
            Some(_) => {}
            None => drop(state.stuck.remove(id)),
        }
        drop(state);
        if is_known != is_stuck {
            self.tell();
        }
    }

    /// Forgets what was seen of its servers. Which there are stays the controller's word, and what
    /// still holds is seen again.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.mismatches.clear();
        state.stuck.clear();
        state.called.clear();
        drop(state);
        self.tell();
    }

    fn look(&self) {
        self.round.send_modify(|round| *round = round.wrapping_add(1));
    }

    fn tell(&self) {
        self.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    pub(super) fn attempts(&self, version: &domain::Version) -> Vec<Attempt> {
        let state = self.state.lock();
        let seen = state.servers.values().map(|(server, _)| server.seen());
        seen.filter(|one| one.version == *version).collect()
    }

    /// How its versions are called; those that nobody called are left out.
    pub(super) fn used(&self, unix: Duration) -> Vec<NativeUse> {
        let state = self.state.lock();
        let mut all = Vec::new();
        for version in state.versions.values().filter_map(Weak::upgrade) {
            let id = &version.id;
            let mismatch = state.mismatches.get(&id.version).cloned().unwrap_or_default();
            let called = state.called.contains(&id.version);
            let stuck = state.stuck.iter().filter(|(_, (version, _))| *version == id.version);
            let stuck: Vec<StuckServer> = stuck
                .map(|(id, (_, why))| StuckServer { id: id.clone(), reason: why.clone() })
                .collect();
            if !called && mismatch.is_empty() && stuck.is_empty() {
                continue;
            }
            let demand = version.demand();
            let ago = self.clock.now().since(demand.last);
            let last = unix.saturating_sub(ago).as_millis();
            let key = VersionKey {
                namespace: id.namespace.to_string(),
                module: id.name.to_string(),
                version: id.version.to_string(),
            };
            all.push(NativeUse {
                key: Some(key),
                calls: demand.calls,
                last_unix_ms: if called { i64::try_from(last).unwrap_or(i64::MAX) } else { 0 },
                mismatch,
                stuck,
            });
        }
        all
    }
}

impl Place for Module {
    fn pick(&self, version: &domain::Version, but: &[u64]) -> Option<Arc<Server>> {
        let state = self.state.lock();
        let all = state.servers.values().map(|(server, _)| server);
        let fits = |server: &&Arc<Server>| {
            server.version.id.version == *version
                && server.answers()
                && server.link().is_some()
                && !but.contains(&server.epoch())
        };
        all.filter(fits).min_by_key(|server| server.running()).cloned()
    }

    fn rounds(&self) -> watch::Receiver<u64> {
        self.round.subscribe()
    }

    fn standing(&self, version: &domain::Version) -> Option<Standing> {
        let state = self.state.lock();
        let answers = |(server, _): &(Arc<Server>, _)| {
            server.version.id.version == *version && server.answers()
        };
        let stands = |state| Some(Standing { state, retry: None });
        if state.servers.values().any(answers) {
            return stands(Stands::Ready);
        }
        if let Some(how) = state.mismatches.get(version) {
            return stands(Stands::Failed(how.clone()));
        }
        let text = version.to_string();
        let told = state.told.as_ref()?;
        let found = told.standings.iter().find(|one| one.version == text);
        stands(match found {
            None => Stands::Off,
            Some(found) => match found.reason.as_str() {
                "Idle" => Stands::Idle,
                "Starting" | "Ready" => Stands::Starting,
                "BackingOff" => Stands::BackingOff(found.message.clone()),
                _ => Stands::Failed(format!("{}: {}", found.reason, found.message)),
            },
        })
    }

    /// Until the controller was heard, any may be.
    fn is_wanted(&self, version: &domain::Version) -> bool {
        let text = version.to_string();
        let state = self.state.lock();
        state.told.as_ref().is_none_or(|told| told.standings.iter().any(|one| one.version == text))
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn called(&self, version: &Version, is_first: bool) {
        let new = self.state.lock().called.insert(version.id.version.clone());
        // One that runs already is told by the next report.
        if new || is_first {
            self.tell();
        }
    }
}
