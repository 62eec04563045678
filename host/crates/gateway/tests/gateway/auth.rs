//! A host that asks who calls: what each role may do, and what nobody learns.

mod certificates;
mod fleet;
mod leaks;
mod reload;
mod table;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use prost::Message as _;
use roadstead_auth::{Auth, Token};
use roadstead_gateway::GatewayConfig;
use roadstead_proto::v1::{PushHeader, PushModuleRequest, push_module_request::Message};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    guest,
    raw::{self, chunks, framed},
    support::Host,
};

/// A host with a policy of static tokens.
struct Guarded {
    host: Host,
    auth: Arc<Auth>,
    directory: tempfile::TempDir,
    tokens: Vec<(String, Token)>,
}

/// What was answered: code, reason, text.
type Said = (i32, String, String);

/// Grants, as `token role namespaces`; more tokens than those in grants have no role.
const GRANTS: [&str; 7] = [
    "reader reader team-a",
    "caller caller team-a",
    "publisher publisher team-a",
    "admin admin team-a",
    "other admin team-b",
    "root admin *",
    "bob caller team-a",
];

impl Guarded {
    async fn start() -> Self {
        Self::with(&GRANTS, GatewayConfig::default()).await
    }

    async fn with(grants: &[&str], config: GatewayConfig) -> Self {
        let mut tokens: Vec<_> =
            GRANTS.iter().map(|grant| (first(grant), Token::random())).collect();
        tokens.push(("stranger".to_owned(), Token::random()));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        std::fs::write(&path, policy(&tokens, grants)).unwrap();
        let auth = Auth::open(&path, config.tls.is_some()).await.unwrap();
        let host = Host::with(GatewayConfig { auth: Arc::clone(&auth), ..config }).await;
        Self { host, auth, directory, tokens }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("policy.toml")
    }

    fn token<'a>(&'a self, name: &'a str) -> &'a str {
        let known = self.tokens.iter().find(|(known, _)| known == name);
        known.map(|(_, token)| token.reveal()).unwrap_or(name)
    }

    /// Puts other grants into force, as SIGHUP does.
    async fn grant(&self, grants: &[&str]) {
        self.write(&policy(&self.tokens, grants)).await;
    }

    async fn write(&self, policy: &str) {
        std::fs::write(self.path(), policy).unwrap();
        self.auth.reload().await;
    }

    /// Publishes a component as the one who may do everything.
    async fn publish(&self, namespace: &str, name: &str, component: &[u8]) {
        let header = PushHeader { name: name.to_owned(), ..PushHeader::default() };
        self.push(namespace, header, component).await;
    }

    async fn push(&self, namespace: &str, header: PushHeader, component: &[u8]) {
        let message =
            |message| framed(&PushModuleRequest { message: Some(message) }.encode_to_vec());
        let header = message(Message::Header(header));
        let chunk = message(Message::Chunk(Bytes::copy_from_slice(component)));
        let path = "/roadstead.v1.ModuleService/PushModule";
        let (said, _) = self.send("root", namespace, path, vec![header, chunk]).await;
        assert_eq!(said.0, 0, "{said:?}");
    }

    /// One gRPC request by the token of that name (none for ""), read to its end.
    async fn ask(&self, who: &str, namespace: &str, path: &str, message: &[u8]) -> Said {
        self.send(who, namespace, path, vec![framed(message)]).await.0
    }

    async fn send(
        &self,
        who: &str,
        namespace: &str,
        path: &str,
        body: Vec<Bytes>,
    ) -> (Said, Bytes) {
        let response = self.open(who, namespace, path, body).await;
        let (headers, body, trailers) = raw::whole(response).await;
        (said(&headers, &trailers), body)
    }

    async fn open(
        &self,
        who: &str,
        namespace: &str,
        path: &str,
        body: Vec<Bytes>,
    ) -> http::Response<hyper::body::Incoming> {
        let mut client = raw::connect(&self.host).await;
        let mut request = raw::request("Add", chunks(body));
        *request.uri_mut() = format!("http://localhost{path}").parse().unwrap();
        let headers = request.headers_mut();
        if !who.is_empty() {
            let token = format!("Bearer {}", self.token(who));
            headers.insert("authorization", token.parse().unwrap());
        }
        if !namespace.is_empty() {
            headers.insert("roadstead-namespace", namespace.parse().unwrap());
        }
        client.send_request(request).await.unwrap()
    }

    /// A stream's answers from now on: whether there was one before its end, and the end.
    async fn first(&self, who: &str, path: &str, message: &[u8]) -> Result<Open, Said> {
        let response = self.open(who, "team-a", path, vec![framed(message)]).await;
        let (parts, mut body) = response.into_parts();
        if parts.headers.contains_key("grpc-status") {
            return Err(said(&parts.headers, &HeaderMap::new()));
        }
        match body.frame().await.unwrap().unwrap().into_trailers() {
            Ok(trailers) => Err(said(&HeaderMap::new(), &trailers)),
            Err(_) => Ok(Open(body)),
        }
    }
}

/// A stream that goes on.
struct Open(hyper::body::Incoming);

impl Open {
    /// What it ends with.
    async fn end(self) -> Said {
        let rest = tokio::time::timeout(crate::support::PATIENCE, self.0.collect()).await;
        let rest = rest.expect("the stream ends").unwrap();
        said(&HeaderMap::new(), &rest.trailers().cloned().unwrap_or_default())
    }
}

fn said(headers: &HeaderMap, trailers: &HeaderMap) -> Said {
    let status = Status::from_header_map(headers).or_else(|| Status::from_header_map(trailers));
    let status = status.unwrap_or_else(|| panic!("{headers:?} {trailers:?}"));
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code() as i32, reason, status.message().to_owned())
}

fn first(words: &str) -> String {
    words.split(' ').next().unwrap().to_owned()
}

fn policy(tokens: &[(String, Token)], grants: &[&str]) -> String {
    let mut text = String::new();
    for (name, token) in tokens {
        text += &format!("[[token]]\nname = '{name}'\nhash = '{}'\n", token.hash());
    }
    for grant in grants {
        let words: Vec<_> = grant.split(' ').collect();
        let [who, role, namespaces @ ..] = &words[..] else { panic!("{grant}") };
        let who = if who.contains(':') || *who == "anonymous" {
            (*who).to_owned()
        } else {
            format!("token:{who}")
        };
        text +=
            &format!("[[grant]]\nwho = '{who}'\nrole = '{role}'\nnamespaces = {namespaces:?}\n");
    }
    text
}

/// A text with one field of protobuf, number 1.
fn named(name: &str) -> Vec<u8> {
    guest::blob(name.as_bytes())
}
