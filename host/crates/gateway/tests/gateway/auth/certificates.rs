//! Clients that show certificates.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roadstead_auth::Auth;
use roadstead_gateway::{GatewayConfig, Tls};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::support::{Host, call_with, failure};

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key.
    fn sign(&self, name: &str, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

async fn list(
    host: &Host,
    server: &Authority,
    shown: Option<(String, String)>,
) -> Result<(), Status> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(server.pem()))
        .domain_name("localhost");
    if let Some((certificate, key)) = shown {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let uri = format!("https://{}", host.address);
    let channel = Channel::from_shared(uri).unwrap().tls_config(tls).unwrap().connect_lazy();
    ask(&channel).await
}

async fn ask(channel: &Channel) -> Result<(), Status> {
    let mut request = Request::new(bytes::Bytes::new());
    request.metadata_mut().insert("roadstead-namespace", "team-a".parse().unwrap());
    let path = "/roadstead.v1.ModuleService/ListModules";
    call_with(Grpc::new(channel.clone()), path, request).await.map(drop)
}

#[tokio::test]
async fn a_certificate_says_who_asks() {
    let (server, clients, others) =
        (Authority::new("server"), Authority::new("clients"), Authority::new("others"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    let authorities = directory.path().join("clients.pem");
    std::fs::write(&authorities, clients.pem()).unwrap();
    let policy = "[mtls]\nclient_ca = 'clients.pem'\n[[grant]]\nwho = 'cert:alice'\n\
                  role = 'reader'\nnamespaces = ['team-a']\n";
    std::fs::write(&path, policy).unwrap();
    assert!(Auth::open(&path, false).await.unwrap_err().to_string().contains("tls_cert"));
    let auth = Auth::open(&path, true).await.unwrap();
    let (certificate, key) = server.sign("host", false);
    let tls = Tls { certificates: certificate.into(), key: key.into() };
    let config = GatewayConfig { tls: Some(tls), auth: Arc::clone(&auth), ..Default::default() };
    let host = Host::with(config).await;

    list(&host, &server, Some(clients.sign("alice", false))).await.unwrap();
    let bob = failure(list(&host, &server, Some(clients.sign("bob", false))).await);
    assert_eq!(bob, (Code::PermissionDenied, "NOT_GRANTED".to_owned()));
    let nobody = failure(list(&host, &server, None).await);
    assert_eq!(nobody, (Code::Unauthenticated, "NO_CREDENTIALS".to_owned()));
    // These do not get through TLS.
    for shown in [others.sign("alice", false), clients.sign("alice", true)] {
        let (code, reason) = failure(list(&host, &server, Some(shown)).await);
        assert!(code != Code::Ok && reason.is_empty(), "{code:?} {reason}");
    }

    // A connection from before the authorities changed is worth nothing.
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(server.pem()))
        .domain_name("localhost");
    let (certificate, key) = clients.sign("alice", false);
    let tls = tls.identity(Identity::from_pem(certificate, key));
    let uri = format!("https://{}", host.address);
    let channel =
        Channel::from_shared(uri).unwrap().tls_config(tls).unwrap().connect().await.unwrap();
    ask(&channel).await.unwrap();
    std::fs::write(&authorities, others.pem()).unwrap();
    auth.reload().await;
    let late = failure(ask(&channel).await);
    assert_eq!(late, (Code::Unauthenticated, "BAD_CREDENTIALS".to_owned()));
    list(&host, &server, Some(others.sign("alice", false))).await.unwrap();
    assert!(list(&host, &server, Some(clients.sign("alice", false))).await.is_err());
    drop(channel);
    host.stop().await;
}
