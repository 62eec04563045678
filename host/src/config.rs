//! The settings of `roadstead serve`: flags before the file before the defaults, checked once.

mod blobs;
mod breaker;
mod catalog;
mod compile;
mod controller;
mod http;
mod metrics;
mod namespace;
mod native;
mod offer;
mod pool;
mod traces;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use roadstead_domain::{ByteSize, HostName, Span};
use roadstead_engine::{BreakerConfig, Offers};
use roadstead_gateway::GatewayConfig;
use roadstead_registry::CompileConfig;
use serde::Deserialize;

pub(crate) use self::blobs::SharedBlobs;
use self::namespace::NamespaceBounds;
pub(crate) use self::{
    catalog::CatalogPlace, controller::ControllerSettings, native::NativeSettings,
    pool::PoolSettings, traces::TracesSettings,
};
use crate::{cli::ServeArgs, output::WrongUsage};

/// Memory for all instances below which hardly any module runs.
const LEAST_MEMORY: ByteSize = ByteSize::mib(16);

/// Everything a host needs to start; valid as a whole.
#[derive(Debug)]
pub(crate) struct ServeConfig {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub offers: Offers,
    pub tls: Option<TlsFiles>,
    /// The policy that says who may do what.
    pub auth: Option<PathBuf>,
    pub cors_origins: Vec<String>,
    pub allowed_hosts: Vec<String>,
    pub max_upload: ByteSize,
    pub code_budget: Option<ByteSize>,
    pub memory_budget: Option<ByteSize>,
    pub guest_threads: Option<usize>,
    pub drain_grace: Duration,
    pub session_drain: Duration,
    pub drain_timeout: Duration,
    pub compile: CompileConfig,
    /// What the section `[http]` sets of it.
    pub http: GatewayConfig,
    /// Where metrics are to be had.
    pub metrics: Option<SocketAddr>,
    pub breaker: Option<BreakerConfig>,
    pub namespace: NamespaceBounds,
    pub catalog: CatalogPlace,
    pub pool: PoolSettings,
    /// What hosts share, if they do.
    pub blobs: Option<SharedBlobs>,
    pub controller: Option<ControllerSettings>,
    pub traces: Option<TracesSettings>,
    /// How native modules run here, if they do.
    pub native: Option<NativeSettings>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The file: the same settings as the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    /// Name to path, or to a path with `:rw`.
    dir: BTreeMap<String, String>,
    offers: offer::OffersFile,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    cors_origin: Vec<String>,
    allowed_host: Vec<String>,
    auth: Option<PathBuf>,
    insecure_no_auth: bool,
    max_upload: Option<ByteSize>,
    code_budget: Option<ByteSize>,
    memory_budget: Option<ByteSize>,
    guest_threads: Option<usize>,
    drain_grace: Option<Span>,
    session_drain: Option<Span>,
    drain_timeout: Option<Span>,
    compile: compile::Section,
    http: http::Section,
    metrics: metrics::Section,
    breaker: breaker::Section,
    namespace: namespace::Section,
    catalog: catalog::Section,
    pool: pool::Section,
    blobs: blobs::Section,
    controller: controller::Section,
    traces: traces::Section,
    native: native::Section,
}

/// Merges flags, file and defaults.
///
/// # Errors
/// Says which setting is wrong and what it should be.
pub(crate) fn load(args: ServeArgs) -> Result<ServeConfig, WrongUsage> {
    read(args).map_err(WrongUsage)
}

fn read(args: ServeArgs) -> anyhow::Result<ServeConfig> {
    let file = match &args.config {
        Some(path) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("read the settings file {}", path.display()))?;
            toml::from_str(&text)
                .with_context(|| format!("read the settings file {}", path.display()))?
        }
        None => File::default(),
    };
    merge(args, file)
}

