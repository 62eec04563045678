//! A scenario: what happens step by step, in a world without a cluster.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use roadstead_controller::{
    hosts::{HostKey, Hosts},
    objects::{Kind, read},
    plan::{Known, Memory, Plan, plan},
    world::{ModuleKey, World},
};
use roadstead_domain::Digest;
use roadstead_k8s_api::version_object;
use roadstead_proto::v1::{
    HostHello, HostReport, Judgement, VersionKey, VersionReport, VersionState,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const NAMESPACE: &str = "team";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[expect(dead_code, reason = "it is for who reads the file")]
    about: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Step {
    /// Seconds since the first step.
    at: i64,
    /// Specs of modules; null deletes one.
    #[serde(default)]
    modules: BTreeMap<String, Value>,
    /// `module@version`, with locks as words; null deletes one.
    #[serde(default)]
    versions: BTreeMap<String, Option<VersionIs>>,
    /// Chains of packages, as words.
    locks: Option<BTreeMap<String, Vec<String>>>,
    /// `pool/host`; null ends one.
    #[serde(default)]
    hosts: BTreeMap<String, Option<HostSays>>,
    /// Hosts that are not heard any more.
    #[serde(default)]
    silent: bool,
    /// Another controller goes on, which remembers nothing.
    #[serde(default)]
    restart: bool,
    /// Statuses that someone else writes over modules.
    #[serde(default)]
    overwrite: BTreeMap<String, Value>,
    /// Seconds for which hosts may not have found this controller.
    unsettled: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct VersionIs {
    #[serde(default)]
    locks: BTreeMap<String, String>,
    /// The uid of a module that it belongs to; its own one's unless said, none where it is empty.
    owner: Option<String>,
    /// Instead of all else.
    spec: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HostSays {
    /// When its process began.
    #[serde(default)]
    started: i64,
    /// `module@version` to state, calls, failures.
    #[serde(default)]
    versions: BTreeMap<String, (String, u64, u64)>,
    #[serde(default)]
    problem: String,
    /// Objects of versions to reason and message.
    #[serde(default)]
    judges: BTreeMap<String, (String, String)>,
    namespaces: Option<Vec<String>>,
}

/// What is planned after a step.
#[derive(Serialize)]
struct Planned {
    at: i64,
    plans: BTreeMap<String, Plan>,
}

/// The plans of all steps, as YAML.
pub(crate) fn play(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let scenario: Scenario =
        serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut play = Play::new();
    let planned: Vec<Planned> = scenario.steps.into_iter().map(|step| play.step(step)).collect();
    let yaml = serde_norway::to_string(&planned).unwrap();
    format!("# Written by tests/golden.rs.\n{yaml}")
}

struct Play {
    objects: BTreeMap<(Kind, String), Value>,
    world: World,
    hosts: Hosts,
    sessions: BTreeMap<HostKey, (i64, u64)>,
    memory: BTreeMap<ModuleKey, Memory>,
    revision: u64,
    start: Timestamp,
}

impl Play {
    fn new() -> Self {
        let mut world = World::default();
        world.enable(NAMESPACE);
        Self {
            objects: BTreeMap::new(),
            world,
            hosts: Hosts::default(),
            sessions: BTreeMap::new(),
            memory: BTreeMap::new(),
            revision: 1,
            start: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn step(&mut self, step: Step) -> Planned {
        if step.restart {
            self.memory.clear();
            self.hosts.clear();
            self.sessions.clear();
        }
        for (name, spec) in step.modules {
            self.module(&name, spec);
        }
        for (name, version) in step.versions {
            self.version(&name, version);
        }
        if let Some(chains) = step.locks {
            let digests = |chain: Vec<String>| chain.iter().map(|word| lock(word)).collect();
            let packages: BTreeMap<String, Vec<Digest>> =
                chains.into_iter().map(|(package, chain)| (package, digests(chain))).collect();
            self.put(Kind::Locks, "locks", json!({"spec": {"packages": packages}}));
        }
        for (host, says) in step.hosts {
            self.host(&host, says);
        }
        for (name, status) in step.overwrite {
            let mut object = self.objects[&(Kind::Module, name.clone())].clone();
            object["status"] = status;
            self.put(Kind::Module, &name, object);
        }
        if step.silent {
            let later = Instant::now() + Duration::from_secs(3600);
            self.hosts.sweep(later, Instant::now() - Duration::from_secs(1));
        }
        let at = |seconds| self.start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let (now, unsettled) = (at(step.at), step.unsettled.map(at));
        let mut plans = BTreeMap::new();
        for key in self.world.all_keys() {
            let before = self.memory.get(&key).cloned().unwrap_or_default();
            let known = Known { world: &self.world, hosts: &self.hosts, now, unsettled };
            let planned = plan(&known, &key, &before);
            self.write(&key, &planned);
            let known = Known { world: &self.world, hosts: &self.hosts, now, unsettled };
            // What was written is planned again, and then nothing is left to write.
            let again = plan(&known, &key, &planned.memory);
            assert!(!again.writes(), "{key} does not come to rest: {again:#?}");
            self.memory.insert(key.clone(), again.memory);
            plans.insert(key.to_string(), shown(planned));
        }
        Planned { at: step.at, plans }
    }

    fn module(&mut self, name: &str, spec: Value) {
        if spec.is_null() {
            return self.delete(Kind::Module, name);
        }
        // As the API server would: defaults are filled in.
        let typed: roadstead_k8s_api::ModuleSpec =
            serde_json::from_value(spec.clone()).unwrap_or_default();
        let mut filled = serde_json::to_value(typed).unwrap();
        for (field, value) in spec.as_object().unwrap() {
            if filled.get(field).is_none() {
                filled[field] = value.clone();
            }
        }
        let old = self.objects.get(&(Kind::Module, name.to_owned())).cloned();
        let generation =
            old.as_ref().map_or(0, |old| old["metadata"]["generation"].as_i64().unwrap());
        let mut object = json!({"metadata": {"generation": generation + 1}, "spec": filled});
        if let Some(old) = old {
            object["status"] = old["status"].clone();
        }
        self.put(Kind::Module, name, object);
    }

    fn version(&mut self, name: &str, version: Option<VersionIs>) {
        let (module, number) = name.split_once('@').unwrap();
        let object = version_object(&module.parse().unwrap(), &number.parse().unwrap());
        let Some(VersionIs { locks, owner, spec }) = version else {
            return self.delete(Kind::Version, &object);
        };
        let locks: BTreeMap<String, Digest> =
            locks.into_iter().map(|(package, word)| (package, lock(&word))).collect();
        let owner = owner.unwrap_or_else(|| format!("uid-{module}"));
        let owners = if owner.is_empty() {
            json!([])
        } else {
            let api = "roadstead.dev/v1alpha1";
            json!([{"apiVersion": api, "kind": "Module", "name": module, "uid": owner}])
        };
        let spec =
            spec.unwrap_or_else(|| json!({"module": module, "version": number, "locks": locks}));
        let metadata = json!({"generation": 1, "ownerReferences": owners});
        self.put(Kind::Version, &object, json!({"metadata": metadata, "spec": spec}));
    }

    fn put(&mut self, kind: Kind, name: &str, mut object: Value) {
        self.revision += 1;
        object["metadata"]["name"] = name.into();
        object["metadata"]["uid"] = format!("uid-{name}").into();
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.objects.insert((kind, name.to_owned()), object.clone());
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.world.put(NAMESPACE, read(kind, &object).unwrap());
    }

    fn delete(&mut self, kind: Kind, name: &str) {
        self.revision += 1;
        let mut object = self.objects.remove(&(kind, name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.world.gone(NAMESPACE, &read(kind, &object).unwrap());
    }

    fn host(&mut self, name: &str, says: Option<HostSays>) {
        let (pool, host) = name.split_once('/').unwrap();
        let key = HostKey { pool: pool.to_owned(), host: host.to_owned() };
        let now = Instant::now();
        let Some(says) = says else {
            let (_, session) = self.sessions.remove(&key).unwrap();
            let last = HostReport { draining: true, ..HostReport::default() };
            self.hosts.report(&key, session, last, now).unwrap();
            self.hosts.closed(&key, session);
            return;
        };
        let session = match self.sessions.get(&key) {
            Some((started, session)) if *started == says.started => *session,
            _ => {
                let hello = HostHello {
                    host: key.host.clone(),
                    pool: key.pool.clone(),
                    release: "0.1.0".to_owned(),
                    started_unix_ms: says.started,
                    fingerprint: "x".to_owned(),
                };
                let (_, session) = self.hosts.hello(hello, now).unwrap();
                self.sessions.insert(key.clone(), (says.started, session));
                session
            }
        };
        self.hosts.report(&key, session, report(says), now).unwrap();
    }

    /// As the cluster would have it after the plan is applied.
    fn write(&mut self, key: &ModuleKey, plan: &Plan) {
        if let Some(module) = &plan.module
            && module.write
        {
            let mut object = self.objects[&(Kind::Module, key.module.clone())].clone();
            object["status"] = serde_json::to_value(&module.status).unwrap();
            self.put(Kind::Module, &key.module, object);
        }
        for (name, version) in &plan.versions {
            let mut object = self.objects[&(Kind::Version, name.clone())].clone();
            if let Some(owner) = &version.adopt {
                let api = "roadstead.dev/v1alpha1";
                object["metadata"]["ownerReferences"] = json!([
                    {"apiVersion": api, "kind": "Module", "name": key.module, "uid": owner}
                ]);
            }
            object["status"] = serde_json::to_value(&version.status).unwrap();
            if version.write || version.adopt.is_some() {
                self.put(Kind::Version, name, object);
            }
        }
    }
}

/// Without the statuses that stand already.
fn shown(mut plan: Plan) -> Plan {
    plan.versions.retain(|_, version| version.write || version.adopt.is_some());
    plan.module = plan.module.filter(|module| module.write);
    plan
}

fn lock(word: &str) -> Digest {
    Digest::of(word.as_bytes())
}

fn report(says: HostSays) -> HostReport {
    let HostSays { versions, problem, judges, namespaces, .. } = says;
    let versions = versions.into_iter().map(|(name, (state, calls, failures))| {
        let (module, version) = name.split_once('@').unwrap();
        let state = match state.as_str() {
            "ready" => VersionState::Ready,
            "compiling" => VersionState::Compiling,
            "failing" => VersionState::Failing,
            other => panic!("{other} is no state"),
        };
        VersionReport {
            key: Some(VersionKey {
                namespace: NAMESPACE.to_owned(),
                module: module.to_owned(),
                version: version.to_owned(),
            }),
            state: state.into(),
            problem: if state == VersionState::Failing { problem.clone() } else { String::new() },
            calls,
            failures,
        }
    });
    let judgements = judges.into_iter().map(|(object, (reason, message))| Judgement {
        namespace: NAMESPACE.to_owned(),
        uid: format!("uid-{object}"),
        object,
        reason,
        message,
    });
    HostReport {
        versions: versions.collect(),
        judgements: judgements.collect(),
        namespaces: namespaces.unwrap_or_else(|| vec![NAMESPACE.to_owned()]),
        current: true,
        ..HostReport::default()
    }
}
