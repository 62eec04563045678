//! The table of roles: each row over gRPC and JSON, in the caller's namespace and in another's.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Guarded, named};
use crate::guest::{self, SERVICE};

/// How much one may do.
const ROLES: [&str; 4] = ["reader", "caller", "publisher", "admin"];

struct Operation {
    path: &'static str,
    message: Vec<u8>,
    /// None for methods that stream.
    json: Option<Value>,
    /// The first of [`ROLES`] that may.
    from: usize,
}

fn operations() -> Vec<Operation> {
    const MODULES: &str = "roadstead.v1.ModuleService";
    let row = |path: String, message: &[u8], json: Option<Value>, from| Operation {
        path: path.leak(),
        message: message.to_vec(),
        json,
        from,
    };
    let own = |method: &str, message: &[u8], json: Option<Value>, from| {
        row(format!("/{MODULES}/{method}"), message, json, from)
    };
    let guest = named("guest");
    let pinned = [guest.clone(), vec![0x12, 5], b"0.1.0".to_vec()].concat();
    let list_services = [0x3a, 0];
    vec![
        own("ListModules", b"", Some(json!({})), 0),
        own("GetModule", &guest, Some(json!({"name": "guest"})), 0),
        own("GetModuleProtos", &guest, Some(json!({"name": "guest"})), 0),
        own("ListUsage", b"", Some(json!({})), 0),
        own("ListHosts", b"", Some(json!({})), 0),
        own("WatchModules", b"", None, 0),
        row(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".into(),
            &list_services,
            None,
            0,
        ),
        row(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".into(),
            &list_services,
            None,
            0,
        ),
        row(
            "/grpc.health.v1.Health/Check".into(),
            &named(SERVICE),
            Some(json!({"service": SERVICE})),
            0,
        ),
        row("/grpc.health.v1.Health/Watch".into(), &named(SERVICE), None, 0),
        row(guest::path("Add"), &[0x08, 2, 0x10, 3], Some(json!({"a": 2, "b": 3})), 1),
        own("GetRollout", &guest, Some(json!({"name": "guest"})), 0),
        own(
            "UpdateRollout",
            &[guest.clone(), vec![0x10, 3]].concat(),
            Some(json!({"name": "guest", "action": "ROLLOUT_ACTION_PAUSE"})),
            2,
        ),
        own("PinModule", &pinned, Some(json!({"name": "guest", "version": "0.1.0"})), 2),
        own("UnpinModule", &guest, Some(json!({"name": "guest"})), 2),
        own("DeleteModule", &named("absent"), Some(json!({"name": "absent"})), 2),
        own("ListOffers", b"", Some(json!({})), 2),
        own("StreamLogs", &guest, None, 2),
        own("PushModule", b"", None, 2),
        own("CheckModule", b"", None, 2),
    ]
}

/// Code and reason, without waiting for streams that go on.
async fn grpc(host: &Guarded, who: &str, namespace: &str, operation: &Operation) -> (i32, String) {
    let body = vec![crate::raw::framed(&operation.message)];
    let response = host.open(who, namespace, operation.path, body).await;
    let (parts, mut body) = response.into_parts();
    if parts.headers.contains_key("grpc-status") {
        let (code, reason, _) = super::said(&parts.headers, &http::HeaderMap::new());
        return (code, reason);
    }
    let Some(frame) = body.frame().await else { return (0, String::new()) };
    match frame.unwrap().into_trailers() {
        Ok(trailers) => {
            let (code, reason, _) = super::said(&http::HeaderMap::new(), &trailers);
            (code, reason)
        }
        Err(_) => (0, String::new()),
    }
}

