//! The native peer: the same function as an ordinary tonic server, in a process of its own.

use std::{convert::Infallible, future::Future, path::Path, pin::Pin, task};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::Service,
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;

use crate::{
    echo::{BytesRequest, BytesResponse, SERVICE},
    host::Child,
    report,
};

/// Serves until the process ends; says where in the same words as a host does.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    report::line(format_args!("listening on {}", listener.local_addr()?));
    let incoming = TcpListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    });
    Server::builder().add_service(Echo).serve_with_incoming(incoming).await?;
    Ok(())
}

/// Starts this program as the native peer.
pub(crate) fn start() -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("find this program")?;
    Child::start(Path::new(&program), &["--serve-native".into()])
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<BytesResponse, BytesRequest>::default();
            Ok(Grpc::new(codec).unary(GiveBack, request).await)
        })
    }
}

struct GiveBack;

impl UnaryService<BytesRequest> for GiveBack {
    type Response = BytesResponse;
    type Future = std::future::Ready<Result<Response<BytesResponse>, Status>>;

    fn call(&mut self, request: Request<BytesRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(BytesResponse { value: request.into_inner().data })))
    }
}
