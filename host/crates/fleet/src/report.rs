//! What of an observation is new to the controller. Pure.

use std::collections::BTreeMap;

use roadstead_domain::ModuleId;
use roadstead_proto::v1::{
    HostLoad, HostReport, Judgement as ToldJudgement, NativeUse, StuckServer, VersionKey,
    VersionReport, VersionState,
};
use roadstead_registry::Standing;

use crate::{
    Judgement, Load,
    observe::{Observation, Seen},
};

/// What the controller was told on this stream.
#[derive(Debug, Default)]
pub(crate) struct Told {
    versions: BTreeMap<ModuleId, Seen>,
    judgements: Vec<Judgement>,
    draining: bool,
    natives: Vec<NativeUse>,
}

impl Told {
    pub(crate) fn versions(&self) -> &BTreeMap<ModuleId, Seen> {
        &self.versions
    }

    /// Whether the code of a version was not ready when it was told.
    pub(crate) fn waits_for_code(&self) -> bool {
        self.versions.values().any(|seen| seen.standing == Standing::Compiling)
    }

    /// Whether something changed that the controller should hear of at once.
    pub(crate) fn is_news(&self, now: &Observation) -> bool {
        let stands = |(id, seen): (&ModuleId, &Seen)| {
            self.versions.get(id).is_some_and(|told| told.standing == seen.standing)
        };
        self.versions.len() != now.versions.len()
            || !now.versions.iter().all(stands)
            || self.draining != now.draining
            || self.judgements != now.judgements
            || called(&self.natives) != called(&now.natives)
    }

    /// The next report; it counts as told from here on.
    pub(crate) fn next(&mut self, now: Observation) -> HostReport {
        let Observation {
            revision,
            current,
            draining,
            versions,
            judgements,
            namespaces,
            natives,
            load,
        } = now;
        let news = versions.iter().filter(|(id, seen)| self.versions.get(*id) != Some(*seen));
        let news = news.map(|(id, seen)| version(id, seen)).collect();
        let gone = self.versions.keys().filter(|id| !versions.contains_key(*id));
        let gone = gone.map(key).collect();
        let report = HostReport {
            revision,
            current,
            versions: news,
            gone,
            judgements: judgements.iter().map(judgement).collect(),
            load: Some(host_load(load)),
            draining,
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            natives: natives.clone(),
        };
        (self.versions, self.judgements, self.draining) = (versions, judgements, draining);
        self.natives = natives;
        report
    }
}

/// Which native versions are called, and how their servers break their contract: a call may wait.
fn called(natives: &[NativeUse]) -> Vec<(&Option<VersionKey>, bool, &str, &[StuckServer])> {
    natives.iter().map(|one| (&one.key, one.calls > 0, &*one.mismatch, &*one.stuck)).collect()
}

fn key(id: &ModuleId) -> VersionKey {
    VersionKey {
        namespace: id.namespace.to_string(),
        module: id.name.to_string(),
        version: id.version.to_string(),
    }
}

fn version(id: &ModuleId, seen: &Seen) -> VersionReport {
    let (state, problem) = match &seen.standing {
        Standing::Ready => (VersionState::Ready, String::new()),
        Standing::Compiling => (VersionState::Compiling, String::new()),
        Standing::Failing(why) => (VersionState::Failing, why.clone()),
    };
    let Seen { calls, failures, .. } = *seen;
    VersionReport { key: Some(key(id)), state: state.into(), problem, calls, failures }
}

fn judgement(found: &Judgement) -> ToldJudgement {
    let Judgement { namespace, object, uid, reason, message } = found.clone();
    let (namespace, reason) = (namespace.to_string(), reason.to_owned());
    ToldJudgement { namespace, object, uid, reason, message }
}

