//! What a controller is told when it starts.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use roadstead_domain::Namespace;
use roadstead_k8s_api::ENABLED;

/// What a controller is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where hosts open their streams.
    pub listen: SocketAddr,
    /// Where `/metrics` and the probes are.
    pub metrics: SocketAddr,
    pub tls: TlsFiles,
    pub namespaces: Namespaces,
    /// A file that says which native modules may run; none do without.
    pub native: Option<PathBuf>,
    pub lease: LeaseName,
    /// This replica's name: no other one may have it.
    pub identity: String,
    /// Without it, the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    pub times: Times,
}

/// PEM files. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities of the hosts' certificates.
    pub client_ca: PathBuf,
}

/// Which namespaces are looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    Named(Vec<Namespace>),
    /// Those that carry a label, as they come and go.
    Labelled(String),
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::Labelled(format!("{ENABLED}=true"))
    }
}

/// The Lease by which replicas agree on one that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseName {
    pub namespace: String,
    pub name: String,
}

/// A text is not `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not NAMESPACE/NAME")]
pub struct LeaseNameError(String);

impl FromStr for LeaseName {
    type Err = LeaseNameError;

    fn from_str(text: &str) -> Result<Self, LeaseNameError> {
        let wrong = || LeaseNameError(text.to_owned());
        let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
        let namespace: Namespace = namespace.parse().map_err(|_| wrong())?;
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = name.as_bytes();
        let plain = bytes.iter().all(|b| letter(*b) || *b == b'-' || *b == b'.');
        let edges = [bytes.first(), bytes.last()];
        if !plain || 253 < bytes.len() || !edges.iter().all(|b| b.is_some_and(|b| letter(*b))) {
            return Err(wrong());
        }
        Ok(Self { namespace: namespace.to_string(), name: name.to_owned() })
    }
}

/// How long things take. Those of the Lease are what Kubernetes' own controllers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// After which others may take the Lease, in whole seconds.
    pub lease: Duration,
    /// After which a leader that could not renew it acts no more. Less than `lease`.
    pub renew: Duration,
    /// Between attempts.
    pub retry: Duration,
    /// Between a host's reports. One that is missing for three of them is silent.
    pub report: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            report: Duration::from_secs(5),
        }
    }
}

impl Times {
    /// After which a host that says nothing is silent.
    pub fn silence(&self) -> Duration {
        self.report * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_a_namespace_and_a_name() {
        let lease: LeaseName = "roadstead/my.controller-1".parse().unwrap();
        assert_eq!(
            (lease.namespace.as_str(), lease.name.as_str()),
            ("roadstead", "my.controller-1")
        );
        for bad in ["", "a", "/a", "a/", "a/b/c", "A/b", "a/B", "a/-b", "a/b_c"] {
            assert_eq!(bad.parse::<LeaseName>(), Err(LeaseNameError(bad.to_owned())), "{bad}");
        }
    }
}
