//! The connection of the client verbs to a host, and how a host's refusal becomes a readable error.

use std::{error::Error as _, fmt, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use roadstead_proto::v1::module_service_client::ModuleServiceClient;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt as _;

use crate::cli::Connection;

/// A channel that says with every call who asks, and where.
pub(crate) type HostChannel = InterceptedService<Channel, As>;

/// Adds the metadata `roadstead-namespace` and `authorization`.
#[derive(Clone)]
pub(crate) struct As {
    namespace: Option<MetadataValue<Ascii>>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl As {
    fn new(to: &Connection) -> anyhow::Result<Self> {
        let namespace = to.namespace.as_ref().map(|namespace| namespace.as_str().parse());
        let token = match (&to.token_file, &to.token) {
            (Some(path), _) => Some(text(path)?),
            (None, token) => token.clone(),
        };
        let authorization = token.map(|token| {
            let mut value: MetadataValue<Ascii> =
                format!("Bearer {}", token.trim()).parse().ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Self {
            namespace: namespace.transpose().context("write the namespace")?,
            authorization: match authorization {
                // Its text stays out of the error.
                Some(None) => bail!("the token holds what no header can: is it the right one?"),
                authorization => authorization.flatten(),
            },
        })
    }
}

impl Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let said =
            [("roadstead-namespace", &self.namespace), ("authorization", &self.authorization)];
        for (name, value) in said {
            if let Some(value) = value {
                request.metadata_mut().insert(name, value.clone());
            }
        }
        Ok(request)
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// The certificate to show, where there is one.
fn certificate(to: &Connection) -> anyhow::Result<Option<Identity>> {
    match (&to.cert, &to.key) {
        (Some(cert), Some(key)) => Ok(Some(Identity::from_pem(text(cert)?, text(key)?))),
        (None, None) => Ok(None),
        _ => bail!("a certificate needs both --cert and --key"),
    }
}

/// Connects to the host that the flags or `ROADSTEAD_HOST` name.
///
/// # Errors
/// Says the address and what to do if nothing answers there.
pub(crate) async fn connect(to: &Connection) -> anyhow::Result<HostChannel> {
    let mut endpoint = Endpoint::from_shared(to.host.clone())
        .with_context(|| format!("`{}` is not a URL like http://127.0.0.1:7411", to.host))?
        .connect_timeout(Duration::from_secs(5));
    let shown = certificate(to)?;
    if shown.is_some() && !to.host.starts_with("https:") {
        bail!("certificates are shown over https alone, and --host says {}", to.host);
    }
    if to.host.starts_with("https:") {
        let mut tls = ClientTlsConfig::new();
        tls = match &to.ca {
            Some(path) => {
                let pem = std::fs::read(path)
                    .with_context(|| format!("read the certificates in {}", path.display()))?;
                tls.ca_certificate(Certificate::from_pem(pem))
            }
            None => tls.with_native_roots(),
        };
        if let Some(identity) = shown {
            tls = tls.identity(identity);
        }
        endpoint = endpoint.tls_config(tls).context("set up TLS")?;
    }
    let channel = endpoint.connect().await.with_context(|| {
        format!(
            "no host answers at {}: start one with `roadstead serve`, or name another with --host",
            to.host
        )
    })?;
    Ok(InterceptedService::new(channel, As::new(to)?))
}

/// The module service of that host.
pub(crate) async fn modules(to: &Connection) -> anyhow::Result<ModuleServiceClient<HostChannel>> {
    Ok(ModuleServiceClient::new(connect(to).await?).max_decoding_message_size(64 << 20))
}

/// What a host answered instead of a value.
#[derive(Debug)]
pub(crate) struct Refusal(Status);

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self(lost(&status).unwrap_or(status))
    }
}

/// What came of no host: a status that the connection's failure was made into.
fn lost(status: &Status) -> Option<Status> {
    let mut cause = status.source()?;
    let is_told = !matches!(
        status.code(),
        Code::Unknown | Code::Internal | Code::Unavailable | Code::Cancelled
    );
    if is_told {
        return None;
    }
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(Status::unavailable(format!(
        "the connection ended before the answer did ({cause}): whether the host did what was asked is \
         not known; see that it runs, and ask again"
    )))
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(f, "{} ({}, {reason})", self.0.message(), name(self.0.code())),
            None => write!(f, "{} ({})", self.0.message(), name(self.0.code())),
        }?;
        if self.reason().as_deref() == Some("BREAKING_CHANGE") {
            f.write_str(
                "\n  give the interface a new version, or publish it nevertheless with --force",
            )?;
        }
        if self.0.code() == Code::Unauthenticated {
            f.write_str(
                "\n  say who you are with --token-file, --token or ROADSTEAD_TOKEN, or show a \
                 certificate with --cert and --key",
            )?;
        }
        if let Some(bad) = self.0.get_details_bad_request() {
            for violation in bad.field_violations {
                let field = if violation.field.is_empty() { "message" } else { &violation.field };
                write!(f, "\n  {field}: {}", violation.description)?;
            }
        }
        if let Some(debug) = self.0.get_details_debug_info() {
            for frame in debug.stack_entries {
                write!(f, "\n    {frame}")?;
            }
        }
        if let Some(retry) = self.0.get_details_retry_info().and_then(|info| info.retry_delay) {
            write!(f, "\n  try again in {} ms", retry.as_millis())?;
        }
        Ok(())
    }
}

impl Refusal {
    fn reason(&self) -> Option<String> {
        self.0.get_details_error_info().map(|info| info.reason).filter(|reason| !reason.is_empty())
    }

    /// The machine-readable form.
    pub(crate) fn json(&self) -> serde_json::Value {
        let info = self.0.get_details_error_info();
        serde_json::json!({
            "code": name(self.0.code()),
            "reason": info.as_ref().map(|info| &info.reason),
            "metadata": info.as_ref().map(|info| &info.metadata),
            "message": self.0.message(),
            "fields": self.0.get_details_bad_request().map(|bad| {
                bad.field_violations
                    .into_iter()
                    .map(|v| serde_json::json!({"field": v.field, "description": v.description}))
                    .collect::<Vec<_>>()
            }),
        })
    }
}

/// The canonical name of a status code (grpc.io, "Status codes").
pub(crate) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
