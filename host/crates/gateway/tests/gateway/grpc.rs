//! Typed calls of a module through tonic's client.

use bytes::Bytes;
use roadstead_domain::ByteSize;
use roadstead_gateway::GatewayConfig;
use tonic::{Code, Request, client::Grpc, codec::CompressionEncoding, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    guest::{SERVICE, blob, number, path},
    support::{Host, call, call_with, failure},
};

#[tokio::test]
async fn a_call_is_answered_with_its_trailers() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let answer = call(&channel, "Add", vec![0x08, 2, 0x10, 3]).await.unwrap();
    assert_eq!(answer.get_ref(), &number(5));
    let trailer = |name: &str| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(trailer("roadstead-module"), "guest@0.1.0");
    assert_eq!(trailer("roadstead-instance"), "fresh");
    assert!(trailer("roadstead-fuel-consumed").parse::<u64>().unwrap() > 0);
    assert!(trailer("roadstead-peak-memory-bytes").parse::<u64>().unwrap() >= 64 << 10);
    let id = trailer("roadstead-call");
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let again = call(&channel, "Add", vec![]).await.unwrap();
    assert_ne!(again.metadata().get("roadstead-call").unwrap().to_str().unwrap(), id);
    assert_eq!(host.counters.read().calls, 2);
    host.stop().await;
}

#[tokio::test]
async fn a_failed_call_has_trailers_too() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let status = call(&channel, "Trap", vec![]).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "GUEST_TRAP");
    assert!(!status.get_details_debug_info().unwrap().stack_entries.is_empty());
    assert_eq!(status.metadata().get("roadstead-module").unwrap(), "guest@0.1.0");
    assert!(status.metadata().contains_key("roadstead-call"));
    assert!(status.metadata().contains_key("roadstead-fuel-consumed"));
    host.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let of = |path: String, headers: &'static [(&'static str, &'static str)]| {
        let client = Grpc::new(channel.clone());
        async move {
            let mut request = Request::new(Bytes::new());
            for (name, value) in headers {
                request.metadata_mut().insert(*name, value.parse().unwrap());
            }
            failure(call_with(client, &path, request).await)
        }
    };
    let expect = |code, reason: &str| (code, reason.to_owned());
    for (asked, headers, expected) in [
        ("/no.such/Method".to_owned(), &[][..], expect(Code::Unimplemented, "NO_SUCH_SERVICE")),
        (path("Absent"), &[], expect(Code::Unimplemented, "NO_SUCH_METHOD")),
        ("/nonsense".to_owned(), &[], expect(Code::Unimplemented, "NO_SUCH_SERVICE")),
        (path("Add"), &[("roadstead-module", "other")], expect(Code::NotFound, "NO_SUCH_MODULE")),
        (
            path("Add"),
            &[("roadstead-module", "guest@9.9.9")],
            expect(Code::NotFound, "NO_SUCH_VERSION"),
        ),
        (
            path("Add"),
            &[("roadstead-module", "No Name")],
            expect(Code::InvalidArgument, "BAD_INPUT"),
        ),
        (
            path("Add"),
            &[("roadstead-namespace", "other")],
            expect(Code::Unimplemented, "NO_SUCH_SERVICE"),
        ),
        (
            path("Add"),
            &[("roadstead-namespace", "../x")],
            expect(Code::InvalidArgument, "BAD_INPUT"),
        ),
    ] {
        assert_eq!(of(asked.clone(), headers).await, expected, "{asked} {headers:?}");
    }
    host.stop().await;
}

