//! One replica leads: a Lease says which, changed by compare-and-swap alone.
//!
//! No clock of another machine is read. A holder is gone when this replica has seen its Lease
//! unchanged for as long as the Lease says that it lasts; a leader acts for a shorter time after it
//! *asked* for its last renewal that was granted, so two never act at once while clocks run at about
//! the same pace.

mod election;

use std::{sync::Arc, time::Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, Failure, MANAGER, REQUEST, request},
    metrics::Metrics,
    settings::{LeaseName, Times},
};
use election::{Move, Observed};

/// What this replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has not seen the Lease yet.
    Unknown,
    Follows,
    /// For the time that is counted by this number.
    Leads(u64),
}

/// What this replica is, and for how long it surely is.
#[derive(Debug, Clone)]
pub struct Leadership {
    role: watch::Receiver<Role>,
    until: Arc<Mutex<Option<Instant>>>,
}

impl Leadership {
    pub fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Waits for another role. None once nobody decides it any more.
    pub async fn changed(&mut self) -> Option<Role> {
        self.role.changed().await.ok()?;
        Some(*self.role.borrow_and_update())
    }

    /// Whether the Lease is surely this replica's, since it began to lead for this number.
    pub fn surely(&self, term: u64) -> bool {
        let until = *self.until.lock();
        self.role() == Role::Leads(term) && until.is_some_and(|until| Instant::now() < until)
    }
}

/// Stands for election, again and again.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: LeaseName,
    identity: String,
    times: Times,
    role: watch::Sender<Role>,
    until: Arc<Mutex<Option<Instant>>>,
    observed: Observed,
    term: u64,
    metrics: Arc<Metrics>,
}

impl Candidate {
    pub(crate) fn new(
        cluster: &Cluster,
        name: &LeaseName,
        identity: &str,
        times: Times,
        metrics: Arc<Metrics>,
    ) -> (Self, Leadership) {
        let (role, receiver) = watch::channel(Role::Unknown);
        let until = Arc::default();
        let leadership = Leadership { role: receiver, until: Arc::clone(&until) };
        let candidate = Self {
            api: cluster.leases(name),
            name: name.clone(),
            identity: identity.to_owned(),
            times,
            role,
            until,
            observed: Observed::default(),
            term: 0,
            metrics,
        };
        (candidate, leadership)
    }

    /// Until it is told to stop; gives the Lease back then.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.attempt() => {}
                () = stop.cancelled() => break,
            }
            let pause = self.times.retry.mul_f64(rand::random_range(0.8..1.2));
            let pause = self.left().map_or(pause, |left| pause.min(left));
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        self.release().await;
    }

    /// How long it surely leads.
    fn left(&self) -> Option<std::time::Duration> {
        self.until.lock().map(|until| until.saturating_duration_since(Instant::now()))
    }

    async fn attempt(&mut self) {
        let asked = Instant::now();
        let bound = self.left().unwrap_or(REQUEST).max(self.times.retry.min(REQUEST) / 4);
        let outcome = timeout(bound, self.try_once()).await;
        match outcome {
            Ok(Ok(true)) => self.leads(asked + self.times.renew),
            Ok(Ok(false)) => self.follows("another replica has the lease"),
            Ok(Err(failure)) => tracing::warn!(error = %failure, "ask for the lease"),
            Err(_) => tracing::warn!("the API server does not answer about the lease"),
        }
        if self.left().is_some_and(|left| left.is_zero()) {
            self.follows("the lease could not be renewed");
        }
    }

    fn leads(&mut self, until: Instant) {
        *self.until.lock() = Some(until);
        let leads = matches!(*self.role.borrow(), Role::Leads(_));
        if !leads {
            self.term += 1;
            tracing::info!(identity = self.identity, "this replica leads");
            self.role.send_replace(Role::Leads(self.term));
        }
    }

    fn follows(&mut self, why: &str) {
        *self.until.lock() = None;
        let old = self.role.send_replace(Role::Follows);
        if old != Role::Follows {
            tracing::info!(identity = self.identity, why, "this replica follows");
        }
    }

    /// One round: whether it has the Lease now.
    async fn try_once(&mut self) -> Result<bool, Failure> {
        let found = match request(self.api.get(&self.name.name)).await {
            Ok(lease) => Some(lease),
            Err(Failure::Gone) => None,
            Err(failure) => return Err(failure),
        };
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let now = Instant::now();
        self.observed.see(spec, now);
        let change = match self.observed.next(&self.identity, now) {
            Move::Wait => return Ok(false),
            change => change,
        };
        let lease = self.mine(found.as_ref(), change);
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = if found.is_some() {
            request(self.api.replace(&self.name.name, &params, &lease)).await
        } else {
            request(self.api.create(&params, &lease)).await
        };
        match written {
            Ok(lease) => {
                self.metrics.written("lease");
                self.observed.see(lease.spec.as_ref(), Instant::now());
                Ok(true)
            }
            // Another was first; who, the next round sees.
            Err(Failure::Conflict) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The Lease as this replica's.
    fn mine(&self, found: Option<&Lease>, change: Move) -> Lease {
        let old = found.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let seconds = i32::try_from(self.times.lease.as_secs()).unwrap_or(i32::MAX);
        let taken = change == Move::Take;
        let turns = old.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds),
            renew_time: Some(now.clone()),
            acquire_time: if taken { Some(now) } else { old.acquire_time.clone() },
            lease_transitions: Some(if taken && found.is_some() {
                turns.saturating_add(1)
            } else {
                turns
            }),
            ..old
        };
        let metadata = found.map_or_else(
            || ObjectMeta { name: Some(self.name.name.clone()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        );
        Lease { metadata, spec: Some(spec) }
    }

    /// Gives the Lease back, so that another need not wait.
    async fn release(&mut self) {
        let led = matches!(*self.role.borrow(), Role::Leads(_));
        *self.until.lock() = None;
        self.role.send_replace(Role::Follows);
        if !led {
            return;
        }
        let released = async {
            let mut lease = request(self.api.get(&self.name.name)).await?;
            let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            let params =
                PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            request(self.api.replace(&self.name.name, &params, &lease)).await.map(drop)
        };
        if let Err(failure) = released.await {
            tracing::warn!(error = %failure, "give the lease back");
        }
    }
}
