//! `wasi:sockets/ip-name-lookup` of our own: listed names only, and only where they may lead.

use std::{net::IpAddr, pin::Pin, task::Context, vec};

use wasmtime::{
    StoreContextMut,
    component::{Accessor, Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    p2::{
        Network as NetworkHandle, Pollable,
        bindings::sockets::network::{ErrorCode as ErrorP2, IpAddress as AddressP2},
        subscribe,
    },
    p3::bindings::sockets::{ip_name_lookup::ErrorCode as ErrorP3, types::IpAddress as AddressP3},
    runtime::{AbortOnDropJoinHandle, spawn},
};

use super::{
    Network,
    resolve::{ResolveError, resolve},
};
use crate::capability::HasCapabilities;

/// Why a lookup failed, for either version.
#[derive(Debug, Clone, Copy)]
enum LookupError {
    Denied,
    TooMany,
    Resolve(ResolveError),
}

/// A lookup under way, or what is left of its answer.
enum Lookup {
    Running(AbortOnDropJoinHandle<Answer>),
    Done(Result<vec::IntoIter<IpAddr>, LookupError>),
}

type Answer = Result<Vec<IpAddr>, LookupError>;

impl Network {
    /// Starts looking a name up.
    fn look_up(
        &self,
        name: &str,
    ) -> Result<impl Future<Output = Answer> + Send + use<>, LookupError> {
        let name = name.to_ascii_lowercase();
        let literal = name.parse::<IpAddr>().ok();
        let ports: Vec<u16> = self.policy.ports_of(&name).collect();
        if literal.is_none() && ports.is_empty() {
            return Err(LookupError::Denied);
        }
        if literal.is_none() && !self.may_look_up() {
            return Err(LookupError::TooMany);
        }
        let place = self.admit().ok_or(LookupError::TooMany)?;
        let (policy, yielded) = (self.policy.clone(), self.yielded.clone());
        Ok(async move {
            if let Some(address) = literal {
                return Ok(vec![address]);
            }
            let found = resolve(policy, name, ports, place).await.map_err(LookupError::Resolve)?;
            Self::learn(&yielded, &found);
            let mut addresses: Vec<IpAddr> = found.iter().map(|to| to.ip()).collect();
            addresses.dedup();
            Ok(addresses)
        })
    }
}

impl Lookup {
    fn settle(&mut self, answer: Answer) {
        *self = Self::Done(answer.map(Vec::into_iter));
    }

    fn next(&mut self) -> Result<Option<AddressP2>, ErrorP2> {
        if let Self::Running(task) = self {
            let polled = Pin::new(task).poll(&mut Context::from_waker(std::task::Waker::noop()));
            match polled {
                std::task::Poll::Pending => return Err(ErrorP2::WouldBlock),
                std::task::Poll::Ready(answer) => self.settle(answer),
            }
        }
        match self {
            Self::Done(Ok(found)) => Ok(found.next().map(AddressP2::from)),
            Self::Done(Err(error)) => Err((*error).into()),
            Self::Running(_) => Err(ErrorP2::WouldBlock),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Self::Running(task) = self {
            let answer = task.await;
            self.settle(answer);
        }
    }
}

impl From<LookupError> for ErrorP2 {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Denied => Self::AccessDenied,
            LookupError::TooMany => Self::TemporaryResolverFailure,
            LookupError::Resolve(ResolveError::Unknown) => Self::NameUnresolvable,
            LookupError::Resolve(ResolveError::Prohibited) => Self::AccessDenied,
        }
    }
}

impl From<LookupError> for ErrorP3 {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Denied => Self::AccessDenied,
            LookupError::TooMany => Self::TemporaryResolverFailure,
            LookupError::Resolve(ResolveError::Unknown) => Self::NameUnresolvable,
            LookupError::Resolve(ResolveError::Prohibited) => Self::AccessDenied,
        }
    }
}

/// Links the interface in both versions.
pub(crate) fn link_lookup<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut p2 = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    p2.resource("resolve-address-stream", ResourceType::host::<Lookup>(), |mut store, rep| {
        let table = &mut store.data_mut().capabilities().table;
        table.delete(Resource::<Lookup>::new_own(rep))?;
        Ok(())
    })?;
    p2.func_wrap("resolve-addresses", resolve_addresses)?;
    p2.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, T>, (lookup,): (Resource<Lookup>,)| {
            Ok((store.data_mut().capabilities().table.get_mut(&lookup)?.next(),))
        },
    )?;
    p2.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, T>, (lookup,): (Resource<Lookup>,)| {
            Ok((subscribe(&mut store.data_mut().capabilities().table, lookup)?,))
        },
    )?;
    let mut p3 = linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?;
    p3.func_wrap_concurrent("resolve-addresses", |store: &Accessor<T>, (name,): (String,)| {
        Box::pin(async move {
            let started = store.with(|mut store| store.get().capabilities().network.look_up(&name));
            let answer = match started {
                Ok(lookup) => lookup.await,
                Err(error) => Err(error),
            };
            let found: Result<Vec<AddressP3>, ErrorP3> = answer
                .map(|found| found.into_iter().map(AddressP3::from).collect())
                .map_err(ErrorP3::from);
            Ok((found,))
        })
    })
}

fn resolve_addresses<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (network, name): (Resource<NetworkHandle>, String),
) -> wasmtime::Result<(Result<Resource<Lookup>, ErrorP2>,)> {
    let guest = store.data_mut().capabilities();
    // The handle must be one; what it may do is in the spec, not in it.
    guest.table.get(&network)?;
    match guest.network.look_up(&name) {
        Ok(lookup) => Ok((Ok(guest.table.push(Lookup::Running(spawn(lookup)))?),)),
        Err(error) => Ok((Err(error.into()),)),
    }
}
