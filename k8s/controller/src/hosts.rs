//! What hosts have said of themselves: pure state behind their streams, every part of it bounded.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    time::Instant,
};

use roadstead_domain::{HostName, Version};
use roadstead_proto::v1::{HostHello, HostReport, Judgement, NativeUse, VersionKey, VersionState};

use crate::{native::standing::Use, world::ModuleKey};

/// Hosts that are known at once, those among them that are gone for some minutes.
const HOSTS: usize = 8_192;
/// Versions that one host may report.
const VERSIONS: usize = 50_000;
/// Native versions of which one host may tell the use.
const NATIVES: usize = 10_000;
/// And servers of one version that do not get on.
const STUCK: usize = 1_000;
/// Versions of one host that are judged and not published.
const JUDGEMENTS: usize = 1_000;
/// Namespaces that one host may serve.
const NAMESPACES: usize = 10_000;
/// Characters of a text for people, and of any other.
const TEXT: usize = 1_000;
const WORD: usize = 253;

/// A host by its pool and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostKey {
    pub pool: String,
    pub host: String,
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.host)
    }
}

/// What a host says that it must not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReport {
    #[error("`{field}` of the hello is no name of 1 to 63 of a-z, 0-9 and -")]
    Name { field: &'static str },
    #[error("`{field}` is longer than {WORD} characters")]
    Long { field: &'static str },
    #[error("a version's key is incomplete, or its version is none")]
    Key,
    #[error("more than {limit} {what} are in the report")]
    TooMany { what: &'static str, limit: usize },
    #[error("{HOSTS} hosts are known already")]
    Hosts,
}

/// A version as one host has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Unknown,
    Compiling,
    Ready,
    Failing,
}

/// What a host last said of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub state: State,
    pub problem: String,
    pub calls: u64,
    pub failures: u64,
}

/// Why a version is not published, in the words of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub reason: String,
    pub message: String,
}

/// One host.
#[derive(Debug, Clone)]
pub struct Host {
    /// When its process began, by its own clock; tells processes apart.
    pub started: i64,
    pub release: String,
    pub namespaces: BTreeSet<String>,
    pub draining: bool,
    /// Whether it has said all at least once.
    pub complete: bool,
    /// The process that spoke its hello and has not reported yet: until then the last word counts.
    greeted: Option<(i64, String)>,
    /// Whether it was heard lately.
    pub live: bool,
    /// By namespace and the object's uid.
    pub judgements: BTreeMap<(String, String), Judged>,
    versions: HashMap<ModuleKey, BTreeMap<Version, Seen>>,
    natives: HashMap<ModuleKey, BTreeMap<Version, Use>>,
    count: usize,
    heard: Instant,
    /// The stream that speaks for it.
    session: u64,
    /// Whether that stream is open.
    open: bool,
}

impl Host {
    pub fn seen(&self, key: &ModuleKey, version: &Version) -> Option<&Seen> {
        let versions =
            if key.native { self.versions.get(&key.plain())? } else { self.versions.get(key)? };
        versions.get(version)
    }

    /// Whether what it says now counts for the namespace.
    pub fn serves(&self, namespace: &str) -> bool {
        self.complete && self.namespaces.contains(namespace)
    }
}

/// What a change of the hosts concerns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    pub modules: BTreeSet<ModuleKey>,
    /// Modules of which only counters changed.
    pub counted: BTreeSet<ModuleKey>,
    /// Namespaces of which all modules are concerned.
    pub namespaces: BTreeSet<String>,
    /// Whether the list of hosts changed.
    pub hosts: bool,
}

impl Touched {
    pub fn merge(&mut self, other: Self) {
        self.modules.extend(other.modules);
        self.counted.extend(other.counted);
        self.namespaces.extend(other.namespaces);
        self.hosts |= other.hosts;
    }
}

/// All hosts that were heard since this controller leads.
#[derive(Debug, Default)]
pub struct Hosts {
    all: BTreeMap<HostKey, Host>,
    sessions: u64,
}

