//! The loop: takes in what changed, plans the modules that it concerns, and has the rest written.
//!
//! It alone has the world and its memory. It plans for nobody before the first lists are there, and
//! only while this replica leads.

mod schedule;
mod state;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use tokio::{
    sync::mpsc::Receiver,
    task::JoinSet,
    time::{interval, sleep_until},
};

use crate::{
    apply::{Done, Work, Writer},
    cluster::{Cluster, Failure},
    fleet::Fleet,
    hosts::HostKey,
    identities::{Identities, servers},
    lease::{Leadership, Role},
    metrics::Metrics,
    objects::{Kind, Object},
    plan::{self, Known, Plan},
    settings::{LeaseName, Times},
    watching::Told,
    world::ModuleKey,
};
use schedule::Schedule;
pub(crate) use state::Health;
use state::State;

/// Modules that are written at once.
const WRITERS: usize = 16;
/// What is taken in before anything is planned.
const BATCH: usize = 1_024;

/// What the loop needs.
pub(crate) struct Setup {
    pub(crate) cluster: Cluster,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) leadership: Leadership,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) times: Times,
    pub(crate) identity: String,
    pub(crate) lease: LeaseName,
    /// Where native modules may run.
    pub(crate) native: Option<Arc<Identities>>,
    /// What is watched.
    pub(crate) kinds: &'static [Kind],
}

pub(crate) struct Reconciler {
    setup: Setup,
    state: State,
    schedule: Schedule,
    jobs: JoinSet<Done>,
    /// While this replica leads.
    writer: Option<Writer>,
    /// Until when hosts may not have found this controller.
    unsettled: Option<Timestamp>,
    /// Whether every module was planned since it leads.
    complete: bool,
}

impl Reconciler {
    pub(crate) fn new(setup: Setup) -> Self {
        let state = State::new(setup.kinds, Arc::clone(&setup.health), Arc::clone(&setup.metrics));
        Self {
            setup,
            state,
            schedule: Schedule::default(),
            jobs: JoinSet::new(),
            writer: None,
            unsettled: None,
            complete: false,
        }
    }

