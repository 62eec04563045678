//! Passes calls on to the servers of one version, and their answers back.

mod stream;
mod unary;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Uri};
use roadstead_domain::{Fault, FieldViolation, LimitKind};
use roadstead_engine::{CodeState, Remote, RemoteCall, RemoteRequests, RemoteResponses};
use roadstead_native_plan::State;
use tokio::time::timeout_at;

use crate::{
    grpc::{Broken, Outgoing},
    link::{Link, grpc_timeout, request},
    place::Place,
    server::Running,
    statuses::{Failed, of_broken},
    version::Version,
};

/// Servers that one call is sent to at most.
const TRIES: usize = 3;

/// Answers the calls of a version.
#[derive(Debug)]
pub(crate) struct ServerRemote<P> {
    module: Arc<P>,
    version: Arc<Version>,
}

impl<P: Place> Remote for ServerRemote<P> {
    fn call(&self, call: RemoteCall, request: Bytes) -> BoxFuture<'_, Result<Bytes, Fault>> {
        Box::pin(async { self.unary(call, request).await.map_err(|fault| self.told(fault)) })
    }

    fn stream<'a>(
        &'a self,
        call: RemoteCall,
        requests: RemoteRequests,
        responses: RemoteResponses,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async {
            let served = self.streaming(call, requests, responses).await;
            served.map_err(|fault| self.told(fault))
        })
    }

    fn state(&self) -> CodeState {
        match self.module.standing(&self.version.id.version).map(|standing| standing.state) {
            Some(State::Ready) => CodeState::There,
            Some(State::Failed(why)) => CodeState::Failed(why),
            _ => CodeState::Missing,
        }
    }
}

/// Before a call's deadline, to say why it had no server.
const WORD: Duration = Duration::from_millis(50);

/// A call, while it looks for a server.
struct Attempted<'a> {
    call: &'a RemoteCall,
    began: Instant,
    /// Servers that did not take it.
    tried: Vec<u64>,
}

impl<'a> Attempted<'a> {
    fn new(call: &'a RemoteCall) -> Self {
        Self { call, began: Instant::now(), tried: Vec::new() }
    }

    fn deadline(&self) -> tokio::time::Instant {
        self.call.deadline.into()
    }

    /// When a call that still has no server ends, so that its caller hears why before the deadline.
    fn last_word(&self) -> Instant {
        let left = self.call.deadline.saturating_duration_since(self.began);
        self.call.deadline.checked_sub((left / 10).min(WORD)).unwrap_or(self.began)
    }

    fn late(&self) -> Fault {
        Fault::Deadline(self.call.deadline.saturating_duration_since(self.began))
    }

    /// A server did not take the call. One whose connection alone ended may by its next one.
    fn not_taken(&mut self, running: &Running, link: &Link) {
        if !link.is_closed() {
            self.tried.push(running.server.epoch());
        }
    }
}

impl<P: Place> ServerRemote<P> {
    pub(crate) fn new(module: Arc<P>, version: Arc<Version>) -> Self {
        Self { module, version }
    }

    /// A server that is ready, with the call's turn on it. Waits for both, and begins servers where
    /// there are none.
    async fn server(&self, attempted: &Attempted<'_>) -> Result<(Running, Link), Fault> {
        let native = &self.version.native;
        let until = attempted.began + native.activation_timeout.duration();
        loop {
            let mut rounds = self.module.rounds();
            rounds.mark_unchanged();
            if let Some(server) = self.module.pick(&self.version.id.version, &attempted.tried) {
                let mut running = server.begin();
                if !self.version.is_concurrent(&attempted.call.method) {
                    let turn = timeout_at(attempted.deadline(), running.turn()).await;
                    let turn = turn.map_err(|_| attempted.late())?;
                    // Never closed.
                    turn.map_err(|error| Fault::NotReady(error.to_string()))?;
                }
                match server.link() {
                    Some(link) if server.answers() => return Ok((running, link)),
                    _ => continue,
                }
            }
            self.may_come(until)?;
            let until = until.min(attempted.last_word());
            if timeout_at(until.into(), rounds.changed()).await.is_err() {
                return Err(self.not_ready(until));
            }
        }
    }