impl Hosts {
    pub fn iter(&self) -> impl Iterator<Item = (&HostKey, &Host)> {
        self.all.iter()
    }

    /// Hosts that serve a namespace, those that are silent too.
    pub fn serving<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a HostKey, &'a Host)> {
        self.all.iter().filter(move |(_, host)| host.serves(namespace))
    }

    /// How a native module is called, on all hosts that are heard.
    pub fn used(&self, key: &ModuleKey) -> BTreeMap<Version, Use> {
        let heard = || self.serving(&key.namespace).filter(|(_, host)| host.live);
        let mut all: BTreeMap<Version, Use> = BTreeMap::new();
        for (version, used) in heard().filter_map(|(_, host)| host.natives.get(key)).flatten() {
            let sum = all.remove(version).unwrap_or_default().with(used);
            all.insert(version.clone(), sum);
        }
        // One host that cannot reach a server says nothing of how it is.
        for (version, used) in &mut all {
            used.stuck.retain(|id, _| {
                heard().all(|(_, host)| {
                    let said = host.natives.get(key).and_then(|said| said.get(version));
                    said.is_some_and(|said| said.stuck.contains_key(id))
                })
            });
        }
        all
    }

    /// A host says who it is; the session that it gets ends the one before.
    ///
    /// # Errors
    /// [`BadReport`] if it does not say it in words that are names.
    pub fn hello(&mut self, hello: HostHello, now: Instant) -> Result<(HostKey, u64), BadReport> {
        let HostHello { host, pool, release, started_unix_ms, fingerprint } = hello;
        for (field, name) in [("host", &host), ("pool", &pool)] {
            name.parse::<HostName>().map_err(|_| BadReport::Name { field })?;
        }
        word("release", &release)?;
        word("fingerprint", &fingerprint)?;
        let key = HostKey { pool, host };
        if HOSTS <= self.all.len() && !self.all.contains_key(&key) {
            return Err(BadReport::Hosts);
        }
        self.sessions += 1;
        let session = self.sessions;
        let known = self.all.entry(key.clone()).or_insert_with(|| Host {
            started: started_unix_ms,
            release: release.clone(),
            namespaces: BTreeSet::new(),
            draining: false,
            complete: false,
            greeted: None,
            live: false,
            judgements: BTreeMap::new(),
            versions: HashMap::new(),
            natives: HashMap::new(),
            count: 0,
            heard: now,
            session,
            open: true,
        });
        known.greeted = Some((started_unix_ms, release));
        (known.session, known.open) = (session, true);
        Ok((key, session))
    }

    /// A report of a session. One that was replaced has nothing to say.
    ///
    /// # Errors
    /// [`BadReport`] if it is out of bounds; nothing of it counts then.
    pub fn report(
        &mut self,
        key: &HostKey,
        session: u64,
        report: HostReport,
        now: Instant,
    ) -> Result<Touched, BadReport> {
        let Some(host) = self.all.get_mut(key).filter(|host| host.session == session) else {
            return Ok(Touched::default());
        };
        let report = Report::read(report)?;
        let mut touched = host.take(report)?;
        if !host.live {
            (host.live, touched.hosts) = (true, true);
            touched.namespaces.extend(host.namespaces.iter().cloned());
        }
        host.heard = now;
        Ok(touched)
    }

    /// Whether the session is the one that speaks for the host.
    pub fn speaks(&self, key: &HostKey, session: u64) -> bool {
        self.all.get(key).is_some_and(|host| host.session == session)
    }

    /// A stream ended. A host that said that it is about to end is gone with it.
    pub fn closed(&mut self, key: &HostKey, session: u64) -> Touched {
        let Some(host) = self.all.get_mut(key).filter(|host| host.session == session) else {
            return Touched::default();
        };
        host.open = false;
        if !host.draining {
            return Touched::default();
        }
        self.remove(key)
    }

    /// Looks who was not heard since `silent`, and forgets who has no stream and was not heard
    /// since `gone`. Returns those that fell silent.
    pub fn sweep(&mut self, silent: Instant, gone: Instant) -> (Vec<HostKey>, Touched) {
        let (mut fell, mut touched, mut forgotten) = (Vec::new(), Touched::default(), Vec::new());
        for (key, host) in &mut self.all {
            if host.live && host.heard < silent {
                (host.live, touched.hosts) = (false, true);
                touched.namespaces.extend(host.namespaces.iter().cloned());
                fell.push(key.clone());
            }
            if !host.open && host.heard < gone {
                forgotten.push(key.clone());
            }
        }
        for key in forgotten {
            touched.merge(self.remove(&key));
        }
        (fell, touched)
    }

    /// Forgets everyone: another controller hears them now.
    pub fn clear(&mut self) {
        self.all.clear();
    }

    fn remove(&mut self, key: &HostKey) -> Touched {
        let namespaces = self.all.remove(key).map(|host| host.namespaces).unwrap_or_default();
        Touched { namespaces, hosts: true, ..Touched::default() }
    }
}

