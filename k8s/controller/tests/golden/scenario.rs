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
    native::{
        Rules,
        observed::{MODULE, VERSION},
    },
    objects::{Kind, read},
    plan::{Known, Memory, NativePlan, Plan, digest, plan},
    world::{ModuleKey, World},
};
use roadstead_domain::Digest;
use roadstead_k8s_api::version_object;
use roadstead_proto::v1::{
    HostHello, HostReport, Judgement, NativeUse, StuckServer, VersionKey, VersionReport,
    VersionState,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const NAMESPACE: &str = "team";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[expect(dead_code, reason = "it is for who reads the file")]
    about: String,
    /// What operators allow native modules; nothing of them runs without.
    native: Option<Rules>,
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
    /// The same of native modules, and what `native` says in the specs of their versions.
    #[serde(default)]
    native_modules: BTreeMap<String, Value>,
    #[serde(default)]
    native_versions: BTreeMap<String, Value>,
    /// Pods by name; null deletes one.
    #[serde(default)]
    pods: BTreeMap<String, Option<PodIs>>,
    /// Objects, as `Kind/name`, that someone else changes; with true they are deleted.
    #[serde(default)]
    meddled: BTreeMap<String, bool>,
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
#[serde(deny_unknown_fields)]
struct PodIs {
    of: String,
    #[serde(default)]
    ready: bool,
    /// The reason for which its container waits.
    waits: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HostSays {
    /// `module@version` to calls that run or wait, the second in which the last one ended, and how
    /// the contract is broken.
    #[serde(default)]
    natives: BTreeMap<String, (u64, i64, String)>,
    /// Pods whose servers do not get on, of any of these.
    #[serde(default)]
    stuck: Vec<String>,
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
    let mut play = Play { rules: scenario.native, ..Play::new() };
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
    rules: Option<Rules>,
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
            rules: None,
        }
    }

    fn step(&mut self, step: Step) -> Planned {
        if step.restart {
            self.memory.clear();
            self.hosts.clear();
            self.sessions.clear();
        }
        for (name, spec) in step.modules {
            self.module(Kind::Module, &name, spec);
        }
        for (name, spec) in step.native_modules {
            self.module(Kind::NativeModule, &name, spec);
        }
        for (name, native) in step.native_versions {
            self.native_version(&name, native);
        }
        for (name, pod) in step.pods {
            self.pod(&name, pod);
        }
        for (object, deleted) in step.meddled {
            self.meddle(&object, deleted);
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
            let native = self.rules.as_ref();
            let known = Known { world: &self.world, hosts: &self.hosts, now, unsettled, native };
            let planned = plan(&known, &key, &before);
            let mut memory = planned.memory.clone();
            self.write(&key, &planned, &mut memory, now);
            let native = self.rules.as_ref();
            let known = Known { world: &self.world, hosts: &self.hosts, now, unsettled, native };
            // What was written is planned again, and then nothing is left to write.
            let mut again = plan(&known, &key, &memory);
            if key.native && again.writes() {
                // Servers have their identity now.
                memory = again.memory.clone();
                self.write(&key, &again, &mut memory, now);
                plans.insert(format!("{key} then"), shown(again));
                let native = self.rules.as_ref();
                let known =
                    Known { world: &self.world, hosts: &self.hosts, now, unsettled, native };
                again = plan(&known, &key, &memory);
            }
            assert!(!again.writes(), "{key} does not come to rest: {again:#?}");
            self.memory.insert(key.clone(), again.memory);
            plans.insert(key.to_string(), shown(planned));
        }
        Planned { at: step.at, plans }
    }

    fn module(&mut self, kind: Kind, name: &str, spec: Value) {
        if spec.is_null() {
            return self.delete(kind, name);
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
        let old = self.objects.get(&(kind, name.to_owned())).cloned();
        let generation =
            old.as_ref().map_or(0, |old| old["metadata"]["generation"].as_i64().unwrap());
        let mut object = json!({"metadata": {"generation": generation + 1}, "spec": filled});
        if let Some(old) = old {
            object["status"] = old["status"].clone();
        }
        self.put(kind, name, object);
    }

    fn native_version(&mut self, name: &str, native: Value) {
        let (module, number) = name.split_once('@').unwrap();
        let object = version_object(&module.parse().unwrap(), &number.parse().unwrap());
        if native.is_null() {
            return self.delete(Kind::NativeVersion, &object);
        }
        let api = "roadstead.dev/v1alpha1";
        let owner = json!({
            "apiVersion": api, "kind": "NativeModule", "name": module, "uid": format!("uid-{module}"),
        });
        let metadata = json!({"generation": 1, "ownerReferences": [owner]});
        let spec = json!({"module": module, "version": number, "spec": {"native": native}});
        self.put(Kind::NativeVersion, &object, json!({"metadata": metadata, "spec": spec}));
    }

    fn pod(&mut self, name: &str, pod: Option<PodIs>) {
        let Some(PodIs { of, ready, waits }) = pod else { return self.delete(Kind::Pod, name) };
        let (module, version) = of.split_once('@').unwrap();
        let labels = json!({MODULE: module, VERSION: version});
        let mut status = json!({"podIP": "10.0.0.7"});
        status["conditions"] =
            json!([{"type": "Ready", "status": if ready { "True" } else { "False" }}]);
        if let Some(reason) = waits {
            let waiting = json!({"reason": reason, "message": "it ends"});
            status["containerStatuses"] = json!([{"state": {"waiting": waiting}}]);
        }
        self.put(Kind::Pod, name, json!({"metadata": {"labels": labels}, "status": status}));
    }

    fn meddle(&mut self, object: &str, deleted: bool) {
        let found = self.objects.keys().find(|(kind, name)| format!("{kind:?}/{name}") == object);
        let (kind, name) = found.cloned().unwrap_or_else(|| panic!("no {object}"));
        if deleted {
            return self.delete(kind, &name);
        }
        let mut changed = self.objects[&(kind, name.clone())].clone();
        let generation = changed["metadata"]["generation"].as_i64().unwrap_or_default();
        changed["metadata"]["generation"] = (generation + 1).into();
        self.put(kind, &name, changed);
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
    fn write(&mut self, key: &ModuleKey, plan: &Plan, memory: &mut Memory, now: Timestamp) {
        let (of_module, of_version) = (Kind::module(key.native), Kind::version(key.native));
        if let Some(native) = &plan.native {
            self.write_servers(native, memory, now);
        }
        if let Some(module) = &plan.module
            && module.write
        {
            let mut object = self.objects[&(of_module, key.module.clone())].clone();
            object["status"] = serde_json::to_value(&module.status).unwrap();
            object["status"]["servers"] = json!(module.servers);
            self.put(of_module, &key.module, object);
        }
        for (name, version) in &plan.versions {
            let mut object = self.objects[&(of_version, name.clone())].clone();
            if let Some(owner) = &version.adopt {
                let api = "roadstead.dev/v1alpha1";
                object["metadata"]["ownerReferences"] = json!([
                    {"apiVersion": api, "kind": "Module", "name": key.module, "uid": owner}
                ]);
            }
            object["status"] = serde_json::to_value(&version.status).unwrap();
            if version.write || version.adopt.is_some() {
                self.put(of_version, name, object);
            }
        }
    }

    fn write_servers(&mut self, plan: &NativePlan, memory: &mut Memory, now: Timestamp) {
        if plan.secret {
            memory.native.certificate = Some(("certificate".to_owned(), now));
        }
        for manifest in &plan.apply {
            let object = (manifest.kind, manifest.name.clone());
            let old = self.objects.get(&object).map(|old| &old["metadata"]["generation"]);
            let generation = old.and_then(Value::as_i64).unwrap_or_default() + 1;
            let mut body = manifest.body.clone();
            body["metadata"]["generation"] = generation.into();
            self.put(manifest.kind, &manifest.name, body);
            let mark = generation.try_into().unwrap();
            memory.native.applied.insert(object, (digest(manifest), mark));
        }
        for (kind, name, _) in &plan.delete {
            self.delete(*kind, name);
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
    let HostSays { natives, stuck, versions, problem, judges, namespaces, .. } = says;
    let start = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let natives = natives.into_iter().map(|(name, (calls, last, mismatch))| {
        let (module, version) = name.split_once('@').unwrap();
        let key = VersionKey {
            namespace: NAMESPACE.to_owned(),
            module: module.to_owned(),
            version: version.to_owned(),
        };
        let reason = "no progress".to_owned();
        let stuck = stuck
            .iter()
            .map(|pod| StuckServer { id: format!("uid-{pod}"), reason: reason.clone() });
        let last_unix_ms = start + 1000 * last;
        NativeUse { key: Some(key), calls, last_unix_ms, mismatch, stuck: stuck.collect() }
    });
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
        natives: natives.collect(),
        ..HostReport::default()
    }
}
