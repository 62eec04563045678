//! `grpc.health.v1`: the host as `""`, its own services, and every service of the namespace.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use roadstead_domain::Namespace;
use roadstead_registry::Registry;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

use crate::{
    builtin::{SERVICES, caller},
    connection::Ends,
    status::refusal,
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
    /// Whether the host is ready, and whether watches end.
    fn ends(&self) -> (bool, bool) {
        (!self.ends.unready.is_cancelled(), self.ends.drain.is_cancelled())
    }

    /// None for a service that nobody in the namespace exports.
    fn status(&self, namespace: &Namespace, service: &str) -> Option<ServingStatus> {
        let known = service.is_empty()
            || SERVICES.contains(&service)
            || self.registry.routes().serves(namespace, service);
        known.then(|| {
            if self.ends.unready.is_cancelled() {
                ServingStatus::NotServing
            } else {
                ServingStatus::Serving
            }
        })
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
        let namespace = caller(&request)?.namespace;
        let service = request.into_inner().service;
        let status = self.0.status(&namespace, &service);
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
        let namespace = caller(&request)?.namespace;
        let service = request.into_inner().service;
        let state = Arc::clone(&self.0);
        let mut changes = state.registry.watch();
        Ok(Response::new(Box::pin(async_stream::stream! {
            let mut said = None;
            loop {
                changes.mark_unchanged();
                let (ready, last) = state.ends();
                let status = state.status(&namespace, &service);
                let status = status.unwrap_or(ServingStatus::ServiceUnknown);
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
        })))
    }
}