impl Host {
    fn forget(&mut self) {
        self.versions.clear();
        self.judgements.clear();
        self.count = 0;
    }

    fn take(&mut self, report: Report) -> Result<Touched, BadReport> {
        let mut touched = Touched::default();
        let greeted = self.greeted.take();
        let first = greeted.is_some();
        if let Some((started, release)) = greeted {
            (self.started, self.release) = (started, release);
            self.forget();
        }
        for (key, version) in report.gone {
            if let Some(versions) = self.versions.get_mut(&key)
                && versions.remove(&version).is_some()
            {
                self.count -= 1;
                touched.modules.insert(key);
            }
        }
        for (key, version, seen) in report.versions {
            let versions = self.versions.entry(key.clone()).or_default();
            match versions.insert(version, seen.clone()) {
                Some(old) if (old.state, &old.problem) == (seen.state, &seen.problem) => {
                    touched.counted.insert(key);
                    continue;
                }
                Some(_) => {}
                None => self.count += 1,
            }
            touched.modules.insert(key);
        }
        self.versions.retain(|_, versions| !versions.is_empty());
        if VERSIONS < self.count {
            return Err(BadReport::TooMany { what: "versions", limit: VERSIONS });
        }
        if self.judgements != report.judgements {
            let all = self.judgements.keys().chain(report.judgements.keys());
            touched.namespaces.extend(all.map(|(namespace, _)| namespace.clone()));
            self.judgements = report.judgements;
        }
        self.called(&mut touched, report.natives);
        let draining = self.draining != report.draining;
        if first || draining || self.namespaces != report.namespaces {
            touched.namespaces.extend(self.namespaces.iter().cloned());
            touched.namespaces.extend(report.namespaces.iter().cloned());
        }
        (self.namespaces, self.draining, self.complete) =
            (report.namespaces, report.draining, true);
        Ok(touched)
    }
}

impl Host {
    /// Takes in how native modules are called. What is news is who is called at all, and who keeps
    /// no contract; when the last call ended is looked up when it matters.
    fn called(
        &mut self,
        touched: &mut Touched,
        natives: HashMap<ModuleKey, BTreeMap<Version, Use>>,
    ) {
        let news = |used: &BTreeMap<Version, Use>| -> Vec<_> {
            let news = used.iter().map(|(version, used)| {
                let Use { calls, mismatch, stuck, .. } = used.clone();
                (version.clone(), calls > 0, mismatch, stuck)
            });
            news.collect()
        };
        let none = BTreeMap::new();
        for key in self.natives.keys().chain(natives.keys()) {
            let of = |all: &HashMap<ModuleKey, BTreeMap<Version, Use>>| {
                news(all.get(key).unwrap_or(&none))
            };
            if of(&self.natives) != of(&natives) {
                touched.modules.insert(key.clone());
            }
        }
        self.natives = natives;
    }
}