fn host_load(load: Load) -> HostLoad {
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    HostLoad {
        open_requests: count(load.open_requests),
        connections: count(load.connections),
        running: count(load.running),
        queued: count(load.queued),
        memory_bytes: load.memory_bytes,
        memory_limit_bytes: load.memory_limit_bytes,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(patch: u8) -> ModuleId {
        ModuleId {
            namespace: "team".parse().unwrap(),
            name: "m".parse().unwrap(),
            version: format!("0.1.{patch}").parse().unwrap(),
        }
    }

    fn seen(standing: Standing, calls: u64) -> Seen {
        Seen { standing, calls, failures: 0 }
    }

    fn observed(versions: &[(u8, Standing, u64)]) -> Observation {
        let versions = versions.iter().cloned();
        let versions = versions.map(|(patch, standing, calls)| (id(patch), seen(standing, calls)));
        Observation { versions: versions.collect(), ..Observation::default() }
    }

    fn told(report: &HostReport) -> Vec<(&str, VersionState, u64)> {
        let one = |report: &VersionReport| {
            let version = report.key.as_ref().unwrap().version.clone();
            (version, report.state(), report.calls)
        };
        let mut all = Vec::new();
        for report in &report.versions {
            let (version, state, calls) = one(report);
            all.push((&*version.leak(), state, calls));
        }
        all
    }

    #[test]
    fn the_first_report_has_all_and_later_ones_what_changed() {
        let mut sent = Told::default();
        let first = observed(&[(0, Standing::Ready, 5), (1, Standing::Compiling, 0)]);
        assert!(sent.is_news(&first));
        let report = sent.next(first.clone());
        let (ready, compiling) = (VersionState::Ready, VersionState::Compiling);
        assert_eq!(told(&report), [("0.1.0", ready, 5), ("0.1.1", compiling, 0)]);
        assert!(sent.waits_for_code());
        assert!(!sent.is_news(&first));
        assert_eq!(told(&sent.next(first)), []);

        // Counters can wait for the interval, states cannot.
        let counted = observed(&[(0, Standing::Ready, 6), (1, Standing::Compiling, 0)]);
        assert!(!sent.is_news(&counted));
        assert_eq!(told(&sent.next(counted)), [("0.1.0", ready, 6)]);
        let ended = observed(&[(0, Standing::Failing("why".to_owned()), 6)]);
        assert!(sent.is_news(&ended));
        let report = sent.next(ended);
        assert_eq!(told(&report), [("0.1.0", VersionState::Failing, 6)]);
        assert_eq!(report.versions[0].problem, "why");
        assert_eq!(report.gone, [key(&id(1))]);
        assert!(!sent.waits_for_code());
    }

    #[test]
    fn judgements_and_draining_are_news_and_load_is_told_every_time() {
        let mut sent = Told::default();
        let quiet = observed(&[(0, Standing::Ready, 5)]);
        sent.next(quiet.clone());
        let draining = Observation { draining: true, ..quiet.clone() };
        assert!(sent.is_news(&draining));
        assert!(sent.next(draining.clone()).draining);
        let judgement = Judgement {
            namespace: "team".parse().unwrap(),
            object: "m-0.2.0".to_owned(),
            uid: "u".to_owned(),
            reason: "BreaksContract",
            message: "it breaks".to_owned(),
        };
        let load = Load { running: 3, queued: u64::MAX, ..Load::default() };
        let judged = Observation { judgements: vec![judgement], load, ..draining };
        assert!(sent.is_news(&judged));
        for _ in 0..2 {
            let report = sent.next(judged.clone());
            assert_eq!(report.judgements.len(), 1);
            let load = report.load.unwrap();
            assert_eq!((load.running, load.queued), (3, u32::MAX));
        }
    }

    #[test]
    fn a_call_of_a_native_module_is_news_and_how_many_there_are_is_none() {
        let mut sent = Told::default();
        let used = |calls, mismatch: &str| {
            let mismatch = mismatch.to_owned();
            let key = Some(key(&id(0)));
            let one = NativeUse { key, calls, last_unix_ms: 7, mismatch, ..NativeUse::default() };
            Observation { natives: vec![one], ..Observation::default() }
        };
        assert!(sent.is_news(&used(0, "")));
        assert_eq!(sent.next(used(0, "")).natives[0].last_unix_ms, 7);
        assert!(!sent.is_news(&used(0, "")) && sent.is_news(&used(1, "")));
        sent.next(used(1, ""));
        assert!(!sent.is_news(&used(9, "")) && sent.is_news(&used(9, "no Add")));
        assert_eq!(sent.next(used(9, "")).natives[0].calls, 9, "all are told every time");
        let mut stuck = used(9, "");
        stuck.natives[0].stuck.push(StuckServer::default());
        assert!(sent.is_news(&stuck));
    }

    fn observations() -> impl Strategy<Value = Observation> {
        let standing = prop_oneof![
            Just(Standing::Ready),
            Just(Standing::Compiling),
            Just(Standing::Failing("why".to_owned())),
        ];
        proptest::collection::vec((0..4_u8, standing, 0..3_u64), 0..4)
            .prop_map(|versions| observed(&versions))
    }

    proptest! {
        /// Whoever adds up all reports of a stream knows what the host sees.
        #[test]
        fn reports_add_up(all in proptest::collection::vec(observations(), 1..8)) {
            let mut sent = Told::default();
            let mut known = BTreeMap::new();
            for now in all {
                let report = sent.next(now.clone());
                for key in &report.gone {
                    prop_assert!(known.remove(&key.version).is_some());
                }
                for one in report.versions {
                    known.insert(one.key.clone().unwrap().version, one);
                }
                let expected: BTreeMap<_, _> = now
                    .versions
                    .iter()
                    .map(|(id, seen)| (id.version.to_string(), version(id, seen)))
                    .collect();
                prop_assert_eq!(&known, &expected);
            }
        }
    }
}
