//! Modules that are served outside of the sandbox: the same limits, queue, breaker and counters.

mod calls;
mod streams;

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use roadstead_domain::{CallId, Fault};
use roadstead_engine::{
    Call, CodeState, Engine, Left, Module, Outcome, Remote, RemoteCall, RemoteRequests,
    RemoteResponses,
};
use roadstead_transcode::{Locks, MethodPlan, World, derive};

use crate::support::{id, spec};

const WIT: &str = "package test:remote;
world served { export calls; }
interface calls {
    echo: func(text: string) -> string;
    hang: func();
    trap: func();
    large: func();
    relay: async func(values: stream<string>) -> stream<string>;
    pour: async func() -> stream<string>;
    sink: async func(values: stream<string>) -> u64;
    silent: async func() -> stream<string>;
}";

/// Who answers, and what became of the calls.
#[derive(Default)]
struct Server {
    /// Calls that came, and those of them that were dropped before their end.
    came: AtomicU64,
    dropped: AtomicU64,
    calls: Mutex<Vec<RemoteCall>>,
    /// Messages that the caller took or had room for.
    poured: AtomicU64,
}

struct Guest {
    module: Arc<Module>,
    server: Arc<Server>,
    methods: Vec<Arc<MethodPlan>>,
}

/// Counts a call that is dropped before its end.
struct Unfinished<'a>(&'a Server, bool);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(u64::from(!self.1), Ordering::SeqCst);
    }
}

impl Remote for Server {
    fn call(&self, call: RemoteCall, request: Bytes) -> BoxFuture<'_, Result<Bytes, Fault>> {
        self.came.fetch_add(1, Ordering::SeqCst);
        let method = call.method.export.function.clone();
        self.calls.lock().push(call);
        async move {
            let mut unfinished = Unfinished(self, false);
            let answer = match method.as_str() {
                "echo" => ready(Ok(request)).await,
                "large" => Ok(Bytes::from(vec![0; 4096])),
                "trap" => Err(Fault::GuestTrap { message: "no".to_owned(), backtrace: Vec::new() }),
                _ => pending().await,
            };
            unfinished.1 = true;
            answer
        }
        .boxed()
    }

    fn stream<'a>(
        &'a self,
        call: RemoteCall,
        requests: RemoteRequests,
        mut responses: RemoteResponses,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.came.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut unfinished = Unfinished(self, false);
            match (call.method.export.function.as_str(), requests) {
                ("relay", RemoteRequests::Stream(mut requests)) => {
                    while let Ok(Some(message)) = requests.next().await {
                        if responses.send(message).await == Err(Left) {
                            break;
                        }
                    }
                }
                ("sink", RemoteRequests::Stream(mut requests)) => loop {
                    match requests.next().await {
                        Ok(Some(_)) => {}
                        Ok(None) => {
                            break responses.send(Bytes::from_static(b"whole")).await.unwrap();
                        }
                        Err(_) => pending().await,
                    }
                },
                ("pour", RemoteRequests::One(message)) => {
                    while responses.send(message.clone()).await.is_ok() {
                        self.poured.fetch_add(1, Ordering::SeqCst);
                    }
                }
                _ => pending().await,
            }
            unfinished.1 = true;
            Ok(())
        }
        .boxed()
    }

    fn state(&self) -> CodeState {
        CodeState::Missing
    }
}

fn serve(engine: &Arc<Engine>, yaml: &str) -> Guest {
    let world = World::from_wit(&[("calls.wit".to_owned(), WIT.to_owned())], None).unwrap();
    let (id, server) = (id("remote"), Arc::new(Server::default()));
    let derived = derive(&world, &id.name, &id.version, &Locks::default()).unwrap();
    let methods = derived.services.into_iter().flat_map(|service| service.methods).collect();
    let module = engine.remote(id, Arc::new(spec(yaml)), Arc::clone(&server) as _).unwrap();
    Guest { module, server, methods }
}

impl Guest {
    fn request(&self, function: &str, request: impl Into<Bytes>) -> Call {
        let method = self.methods.iter().find(|method| method.export.function == function);
        Call::new(CallId(7), Arc::clone(method.unwrap()), request.into())
    }

    async fn call(&self, function: &str, request: impl Into<Bytes>) -> Outcome {
        self.module.call(self.request(function, request)).await
    }

    fn dropped(&self) -> u64 {
        self.server.dropped.load(Ordering::SeqCst)
    }

    fn came(&self) -> u64 {
        self.server.came.load(Ordering::SeqCst)
    }
}