    /// Whether waiting for a server is of any use.
    fn may_come(&self, until: Instant) -> Result<(), Fault> {
        let version = &self.version.id.version;
        let Some(standing) = self.module.standing(version) else {
            return if self.module.is_wanted(version) { Ok(()) } else { Err(off()) };
        };
        let clock = self.module.clock();
        match standing.state {
            State::Failed(why) => {
                let kind = kind(&why);
                Err(Fault::NotReady(format!(
                    "its servers failed{kind}: see its log; the same pushed again is tried again"
                )))
            }
            State::BackingOff(_) if standing.retry.is_some_and(|at| clock.instant(at) >= until) => {
                Err(self.not_ready(until))
            }
            _ if self.module.is_wanted(version) => Ok(()),
            _ => Err(off()),
        }
    }

    fn not_ready(&self, until: Instant) -> Fault {
        let clock = self.module.clock();
        let standing = self.module.standing(&self.version.id.version);
        Fault::NotReady(match standing.map(|standing| (standing.state, standing.retry)) {
            Some((State::BackingOff(why), Some(at))) => {
                let wait = clock.instant(at).saturating_duration_since(Instant::now());
                let (kind, wait) = (kind(&why), wait.as_secs() + 1);
                format!(
                    "its servers fail{kind}: see its log; the next is begun in {wait} s, or at once \
                     when the same is pushed again"
                )
            }
            Some((State::BackingOff(why), None)) => {
                format!("its servers fail{}: see its log", kind(&why))
            }
            _ if until <= Instant::now() => {
                let most = self.version.native.activation_timeout.duration().as_millis();
                format!("no server was ready in time: its activation timeout is {most} ms")
            }
            _ => "no server is ready".to_owned(),
        })
    }

    /// A fault as its caller is told of it: with nothing of a server's words that no log may have.
    fn told(&self, fault: Fault) -> Fault {
        let said = |text: String| self.version.log.said(&text);
        match fault {
            Fault::GuestTrap { message, backtrace } => {
                Fault::GuestTrap { message: said(message), backtrace }
            }
            Fault::NotReady(text) => Fault::NotReady(said(text)),
            Fault::Interrupted(text) => Fault::Interrupted(said(text)),
            Fault::BadInput(violations) => {
                let tell = |one: FieldViolation| FieldViolation {
                    field: said(one.field),
                    description: said(one.description),
                };
                Fault::BadInput(violations.into_iter().map(tell).collect())
            }
            other => other,
        }
    }

    fn input_fits(&self, message: &Bytes) -> Result<(), Fault> {
        let (most, _) = self.version.sizes();
        let used = u64::try_from(message.len()).unwrap_or(u64::MAX);
        if used > most { Err(Fault::limit(LimitKind::Input, most, Some(used))) } else { Ok(()) }
    }

    /// Of an answer that broke off or was none.
    fn broken(&self, link: &Link, broken: &Broken) -> Failed {
        if let Broken::Transport(error) = broken {
            link.heed(error);
        }
        let (_, output) = self.version.sizes();
        of_broken(broken, output)
    }

    /// The head of a call, with what the host says of it and nothing that its caller said.
    fn request(
        &self,
        call: &RemoteCall,
        running: &Running,
        body: Outgoing,
    ) -> Result<Request<Outgoing>, Failed> {
        let path = format!("/{}/{}", call.method.service, call.method.method);
        let unsaid = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, path, "a call cannot be passed on");
            Failed::Fault(Fault::NotReady("the call cannot be passed on".to_owned()))
        };
        let signed = running.server.key.sign(call, &path).map_err(|error| unsaid(&error))?;
        let uri = Uri::try_from(path.as_str()).map_err(|error| unsaid(&error))?;
        let mut request = request(uri, body);
        let left = call.deadline.saturating_duration_since(Instant::now());
        request.headers_mut().insert("grpc-timeout", grpc_timeout(left));
        request.headers_mut().extend(signed);
        Ok(request)
    }
}

/// The one word before the colon that some reasons begin with; what follows is for those who may
/// read the module's log.
fn kind(why: &str) -> String {
    match why.split_once(':') {
        Some((word, _)) if word.chars().all(|c| c.is_ascii_alphabetic()) => format!(" ({word})"),
        _ => String::new(),
    }
}

fn off() -> Fault {
    let why = "this version does not run: another one answers (pin it), or it is deleted";
    Fault::NotReady(why.to_owned())
}