#[tokio::test]
async fn the_metadata_chooses_among_modules() {
    let host = Host::with_guest().await;
    host.push("twin", "").await;
    let channel = host.channel().await;
    let status = call(&channel, "Add", vec![]).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "AMBIGUOUS_MODULE");
    assert_eq!(info.metadata["candidates"], "guest,twin");
    assert_eq!(info.metadata["service"], SERVICE);
    for wanted in ["twin", "twin@0.1.0"] {
        let mut request = Request::new(Bytes::new());
        request.metadata_mut().insert("roadstead-module", wanted.parse().unwrap());
        let client = Grpc::new(channel.clone());
        let answer = call_with(client, &path("Add"), request).await.unwrap();
        assert_eq!(answer.metadata().get("roadstead-module").unwrap(), "twin@0.1.0");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_message_that_does_not_decode_names_its_field() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let status = call(&channel, "Text", blob(b"\xff")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "text");
    host.stop().await;
}

#[tokio::test]
async fn the_input_limit_is_the_modules() {
    let host = Host::start().await;
    host.push("guest", "limits: {input: 1000, output: 4000}").await;
    let channel = host.channel().await;
    let fits = blob(&[7; 997]);
    assert_eq!(fits.len(), 1000);
    assert_eq!(call(&channel, "Echo", fits.clone()).await.unwrap().get_ref(), &fits);
    let status = call(&channel, "Echo", blob(&[7; 998])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "INPUT_LIMIT");
    assert_eq!(
        (info.metadata["allowed"].as_str(), info.metadata["used"].as_str()),
        ("1000", "1001")
    );
    // Far over it: the answer comes although most of the message never does.
    let huge = call(&channel, "Echo", blob(&vec![7; 64 << 20])).await;
    assert_eq!(failure(huge), (Code::ResourceExhausted, "INPUT_LIMIT".to_owned()));
    assert_eq!(host.stats("guest").calls, 1);
    // The connection is still good.
    assert!(call(&channel, "Add", vec![]).await.is_ok());
    host.stop().await;
}

#[tokio::test]
async fn what_the_host_holds_at_once_is_bounded() {
    let message_budget = ByteSize::mib(5);
    let host = Host::with(GatewayConfig { message_budget, ..GatewayConfig::default() }).await;
    host.push("guest", "limits: {input: 10Mi, output: 10Mi, host_copy: 2Gi}").await;
    let channel = host.channel().await;
    assert!(call(&channel, "Echo", blob(&[1; 1000])).await.is_ok());
    let refused = call(&channel, "Echo", blob(&vec![1; 6 << 20])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "NEVER_FITS");
    assert!(refused.get_details_retry_info().is_none());
    host.stop().await;
}

fn packing(channel: &Channel) -> Grpc<Channel> {
    Grpc::new(channel.clone())
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip)
}

#[tokio::test]
async fn gzip_goes_both_ways() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    for size in [1, 10, 1000, 100_000] {
        let message = blob(&vec![b'x'; size]);
        let request = Request::new(message.clone().into());
        let answer = call_with(packing(&channel), &path("Echo"), request).await.unwrap();
        assert_eq!(answer.get_ref(), &message);
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), "gzip");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_packed_bomb_meets_the_input_limit() {
    let host = Host::start().await;
    host.push("guest", &format!("limits: {{input: {}}}", ByteSize::mib(1))).await;
    let channel = host.channel().await;
    let bomb = Request::new(blob(&vec![0; 256 << 20]).into());
    let refused = call_with(packing(&channel), &path("Echo"), bomb).await;
    assert_eq!(failure(refused), (Code::ResourceExhausted, "INPUT_LIMIT".to_owned()));
    assert_eq!(host.stats("guest").calls, 0);
    host.stop().await;
}

#[tokio::test]
async fn who_goes_away_cancels() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let spinning = tokio::spawn(async move { call(&channel, "Spin", vec![]).await });
    host.until(|stats| stats.running == 1).await;
    spinning.abort();
    host.until(|stats| stats.running == 0 && stats.faults.get("CANCELLED") == Some(&1)).await;
    host.stop().await;
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let calls = (0..200_u64).map(|n| {
        let channel = channel.clone();
        async move {
            let mut message = number(n);
            message.extend([0x10, 1]);
            (n, call(&channel, "Add", message).await)
        }
    });
    for (n, answer) in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap().get_ref(), &number(n + 1));
    }
    host.stop().await;
}
