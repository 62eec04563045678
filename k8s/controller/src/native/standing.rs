//! How many servers a version should have, and how it stands: pure.
//!
//! Kubernetes begins pods again that end, ever more seldom; here is decided only whether there
//! should be any, by the same rule as for processes ([`roadstead_native_plan::target`]).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use roadstead_domain::{Digest, NativeSpec, Version};
use roadstead_k8s_api::{ConditionStatus, Reason};
use roadstead_native_plan::{Demand, Moment, target};

use super::{observed::Workload, rules::Refused};
use crate::objects::Kind;

/// What hosts say of a version's calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Use {
    /// Calls that run, or wait for a server.
    pub calls: u64,
    /// When the last one ended, in milliseconds since 1970; 0 where none did.
    pub last_unix_ms: i64,
    /// How its servers differ from its contract.
    pub mismatch: Option<String>,
    /// By the ids of pods, servers that do not get on, and why.
    pub stuck: BTreeMap<String, String>,
}

impl Use {
    /// What several hosts say together.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            last_unix_ms: self.last_unix_ms.max(other.last_unix_ms),
            mismatch: self.mismatch.or_else(|| other.mismatch.clone()),
            stuck: self.stuck.into_iter().chain(other.stuck.clone()).collect(),
        }
    }
}

/// How a version stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Refused(Refused),
    Mismatch(String),
    Idle,
    Starting,
    BackingOff(String),
    Ready,
}

/// A version, and the servers that it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub spec: Arc<NativeSpec>,
    pub state: State,
    /// Servers that there should be now.
    pub wanted: u32,
    pub ready: u32,
    /// Since when it is to run.
    pub since: Timestamp,
    /// Until when that holds if nobody calls.
    pub until: Option<Timestamp>,
}

/// What is known of a version's servers.
#[derive(Debug)]
pub struct Seen<'a> {
    pub spec: &'a Arc<NativeSpec>,
    pub refused: Option<Refused>,
    pub pods: Vec<&'a Workload>,
    pub used: &'a Use,
    /// Since when it is to run.
    pub since: Timestamp,
    pub now: Timestamp,
}

/// How a version stands that is to run.
pub fn standing(seen: &Seen<'_>) -> Standing {
    let Seen { spec, refused, pods, used, since, now } = seen;
    let last = since.as_millisecond().max(used.last_unix_ms).min(now.as_millisecond());
    let demand = Demand { calls: used.calls, last: moment(last) };
    let (mut wanted, until) = target(spec, demand, moment(now.as_millisecond()));
    let mut until = until.and_then(|until| timestamp(until.0));
    if refused.is_some() {
        (wanted, until) = (0, None);
    }
    let seen = || pods.iter().filter(|pod| !pod.leaving).filter_map(|pod| pod.pod.as_ref());
    let ready = u32::try_from(seen().filter(|pod| pod.ready).count()).unwrap_or(u32::MAX);
    let state = match (refused, &used.mismatch) {
        (Some(refused), _) => State::Refused(refused.clone()),
        (None, Some(mismatch)) => State::Mismatch(mismatch.clone()),
        _ if wanted == 0 => State::Idle,
        _ if 0 < ready => State::Ready,
        _ => match seen().find_map(|pod| pod.problem.clone()) {
            Some(problem) => State::BackingOff(problem),
            None => State::Starting,
        },
    };
    Standing { spec: Arc::clone(spec), state, wanted, ready, since: *since, until }
}

fn moment(unix_ms: i64) -> Moment {
    Moment(Duration::from_millis(u64::try_from(unix_ms).unwrap_or_default()))
}

