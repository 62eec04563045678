//! `[catalog]`: where names and versions are kept.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use roadstead_catalog_kubernetes::{KubernetesSettings, Namespaces};
use roadstead_domain::{HostName, Namespace};
use serde::Deserialize;

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    /// `true`, or a table.
    kubernetes: Option<toml::Value>,
}

/// The table `[catalog.kubernetes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Kubernetes {
    /// The service account of the pod, unless set.
    kubeconfig: Option<PathBuf>,
    namespaces: Option<Vec<Namespace>>,
    selector: Option<String>,
    /// Where hosts agree on who does what only one should.
    lease_namespace: Option<Namespace>,
}

/// Where the catalog is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum CatalogPlace {
    /// A file in the data directory, for this host alone.
    #[default]
    File,
    Kubernetes(KubernetesSettings),
}

impl Section {
    /// Where the catalog is; `pool` stands with what this host writes there.
    ///
    /// # Errors
    /// Says which setting is wrong and what it should be.
    pub(super) fn read(self, pool: &HostName) -> anyhow::Result<CatalogPlace> {
        match self.kubernetes {
            None | Some(toml::Value::Boolean(false)) => Ok(CatalogPlace::File),
            Some(toml::Value::Boolean(true)) => {
                Kubernetes::default().read(pool).map(CatalogPlace::Kubernetes)
            }
            Some(table @ toml::Value::Table(_)) => {
                let table: Kubernetes = table.try_into().context("read [catalog.kubernetes]")?;
                table.read(pool).map(CatalogPlace::Kubernetes)
            }
            Some(other) => {
                bail!("catalog.kubernetes is {other}: it must be true, false or a table")
            }
        }
    }
}

impl Kubernetes {
    fn read(self, pool: &HostName) -> anyhow::Result<KubernetesSettings> {
        let Self { kubeconfig, namespaces, selector, lease_namespace } = self;
        let defaults = KubernetesSettings::default();
        let namespaces = match (namespaces, selector) {
            (None, None) => defaults.namespaces,
            (Some(named), None) if named.is_empty() => {
                bail!("catalog.kubernetes.namespaces is empty: name one, or leave it out")
            }
            (Some(named), None) => Namespaces::Named(named),
            (None, Some(selector)) => Namespaces::Labelled(selector),
            (Some(_), Some(_)) => bail!(
                "catalog.kubernetes has both namespaces and selector: one of them says which \
                 namespaces this host serves"
            ),
        };
        let pool = pool.to_string();
        Ok(KubernetesSettings { kubeconfig, namespaces, pool, lease_namespace, ..defaults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<CatalogPlace> {
        toml::from_str::<Section>(text)?.read(&"gpu".parse()?)
    }

    #[test]
    fn a_file_unless_a_cluster_is_named() {
        for text in ["", "kubernetes = false"] {
            assert_eq!(read(text).unwrap(), CatalogPlace::File);
        }
        let defaults =
            KubernetesSettings { pool: "gpu".to_owned(), ..KubernetesSettings::default() };
        let all = Namespaces::Labelled("roadstead.dev/enabled=true".to_owned());
        assert_eq!(defaults.namespaces, all);
        for text in ["kubernetes = true", "[kubernetes]"] {
            assert_eq!(read(text).unwrap(), CatalogPlace::Kubernetes(defaults.clone()));
        }
        let text = "[kubernetes]\nkubeconfig = '/k'\nnamespaces = ['a', 'b']\n\
                    lease_namespace = 'fleet'";
        let named = Namespaces::Named(vec!["a".parse().unwrap(), "b".parse().unwrap()]);
        let expected = KubernetesSettings {
            kubeconfig: Some("/k".into()),
            namespaces: named,
            lease_namespace: Some("fleet".parse().unwrap()),
            ..defaults.clone()
        };
        assert_eq!(read(text).unwrap(), CatalogPlace::Kubernetes(expected));
        let selector = Namespaces::Labelled("team=a".to_owned());
        let read = read("kubernetes = {selector = 'team=a'}").unwrap();
        let expected = KubernetesSettings { namespaces: selector, ..defaults };
        assert_eq!(read, CatalogPlace::Kubernetes(expected));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, part) in [
            ("kubernetes = 1", "true, false or a table"),
            ("kubernetes = {pol = 'x'}", "pol"),
            ("kubernetes = {pool = 'x'}", "pool"),
            ("kubernetes = {namespaces = []}", "empty"),
            ("kubernetes = {namespaces = ['A']}", "`A`"),
            ("kubernetes = {namespaces = ['a'], selector = 'b'}", "both"),
            ("kubernets = true", "kubernets"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
