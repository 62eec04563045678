//! `[namespace]`: the most that one namespace may have of this host.

use anyhow::bail;
use roadstead_domain::ByteSize;
use roadstead_engine::NamespaceShare;
use roadstead_registry::NamespaceQuota;
use serde::Deserialize;

/// The section as it is written. What is not named is not bounded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    /// Calls that run at the same time.
    concurrency: Option<u64>,
    /// Live instances, idle ones included; one with several memories counts for as many.
    slots: Option<u32>,
    /// Memory of all instances.
    memory: Option<ByteSize>,
    /// Room for the values of calls.
    values: Option<ByteSize>,
    /// Modules that are published.
    modules: Option<u64>,
    /// Versions of all of them.
    versions: Option<u64>,
    /// Bytes of all components as they were uploaded.
    stored: Option<ByteSize>,
}

/// What the section says: of calls, and of what is published.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamespaceBounds {
    pub share: NamespaceShare,
    pub quota: NamespaceQuota,
}

impl Section {
    pub(super) fn read(self) -> anyhow::Result<NamespaceBounds> {
        let Self { concurrency, slots, memory, values, modules, versions, stored } = self;
        let nothing = [
            ("concurrency", concurrency == Some(0)),
            ("slots", slots == Some(0)),
            ("memory", memory == Some(ByteSize(0))),
            ("values", values == Some(ByteSize(0))),
            ("modules", modules == Some(0)),
            ("versions", versions == Some(0)),
            ("stored", stored == Some(ByteSize(0))),
        ];
        if let Some((name, _)) = nothing.into_iter().find(|(_, nothing)| *nothing) {
            bail!("namespace.{name} must be more than 0; leave it out for no bound");
        }
        Ok(NamespaceBounds {
            share: NamespaceShare { concurrency, slots, memory, values },
            quota: NamespaceQuota { modules, versions, stored },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_not_bounded() {
        let read = |text: &str| toml::from_str::<Section>(text).unwrap().read();
        assert_eq!(read("").unwrap(), NamespaceBounds::default());
        let set = read("concurrency = 5\nslots = 4\nmemory = '3Mi'\nvalues = '2Mi'").unwrap().share;
        assert_eq!((set.concurrency, set.slots), (Some(5), Some(4)));
        assert_eq!((set.memory, set.values), (Some(ByteSize::mib(3)), Some(ByteSize::mib(2))));
        let set = read("modules = 3\nversions = 9\nstored = '1Gi'").unwrap().quota;
        assert_eq!((set.modules, set.versions), (Some(3), Some(9)));
        assert_eq!(set.stored, Some(ByteSize(1 << 30)));
        for name in ["concurrency", "slots", "memory", "values", "modules", "versions", "stored"] {
            let error = read(&format!("{name} = 0")).unwrap_err().to_string();
            assert!(error.contains(&format!("namespace.{name}")), "{error}");
        }
        assert!(toml::from_str::<Section>("memry = 1").is_err());
    }
}
