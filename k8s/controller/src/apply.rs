//! Writes what a plan says and the cluster does not, each write a compare-and-swap.
//!
//! How calls are shared goes first; where another was ahead, nothing else of the plan is written,
//! and what stands there is read anew.

use std::{sync::Arc, time::Instant};

use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    core::DynamicObject,
    runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter},
};
use roadstead_domain::{Digest, with_causes};
use roadstead_k8s_api::{GROUP, ModuleStatus};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Failure, MANAGER, resource},
    identities::Identities,
    lease::Leadership,
    metrics::Metrics,
    native::workload::{Manifest, set},
    objects::{Kind, Object, read},
    plan::{Event, Plan, digest},
    world::ModuleKey,
};

/// Characters of an event's note.
const NOTE: usize = 1_000;

/// Writes for the time that this replica leads.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) cluster: Cluster,
    pub(crate) leadership: Leadership,
    pub(crate) term: u64,
    pub(crate) metrics: Arc<Metrics>,
    recorder: Recorder,
    native: Option<Arc<Identities>>,
}

/// What is to be written of one module, with the revisions that it was planned by.
pub(crate) struct Work {
    pub(crate) key: ModuleKey,
    pub(crate) plan: Plan,
    /// The module's revision, and its uid.
    pub(crate) module: Option<(u64, String)>,
    /// The versions' revisions and uids, by object.
    pub(crate) versions: std::collections::BTreeMap<String, (u64, String)>,
}

/// What was applied of a native module's servers.
#[derive(Default)]
pub(crate) struct Applied {
    /// With the digest of what was applied, and the object's mark then.
    pub(crate) objects: Vec<((Kind, String), Digest, u64)>,
    pub(crate) certificate: Option<(String, Timestamp)>,
    /// Why the cluster does not take it; none where that was not tried.
    pub(crate) problem: Option<Option<String>>,
}

/// What became of it.
pub(crate) struct Done {
    pub(crate) key: ModuleKey,
    pub(crate) plan: Plan,
    /// Objects as they are after the writes.
    pub(crate) learned: Vec<Object>,
    /// Objects as they were found where another was ahead.
    pub(crate) found: Vec<Object>,
    /// Whether the module's status stands as planned.
    pub(crate) decided: bool,
    pub(crate) applied: Applied,
    pub(crate) failure: Option<Failure>,
}

