//! `[pool]`: the name of the hosts that belong together, this host's own among them, and what those
//! share that call each other.

use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf};

use anyhow::{Context as _, bail};
use http::Uri;
use roadstead_domain::HostName;
use serde::Deserialize;

use super::TlsFiles;

/// Bytes that a pool's secret has at least.
const LEAST_SECRET: usize = 32;

/// The pool of hosts that are told of none.
const DEFAULT: &str = "default";

/// Where Linux says what the machine is called; in a pod, the pod's name.
const MACHINE: &str = "/proc/sys/kernel/hostname";

/// The section as it is written.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Section {
    /// The pool that the host belongs to [default: default]
    name: Option<HostName>,
    /// The host's own name in the pool [default: the machine's]
    host: Option<HostName>,
    /// File with the pool's secret, of 32 bytes or more; without it hosts do not call each other
    key_file: Option<PathBuf>,
    /// PEM certificates of who vouches for hosts with `https` addresses
    ca: Option<PathBuf>,
    /// PEM certificate chain and key that the host shows to those that ask for one; its calls are
    /// signed with the secret all the same [default: none]
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    /// Addresses of hosts by name; the host's own may be among them
    peers: BTreeMap<HostName, String>,
}

/// What the section says; the files are not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolSettings {
    pub name: HostName,
    pub host: HostName,
    /// None where the hosts have nothing that they would keep from others, and do not call each
    /// other.
    pub key_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub shown: Option<TlsFiles>,
    pub peers: BTreeMap<HostName, Uri>,
}

impl Section {
    /// The pool; `anyone` if the network is closed.
    ///
    /// # Errors
    /// Says which setting is wrong and what it should be.
    pub(super) fn read(self, anyone: bool) -> anyhow::Result<PoolSettings> {
        let calls = !self.peers.is_empty()
            || [&self.ca, &self.cert, &self.key].into_iter().any(Option::is_some);
        if calls && self.key_file.is_none() {
            bail!("pool.key_file is missing: hosts that call each other share a secret");
        }
        let name = match self.name {
            Some(name) => name,
            None => DEFAULT.parse()?,
        };
        let host = match self.host {
            Some(host) => host,
            None if self.key_file.is_some() => machine()?,
            None => machine().unwrap_or_default(),
        };
        let mut peers = BTreeMap::new();
        for (peer, address) in self.peers {
            let uri = address_of(&peer, &address, self.ca.is_some(), anyone)?;
            peers.insert(peer, uri);
        }
        let shown = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => bail!("pool.cert and pool.key must both be set"),
        };
        Ok(PoolSettings { name, host, key_file: self.key_file, ca: self.ca, shown, peers })
    }
}

impl PoolSettings {
    /// The pool's secret, where it has one.
    ///
    /// # Errors
    /// The file cannot be read, or is short.
    pub(crate) fn secret(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(file) = &self.key_file else { return Ok(None) };
        let path = file.display();
        let secret = fs::read(file).with_context(|| format!("read {path}"))?;
        let secret = secret.trim_ascii().to_vec();
        if secret.len() < LEAST_SECRET {
            bail!(
                "the pool's secret in {path} has {} bytes: it must have {LEAST_SECRET} at least, \
                 at random",
                secret.len()
            );
        }
        Ok(Some(secret))
    }
}

fn machine() -> anyhow::Result<HostName> {
    let unnamed = "pool.host is missing, and the machine has no name that would do";
    let name = fs::read_to_string(MACHINE).context(unnamed)?.trim().to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    first.parse().with_context(|| format!("{unnamed}: {name}"))
}

/// Only who has the network for itself may send calls in plain text beyond this machine.
fn address_of(peer: &HostName, text: &str, ca: bool, anyone: bool) -> anyhow::Result<Uri> {
    let form = || format!("pool.peers.{peer} is `{text}`: it must be https://HOST:PORT");
    let uri: Uri = text.parse().with_context(form)?;
    let bare = uri.authority().is_some_and(|at| !at.as_str().contains('@'));
    let root = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    match uri.scheme_str() {
        Some("https") if bare && root => {
            if !ca {
                bail!("pool.peers.{peer} is https: pool.ca must say who vouches for it");
            }
        }
        Some("http") if bare && root => {
            if !anyone && !is_loopback(uri.host().unwrap_or_default()) {
                bail!(
                    "pool.peers.{peer} is http beyond loopback, where others may listen: use \
                     https, or set insecure_no_auth if the network is closed"
                );
            }
        }
        _ => bail!("{}", form()),
    }
    Ok(uri)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<PoolSettings> {
        toml::from_str::<Section>(text)?.read(false)
    }

    const POOL: &str = "name = 'pool'\nhost = 'a'\nkey_file = '/key'\n";

    #[test]
    fn a_pool_has_a_name_and_may_have_a_key_and_hosts() {
        let alone = read("").unwrap();
        assert_eq!((alone.name.as_str(), alone.key_file), ("default", None));
        let named = read("name = 'pool'\nhost = 'a'").unwrap();
        assert_eq!((named.name.as_str(), named.host.as_str()), ("pool", "a"));
        let text = format!(
            "{POOL}ca = '/ca'\n[peers]\na = 'https://a:1'\nb = 'http://127.0.0.1:2'\n\
             c = 'http://[::1]:3/'\nd = 'http://localhost:4'"
        );
        let pool = read(&text).unwrap();
        assert_eq!((pool.name.as_str(), pool.host.as_str()), ("pool", "a"));
        assert_eq!(pool.peers.len(), 4);
        assert!(!read("key_file = '/key'").unwrap().host.as_str().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, what) in [
            ("ca = '/ca'", "pool.key_file"),
            ("[peers]\nb = 'http://127.0.0.1:1'", "pool.key_file"),
            (&format!("{POOL}[peers]\nb = 'https://b:1'"), "pool.ca"),
            (&format!("{POOL}[peers]\nb = 'http://b:1'"), "insecure_no_auth"),
            (&format!("{POOL}cert = '/cert'"), "pool.key"),
            (&format!("{POOL}[peers]\nb = 'b:1'"), "pool.peers.b"),
            (&format!("{POOL}[peers]\nb = 'http://127.0.0.1:1/path'"), "pool.peers.b"),
            (&format!("{POOL}[peers]\nb = 'http://u:p@127.0.0.1:1'"), "pool.peers.b"),
            (&format!("{POOL}[peers]\nb = 'ftp://127.0.0.1:1'"), "pool.peers.b"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
        assert!(read("name = 'Not A Name'").is_err());
        assert!(read("nome = 'pool'").is_err());
        let closed = toml::from_str::<Section>(&format!("{POOL}[peers]\nb = 'http://b:1'"));
        assert!(closed.unwrap().read(true).is_ok());
    }

    #[test]
    fn a_secret_is_long() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pool = PoolSettings { key_file: Some(file.path().to_owned()), ..read(POOL).unwrap() };
        for (text, good) in [("", false), (&*"x".repeat(31), false), (&*"x".repeat(32), true)] {
            fs::write(file.path(), format!("{text}\n")).unwrap();
            assert_eq!(pool.secret().is_ok(), good, "{text}");
        }
        assert!(PoolSettings { key_file: None, ..pool.clone() }.secret().unwrap().is_none());
        let gone = PoolSettings { key_file: Some("/nowhere/at/all".into()), ..pool };
        assert!(gone.secret().unwrap_err().to_string().contains("/nowhere"));
    }
}
