//! `[controller]`: the cluster's controller, which the host reports to.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use http::Uri;
use roadstead_fleet::ControllerFiles;
use serde::Deserialize;

/// The section as it is written.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    /// Where it is, like `https://roadstead-controller.roadstead:7413` [default: no controller]
    address: Option<String>,
    /// PEM certificates of who vouches for it
    ca: Option<PathBuf>,
    /// PEM certificate chain and key that the host shows to it
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// What the section says; the files are read for every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControllerSettings {
    pub address: String,
    pub files: ControllerFiles,
}

impl Section {
    /// The controller, if the host has one; `cluster` and `named` say what else is set.
    ///
    /// # Errors
    /// Says which setting is wrong and what it should be.
    pub(super) fn read(
        self,
        cluster: bool,
        named: bool,
    ) -> anyhow::Result<Option<ControllerSettings>> {
        let Some(address) = self.address else {
            if self != Self::default() {
                bail!("controller.address is missing: say where the controller is");
            }
            return Ok(None);
        };
        let uri: Option<Uri> = address.parse().ok();
        let good = uri.is_some_and(|uri| {
            let bare = uri.authority().is_some_and(|at| !at.as_str().contains('@'));
            let root = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
            uri.scheme_str() == Some("https") && bare && root
        });
        if !good {
            bail!("controller.address is `{address}`: it must be https://HOST:PORT");
        }
        if !cluster {
            bail!(
                "controller.address needs a cluster's catalog: set catalog.kubernetes, or leave \
                 the controller out"
            );
        }
        if !named {
            bail!("controller.address needs pool.host: hosts are known to it by name");
        }
        let ca = self.ca.context("controller.ca is missing: who vouches for the controller")?;
        let (Some(cert), Some(key)) = (self.cert, self.key) else {
            bail!("controller.cert and controller.key must both be set: hosts show who they are");
        };
        Ok(Some(ControllerSettings { address, files: ControllerFiles { ca, cert, key } }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Option<ControllerSettings>> {
        toml::from_str::<Section>(text)?.read(true, true)
    }

    const ALL: &str = "address = 'https://c:1'\nca = '/ca'\ncert = '/cert'\nkey = '/key'";

    #[test]
    fn a_controller_is_known_by_certificates() {
        assert_eq!(read("").unwrap(), None);
        let read = read(ALL).unwrap().unwrap();
        assert_eq!(read.address, "https://c:1");
        let files = ["/ca", "/cert", "/key"].map(PathBuf::from);
        assert_eq!([read.files.ca, read.files.cert, read.files.key], files);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (from, to, part) in [
            ("address = 'https://c:1'", "", "controller.address"),
            ("https://c:1", "http://c:1", "https://HOST:PORT"),
            ("https://c:1", "c:1", "https://HOST:PORT"),
            ("https://c:1", "https://u@c:1", "https://HOST:PORT"),
            ("https://c:1", "https://c:1/path", "https://HOST:PORT"),
            ("ca = '/ca'", "", "controller.ca"),
            ("cert = '/cert'", "", "controller.cert"),
            ("key = '/key'", "", "controller.key"),
            ("key = '/key'", "kee = '/key'", "kee"),
        ] {
            let error = format!("{:#}", read(&ALL.replace(from, to)).unwrap_err());
            assert!(error.contains(part), "{to}: {error}");
        }
        let section = || toml::from_str::<Section>(ALL).unwrap();
        let alone = section().read(false, true).unwrap_err().to_string();
        assert!(alone.contains("catalog.kubernetes"), "{alone}");
        let nameless = section().read(true, false).unwrap_err().to_string();
        assert!(nameless.contains("pool.host"), "{nameless}");
    }
}
