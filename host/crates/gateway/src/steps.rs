//! The way of a call, one type per step; each consumes the one before, so none can be skipped.
//!
//! [`authenticate`] → [`Identity`] → [`Caller`] → [`Target`] → [`Permit`] → [`Answer`]
//!
//! The host's own services go [`Caller`] → [`OwnPermit`]. A permit is made by
//! [`Caller::authorize`]'s word alone.

mod own;
mod who;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use roadstead_auth::Role;
use roadstead_domain::{CallId, Fault, HostName, LimitKind, ModuleRef};
use roadstead_engine::{Call, Module, Requests, Responses, SessionPlace, Usage};
use roadstead_registry::{LiveMethod, LiveVersion, Registry, RouteTable};
use roadstead_transcode::MethodPlan;
use tokio::time::Instant;
use tonic::Status;
use tracing::Instrument as _;

use crate::{
    status::traced,
    trace::{Named, TraceId},
};
pub(crate) use own::{OwnPermit, Visit, permit, while_granted};
pub(crate) use who::{Caller, authenticate};

/// Request metadata that selects a namespace and a module.
pub(crate) const NAMESPACE: &str = "roadstead-namespace";
pub(crate) const MODULE: &str = "roadstead-module";

/// A path of the form `/package.Service/Method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub service: &'a str,
    pub method: &'a str,
}

/// The version and method that would answer.
pub(crate) struct Target {
    caller: Caller,
    live: Arc<LiveVersion>,
    plan: Arc<MethodPlan>,
    compiled: bool,
    module: Arc<Module>,
    /// Whether the caller named this very version.
    by_version: bool,
    /// Where the method takes handles, which may lead to another version.
    leads: Option<Leads>,
}

/// What a handle is followed by.
struct Leads {
    routes: Arc<RouteTable>,
    /// The fault of a call without a handle, where nothing but a handle says who answers.
    otherwise: Option<Fault>,
}

/// A call that may be made, with its identity.
pub(crate) struct Permit {
    target: Target,
    named: Named,
    began: Instant,
}

/// How a call ended. Without a receipt it never reached a module.
pub(crate) struct Answer {
    pub result: Result<Bytes, Fault>,
    pub receipt: Option<Receipt>,
}

/// Who answered and what it took: the trailers of every answer.
pub(crate) struct Receipt {
    pub module: Arc<str>,
    pub call: CallId,
    pub usage: Usage,
    may_debug: bool,
}

impl<'a> Path<'a> {
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let good = !service.is_empty() && !method.is_empty() && !method.contains('/');
        good.then_some(Self { service, method })
    }
}

impl Caller {
    /// Finds what answers.
    ///
    /// # Errors
    /// The faults of [`roadstead_registry::RouteTable::resolve`] and [`LiveVersion::method`].
    pub(crate) fn resolve(
        self,
        registry: &Registry,
        path: Path<'_>,
        headers: &HeaderMap,
    ) -> Result<Target, Fault> {
        let wanted: Option<ModuleRef> = parsed(headers, MODULE)?;
        let by_version = wanted.as_ref().is_some_and(|wanted| wanted.version.is_some());
        let routes = registry.routes();
        let parts = |live: &Arc<LiveVersion>| {
            let method = live.method(path.service, path.method)?.clone();
            Ok((Arc::clone(live), method, Arc::clone(live.module()?)))
        };
        let found = routes
            .resolve(self.namespace(), (path.service, path.method), wanted.as_ref())
            .and_then(|live| {
                // What cannot run here fails every call that it is chosen for.
                parts(live).inspect_err(|fault: &Fault| {
                    if fault.blames_version() && !by_version {
                        live.count(Some(fault));
                    }
                })
            });
        let ((live, LiveMethod { plan, compiled }, module), otherwise) = match found {
            Ok(found) => (found, None),
            Err(fault) => {
                let known = routes.by_handle(self.namespace(), path.service);
                let known = known.and_then(|live| parts(live).ok());
                let known = known.filter(|(_, method, _)| method.plan.takes_handles());
                (known.ok_or_else(|| fault.clone())?, Some(fault))
            }
        };
        let leads = plan.takes_handles().then_some(Leads { routes, otherwise });
        Ok(Target { caller: self, live, plan, compiled, module, by_version, leads })
    }
}

