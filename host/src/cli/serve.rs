//! Flags of `roadstead serve`. Each is optional here: the file and the defaults stand behind it.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use roadstead_domain::{ByteSize, NetworkOffer, Span};

#[derive(Args, Default)]
pub(crate) struct ServeArgs {
    /// Address and port; port 0 takes a free one [default: 127.0.0.1:7411]
    #[arg(long, value_name = "ADDR", env = "ROADSTEAD_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Where modules and the catalog are kept [default: ~/.local/share/roadstead]
    #[arg(long, value_name = "DIR", env = "ROADSTEAD_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// TOML file with these settings and more, as host/README.md lists them; flags go before it
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Offer a directory to modules that ask for it: NAME=PATH, or NAME=PATH:rw
    #[arg(long = "dir", value_name = "NAME=PATH[:rw]")]
    pub directories: Vec<String>,
    /// Offer a target in the network to modules that ask for it: HOST:PORT, *.DOMAIN:PORT, *:PORT
    /// for every public host, or an address or block of addresses; repeat it
    #[arg(long, value_name = "HOST:PORT")]
    pub offer_network: Vec<NetworkOffer>,
    /// PEM certificate chain: serve TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let pages of this origin call from a browser; repeat it, or `*` for all
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    /// Name by which proxies or other machines call a host that listens on loopback; repeat it
    #[arg(long, value_name = "NAME")]
    pub allowed_host: Vec<String>,
    /// Policy file that says who may do what; without it, whoever can connect may do everything
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_AUTH")]
    pub auth: Option<PathBuf>,
    /// Serve beyond loopback although nobody is asked who they are
    #[arg(long)]
    pub insecure_no_auth: bool,
    /// Largest component that a push may upload [default: 64Mi]
    #[arg(long, value_name = "SIZE")]
    pub max_upload: Option<ByteSize>,
    /// Compiled code kept mapped; more is evicted by use [default: an eighth of the machine's
    /// memory, at most 1Gi]
    #[arg(long, value_name = "SIZE")]
    pub code_budget: Option<ByteSize>,
    /// Memory of all instances together [default: 60 % of the machine's]
    #[arg(long, value_name = "SIZE")]
    pub memory_budget: Option<ByteSize>,
    /// Threads that run guests [default: one a core]
    #[arg(long, value_name = "N")]
    pub guest_threads: Option<usize>,
    /// Address of metrics (`/metrics`) and probes (`/healthz`, `/readyz`), as 127.0.0.1:7412
    /// [default: none]
    #[arg(long, value_name = "ADDR", env = "ROADSTEAD_METRICS")]
    pub metrics: Option<SocketAddr>,
    /// Run native modules too: servers outside of the sandbox, which only admins may push
    #[arg(long)]
    pub native: bool,
    /// How long running calls may take to finish on SIGTERM [default: 30s]
    #[arg(long, value_name = "SPAN")]
    pub drain_timeout: Option<Span>,
}