/// A report that is within its bounds.
struct Report {
    versions: Vec<(ModuleKey, Version, Seen)>,
    gone: Vec<(ModuleKey, Version)>,
    judgements: BTreeMap<(String, String), Judged>,
    natives: HashMap<ModuleKey, BTreeMap<Version, Use>>,
    namespaces: BTreeSet<String>,
    draining: bool,
}

impl Report {
    fn read(report: HostReport) -> Result<Self, BadReport> {
        let HostReport { versions, gone, judgements, namespaces, draining, natives, .. } = report;
        for (what, count, limit) in [
            ("versions", versions.len(), VERSIONS),
            ("versions that are gone", gone.len(), VERSIONS),
            ("judgements", judgements.len(), JUDGEMENTS),
            ("namespaces", namespaces.len(), NAMESPACES),
            ("native versions", natives.len(), NATIVES),
        ] {
            if limit < count {
                return Err(BadReport::TooMany { what, limit });
            }
        }
        namespaces.iter().try_for_each(|namespace| word("namespaces", namespace))?;
        let versions = versions.into_iter().map(|report| {
            let state = match report.state() {
                VersionState::Unspecified => State::Unknown,
                VersionState::Compiling => State::Compiling,
                VersionState::Ready => State::Ready,
                VersionState::Failing => State::Failing,
            };
            let (key, version) = key(report.key)?;
            let (calls, problem) = (report.calls, text(&report.problem));
            let seen = Seen { state, problem, calls, failures: report.failures.min(calls) };
            Ok((key, version, seen))
        });
        Ok(Self {
            versions: versions.collect::<Result<_, _>>()?,
            gone: gone.into_iter().map(|one| key(Some(one))).collect::<Result<_, _>>()?,
            judgements: judgements.into_iter().map(judged).collect::<Result<_, _>>()?,
            natives: uses(natives)?,
            namespaces: namespaces.into_iter().collect(),
            draining,
        })
    }
}

fn uses(natives: Vec<NativeUse>) -> Result<HashMap<ModuleKey, BTreeMap<Version, Use>>, BadReport> {
    let mut all: HashMap<ModuleKey, BTreeMap<Version, Use>> = HashMap::new();
    for NativeUse { key: module, calls, last_unix_ms, mismatch, stuck } in natives {
        if STUCK < stuck.len() {
            return Err(BadReport::TooMany { what: "servers that do not get on", limit: STUCK });
        }
        stuck.iter().try_for_each(|one| word("id", &one.id))?;
        let stuck = stuck.into_iter().map(|one| (one.id, text(&one.reason))).collect();
        let (module, version) = key(module)?;
        let module = ModuleKey { native: true, ..module };
        let mismatch = Some(text(&mismatch)).filter(|mismatch| !mismatch.is_empty());
        let used = Use { calls, last_unix_ms, mismatch, stuck };
        all.entry(module).or_default().insert(version, used);
    }
    Ok(all)
}

fn judged(judgement: Judgement) -> Result<((String, String), Judged), BadReport> {
    let Judgement { namespace, uid, reason, message, .. } = judgement;
    for (field, value) in [("namespace", &namespace), ("uid", &uid), ("reason", &reason)] {
        word(field, value)?;
    }
    Ok(((namespace, uid), Judged { reason, message: text(&message) }))
}

fn key(key: Option<VersionKey>) -> Result<(ModuleKey, Version), BadReport> {
    let VersionKey { namespace, module, version } = key.ok_or(BadReport::Key)?;
    if namespace.is_empty() || module.is_empty() {
        return Err(BadReport::Key);
    }
    word("namespace", &namespace)?;
    word("module", &module)?;
    let version = version.parse().map_err(|_| BadReport::Key)?;
    Ok((ModuleKey { namespace, module, native: false }, version))
}

fn word(field: &'static str, text: &str) -> Result<(), BadReport> {
    if text.len() <= WORD { Ok(()) } else { Err(BadReport::Long { field }) }
}

/// A text for people, cut to what a condition can hold of it.
fn text(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
