//! Sessions: opened before they are called, each by a caller of its own, and closed after that.

use bytes::Bytes;
use prost::Message;

use crate::{
    items,
    load::{Caller, reason},
    subject::Server,
    wire::session as m,
    work::Exchange,
};

/// Bytes there and back, as in the small call.
const BYTES: u32 = 16;

/// Open sessions.
pub(crate) struct Sessions {
    handles: Vec<m::EchoHandle>,
}

/// Opens so many; the server's reason where it refuses.
pub(crate) async fn open(
    server: &Server,
    count: usize,
) -> anyhow::Result<Result<Sessions, String>> {
    let create = exchange("Create", &m::SessionEchoCreateRequest {}, Bytes::new())?;
    let mut caller = Caller::new(server.at.connect().await?);
    let mut handles = Vec::new();
    for _ in 0..count {
        match caller.send(&create, server.module(0)).await {
            Ok(answer) => handles.extend(m::SessionEchoCreateResponse::decode(answer)?.value),
            Err(status) => return Ok(Err(reason(&status))),
        }
    }
    Ok(Ok(Sessions { handles }))
}

impl Sessions {
    /// The small call on each.
    pub(crate) fn exchanges(&self) -> anyhow::Result<Vec<Exchange>> {
        let value: Bytes = items::bytes(BYTES).into();
        let answer: Bytes =
            m::SessionEchoBytesResponse { value: value.clone() }.encode_to_vec().into();
        let of = |handle: &m::EchoHandle| {
            let items = value.clone();
            let request = m::SessionEchoBytesRequest { self_: Some(handle.clone()), items };
            exchange("Bytes", &request, answer.clone())
        };
        self.handles.iter().map(of).collect()
    }

    pub(crate) async fn close(self, server: &Server) -> anyhow::Result<()> {
        let mut caller = Caller::new(server.at.connect().await?);
        for handle in self.handles {
            let request = m::SessionEchoDropRequest { self_: Some(handle) };
            caller.send(&exchange("Drop", &request, Bytes::new())?, server.module(0)).await?;
        }
        Ok(())
    }
}

fn exchange(rpc: &str, request: &impl Message, answer: Bytes) -> anyhow::Result<Exchange> {
    let path = format!("/bench.session.session.v0_1.SessionEcho/{rpc}").parse()?;
    Ok(Exchange { path, request: request.encode_to_vec().into(), answer })
}
