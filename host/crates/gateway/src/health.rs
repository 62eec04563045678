//! `grpc.health.v1`: the host as `""`, to whoever asks, its own services, and every service of the
//! namespace.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use roadstead_domain::Namespace;
use roadstead_registry::Registry;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

use crate::{
    builtin::SERVICES,
    connection::Ends,
    status::refusal,
    steps::{permit, while_granted},
};

/// Looks services up as they are asked for; keeps no state of its own.
pub(crate) struct Health(Arc<State>);

struct State {
    registry: Arc<Registry>,
    ends: Ends,
}

impl Health {
    pub(crate) fn new(registry: Arc<Registry>, ends: Ends) -> Self {
        Self(Arc::new(State { registry, ends }))
    }
}

impl State {
    fn host(&self) -> ServingStatus {
        match self.ends.unready.is_cancelled() {
            true => ServingStatus::NotServing,
            false => ServingStatus::Serving,
        }
    }

    /// None for a service that nobody in the namespace exports.
    fn status(&self, namespace: &Namespace, service: &str) -> Option<ServingStatus> {
        let known =
            SERVICES.contains(&service) || self.registry.routes().serves(namespace, service);
        known.then(|| self.host())
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let permit = permit(&request);
        let service = request.into_inner().service;
        if service.is_empty() {
            return Ok(Response::new(response(self.0.host())));
        }
        let status = self.0.status(permit?.namespace(), &service);
        let status = status.ok_or_else(|| {
            refusal(Code::NotFound, "NO_SUCH_SERVICE", &format!("no service `{service}` here"))
        })?;
        Ok(Response::new(response(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Says the status and then every change of it; ends when the host drains, after saying so.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permit = permit(&request);
        let service = request.into_inner().service;
        let state = Arc::clone(&self.0);
        if service.is_empty() {
            return Ok(Response::new(Box::pin(watch(state, |state| state.host()))));
        }
        let permit = permit?;
        let namespace = permit.namespace().clone();
        let answers = watch(state, move |state| {
            state.status(&namespace, &service).unwrap_or(ServingStatus::ServiceUnknown)
        });
        Ok(Response::new(Box::pin(while_granted(permit, answers))))
    }
}

fn watch(
    state: Arc<State>,
    look: impl Fn(&State) -> ServingStatus + Send,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send {
    async_stream::stream! {
        let mut changes = state.registry.watch();
        let mut said = None;
        loop {
            changes.mark_unchanged();
            let ready = !state.ends.unready.is_cancelled();
            let last = state.ends.drain.is_cancelled();
            let status = look(&state);
            if said != Some(status) {
                said = Some(status);
                yield Ok(response(status));
            }
            if last {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = state.ends.unready.cancelled(), if ready => {}
                () = state.ends.drain.cancelled() => {}
            }
        }
    }
}
