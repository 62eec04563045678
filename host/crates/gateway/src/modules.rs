//! `roadstead.v1.ModuleService` over the registry.

mod fleet;
mod hosts;
mod logs;
mod native;
mod offers;
mod push;
mod rollout;
mod to_proto;
mod uploads;
mod usage;

use std::{pin::Pin, str::FromStr, sync::Arc};

use futures::Stream;
use roadstead_domain::{Fault, ModuleName, Namespace, Version};
use roadstead_proto::v1::{
    CheckModuleResponse, DeleteModuleRequest, DeleteModuleResponse, GetModuleProtosRequest,
    GetModuleProtosResponse, GetModuleRequest, GetModuleResponse, GetRolloutRequest,
    GetRolloutResponse, ListHostsRequest, ListHostsResponse, ListModulesRequest,
    ListModulesResponse, ListOffersRequest, ListOffersResponse, ListUsageRequest,
    ListUsageResponse, PinModuleRequest, PinModuleResponse, PushModuleRequest, PushModuleResponse,
    StreamLogsRequest, StreamLogsResponse, TextFile, UnpinModuleRequest, UnpinModuleResponse,
    UpdateRolloutRequest, UpdateRolloutResponse, WatchModulesRequest, WatchModulesResponse,
    module_service_server::ModuleService,
};
use roadstead_registry::{Edition, Protos, Registry};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    offload,
    status::{from_change, from_fault},
    steps::{permit, while_granted},
};
pub(crate) use fleet::Fleet;
pub(crate) use hosts::About;
use uploads::Messages;

/// The service's state.
pub(crate) struct Modules {
    registry: Arc<Registry>,
    drain: CancellationToken,
    fleet: Fleet,
    about: Arc<About>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Modules {
    pub(crate) fn new(
        registry: Arc<Registry>,
        drain: CancellationToken,
        fleet: Fleet,
        about: About,
    ) -> Self {
        Self { registry, drain, fleet, about: Arc::new(about) }
    }

    /// Makes an answer away from the threads that serve connections.
    async fn answer<T: Send + 'static>(
        &self,
        make: impl FnOnce(&Registry) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let registry = Arc::clone(&self.registry);
        offload::answer(move || make(&registry)).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl ModuleService for Modules {
    type PushModuleStream = Answers<PushModuleResponse>;

    async fn push_module(
        &self,
        request: Request<Streaming<PushModuleRequest>>,
    ) -> Result<Response<Self::PushModuleStream>, Status> {
        let permit = permit(&request)?;
        let messages = Messages::of(request)?;
        let registry = Arc::clone(&self.registry);
        let pushing = push::push(registry, permit.clone(), messages);
        Ok(Response::new(Box::pin(while_granted(permit, pushing))))
    }

    async fn check_module(
        &self,
        request: Request<Streaming<PushModuleRequest>>,
    ) -> Result<Response<CheckModuleResponse>, Status> {
        let permit = permit(&request)?;
        let messages = Messages::of(request)?;
        let checked = push::check(&self.registry, &permit, messages).await?;
        Ok(Response::new(checked))
    }

    async fn get_module(
        &self,
        request: Request<GetModuleRequest>,
    ) -> Result<Response<GetModuleResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        let name = module_name(&request.into_inner().name)?;
        self.answer(move |registry| {
            let module = registry.get(&namespace, &name).map_err(from_change)?;
            let module = Some(to_proto::module(registry, &namespace, &module));
            Ok(GetModuleResponse { module })
        })
        .await
    }

    async fn list_modules(
        &self,
        request: Request<ListModulesRequest>,
    ) -> Result<Response<ListModulesResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        self.answer(move |registry| {
            let modules = to_proto::modules(registry, &namespace, &registry.list(&namespace));
            Ok(ListModulesResponse { modules })
        })
        .await
    }

    async fn list_usage(
        &self,
        request: Request<ListUsageRequest>,
    ) -> Result<Response<ListUsageResponse>, Status> {
        usage::list(self, request).await
    }