    /// Runs until the watches end.
    pub(crate) async fn run(mut self, mut told: Receiver<Told>) {
        let mut sweep = interval(self.setup.times.report);
        let mut leadership = self.setup.leadership.clone();
        let mut batch = Vec::new();
        let fleet = Arc::clone(&self.setup.fleet);
        self.lead(leadership.role());
        loop {
            let due = tokio::time::Instant::from_std(self.schedule.next(Instant::now()));
            tokio::select! {
                role = leadership.changed() => match role {
                    Some(role) => self.lead(role),
                    None => break,
                },
                taken = told.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    for told in batch.drain(..) {
                        self.schedule.dirty(self.state.take(told));
                    }
                }
                () = fleet.woken.notified() => self.hosts_changed(),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => match done {
                    Ok(done) => self.done(done),
                    Err(error) if error.is_panic() => {
                        // Which module it was is not known: all are looked at again.
                        tracing::error!("writing a status panicked");
                        self.schedule.all_written();
                        self.schedule.dirty(self.state.world.all_keys());
                    }
                    Err(_) => {}
                },
                _ = sweep.tick() => self.sweep(),
                () = sleep_until(due) => {}
            }
            self.work();
        }
    }

    fn lead(&mut self, role: Role) {
        self.jobs.abort_all();
        self.jobs = JoinSet::new();
        self.schedule = Schedule::default();
        self.state.forget();
        self.setup.fleet.clear();
        self.complete = false;
        self.unsettled = None;
        self.writer = None;
        self.setup.metrics.leads(matches!(role, Role::Leads(_)));
        let Role::Leads(term) = role else { return };
        let Setup { cluster, leadership, metrics, identity, times, native, .. } = &self.setup;
        let (cluster, leadership, metrics) =
            (cluster.clone(), leadership.clone(), Arc::clone(metrics));
        let writer = Writer::new(cluster, leadership, term, metrics, identity);
        self.writer = Some(writer.with(native.clone()));
        let settled = times.silence() + Duration::from_secs(1);
        let now = plan::whole_seconds(Timestamp::now());
        self.unsettled = now.checked_add(settled).map(plan::whole_seconds).ok();
        self.schedule.dirty(self.state.world.all_keys());
    }

    fn hosts_changed(&mut self) {
        let touched = self.setup.fleet.take_touched();
        for namespace in &touched.namespaces {
            self.schedule.dirty(self.state.world.keys(namespace));
        }
        // Hosts speak of native modules as of others.
        let world = &self.state.world;
        let native = |keys: &BTreeSet<ModuleKey>| -> BTreeSet<ModuleKey> {
            let rivals = keys.iter().filter(|key| !key.native).map(ModuleKey::rival);
            rivals.filter(|key| world.module(key).is_some()).collect()
        };
        let (modules, counts) = (native(&touched.modules), native(&touched.counted));
        self.schedule.dirty(modules);
        self.schedule.dirty(touched.modules);
        let counts = counts.into_iter().filter(|key| self.state.counts(key));
        self.schedule.dirty(counts.collect());
        let counted = touched.counted.into_iter().filter(|key| self.state.counts(key));
        self.schedule.dirty(counted.collect());
    }

    fn sweep(&mut self) {
        for host in self.setup.fleet.sweep() {
            tracing::warn!(%host, "a host is silent");
            self.tell_silent(&host);
        }
        if let Some(until) = self.unsettled
            && until <= Timestamp::now()
        {
            self.unsettled = None;
            self.schedule.dirty(self.state.world.all_keys());
        }
        let (modules, versions) = self.state.world.size();
        self.setup.metrics.sizes(modules, versions, self.state.waits());
    }

    /// Events are of a module or a version; this one is of the fleet, whose object is the Lease.
    fn tell_silent(&self, host: &HostKey) {
        let Some(writer) = self.writer.clone() else { return };
        let LeaseName { namespace, name } = self.setup.lease.clone();
        let host = host.to_string();
        tokio::spawn(async move {
            let about = ObjectReference {
                api_version: Some("coordination.k8s.io/v1".to_owned()),
                kind: Some("Lease".to_owned()),
                name: Some(name),
                namespace: Some(namespace),
                ..ObjectReference::default()
            };
            let note = format!("Nothing is heard of {host}; if it runs, it serves on.");
            writer.publish(&about, true, "HostsSilent", &format!("Hear {host}"), &note).await;
        });
    }

    /// Plans what is due, as far as there are writers for it.
    fn work(&mut self) {
        let Some(writer) = self.writer.clone() else { return };
        let now = Instant::now();
        while self.jobs.len() < WRITERS {
            let state = &self.state;
            let Some(key) = self.schedule.take(now, |key| state.is_listed(&key.namespace)) else {
                break;
            };
            self.plan(&key, &writer);
        }
        if !self.complete && self.state.all_listed() && self.schedule.is_quiet(now) {
            self.complete = true;
            self.setup.fleet.serve(Some(writer.term));
        }
    }

    fn plan(&mut self, key: &ModuleKey, writer: &Writer) {
        let begun = Instant::now();
        let now = plan::whole_seconds(Timestamp::now());
        let memory = self.state.memory(key);
        let plan = self.setup.fleet.look(|hosts| {
            let native = self.setup.native.as_ref().map(|native| native.rules());
            let known =
                Known { world: &self.state.world, hosts, now, unsettled: self.unsettled, native };
            plan::plan(&known, key, &memory)
        });
        self.setup.metrics.planned(begun.elapsed());
        let until = plan.waits.iter().filter_map(|wait| wait.until.as_ref()).min();
        self.schedule.at(key, until.map(|time| after(time.0)));
        self.state.waiting(key, plan.waits.len());
        self.tell(key, &plan);
        if plan.writes() {
            let work = self.state.work(key, plan);
            self.begin(writer, work);
        } else {
            self.state.remember(key, plan.memory);
            self.schedule.fine(key);
        }
    }

    fn begin(&mut self, writer: &Writer, work: Work) {
        self.schedule.writing(&work.key);
        self.jobs.spawn(writer.clone().apply(work));
    }

    /// Hosts are told what stands in the cluster, once it is what should stand there.
    fn tell(&self, key: &ModuleKey, plan: &Plan) {
        let splits = &self.setup.fleet.splits;
        if key.native {
            self.tell_servers(key, plan);
        }
        if plan.name_taken {
            return splits.forget(key);
        }
        match (self.state.world.module(key), &plan.module) {
            (Some(module), Some(planned)) if module.status.serving == planned.status.serving => {
                let rolls = module.spec.as_ref().is_ok_and(|spec| spec.rollout.is_some());
                let unread = module.spec.is_err();
                let shares = if rolls || unread { planned.status.serving.as_slice() } else { &[] };
                splits.tell(key, module.id.revision, shares);
            }
            (Some(_), Some(_)) => {}
            _ => splits.forget(key),
        }
    }

    /// Hosts are told which servers there are.
    fn tell_servers(&self, key: &ModuleKey, plan: &Plan) {
        let natives = &self.setup.fleet.natives;
        let module = self.state.world.module(key).filter(|_| !plan.name_taken);
        let authority = self.setup.native.as_ref().and_then(|native| native.authority());
        match (module, &plan.native) {
            (Some(module), Some(native)) => {
                let uid = &module.id.uid;
                let servers = servers(&self.state.world, key, uid, native, authority);
                servers.into_iter().for_each(|servers| natives.tell(key, servers));
            }
            _ => natives.forget(key),
        }
    }

    fn done(&mut self, done: Done) {
        let Done { key, plan, learned, found, decided, applied, failure } = done;
        self.schedule.written(&key);
        let mut dirty = BTreeSet::from([key.clone()]);
        for object in learned {
            let world = &mut self.state.world;
            dirty.extend(match object {
                Object::Workload(_) => world.put(&key.namespace, object),
                object => world.learn(&key.namespace, object),
            });
        }
        for object in found {
            dirty.extend(self.state.world.believe(&key.namespace, object));
        }
        if decided {
            self.state.remember(&key, plan.memory);
        }
        self.state.applied(&key, applied);
        match failure {
            None => self.schedule.fine(&key),
            Some(failure) => {
                if matches!(failure, Failure::Unavailable(_)) && !decided {
                    // It may stand there all the same: what is read next counts.
                    self.state.doubt(&key);
                }
                tracing::info!(module = %key, error = %failure, "write what became of a module");
                self.schedule.back_off(&key, Instant::now());
            }
        }
        self.schedule.dirty(dirty);
    }
}

/// The moment at which a time has come for sure.
fn after(time: Timestamp) -> Instant {
    let left = time.duration_since(Timestamp::now());
    let left = Duration::try_from(left).unwrap_or_default();
    // Bounded, so that no date is too far for the clock.
    Instant::now() + left.min(Duration::from_secs(3600)) + Duration::from_millis(5)
}