impl Target {
    /// Decides whether the caller may; `named` is the call from here on.
    ///
    /// # Errors
    /// [`Fault::NotGranted`] for who may look at what the namespace holds, and no more.
    pub(crate) fn authorize(self, mut named: Named) -> Result<Permit, Fault> {
        self.caller.authorize(Role::Caller)?;
        named.counted = !self.by_version;
        if let Some(recording) = &named.recording {
            recording.permitted(&self.live, &self.plan);
        }
        Ok(Permit { target: self, named, began: Instant::now() })
    }
}

impl Target {
    /// Goes where the call's handle leads: to the version that its session runs on, whatever
    /// answers by now.
    fn follow(&mut self, call: &mut Call) -> Result<(), Fault> {
        let Some(Leads { routes, otherwise }) = self.leads.take() else { return Ok(()) };
        let id = match self.module.session_of(call)? {
            Some(SessionPlace::Here(id)) => id,
            Some(SessionPlace::There(_)) => {
                return Err(Fault::SessionLost("it is on another host"));
            }
            None => return otherwise.map_or(Ok(()), Err),
        };
        if id.namespace != *self.caller.namespace() {
            return Err(Fault::NoSuchHandle);
        }
        if id == *self.live.id() {
            return Ok(());
        }
        let module = routes.module(&id.namespace, &id.name);
        let live = module.and_then(|module| module.versions.get(&id.version));
        let live = live.ok_or(Fault::SessionLost("its version was deleted"))?;
        let LiveMethod { plan, compiled } =
            live.method(&self.plan.service, &self.plan.method)?.clone();
        (self.plan, self.compiled) = (plan, compiled);
        self.module = Arc::clone(live.module()?);
        self.live = Arc::clone(live);
        call.method = Arc::clone(&self.plan);
        Ok(())
    }
}

impl Permit {
    /// Bytes that the request message may have.
    pub(crate) fn input_limit(&self) -> u64 {
        self.target.live.record().spec.limits.input.of(self.target.compiled).0
    }

    /// Bytes that the response message may have.
    pub(crate) fn output_limit(&self) -> u64 {
        self.target.live.record().spec.limits.output.of(self.target.compiled).0
    }

    pub(crate) fn live(&self) -> &LiveVersion {
        &self.target.live
    }

    pub(crate) fn trace(&self) -> TraceId {
        self.named.trace
    }

    pub(crate) fn named(&self) -> &Named {
        &self.named
    }

    pub(crate) fn id(&self) -> CallId {
        self.named.id
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.target.caller
    }

    /// The other host of the pool that the call must be forwarded to, by its handle.
    ///
    /// # Errors
    /// The fault of a handle that leads nowhere.
    pub(crate) fn elsewhere(&self, request: &Bytes) -> Result<Option<HostName>, Fault> {
        let Target { caller, plan, module, leads, .. } = &self.target;
        if leads.is_none() || caller.is_forwarded() {
            return Ok(None);
        }
        let (id, method, request) = (self.named.id, Arc::clone(plan), request.clone());
        let owner = caller.owner();
        let call = Call { owner, ..Call::new(id, method, request) };
        Ok(match module.session_of(&call)? {
            Some(SessionPlace::There(host)) => Some(host),
            Some(SessionPlace::Here(_)) | None => None,
        })
    }

    pub(crate) fn plan(&self) -> &MethodPlan {
        &self.target.plan
    }

    /// Why the call would be refused if it ran now: to be asked before its message is read.
    pub(crate) fn shed(&self, timeout: Option<Duration>) -> Option<Fault> {
        // Where a handle leads is known once it is read.
        if self.target.leads.is_some() {
            return None;
        }
        self.target.module.shed(timeout)
    }