    async fn delete_module(
        &self,
        request: Request<DeleteModuleRequest>,
    ) -> Result<Response<DeleteModuleResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        let DeleteModuleRequest { name, version } = request.into_inner();
        let (name, version) = (module_name(&name)?, optional_version(&version)?);
        let deleted = self.registry.delete(&namespace, &name, version.as_ref()).await;
        let deleted = deleted.map_err(from_change)?;
        let deleted_versions = deleted.iter().map(ToString::to_string).collect();
        Ok(Response::new(DeleteModuleResponse { deleted_versions }))
    }

    async fn pin_module(
        &self,
        request: Request<PinModuleRequest>,
    ) -> Result<Response<PinModuleResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        let PinModuleRequest { name, version } = request.into_inner();
        let (name, version) = (module_name(&name)?, parsed::<Version>("version", &version)?);
        let pinned = self.registry.pin(&namespace, &name, Some(&version)).await;
        let pinned = pinned.map_err(from_change)?;
        self.answer(move |registry| {
            let module = Some(to_proto::module(registry, &namespace, &pinned));
            Ok(PinModuleResponse { module })
        })
        .await
    }

    async fn unpin_module(
        &self,
        request: Request<UnpinModuleRequest>,
    ) -> Result<Response<UnpinModuleResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        let name = module_name(&request.into_inner().name)?;
        let unpinned = self.registry.pin(&namespace, &name, None).await;
        let unpinned = unpinned.map_err(from_change)?;
        self.answer(move |registry| {
            let module = Some(to_proto::module(registry, &namespace, &unpinned));
            Ok(UnpinModuleResponse { module })
        })
        .await
    }

    async fn get_rollout(
        &self,
        request: Request<GetRolloutRequest>,
    ) -> Result<Response<GetRolloutResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        let name = module_name(&request.into_inner().name)?;
        let found = self.registry.rollout(&namespace, &name).await.map_err(from_change)?;
        let rollout = Some(rollout::rollout(&self.registry, &namespace, &name, found));
        Ok(Response::new(GetRolloutResponse { rollout }))
    }

    async fn update_rollout(
        &self,
        request: Request<UpdateRolloutRequest>,
    ) -> Result<Response<UpdateRolloutResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        let request = request.into_inner();
        let (name, edit) = (module_name(&request.name)?, rollout::edit(&request)?);
        let edited = self.registry.edit_rollout(&namespace, &name, edit).await;
        let edited = edited.map_err(from_change)?;
        let rollout = Some(rollout::rollout(&self.registry, &namespace, &name, edited));
        Ok(Response::new(UpdateRolloutResponse { rollout }))
    }

    async fn get_module_protos(
        &self,
        request: Request<GetModuleProtosRequest>,
    ) -> Result<Response<GetModuleProtosResponse>, Status> {
        let namespace = permit(&request)?.namespace().clone();
        let GetModuleProtosRequest { name, version } = request.into_inner();
        let (name, version) = (module_name(&name)?, optional_version(&version)?);
        self.answer(move |registry| {
            let protos = registry.protos(&namespace, &name, version.as_ref());
            let Protos { files, lock, plan } = protos.map_err(from_change)?;
            let files = files.into_iter().map(|(path, text)| TextFile { path, text }).collect();
            Ok(GetModuleProtosResponse { files, lock, plan })
        })
        .await
    }

    type WatchModulesStream = Answers<WatchModulesResponse>;

    async fn watch_modules(
        &self,
        request: Request<WatchModulesRequest>,
    ) -> Result<Response<Self::WatchModulesStream>, Status> {
        let permit = permit(&request)?;
        let namespace = permit.namespace().clone();
        let (registry, drain) = (Arc::clone(&self.registry), self.drain.clone());
        let watching = watch(registry, drain, namespace);
        Ok(Response::new(Box::pin(while_granted(permit, watching))))
    }

    async fn list_offers(
        &self,
        request: Request<ListOffersRequest>,
    ) -> Result<Response<ListOffersResponse>, Status> {
        let permit = permit(&request)?;
        let all = request.into_inner().all_namespaces;
        if all {
            permit.for_host().map_err(|fault| from_fault(&fault, true))?;
        }
        let within = (!all).then(|| permit.namespace().clone());
        self.answer(move |registry| {
            let offers = registry.offers(within.as_ref());
            Ok(ListOffersResponse { offers: offers.into_iter().map(offers::offer).collect() })
        })
        .await
    }

    type StreamLogsStream = Answers<StreamLogsResponse>;

    async fn stream_logs(
        &self,
        request: Request<StreamLogsRequest>,
    ) -> Result<Response<Self::StreamLogsStream>, Status> {
        logs::list(self, request).await
    }

    async fn list_hosts(
        &self,
        request: Request<ListHostsRequest>,
    ) -> Result<Response<ListHostsResponse>, Status> {
        hosts::list(self, request).await
    }
}

/// The namespace's modules now and after every change of them; changes that come faster than the
/// client reads are told as one.
fn watch(
    registry: Arc<Registry>,
    drain: CancellationToken,
    namespace: Namespace,
) -> impl Stream<Item = Result<WatchModulesResponse, Status>> + Send {
    async_stream::try_stream! {
        let mut changes = registry.watch();
        let mut told = None;
        loop {
            changes.mark_unchanged();
            if told != Some(registry.routes().edition(&namespace)) {
                let (registry, namespace) = (Arc::clone(&registry), namespace.clone());
                let now = offload::answer(move || Ok(listed(&registry, &namespace)));
                let (edition, message) = now.await?;
                told = Some(edition);
                yield message;
            }
            let changed = tokio::select! {
                changed = changes.changed() => changed.is_ok(),
                () = drain.cancelled() => false,
            };
            if drain.is_cancelled() {
                Err(from_fault(&Fault::Draining, true))?;
            }
            if !changed {
                return;
            }
        }
    }
}

/// The namespace's modules as they are by now, and when they last changed.
fn listed(registry: &Registry, namespace: &Namespace) -> (Edition, WatchModulesResponse) {
    let routes = registry.routes();
    let modules: Vec<_> = routes.modules(namespace).cloned().collect();
    let modules = to_proto::modules(registry, namespace, &modules);
    let message = WatchModulesResponse { revision: routes.revision(), modules };
    (routes.edition(namespace), message)
}

fn module_name(text: &str) -> Result<ModuleName, Status> {
    parsed("name", text)
}

fn optional_version(text: &str) -> Result<Option<Version>, Status> {
    if text.is_empty() { Ok(None) } else { parsed("version", text).map(Some) }
}

/// A field of a request, as the domain has it.
fn parsed<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse()
        .map_err(|error: T::Err| from_fault(&Fault::bad_input(field, error.to_string()), true))
}
