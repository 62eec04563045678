//! Leave to ask one of the host's own services, and what each of them asks for.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{Stream, StreamExt as _};
use roadstead_auth::{Auth, Role};
use roadstead_domain::{Fault, Namespace};
use tonic::{Request, Status};

use super::who::Caller;
use crate::{builtin::HostService, status::from_fault};

/// A request to one of the host's own services that may be answered.
#[derive(Clone)]
pub(crate) struct OwnPermit {
    caller: Caller,
    needs: Role,
    auth: Arc<Auth>,
}

/// What the request has to show. Only health goes on without a permit: whether the host is well is
/// no secret, and whoever probes it has no credentials.
#[derive(Clone)]
pub(crate) struct Visit(Result<OwnPermit, Fault>);

/// The role that a method needs. One that is not known here is for those who may do everything.
fn needs(service: HostService, method: &str) -> Role {
    match service {
        HostService::ReflectionV1 | HostService::ReflectionV1Alpha | HostService::Health => {
            Role::Reader
        }
        HostService::Modules => match method {
            "GetModule" | "ListModules" | "ListUsage" | "GetModuleProtos" | "WatchModules"
            | "ListHosts" | "GetRollout" => Role::Reader,
            "PushModule" | "CheckModule" | "DeleteModule" | "PinModule" | "UnpinModule"
            | "UpdateRollout" | "StreamLogs" | "ListOffers" => Role::Publisher,
            _ => Role::Admin,
        },
    }
}

impl Visit {
    /// # Errors
    /// What keeps whoever asks from the method.
    pub(crate) fn begin(
        entered: Result<Caller, Fault>,
        auth: &Arc<Auth>,
        service: HostService,
        method: &str,
    ) -> Result<Self, Fault> {
        let needs = needs(service, method);
        let permit = entered.and_then(|caller| {
            caller.authorize(needs)?;
            Ok(OwnPermit { caller, needs, auth: Arc::clone(auth) })
        });
        match permit {
            Err(fault @ Fault::BadInput(_)) => Err(fault),
            Err(fault) if service != HostService::Health => Err(fault),
            permit => Ok(Self(permit)),
        }
    }
}

/// The permit beside a request.
pub(crate) fn permit<T>(request: &Request<T>) -> Result<OwnPermit, Status> {
    match request.extensions().get::<Visit>() {
        Some(Visit(Ok(permit))) => Ok(permit.clone()),
        Some(Visit(Err(fault))) => Err(from_fault(fault, true)),
        None => Err(Status::internal("a request that nobody let in")),
    }
}

impl OwnPermit {
    pub(crate) fn namespace(&self) -> &Namespace {
        self.caller.namespace()
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether it holds for the host as a whole.
    ///
    /// # Errors
    /// [`Fault::NotGranted`] for all but who may do everything everywhere.
    pub(crate) fn for_host(&self) -> Result<(), Fault> {
        self.caller.authorize_everywhere(Role::Admin)
    }

    /// Whether it holds for what runs outside of the sandbox.
    ///
    /// # Errors
    /// [`Fault::NotGranted`] for all but who may do everything in the namespace.
    pub(crate) fn for_native(&self) -> Result<(), Fault> {
        self.caller.authorize(Role::Admin)
    }

    /// Until the permit holds no more, because the policy changed or the credentials expired. May
    /// be forever.
    async fn withdrawn(&self) -> Fault {
        let mut changes = self.auth.changes();
        loop {
            changes.mark_unchanged();
            let renewed = self.caller.renewed(&self.auth);
            let may = renewed.and_then(|caller| caller.authorize(self.needs));
            if let Err(fault) = may {
                return fault;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = expiry(self.caller.identity().until()) => {}
            }
        }
    }
}

/// Until that second of Unix time.
async fn expiry(until: Option<u64>) {
    let Some(until) = until else { return std::future::pending().await };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(until).saturating_sub(now);
    tokio::time::sleep(left.max(Duration::from_millis(1))).await;
}

/// Answers for as long as the permit holds, then the reason why it does no more.
pub(crate) fn while_granted<T: Send>(
    permit: OwnPermit,
    answers: impl Stream<Item = Result<T, Status>> + Send,
) -> impl Stream<Item = Result<T, Status>> + Send {
    async_stream::stream! {
        let withdrawn = permit.withdrawn();
        tokio::pin!(withdrawn, answers);
        loop {
            let next = tokio::select! {
                biased;
                fault = &mut withdrawn => Err(fault),
                next = answers.next() => Ok(next),
            };
            match next {
                Ok(Some(answer)) => yield answer,
                Ok(None) => return,
                Err(fault) => {
                    yield Err(from_fault(&fault, true));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{SERVICES, pool};

    #[test]
    fn every_method_of_the_host_has_a_role_of_its_own() {
        let pool = pool();
        let modules = pool.get_service_by_name(SERVICES[0]).unwrap();
        for method in modules.methods() {
            let needs = needs(HostService::Modules, method.name());
            assert_ne!(needs, Role::Admin, "{} is in no row of the table", method.name());
        }
        assert_eq!(needs(HostService::Modules, "DropEverything"), Role::Admin);
    }
}