impl Writer {
    pub(crate) fn new(
        cluster: Cluster,
        leadership: Leadership,
        term: u64,
        metrics: Arc<Metrics>,
        identity: &str,
    ) -> Self {
        let reporter =
            Reporter { controller: MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(cluster.client.clone(), reporter);
        Self { cluster, leadership, term, metrics, recorder, native: None }
    }

    /// Where native modules may run, with what their servers are known by.
    pub(crate) fn with(self, native: Option<Arc<Identities>>) -> Self {
        Self { native, ..self }
    }

    pub(crate) async fn apply(self, work: Work) -> Done {
        let begun = Instant::now();
        let Work { key, plan, module, versions } = work;
        let (learned, found) = (Vec::new(), Vec::new());
        let applied = Applied::default();
        let mut done = Done { key, plan, learned, found, decided: false, applied, failure: None };
        done.failure = self.all(&mut done, module.as_ref(), &versions).await.err();
        if done.failure.is_none() {
            done.failure = self.servers(&mut done, module.as_ref()).await.err();
            done.applied.problem = match &done.failure {
                None => Some(None),
                Some(Failure::Refused(why)) => Some(Some(why.clone())),
                Some(_) => None,
            };
        }
        self.metrics.applied(begun.elapsed());
        done
    }

    async fn all(
        &self,
        done: &mut Done,
        module: Option<&(u64, String)>,
        versions: &std::collections::BTreeMap<String, (u64, String)>,
    ) -> Result<(), Failure> {
        if let (Some(planned), Some((revision, _))) = (&done.plan.module, module)
            && planned.write
        {
            let status = planned.status.clone();
            let servers = planned.servers.clone();
            let written = self.module(&done.key, *revision, &status, servers).await;
            let name = done.key.module.clone();
            done.keep(self, Kind::module(done.key.native), &name, written).await?;
        }
        done.decided = true;
        for event in done.plan.events.iter().filter(|event| event.version.is_none()) {
            if let Some((_, uid)) = module {
                let kind = Kind::module(done.key.native);
                self.event(&done.key, kind, &done.key.module, uid, event).await;
            }
        }
        let kind = Kind::version(done.key.native);
        for (name, planned) in done.plan.versions.clone() {
            let Some((revision, uid)) = versions.get(&name) else { continue };
            let mut revision = *revision;
            if let Some(owner) = &planned.adopt {
                let written = self.adopt(&done.key, &name, revision, owner).await;
                revision = done.keep(self, kind, &name, written).await?;
            }
            if planned.write {
                let status = serde_json::to_value(&planned.status).unwrap_or_default();
                let body = body(&name, revision, &status);
                let written = self.write(kind, &done.key, &name, body, true).await;
                done.keep(self, kind, &name, written).await?;
            }
            for event in &done.plan.events {
                if event.version.as_ref() == Some(&name) {
                    self.event(&done.key, kind, &name, uid, event).await;
                }
            }
        }
        Ok(())
    }

    /// A module's status; what others had put into it goes.
    async fn module(
        &self,
        key: &ModuleKey,
        revision: u64,
        status: &ModuleStatus,
        servers: Option<String>,
    ) -> Result<DynamicObject, Failure> {
        let (kind, name) = (Kind::module(key.native), key.module.as_str());
        let mut wanted = serde_json::to_value(status).unwrap_or_default();
        if let Some(servers) = servers {
            set(&mut wanted, "servers", servers.into());
        }
        let written = self.write(kind, key, name, body(name, revision, &wanted), true).await?;
        let left = written.data.get("status").and_then(|status| status.get("rollout"));
        if status.rollout.is_some() || left.is_none_or(Value::is_null) {
            return Ok(written);
        }
        let revision = written.metadata.resource_version.clone();
        let body =
            json!({"metadata": {"resourceVersion": revision}, "status": {"rollout": Value::Null}});
        self.may_write()?;
        let merged = self.cluster.merge_status(&key.namespace, kind, name, &body).await;
        self.counted("module_status", merged)
    }

    async fn adopt(
        &self,
        key: &ModuleKey,
        name: &str,
        revision: u64,
        owner: &str,
    ) -> Result<DynamicObject, Failure> {
        let body = json!({"metadata": {
            "name": name,
            "resourceVersion": revision.to_string(),
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1alpha1"),
                "kind": resource(Kind::module(key.native)).kind,
                "name": key.module, "uid": owner,
            }],
        }});
        self.write(Kind::version(key.native), key, name, body, false).await
    }

    async fn write(
        &self,
        kind: Kind,
        key: &ModuleKey,
        name: &str,
        body: Value,
        status: bool,
    ) -> Result<DynamicObject, Failure> {
        self.may_write()?;
        let written = self.cluster.apply(&key.namespace, kind, name, body, status).await;
        let what = match (kind, status) {
            (Kind::Module | Kind::NativeModule, _) => "module_status",
            (Kind::Version | Kind::NativeVersion, true) => "version_status",
            (Kind::Version | Kind::NativeVersion, false) => "owner",
            _ => "workload",
        };
        self.counted(what, written)
    }

    /// The objects that a native module's servers are made of.
    async fn servers(
        &self,
        done: &mut Done,
        module: Option<&(u64, String)>,
    ) -> Result<(), Failure> {
        let Some(plan) = done.plan.native.clone() else { return Ok(()) };
        if let (true, Some(native), Some((_, uid))) = (plan.secret, &self.native, module) {
            self.may_write()?;
            let written = native.look(&done.key, uid).await;
            done.applied.certificate = Some(self.counted("secret", written)?);
        }
        for manifest in &plan.apply {
            let Manifest { kind, name, body } = manifest;
            let written = self.write(*kind, &done.key, name, body.clone(), false).await;
            done.keep(self, *kind, name, written).await?;
            let mark = match done.learned.last() {
                Some(Object::Workload(workload)) => workload.mark,
                _ => continue,
            };
            done.applied.objects.push(((*kind, name.clone()), digest(manifest), mark));
        }
        for (kind, name, uid) in &plan.delete {
            self.may_write()?;
            let deleted = self.cluster.delete(&done.key.namespace, *kind, name, uid).await;
            self.counted("workload", deleted)?;
        }
        Ok(())
    }

    fn counted<T>(&self, what: &'static str, written: Result<T, Failure>) -> Result<T, Failure> {
        match &written {
            Ok(_) => self.metrics.written(what),
            Err(Failure::Conflict) => self.metrics.conflict(),
            Err(_) => self.metrics.failed(what),
        }
        written
    }

    /// Only who surely leads writes.
    fn may_write(&self) -> Result<(), Failure> {
        if self.leadership.surely(self.term) {
            return Ok(());
        }
        Err(Failure::Refused("this replica may not lead any more".to_owned()))
    }

    /// Tells of an event. One that is lost is only told less.
    async fn event(&self, key: &ModuleKey, kind: Kind, name: &str, uid: &str, event: &Event) {
        let resource = resource(kind);
        let about = ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            name: Some(name.to_owned()),
            namespace: Some(key.namespace.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        self.publish(&about, event.warning, event.reason, &event.action, &event.note).await;
    }

    pub(crate) async fn publish(
        &self,
        about: &ObjectReference,
        warning: bool,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        if self.may_write().is_err() {
            return;
        }
        let told = KubeEvent {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE).collect()),
            action: action.chars().take(128).collect(),
            secondary: None,
        };
        let publish = self.recorder.publish(&told, about);
        match tokio::time::timeout(crate::cluster::REQUEST, publish).await {
            Ok(Ok(())) => self.metrics.written("event"),
            Ok(Err(error)) => {
                self.metrics.failed("event");
                tracing::warn!(error = with_causes(&error), reason, "tell of an event");
            }
            Err(_) => self.metrics.failed("event"),
        }
    }
}

impl Done {
    /// Takes in an answer; where another was ahead, what it left.
    async fn keep(
        &mut self,
        writer: &Writer,
        kind: Kind,
        name: &str,
        written: Result<DynamicObject, Failure>,
    ) -> Result<u64, Failure> {
        match written {
            Ok(object) => {
                let Some(object) = read(kind, &object) else {
                    return Err(Failure::Refused("its answer is no object".to_owned()));
                };
                let revision = object.id().revision;
                self.learned.push(object);
                Ok(revision)
            }
            Err(Failure::Conflict) => {
                let found = writer.cluster.get(&self.key.namespace, kind, name).await;
                self.found.extend(found.ok().and_then(|object| read(kind, &object)));
                Err(Failure::Conflict)
            }
            Err(failure) => Err(failure),
        }
    }
}

fn body(name: &str, revision: u64, status: &Value) -> Value {
    let metadata = json!({"name": name, "resourceVersion": revision.to_string()});
    json!({"metadata": metadata, "status": status})
}
