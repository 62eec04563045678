//! The native peer: the same functions in an ordinary tonic server, in a process of its own; as a
//! native module too, where a host starts it.

use std::path::Path;

use anyhow::Context as _;
use roadstead_proto::v1::{
    GetProgressRequest, GetProgressResponse,
    native_service_server::{NativeService, NativeServiceServer},
};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::{
    StreamExt as _,
    wrappers::{TcpListenerStream, UnixListenerStream},
};
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::Router},
};

use crate::{
    items, kernels,
    process::Child,
    report,
    wire::{
        compute::{self, compute_server::ComputeServer},
        flow::flow_server::FlowServer,
        transfer::{self, transfer_server::TransferServer},
    },
    work::readings,
};

/// What the server says of its services: the files that hosts derive.
const DESCRIPTORS: &[u8] = include_bytes!("../gen/bench.binpb");

/// Serves until the process ends: on the socket that a host names, else on loopback, and then says
/// where in the same words as a host does.
pub(crate) async fn serve() -> anyhow::Result<()> {
    if let Some(socket) = std::env::var_os("ROADSTEAD_SOCKET") {
        let incoming = UnixListenerStream::new(UnixListener::bind(socket)?);
        return Ok(router().await?.serve_with_incoming(incoming).await?);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    report::line(format_args!("listening on {}", listener.local_addr()?));
    let incoming = TcpListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    });
    Ok(router().await?.serve_with_incoming(incoming).await?)
}

/// The measured functions, and what a host asks of a native module.
async fn router() -> anyhow::Result<Router> {
    let transfer = TransferServer::new(Native)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<TransferServer<Native>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()?;
    Ok(Server::builder()
        .add_service(transfer)
        .add_service(ComputeServer::new(Native))
        .add_service(FlowServer::new(Native))
        .add_service(NativeServiceServer::new(Native))
        .add_service(health)
        .add_service(reflection))
}

#[async_trait]
impl NativeService for Native {
    /// No call of it takes long: that it answers is all there is to say.
    async fn get_progress(
        &self,
        _: Request<GetProgressRequest>,
    ) -> Result<Response<GetProgressResponse>, Status> {
        Ok(Response::new(GetProgressResponse::default()))
    }
}

/// Starts this program as the native peer.
pub(crate) fn start() -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("find this program")?;
    Child::start(Path::new(&program), &["--serve-native".into()])
}

pub(super) struct Native;

/// The three ways of one kind of list.
macro_rules! transfers {
    ($($list:ident: $in:ident, $out:ident, $echo:ident,
       $InRequest:ident, $InResponse:ident, $OutRequest:ident, $OutResponse:ident,
       $EchoRequest:ident, $EchoResponse:ident;)*) => {
        #[async_trait]
        impl transfer::transfer_server::Transfer for Native {$(
            async fn $in(
                &self,
                request: Request<transfer::$InRequest>,
            ) -> Result<Response<transfer::$InResponse>, Status> {
                let value = u32::try_from(request.into_inner().items.len()).unwrap_or(u32::MAX);
                Ok(Response::new(transfer::$InResponse { value }))
            }

            async fn $out(
                &self,
                request: Request<transfer::$OutRequest>,
            ) -> Result<Response<transfer::$OutResponse>, Status> {
                let value = $list(request.into_inner().count).into();
                Ok(Response::new(transfer::$OutResponse { value }))
            }

            async fn $echo(
                &self,
                request: Request<transfer::$EchoRequest>,
            ) -> Result<Response<transfer::$EchoResponse>, Status> {
                let value = request.into_inner().items;
                Ok(Response::new(transfer::$EchoResponse { value }))
            }
        )*}
    };
}

use items::{bytes, floats, strings};

transfers! {
    bytes: bytes_in, bytes_out, bytes_echo, BytesInRequest, BytesInResponse, BytesOutRequest,
        BytesOutResponse, BytesEchoRequest, BytesEchoResponse;
    floats: floats_in, floats_out, floats_echo, FloatsInRequest, FloatsInResponse, FloatsOutRequest,
        FloatsOutResponse, FloatsEchoRequest, FloatsEchoResponse;
    strings: strings_in, strings_out, strings_echo, StringsInRequest, StringsInResponse,
        StringsOutRequest, StringsOutResponse, StringsEchoRequest, StringsEchoResponse;
    readings: records_in, records_out, records_echo, RecordsInRequest, RecordsInResponse,
        RecordsOutRequest, RecordsOutResponse, RecordsEchoRequest, RecordsEchoResponse;
}

#[async_trait]
impl compute::compute_server::Compute for Native {
    async fn matrix(
        &self,
        request: Request<compute::MatrixRequest>,
    ) -> Result<Response<compute::MatrixResponse>, Status> {
        let value = kernels::matrix(request.into_inner().size);
        Ok(Response::new(compute::MatrixResponse { value }))
    }

    async fn collatz(
        &self,
        request: Request<compute::CollatzRequest>,
    ) -> Result<Response<compute::CollatzResponse>, Status> {
        let value = kernels::collatz(request.into_inner().limit);
        Ok(Response::new(compute::CollatzResponse { value }))
    }

    async fn sieve(
        &self,
        request: Request<compute::SieveRequest>,
    ) -> Result<Response<compute::SieveResponse>, Status> {
        let value = kernels::sieve(request.into_inner().limit);
        Ok(Response::new(compute::SieveResponse { value }))
    }
}