async fn json(
    host: &Guarded,
    who: &str,
    namespace: &str,
    path: &str,
    body: &Value,
) -> (StatusCode, http::HeaderMap, Value) {
    let tcp = TcpStream::connect(host.host.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("roadstead-namespace", namespace);
    if !who.is_empty() {
        request = request.header("authorization", format!("Bearer {}", host.token(who)));
    }
    let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    let (parts, body) = client.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

fn reason(error: &Value) -> String {
    let details = error["details"].as_array().cloned().unwrap_or_default();
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo");
    info.and_then(|info| info["debug"]["reason"].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_role_may_do_what_the_table_says_and_no_more() {
    let host = Guarded::start().await;
    for namespace in ["team-a", "team-b"] {
        host.publish(namespace, "guest", &guest::component()).await;
    }
    for operation in operations() {
        for (rank, who) in ROLES.into_iter().enumerate() {
            for (namespace, own) in [("team-a", true), ("team-b", false), ("nowhere", false)] {
                let may = own && operation.from <= rank;
                let what = format!("{who}: {} in {namespace}", operation.path);
                let (code, reason) = grpc(&host, who, namespace, &operation).await;
                let refused = code == 7 && reason == "NOT_GRANTED";
                assert_eq!(!refused, may, "{what}: {code} {reason}");
                assert_ne!(code, 16, "{what}");
                let Some(body) = &operation.json else { continue };
                let (status, _, answer) = json(&host, who, namespace, operation.path, body).await;
                assert_eq!(status != StatusCode::FORBIDDEN, may, "{what}: {status} {answer}");
                assert_eq!(answer["code"] != "permission_denied", may, "{what}: {answer}");
            }
        }
        for (who, expected) in [
            ("", "NO_CREDENTIALS"),
            ("rst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "BAD_CREDENTIALS"),
            ("a.b.c", "BAD_CREDENTIALS"),
        ] {
            let what = format!("{who}: {}", operation.path);
            let found = grpc(&host, who, "team-a", &operation).await;
            assert_eq!(found, (16, expected.to_owned()), "{what}");
            let Some(body) = &operation.json else { continue };
            let (status, headers, answer) = json(&host, who, "team-a", operation.path, body).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}");
            assert_eq!(headers["www-authenticate"], "Bearer realm=\"roadstead\"");
            assert_eq!(reason(&answer), expected, "{what}");
        }
        let (code, reason) = grpc(&host, "stranger", "team-a", &operation).await;
        assert_eq!((code, reason.as_str()), (7, "NOT_GRANTED"), "{}", operation.path);
        let (code, _) = grpc(&host, "root", "team-b", &operation).await;
        assert!(code != 7 && code != 16, "{}", operation.path);
    }
    let counted = host.host.counters.read().refused;
    let of = |label: &str| counted.iter().find(|(name, _)| *name == label).unwrap().1;
    assert!(0 < of("unauthenticated") && 0 < of("not_granted"), "{counted:?}");
    host.host.stop().await;
}

#[tokio::test]
async fn what_concerns_the_whole_host_is_for_admins_of_all_namespaces() {
    let host = Guarded::start().await;
    for namespace in ["team-a", "team-b"] {
        host.publish(namespace, "guest", &guest::component()).await;
    }
    for (method, all) in
        [("ListOffers", [0x08, 1]), ("ListUsage", [0x10, 1]), ("ListHosts", [0x10, 1])]
    {
        let path = format!("/roadstead.v1.ModuleService/{method}");
        for who in ["reader", "publisher", "admin"] {
            let (code, reason, text) = host.ask(who, "team-a", &path, &all).await;
            assert_eq!((code, reason.as_str()), (7, "NOT_GRANTED"), "{who}: {text}");
        }
        assert_eq!(host.ask("root", "team-a", &path, &all).await.0, 0);
    }
    let usage = "/roadstead.v1.ModuleService/ListUsage";
    let all = vec![crate::raw::framed(&[0x10, 1])];
    let (_, told) = host.send("root", "team-a", usage, all).await;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("team-a") && told.contains("team-b"), "{told}");
    host.host.stop().await;
}

#[tokio::test]
async fn the_hosts_own_health_is_for_everybody() {
    let host = Guarded::start().await;
    let check = "/grpc.health.v1.Health/Check";
    for who in ["", "reader", "stranger", "rst_unknown"] {
        assert_eq!(host.ask(who, "", check, b"").await.0, 0, "{who}");
        let watch = host.first(who, "/grpc.health.v1.Health/Watch", b"").await;
        assert!(watch.is_ok(), "{who}");
    }
    // Nothing else is, the host's own services included.
    for service in ["grpc.health.v1.Health", SERVICE, "no.such.Service"] {
        let (code, reason, _) = host.ask("", "team-a", check, &named(service)).await;
        assert_eq!((code, reason.as_str()), (16, "NO_CREDENTIALS"), "{service}");
    }
    host.host.stop().await;
}

#[tokio::test]
async fn credentials_are_one_header_of_bounded_length() {
    let host = Guarded::start().await;
    host.publish("team-a", "guest", &guest::component()).await;
    let list = "/roadstead.v1.ModuleService/ListModules";
    let long = "x".repeat(9 << 10);
    let (code, reason, text) = host.ask(&long, "team-a", list, b"").await;
    assert_eq!((code, reason.as_str()), (16, "BAD_CREDENTIALS"), "{text}");
    assert!(text.contains("8 KiB"), "{text}");
    let mut client = crate::raw::connect(&host.host).await;
    for (values, good) in [
        (vec![format!("Bearer {}", host.token("reader"))], true),
        (vec![format!("bearer {}", host.token("reader"))], true),
        (vec![format!("Basic {}", host.token("reader"))], false),
        (vec![host.token("reader").to_owned()], false),
        (vec![format!("Bearer {}", host.token("reader")); 2], false),
    ] {
        let mut request =
            crate::raw::request("Add", crate::raw::chunks(vec![crate::raw::framed(b"")]));
        *request.uri_mut() = format!("http://localhost{list}").parse().unwrap();
        request.headers_mut().insert("roadstead-namespace", "team-a".parse().unwrap());
        for value in &values {
            request.headers_mut().append("authorization", value.parse().unwrap());
        }
        let response = client.send_request(request).await.unwrap();
        let (headers, _, trailers) = crate::raw::whole(response).await;
        let (code, _, text) = super::said(&headers, &trailers);
        assert_eq!(code, if good { 0 } else { 16 }, "{values:?}: {text}");
        assert!(!text.contains(host.token("reader")), "{text}");
    }
    host.host.stop().await;
}

#[tokio::test]
async fn an_identity_is_at_home_where_its_grant_says() {
    let host = Guarded::start().await;
    host.publish("team-a", "guest", &guest::component()).await;
    let list = "/roadstead.v1.ModuleService/ListModules";
    let (code, reason, text) = host.ask("reader", "", list, b"").await;
    assert_eq!((code, reason.as_str()), (7, "NOT_GRANTED"), "{text}");
    assert!(text.contains("team-a") && text.contains("roadstead-namespace"), "{text}");
    let policy = std::fs::read_to_string(host.path()).unwrap();
    let at_home = "namespaces = [\"team-a\"]\nhome = 'team-a'";
    host.write(&policy.replacen("namespaces = [\"team-a\"]", at_home, 1)).await;
    let (said, body) = host.send("reader", "", list, vec![crate::raw::framed(b"")]).await;
    assert_eq!(said.0, 0, "{said:?}");
    assert!(String::from_utf8_lossy(&body).contains("guest"));
    host.host.stop().await;
}