fn merge(args: ServeArgs, file: File) -> anyhow::Result<ServeConfig> {
    let listen = args.listen.or(file.listen).unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 7411).into());
    let anyone = args.insecure_no_auth || file.insecure_no_auth;
    let auth = args.auth.or(file.auth);
    if anyone && auth.is_some() {
        bail!("auth asks callers who they are and insecure_no_auth does not: leave one out");
    }
    if !anyone && auth.is_none() && !listen.ip().is_loopback() {
        bail!(
            "{listen} can be reached from other machines and nobody would be asked who they are: \
             name a policy file with --auth, listen on 127.0.0.1, or add --insecure-no-auth if the \
             network is closed"
        );
    }
    let open = anyone && !listen.ip().is_loopback();
    let native = file.native.read(args.native, open)?;
    let guest_threads = args.guest_threads.or(file.guest_threads);
    if guest_threads == Some(0) {
        bail!("guest_threads must be at least 1");
    }
    let code_budget = args.code_budget.or(file.code_budget);
    let memory_budget = args.memory_budget.or(file.memory_budget);
    let max_upload = args.max_upload.or(file.max_upload).unwrap_or(ByteSize::mib(64));
    at_least("code_budget", code_budget, ByteSize(1))?;
    at_least("memory_budget", memory_budget, LEAST_MEMORY)?;
    at_least("max_upload", Some(max_upload), ByteSize::kib(1))?;
    let tls = match (args.tls_cert.or(file.tls_cert), args.tls_key.or(file.tls_key)) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        _ => bail!("TLS needs both tls_cert and tls_key"),
    };
    let pool = file.pool.read(anyone)?;
    let catalog = file.catalog.read(&pool.name)?;
    let cluster = matches!(catalog, CatalogPlace::Kubernetes(_));
    let blobs = file.blobs.read(pool.key_file.is_some(), cluster)?;
    let controller = file.controller.read(cluster, pool.host != HostName::default())?;
    native::in_cluster(native.is_some(), cluster && controller.is_none())?;
    let offers = offer::offers(file.offers, file.dir, &args.directories, &args.offer_network)?;
    Ok(ServeConfig {
        listen,
        data_dir: match args.data_dir.or(file.data_dir) {
            Some(dir) => dir,
            None => default_data_dir()?,
        },
        offers,
        tls,
        auth,
        cors_origins: if args.cors_origin.is_empty() { file.cors_origin } else { args.cors_origin },
        allowed_hosts: if args.allowed_host.is_empty() {
            file.allowed_host
        } else {
            args.allowed_host
        },
        max_upload,
        code_budget,
        memory_budget,
        guest_threads,
        drain_grace: file.drain_grace.map_or(Duration::ZERO, Span::duration),
        session_drain: file.session_drain.map_or(Duration::ZERO, Span::duration),
        drain_timeout: args
            .drain_timeout
            .or(file.drain_timeout)
            .map_or(Duration::from_secs(30), Span::duration),
        compile: file.compile.read()?,
        http: file.http.read(listen.ip().is_loopback())?,
        metrics: file.metrics.read(args.metrics, anyone)?,
        breaker: file.breaker.read()?,
        namespace: file.namespace.read()?,
        catalog,
        pool,
        blobs,
        controller,
        traces: file.traces.read()?,
        native,
    })
}

