//! An issuer: its keys, its tokens, and the server that tells of them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle as AbortOnDrop;

/// A key by its name.
pub(crate) struct Signer {
    kid: String,
    key: EcdsaKeyPair,
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        let (of, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(of, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(of, der.as_ref(), &random).unwrap();
        Self { kid: kid.to_owned(), key }
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": x, "y": y})
    }

    pub(crate) fn set(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.kid}).to_string();
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Good ones, for a while.
pub(crate) fn claims(issuer: &str, subject: &str) -> Value {
    json!({"iss": issuer, "sub": subject, "aud": "roadstead", "exp": now() + 3600})
}

/// What a path answers.
#[derive(Clone)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: String,
    /// Only to who shows this.
    pub token: Option<String>,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into(), token: None }
    }
}

/// An HTTPS server on loopback; ended with it.
pub(crate) struct Server {
    pub address: SocketAddr,
    pub ca: String,
    tls: TlsAcceptor,
    state: Arc<State>,
    task: Option<AbortOnDrop<()>>,
}

#[derive(Default)]
struct State {
    answers: Mutex<HashMap<String, Answer>>,
    /// Paths that were asked for, with the token that was shown.
    asked: Mutex<Vec<(String, Option<String>)>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let mut server = Self {
            address: ([127, 0, 0, 1], 0).into(),
            ca: certificate.pem(),
            tls: TlsAcceptor::from(Arc::new(config)),
            state: Arc::default(),
            task: None,
        };
        server.resume().await;
        server
    }

    /// Goes away: nobody answers at its address.
    pub(crate) fn pause(&mut self) {
        self.task = None;
    }

    pub(crate) async fn resume(&mut self) {
        let listener = loop {
            // What was let go a moment ago may still be taken.
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.address = listener.local_addr().unwrap();
        let (tls, state) = (self.tls.clone(), Arc::clone(&self.state));
        self.task = Some(AbortOnDrop::new(tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    let Ok(mut stream) = tls.accept(tcp).await else { return };
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        request.push(byte);
                    }
                    let answer = state.answer(&String::from_utf8(request).unwrap());
                    stream.write_all(answer.as_bytes()).await.ok();
                    stream.shutdown().await.ok();
                });
            }
        })));
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub(crate) fn put(&self, path: &str, answer: Answer) {
        self.state.answers.lock().insert(path.to_owned(), answer);
    }

    pub(crate) fn asked(&self, path: &str) -> Vec<Option<String>> {
        let asked = self.state.asked.lock();
        asked.iter().filter(|(of, _)| of == path).map(|(_, token)| token.clone()).collect()
    }
}

impl State {
    fn answer(&self, request: &str) -> String {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let lines = || request.lines().filter_map(|line| line.split_once(": "));
        let token = lines()
            .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value.trim_start_matches("Bearer ").to_owned());
        self.asked.lock().push((path.clone(), token.clone()));
        let found = self.answers.lock().get(&path).cloned();
        let missing = Answer { status: 404, body: String::new(), token: None };
        let mut answer = found.unwrap_or(missing);
        if answer.token.is_some() && answer.token != token {
            answer = Answer { status: 401, body: String::new(), token: None };
        }
        let Answer { status, body, .. } = answer;
        let location = if status == 302 { "location: /keys\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status} x\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}
