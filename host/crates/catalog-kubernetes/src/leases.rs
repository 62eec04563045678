//! Who does what only one host should: a Lease for each task, named `<pool>-<task>`.
//!
//! Its holder says again and again that it is at it. Others take a lease over that was not renewed
//! for [`DURATION`] by their own clock since they saw it change last: nobody trusts another's clock.
//! A holder that ends deletes its lease; one that starts again under its name takes its own over.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};
use parking_lot::Mutex;
use roadstead_catalog::{CatalogError, Election, Office};
use tokio::sync::oneshot;

use crate::error::{Failure, request};

/// How long a lease is worth that is not renewed.
pub(crate) const DURATION: Duration = Duration::from_secs(15);

/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(4);

/// The leases of one host.
pub(crate) struct Leases {
    desk: Arc<Desk>,
    pool: String,
    /// What other hosts hold, as this one saw it.
    seen: Mutex<HashMap<String, Seen>>,
}

/// What a held lease needs until it ends.
struct Desk {
    api: Api<Lease>,
    holder: String,
    /// Held by this process.
    held: Mutex<HashSet<String>>,
}

struct Seen {
    version: Option<String>,
    since: Instant,
}

/// A lease that this host holds.
struct Held {
    lost: Arc<AtomicBool>,
    /// Ends with this value.
    _end: oneshot::Sender<()>,
}

impl Office for Held {
    fn is_held(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }
}

impl Leases {
    pub(crate) fn new(client: Client, namespace: &str, pool: &str, host: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        let desk = Desk { api, holder: host.to_owned(), held: Mutex::default() };
        Self { desk: Arc::new(desk), pool: pool.to_owned(), seen: Mutex::default() }
    }

    /// The lease, if it can be had now.
    async fn take(&self, name: &str) -> Result<Option<Lease>, Failure> {
        let Some(lease) = self.desk.get(name).await? else {
            self.seen.lock().remove(name);
            return match self.desk.create(name).await {
                Ok(lease) => Ok(Some(lease)),
                Err(Failure::Exists | Failure::Conflict) => Ok(None),
                Err(failure) => Err(failure),
            };
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        let own = holder.is_none_or(|holder| holder.is_empty() || holder == self.desk.holder);
        if !own && !self.is_stale(name, &lease) {
            return Ok(None);
        }
        match self.desk.replace(lease).await {
            Ok(lease) => {
                self.seen.lock().remove(name);
                Ok(Some(lease))
            }
            Err(Failure::Conflict | Failure::Gone) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether a lease of another has not changed for long enough under this host's eyes.
    fn is_stale(&self, name: &str, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone();
        let mut seen = self.seen.lock();
        if let Some(known) = seen.get(name).filter(|known| known.version == version) {
            return DURATION <= known.since.elapsed();
        }
        // What nobody asked for since is forgotten.
        seen.retain(|_, known| known.since.elapsed() < 40 * DURATION);
        seen.insert(name.to_owned(), Seen { version, since: Instant::now() });
        false
    }
}

#[async_trait]
impl Election for Leases {
    async fn stand(&self, task: &str) -> Result<Option<Box<dyn Office>>, CatalogError> {
        let name = format!("{}-{task}", self.pool);
        if !self.desk.held.lock().insert(name.clone()) {
            return Ok(None);
        }
        let taken = self.take(&name).await;
        let Ok(Some(lease)) = taken else {
            self.desk.held.lock().remove(&name);
            return taken.map(|_| None).map_err(|failure| error(failure, &name));
        };
        let lost = Arc::new(AtomicBool::new(false));
        let (end, ended) = oneshot::channel();
        tokio::spawn(Arc::clone(&self.desk).hold(name, lease, Arc::clone(&lost), ended));
        Ok(Some(Box::new(Held { lost, _end: end })))
    }
}

impl Desk {
    async fn get(&self, name: &str) -> Result<Option<Lease>, Failure> {
        match request("read a lease", self.api.get(name)).await {
            Ok(lease) => Ok(Some(lease)),
            Err(Failure::Gone) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn create(&self, name: &str) -> Result<Lease, Failure> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.spec()) };
        request("create a lease", self.api.create(&PostParams::default(), &lease)).await
    }

    /// Writes this host into a lease, if it still is as it was read.
    async fn replace(&self, lease: Lease) -> Result<Lease, Failure> {
        let name = lease.metadata.name.clone().unwrap_or_default();
        let lease = Lease { spec: Some(self.spec()), ..lease };
        request("renew a lease", self.api.replace(&name, &PostParams::default(), &lease)).await
    }

    fn spec(&self) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Renews a lease until it is given up or lost.
    async fn hold(
        self: Arc<Self>,
        name: String,
        mut lease: Lease,
        lost: Arc<AtomicBool>,
        mut ended: oneshot::Receiver<()>,
    ) {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                _ = &mut ended => break,
                () = tokio::time::sleep(RENEW) => {}
            }
            match self.replace(lease.clone()).await {
                Ok(newer) => {
                    lease = newer;
                    renewed = Instant::now();
                }
                Err(Failure::Conflict | Failure::Gone) => {
                    tracing::warn!(lease = name, "another host has taken it over");
                    lost.store(true, Ordering::Relaxed);
                    self.held.lock().remove(&name);
                    return;
                }
                Err(failure) => tracing::debug!(lease = name, ?failure, "renew a lease"),
            }
            lost.store(DURATION <= renewed.elapsed(), Ordering::Relaxed);
        }
        let metadata = lease.metadata;
        let preconditions =
            Preconditions { uid: metadata.uid, resource_version: metadata.resource_version };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match request("delete a lease", self.api.delete(&name, &params)).await {
            Ok(_) | Err(Failure::Gone | Failure::Conflict) => {}
            Err(failure) => tracing::debug!(lease = name, ?failure, "delete a lease"),
        }
        self.held.lock().remove(&name);
    }
}

fn error(failure: Failure, name: &str) -> CatalogError {
    failure.into_error(|| CatalogError::Refused {
        doing: "take a lease",
        message: format!("{name} cannot be written: is there such a namespace?"),
    })
}