fn at_least(name: &str, value: Option<ByteSize>, least: ByteSize) -> anyhow::Result<()> {
    match value {
        Some(value) if value < least => bail!("{name} is {value}: it must be {least} at least"),
        _ => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that looks for the user's home")]
fn default_data_dir() -> anyhow::Result<PathBuf> {
    let from = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty()).map(PathBuf::from);
    from("XDG_DATA_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("roadstead"))
        .context("neither HOME nor XDG_DATA_HOME is set: name a directory with --data-dir")
}

#[cfg(test)]
mod tests {
    use roadstead_catalog_kubernetes::KubernetesSettings;

    use super::*;

    fn args() -> ServeArgs {
        ServeArgs { data_dir: Some("/tmp/x".into()), ..ServeArgs::default() }
    }

    #[test]
    fn flags_go_before_the_file() {
        let file: File =
            toml::from_str("listen = '127.0.0.1:1'\nmax_upload = '1Mi'\ndrain_timeout = '5s'")
                .unwrap();
        let flags = ServeArgs { max_upload: Some(ByteSize::mib(2)), ..args() };
        let config = merge(flags, file).unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.max_upload, ByteSize::mib(2));
        assert_eq!(config.drain_timeout, Duration::from_secs(5));
    }

    #[test]
    fn a_controller_needs_a_cluster_and_a_name() {
        let controller = "controller = {address = 'https://c:1', ca = 'a', cert = 'b', key = 'c'}";
        let cluster = "catalog = {kubernetes = true}";
        let pool = "pool = {host = 'a'}";
        let read = |text: &[&str]| {
            let file = toml::from_str(&text.join("\n")).unwrap();
            merge(args(), file).map(|config| config.controller.is_some())
        };
        assert!(read(&[controller, cluster, pool]).unwrap());
        assert!(!read(&[cluster, pool]).unwrap());
        let error = read(&[controller, pool]).unwrap_err().to_string();
        assert!(error.contains("catalog.kubernetes"), "{error}");
    }

    #[test]
    fn a_drain_has_no_pauses_unless_set() {
        let drains = |text: &str| {
            let config = merge(args(), toml::from_str(text).unwrap()).unwrap();
            (config.drain_grace.as_secs(), config.session_drain.as_secs())
        };
        assert_eq!(drains(""), (0, 0));
        assert_eq!(drains("drain_grace = '5s'\nsession_drain = '1m'"), (5, 60));
        assert!(toml::from_str::<File>("session_drain = 'long'").is_err());
    }

    #[test]
    fn beyond_loopback_needs_the_users_word() {
        let open = || ServeArgs { listen: "0.0.0.0:1".parse().ok(), ..args() };
        let error = merge(open(), File::default()).unwrap_err().to_string();
        assert!(error.contains("--insecure-no-auth"), "{error}");
        let told = ServeArgs { insecure_no_auth: true, ..open() };
        assert!(merge(told, File::default()).is_ok());
        let asked = ServeArgs { auth: Some("policy.toml".into()), ..open() };
        assert!(merge(asked, File::default()).is_ok());
        let both = ServeArgs { insecure_no_auth: true, auth: Some("policy.toml".into()), ..open() };
        assert!(merge(both, File::default()).is_err());
        let v6 = ServeArgs { listen: "[::1]:1".parse().ok(), ..args() };
        assert!(merge(v6, File::default()).is_ok());
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let page = include_str!("../README.md");
        let blocks: Vec<_> = page.split("```toml\n").skip(1).collect();
        let documented = blocks[0].split("```").next().unwrap();
        let documented = merge(args(), toml::from_str(documented).unwrap()).unwrap();
        let defaults = merge(args(), File::default()).unwrap();
        assert_eq!(format!("{documented:#?}"), format!("{defaults:#?}"));
        let offers = blocks[2].split("```").next().unwrap();
        assert!(toml::from_str::<File>(offers).is_ok(), "{offers}");
        let cluster = blocks[3].split("```").next().unwrap();
        let cluster = merge(args(), toml::from_str(cluster).unwrap()).unwrap().catalog;
        assert_eq!(cluster, CatalogPlace::Kubernetes(KubernetesSettings::default()));
        let blobs: File = toml::from_str(blocks[4].split("```").next().unwrap()).unwrap();
        assert!(blobs.blobs.read(true, true).unwrap().is_some());
    }

    #[test]
    fn wrong_settings_are_named() {
        assert!(toml::from_str::<File>("lissen = 1").is_err());
        for text in [
            "memory_budget = 0",
            "memory_budget = '15Mi'",
            "code_budget = 0",
            "max_upload = '1023'",
        ] {
            let error = merge(args(), toml::from_str(text).unwrap()).unwrap_err().to_string();
            let (name, _) = text.split_once(' ').unwrap();
            assert!(error.starts_with(name) && error.contains("at least"), "{error}");
        }
        assert!(merge(args(), toml::from_str("memory_budget = '16Mi'").unwrap()).is_ok());
        let cluster = "catalog.kubernetes = true\nnative.enabled = true";
        let error = merge(args(), toml::from_str(cluster).unwrap()).unwrap_err().to_string();
        assert!(error.contains("set [controller]"), "{error}");
        let half = ServeArgs { tls_cert: Some("c".into()), ..args() };
        assert!(merge(half, File::default()).is_err());
    }
}
