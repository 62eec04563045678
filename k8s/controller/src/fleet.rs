//! What the hosts' streams and the controller share.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use roadstead_proto::v1::{HostHello, HostReport};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    hosts::{BadReport, HostKey, Hosts, Touched},
    metrics::Metrics,
    native::endpoints::Endpoints,
    settings::Times,
    splits::Splits,
};

/// Streams at once.
pub(crate) const STREAMS: usize = 4_096;

/// After which a host that left without a word is forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// The hosts, and what they are told.
#[derive(Debug)]
pub(crate) struct Fleet {
    hosts: Mutex<Hosts>,
    /// By which the stream of a host hears that another took its place.
    sessions: Mutex<BTreeMap<HostKey, CancellationToken>>,
    touched: Mutex<Touched>,
    pub(crate) woken: Notify,
    pub(crate) splits: Splits,
    pub(crate) natives: Endpoints,
    /// For whom streams are served: the time of leading, once all splits are known.
    serving: watch::Sender<Option<u64>>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) report: Duration,
    silence: Duration,
    metrics: Arc<Metrics>,
}

impl Fleet {
    pub(crate) fn new(times: &Times, metrics: Arc<Metrics>) -> Self {
        Self {
            hosts: Mutex::default(),
            sessions: Mutex::default(),
            touched: Mutex::default(),
            woken: Notify::new(),
            splits: Splits::default(),
            natives: Endpoints::default(),
            serving: watch::Sender::new(None),
            places: Arc::new(Semaphore::new(STREAMS)),
            report: times.report,
            silence: times.silence(),
            metrics,
        }
    }

    /// Looks at the hosts as they are now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Hosts) -> T) -> T {
        look(&self.hosts.lock())
    }

    /// A host's session begins, and ends the one before; the token tells when it is replaced.
    pub(crate) fn hello(
        &self,
        hello: HostHello,
    ) -> Result<(HostKey, u64, CancellationToken), BadReport> {
        let (key, session) = self.hosts.lock().hello(hello, Instant::now())?;
        let replaced = CancellationToken::new();
        if let Some(before) = self.sessions.lock().insert(key.clone(), replaced.clone()) {
            before.cancel();
        }
        self.count();
        Ok((key, session, replaced))
    }

    pub(crate) fn report(
        &self,
        key: &HostKey,
        session: u64,
        report: HostReport,
    ) -> Result<(), BadReport> {
        let touched = self.hosts.lock().report(key, session, report, Instant::now())?;
        self.touch(touched);
        Ok(())
    }

    pub(crate) fn closed(&self, key: &HostKey, session: u64) {
        let touched = {
            let mut hosts = self.hosts.lock();
            if hosts.speaks(key, session) {
                self.sessions.lock().remove(key);
            }
            hosts.closed(key, session)
        };
        self.touch(touched);
        self.count();
    }

    /// Looks who fell silent.
    pub(crate) fn sweep(&self) -> Vec<HostKey> {
        let now = Instant::now();
        let ago = |span| now.checked_sub(span);
        let (Some(silent), Some(gone)) = (ago(self.silence), ago(FORGET.max(self.silence))) else {
            return Vec::new();
        };
        let (fell, touched) = self.hosts.lock().sweep(silent, gone);
        self.touch(touched);
        self.count();
        fell
    }

    /// What changed since the last time this was asked.
    pub(crate) fn take_touched(&self) -> Touched {
        std::mem::take(&mut self.touched.lock())
    }

    /// Streams are served for this time of leading from now on; none ends them all.
    pub(crate) fn serve(&self, term: Option<u64>) {
        self.serving.send_replace(term);
    }

    pub(crate) fn serving(&self) -> watch::Receiver<Option<u64>> {
        self.serving.subscribe()
    }

    /// Nobody is heard, and nothing is told, from now on.
    pub(crate) fn clear(&self) {
        self.serve(None);
        self.hosts.lock().clear();
        self.sessions.lock().clear();
        *self.touched.lock() = Touched::default();
        self.splits.clear();
        self.natives.clear();
        self.count();
    }

    pub(crate) fn count(&self) {
        self.metrics.streams(STREAMS.saturating_sub(self.places.available_permits()));
        let hosts = self.hosts.lock();
        let live = hosts.iter().filter(|(_, host)| host.live).count();
        let silent = hosts.iter().filter(|(_, host)| !host.live && host.complete).count();
        self.metrics.hosts(live, silent);
    }

    fn touch(&self, touched: Touched) {
        if touched == Touched::default() {
            return;
        }
        if touched.hosts {
            self.count();
        }
        self.touched.lock().merge(touched);
        self.woken.notify_one();
    }
}