    /// Admits and runs the call. Dropping the future cancels it.
    pub(crate) async fn call(mut self, request: Bytes, timeout: Option<Duration>) -> Answer {
        let length = request.len() as u64;
        if length > self.input_limit() {
            let limit = self.input_limit();
            return self.refuse(Fault::limit(LimitKind::Input, limit, Some(length)));
        }
        let owner = self.target.caller.owner();
        let (id, method) = (self.named.id, Arc::clone(&self.target.plan));
        let timed = self.named.recording.is_some();
        let traceparent = self.named.traceparent();
        let call = Call::new(id, method, request);
        let mut call = Call { timeout, owner, timed, traceparent, ..call };
        if let Err(fault) = self.target.follow(&mut call) {
            return self.refuse(fault);
        }
        let Self { target: Target { caller, live, plan, module, .. }, named, began } = self;
        let may_debug = caller.may_debug();
        let span = named.span(&live, &plan.method);
        let outcome = module.call(call).instrument(span).await;
        let ended = (outcome.result.as_ref().err(), &outcome.usage);
        named.ended((&live, &plan), began, ended);
        let module = Arc::clone(live.label());
        let receipt = Receipt { module, call: id, usage: outcome.usage, may_debug };
        Answer { result: outcome.result, receipt: Some(receipt) }
    }

    /// Begins a call that streams. `request` is empty where the caller streams, too.
    ///
    /// # Errors
    /// The answer, where the call's handle leads nowhere.
    pub(crate) fn open(
        mut self,
        request: Bytes,
        timeout: Option<Duration>,
    ) -> Result<(Requests, Responses, Opened), Box<Answer>> {
        let owner = self.target.caller.owner();
        let (id, method) = (self.named.id, Arc::clone(&self.target.plan));
        let timed = self.named.recording.is_some();
        let traceparent = self.named.traceparent();
        let call = Call::new(id, method, request);
        let mut call = Call { timeout, owner, timed, traceparent, ..call };
        if let Err(fault) = self.target.follow(&mut call) {
            return Err(Box::new(self.refuse(fault)));
        }
        let Self { target: Target { caller, live, plan, module, .. }, named, began } = self;
        let may_debug = caller.may_debug();
        let (requests, responses) = named.span(&live, &plan.method).in_scope(|| module.open(call));
        Ok((requests, responses, Opened { live, plan, named, began, may_debug }))
    }

    /// Ends the call before it ran.
    pub(crate) fn refuse(self, fault: Fault) -> Answer {
        let module = Arc::clone(self.target.live.label());
        let may_debug = self.target.caller.may_debug();
        let usage = Usage::default();
        let Target { live, plan, .. } = &self.target;
        self.named.ended((live, plan), self.began, (Some(&fault), &usage));
        let receipt = Receipt { module, call: self.named.id, usage, may_debug };
        Answer { result: Err(fault), receipt: Some(receipt) }
    }
}

/// A streaming call under way: what will be said of it in the end.
pub(crate) struct Opened {
    live: Arc<LiveVersion>,
    plan: Arc<MethodPlan>,
    named: Named,
    began: Instant,
    may_debug: bool,
}

impl Opened {
    /// Tells how the call ended: as a status where it failed, and the trailers.
    pub(crate) fn end(&self, end: &Result<(), Fault>, usage: Usage) -> (Option<Status>, Receipt) {
        let Self { live, plan, named, began, may_debug } = self;
        let fault = end.as_ref().err();
        named.ended((live, plan), *began, (fault, &usage));
        let module = Arc::clone(live.label());
        let receipt = Receipt { module, call: named.id, usage, may_debug: *may_debug };
        (fault.map(|fault| traced(fault, *may_debug, named.trace)), receipt)
    }
}

impl Answer {
    /// Whether the caller may see backtraces.
    pub(crate) fn may_debug(&self) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| receipt.may_debug)
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self { result: Err(fault), receipt: None }
    }
}

/// A header's value, where there is one.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    headers: &HeaderMap,
    name: &'static str,
) -> Result<Option<T>, Fault> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Fault::bad_input(name, "is not text"))?;
    text.parse().map(Some).map_err(|error| Fault::bad_input(name, format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_a_service_and_a_method() {
        assert_eq!(Path::parse("/a.B/C"), Some(Path { service: "a.B", method: "C" }));
        for bad in ["", "/", "/a", "/a/", "//b", "a/b", "/a/b/c", "/a/b/"] {
            assert_eq!(Path::parse(bad), None, "{bad}");
        }
    }
}
