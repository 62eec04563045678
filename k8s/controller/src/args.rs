//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use roadstead_controller::{LeaseName, Namespaces, Settings, Times, TlsFiles};
use roadstead_domain::Namespace;

/// Says how calls are shared between the versions of modules in a Kubernetes cluster, rolls new
/// versions out, and writes what became of them. One replica leads; the others wait.
#[derive(Debug, Parser)]
#[command(name = "roadstead-controller", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Address and port on which hosts open their streams, over mutual TLS
    #[arg(long, value_name = "ADDR", env = "ROADSTEAD_LISTEN", default_value = "127.0.0.1:7413")]
    listen: SocketAddr,
    /// Address of metrics (`/metrics`) and probes (`/healthz`, `/readyz`)
    #[arg(long, value_name = "ADDR", env = "ROADSTEAD_METRICS", default_value = "127.0.0.1:7412")]
    metrics: SocketAddr,
    /// PEM certificate chain that hosts are shown
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_TLS_CERT")]
    tls_cert: PathBuf,
    /// PEM private key of it
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_TLS_KEY")]
    tls_key: PathBuf,
    /// PEM certificates of the authorities that sign hosts' certificates, and nobody else's
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_CLIENT_CA")]
    client_ca: PathBuf,
    /// Namespace to look after; repeat it. Without any, --selector says which
    #[arg(long, value_name = "NAME", env = "ROADSTEAD_NAMESPACES", value_delimiter = ',')]
    namespace: Vec<Namespace>,
    /// Label of the namespaces to look after
    #[arg(
        long,
        value_name = "LABELS",
        env = "ROADSTEAD_SELECTOR",
        default_value = "roadstead.dev/enabled=true",
        conflicts_with = "namespace"
    )]
    selector: String,
    /// What operators allow native modules, as JSON; without it their servers do not run
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_NATIVE")]
    native: Option<PathBuf>,
    /// The Lease by which replicas agree on one that leads, as NAMESPACE/NAME
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        env = "ROADSTEAD_LEASE",
        default_value = "default/roadstead-controller"
    )]
    lease: LeaseName,
    /// This replica's own name, which no other has [default: one made up]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// Where the API server is and who asks; without it, the pod's service account
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// How the log is written; ROADSTEAD_LOG says what, as info,roadstead_controller=debug
    #[arg(long, value_name = "FORMAT", env = "ROADSTEAD_LOG_FORMAT", default_value = "text")]
    pub(crate) log: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Args {
    pub(crate) fn settings(self) -> Settings {
        let made_up = || format!("roadstead-controller-{}", uuid::Uuid::new_v4());
        let namespaces = if self.namespace.is_empty() {
            Namespaces::Labelled(self.selector)
        } else {
            Namespaces::Named(self.namespace)
        };
        Settings {
            listen: self.listen,
            metrics: self.metrics,
            tls: TlsFiles {
                certificate: self.tls_cert,
                key: self.tls_key,
                client_ca: self.client_ca,
            },
            namespaces,
            native: self.native,
            lease: self.lease,
            identity: self.identity.filter(|name| !name.is_empty()).unwrap_or_else(made_up),
            kubeconfig: self.kubeconfig,
            times: Times::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [&str; 7] =
        ["c", "--tls-cert", "a.crt", "--tls-key", "a.key", "--client-ca", "ca.crt"];

    fn parse(more: &[&str]) -> Result<Settings, String> {
        let words = LEAST.iter().chain(more);
        Args::try_parse_from(words).map(Args::settings).map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_says_something() {
        let least = parse(&[]).unwrap();
        assert_eq!(least.listen, "127.0.0.1:7413".parse().unwrap());
        assert_eq!(least.metrics, "127.0.0.1:7412".parse().unwrap());
        assert_eq!(least.namespaces, Namespaces::default());
        assert_eq!(least.lease, "default/roadstead-controller".parse().unwrap());
        assert_ne!(least.identity, parse(&[]).unwrap().identity);
        assert_eq!(least.tls.client_ca, PathBuf::from("ca.crt"));
        assert_eq!((least.tls.certificate, least.tls.key), ("a.crt".into(), "a.key".into()));
        let all = parse(&[
            "--listen",
            "0.0.0.0:1",
            "--metrics",
            "0.0.0.0:2",
            "--namespace",
            "a",
            "--namespace",
            "b",
            "--lease",
            "n/l",
            "--identity",
            "me",
            "--kubeconfig",
            "k",
            "--native",
            "rules.json",
            "--log",
            "json",
        ]);
        let all = all.unwrap();
        assert_eq!((all.listen.port(), all.metrics.port()), (1, 2));
        let names = ["a", "b"].map(|name| name.parse().unwrap());
        assert_eq!(all.namespaces, Namespaces::Named(names.into()));
        assert_eq!((all.lease.namespace.as_str(), all.identity.as_str()), ("n", "me"));
        assert_eq!(all.kubeconfig, Some("k".into()));
        assert_eq!((least.native, all.native), (None, Some("rules.json".into())));
        let labelled = parse(&["--selector", "a=b"]).unwrap().namespaces;
        assert_eq!(labelled, Namespaces::Labelled("a=b".to_owned()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (more, part) in [
            (&["--namespace", "A"][..], "--namespace"),
            (&["--namespace", "a", "--selector", "a=b"], "--selector"),
            (&["--lease", "l"], "NAMESPACE/NAME"),
            (&["--log", "xml"], "--log"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let error = Args::try_parse_from(["c"]).unwrap_err().to_string();
        for flag in ["--tls-cert", "--tls-key", "--client-ca"] {
            assert!(error.contains(flag), "{error}");
        }
    }
}
