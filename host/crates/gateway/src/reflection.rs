//! `grpc.reflection.v1` and `v1alpha`, live: a stream asks the route table of its namespace anew
//! for every message, so a module is seen the moment it is published.

mod index;

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use parking_lot::Mutex;
use roadstead_domain::{Fault, Namespace};
use roadstead_registry::{Edition, Registry, RouteTable};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    builtin::{REQUEST, amended_status},
    offload::answer,
    status::from_fault,
    steps::{permit, while_granted},
};
use index::Index;

/// How long a client may leave a stream idle.
const IDLE: Duration = Duration::from_secs(600);

/// Answers both versions of the protocol.
pub(crate) struct Reflection(Arc<State>);

struct State {
    registry: Arc<Registry>,
    drain: CancellationToken,
    indexes: Mutex<Indexes>,
}

impl Reflection {
    pub(crate) fn new(registry: Arc<Registry>, drain: CancellationToken) -> Self {
        Self(Arc::new(State { registry, drain, indexes: Mutex::default() }))
    }
}

impl State {
    /// What the namespace has now. Who asks first after a change has the index built, and those
    /// who ask meanwhile wait for the same.
    async fn index(&self, namespace: &Namespace) -> Result<Arc<Index>, Status> {
        let (routes, index) = self.current(namespace);
        let namespace = namespace.clone();
        let build = move || {
            let services = routes.services(&namespace);
            Ok(Arc::new(Index::new(&services, &routes.files(&namespace))))
        };
        index.get_or_try_init(|| answer(build)).await.cloned()
    }

    /// The routes, and the place of the index that shows the namespace as they have it.
    fn current(&self, namespace: &Namespace) -> (Arc<RouteTable>, Arc<Building>) {
        let mut indexes = self.indexes.lock();
        let routes = self.registry.routes();
        let edition = routes.edition(namespace);
        let key = (edition.revision != 0).then(|| namespace.clone());
        if let Some((at, index)) = indexes.get(&key)
            && *at == edition
        {
            return (routes, Arc::clone(index));
        }
        let lives = |name: &Namespace| routes.edition(name).revision != 0;
        indexes.retain(|key, _| key.as_ref().is_none_or(lives));
        let index = Arc::<Building>::default();
        indexes.insert(key, (edition, Arc::clone(&index)));
        (routes, index)
    }
}

/// An index, once it is built.
type Building = OnceCell<Arc<Index>>;

/// By namespace, with the edition that each shows. Namespaces without modules share one.
type Indexes = HashMap<Option<Namespace>, (Edition, Arc<Building>)>;

/// What a client may ask, in either version.
enum Question {
    File(String),
    Symbol(String),
    Extension(String),
    Extensions(String),
    Services,
}

/// What it is told.
enum Reply {
    Files(Vec<Vec<u8>>),
    Extensions(String),
    Services(Vec<String>),
    NotFound(String),
}

fn reply(index: &Index, question: Question) -> Reply {
    match question {
        Question::File(name) => match index.file(&name) {
            Some(files) => Reply::Files(files),
            None => Reply::NotFound(format!("no file `{name}` here")),
        },
        Question::Symbol(symbol) => match index.symbol(&symbol) {
            Some(files) => Reply::Files(files),
            None => Reply::NotFound(format!("no service or type `{symbol}` here")),
        },
        Question::Extension(name) => Reply::NotFound(format!("`{name}` has no extensions")),
        Question::Extensions(name) if index.knows(&name) => Reply::Extensions(name),
        Question::Extensions(name) => Reply::NotFound(format!("no message `{name}` here")),
        Question::Services => Reply::Services(index.services().to_vec()),
    }
}

fn amended(status: Status) -> Status {
    amended_status(status, REQUEST as u64)
}

macro_rules! version {
    ($version:ident) => {
        const _: () = {
            use tonic_reflection::pb::$version::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse,
                ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
                ServiceResponse, server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
                server_reflection_server::ServerReflection,
            };

            fn question(request: &ServerReflectionRequest) -> Result<Question, Status> {
                let Some(asked) = request.message_request.clone() else {
                    let fault = Fault::bad_input("message_request", "must ask something");
                    return Err(from_fault(&fault, true));
                };
                Ok(match asked {
                    MessageRequest::FileByFilename(name) => Question::File(name),
                    MessageRequest::FileContainingSymbol(symbol) => Question::Symbol(symbol),
                    MessageRequest::FileContainingExtension(extension) => {
                        Question::Extension(extension.containing_type)
                    }
                    MessageRequest::AllExtensionNumbersOfType(name) => Question::Extensions(name),
                    MessageRequest::ListServices(_) => Question::Services,
                })
            }

            fn response(
                request: ServerReflectionRequest,
                reply: Reply,
            ) -> ServerReflectionResponse {
                let message = match reply {
                    Reply::Files(file_descriptor_proto) => {
                        MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                            file_descriptor_proto,
                        })
                    }
                    Reply::Extensions(base_type_name) => {
                        MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                            base_type_name,
                            extension_number: Vec::new(),
                        })
                    }
                    Reply::Services(names) => {
                        let service =
                            names.into_iter().map(|name| ServiceResponse { name }).collect();
                        MessageResponse::ListServicesResponse(ListServiceResponse { service })
                    }
                    Reply::NotFound(error_message) => {
                        MessageResponse::ErrorResponse(ErrorResponse {
                            error_code: Code::NotFound.into(),
                            error_message,
                        })
                    }
                };
                ServerReflectionResponse {
                    valid_host: request.host.clone(),
                    original_request: Some(request),
                    message_response: Some(message),
                }
            }

            #[tonic::async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream =
                    Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                    let permit = permit(&request)?;
                    let namespace = permit.namespace().clone();
                    let state = Arc::clone(&self.0);
                    let mut questions = request.into_inner();
                    let answers = async_stream::try_stream! {
                        loop {
                            let asked = tokio::select! {
                                asked = questions.message() => asked,
                                () = tokio::time::sleep(IDLE) => Ok(None),
                                () = state.drain.cancelled() => Ok(None),
                            };
                            let Some(asked) = asked.map_err(amended)? else { return };
                            let question = question(&asked)?;
                            let index = state.index(&namespace).await?;
                            let reply = reply(&index, question);
                            yield response(asked, reply);
                        }
                    };
                    Ok(Response::new(Box::pin(while_granted(permit, answers))))
                }
            }
        };
    };
}

version!(v1);
version!(v1alpha);