/// Rounded up to what a plan's clock tells.
fn timestamp(since_1970: Duration) -> Option<Timestamp> {
    let seconds = since_1970.as_millis().div_ceil(1000);
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

impl Standing {
    /// Whether hosts may be told that it can be called: a call begins the servers of an idle one.
    pub fn can_be_called(&self) -> bool {
        matches!(self.state, State::Ready | State::Idle)
    }

    /// What keeps it, where time alone does not mend it.
    pub fn problem(&self) -> Option<&str> {
        match &self.state {
            State::Refused(Refused { message, .. }) => Some(message),
            State::Mismatch(why) | State::BackingOff(why) => Some(why),
            State::Idle | State::Starting | State::Ready => None,
        }
    }

    /// As a condition says it.
    pub fn says(&self) -> (ConditionStatus, Reason, String) {
        let Self { wanted, ready, .. } = self;
        let (yes, no) = (ConditionStatus::True, ConditionStatus::False);
        match &self.state {
            State::Refused(Refused { reason, message }) => (no, *reason, message.clone()),
            State::Mismatch(why) => (no, Reason::ContractMismatch, why.clone()),
            State::Idle => (yes, Reason::Idle, "Nobody calls it; a call begins it.".to_owned()),
            State::Starting => (no, Reason::Starting, format!("0 of {wanted} servers are ready.")),
            State::BackingOff(why) => (no, Reason::BackingOff, why.clone()),
            State::Ready => (yes, Reason::Ready, format!("{ready} of {wanted} servers are ready.")),
        }
    }
}

/// The value of a label for a version: itself, or where that cannot be one, digits of its SHA-256.
pub fn version_label(version: &Version) -> String {
    let text = version.to_string();
    if text.len() <= 63 && text.ends_with(|last: char| last.is_ascii_alphanumeric()) {
        return text;
    }
    format!("x{}", digits(&text, 40))
}

/// The first hexadecimal digits of a text's SHA-256.
pub(super) fn digits(text: &str, count: usize) -> String {
    Digest::of(text.as_bytes()).hex().chars().take(count).collect()
}

/// The pods of a version.
pub fn pods<'a>(
    workloads: impl Iterator<Item = &'a Workload>,
    version: &Version,
) -> Vec<&'a Workload> {
    let label = version_label(version);
    workloads.filter(|one| one.kind == Kind::Pod && one.version == label).collect()
}

#[cfg(test)]
mod tests {
    use roadstead_domain::Span;

    use super::*;
    use crate::{native::observed::Pod, objects::Identity};

    fn pod(pod: Pod) -> Workload {
        let id = Identity { name: "p".into(), uid: "u".into(), revision: 1, generation: None };
        let (module, version) = ("m".to_owned(), "0.1.0".to_owned());
        Workload { id, kind: Kind::Pod, module, version, mark: 1, leaving: false, pod: Some(pod) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn servers_end_when_nobody_calls_and_a_call_begins_them() {
        let idle = NativeSpec { idle: Some(Span::secs(60)), replicas: 3, ..NativeSpec::default() };
        let spec = Arc::new(idle);
        let look = |used: Use, now: i64| {
            let seen = Seen {
                spec: &spec,
                refused: None,
                pods: Vec::new(),
                used: &used,
                since: at(0),
                now: at(now),
            };
            let standing = standing(&seen);
            (standing.wanted, standing.state, standing.until)
        };
        let called = |calls, seconds: i64| Use {
            calls,
            last_unix_ms: at(seconds).as_millisecond(),
            ..Use::default()
        };
        assert_eq!(look(Use::default(), 59), (3, State::Starting, Some(at(60))));
        assert_eq!(look(Use::default(), 60), (0, State::Idle, None));
        assert_eq!(look(called(0, 30), 60), (3, State::Starting, Some(at(90))));
        assert_eq!(look(called(1, 0), 500), (3, State::Starting, None), "a call waits");
        // A host whose clock is ahead keeps nothing running.
        assert_eq!(look(called(0, 9_000), 100), (3, State::Starting, Some(at(160))));
    }

    #[test]
    fn a_version_stands_as_its_pods_do() {
        let spec = Arc::new(NativeSpec { replicas: 2, ..NativeSpec::default() });
        let look = |pods: &[Pod], used: Use, refused: Option<Refused>| {
            let pods: Vec<Workload> = pods.iter().cloned().map(pod).collect();
            let (pods, now) = (pods.iter().collect(), at(9));
            standing(&Seen { spec: &spec, refused, pods, used: &used, since: at(0), now })
        };
        let ready = Pod { ready: true, ..Pod::default() };
        let fails = Pod { problem: Some("CrashLoopBackOff: x".into()), ..Pod::default() };
        let none = Use::default;
        assert_eq!(look(&[Pod::default()], none(), None).state, State::Starting);
        let both = look(&[ready.clone(), fails.clone()], none(), None);
        assert_eq!((both.state, both.ready, both.wanted), (State::Ready, 1, 2));
        let fails = look(&[fails, Pod::default()], none(), None);
        assert_eq!(fails.says().1, Reason::BackingOff);
        let broken = Use { mismatch: Some("no Add".into()), ..none() };
        let broken = look(std::slice::from_ref(&ready), broken, None);
        assert_eq!((broken.says().1, broken.can_be_called()), (Reason::ContractMismatch, false));
        let refused = Refused { reason: Reason::NotAllowed, message: "no".into() };
        let refused = look(&[ready], none(), Some(refused));
        assert_eq!((refused.wanted, refused.says().1), (0, Reason::NotAllowed));
    }

    #[test]
    fn every_version_has_a_label() {
        assert_eq!(version_label(&"1.0.0-RC.1".parse().unwrap()), "1.0.0-RC.1");
        assert_eq!(version_label(&"1.0.0-a-".parse().unwrap()).len(), 41);
    }
}
