//! `[namespace]`: the most that one namespace may have of this host.

use anyhow::bail;
use roadstead_domain::ByteSize;
use roadstead_engine::NamespaceShare;
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
}

impl Section {
    pub(super) fn read(self) -> anyhow::Result<NamespaceShare> {
        let Self { concurrency, slots, memory, values } = self;
        let nothing = [
            ("concurrency", concurrency == Some(0)),
            ("slots", slots == Some(0)),
            ("memory", memory == Some(ByteSize(0))),
            ("values", values == Some(ByteSize(0))),
        ];
        if let Some((name, _)) = nothing.into_iter().find(|(_, nothing)| *nothing) {
            bail!("namespace.{name} must be more than 0; leave it out for no bound");
        }
        Ok(NamespaceShare { concurrency, slots, memory, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_not_bounded() {
        let read = |text: &str| toml::from_str::<Section>(text).unwrap().read();
        assert_eq!(read("").unwrap(), NamespaceShare::default());
        let set = read("concurrency = 5\nslots = 4\nmemory = '3Mi'\nvalues = '2Mi'").unwrap();
        assert_eq!((set.concurrency, set.slots), (Some(5), Some(4)));
        assert_eq!((set.memory, set.values), (Some(ByteSize::mib(3)), Some(ByteSize::mib(2))));
        for name in ["concurrency", "slots", "memory", "values"] {
            let error = read(&format!("{name} = 0")).unwrap_err().to_string();
            assert!(error.contains(&format!("namespace.{name}")), "{error}");
        }
        assert!(toml::from_str::<Section>("memry = 1").is_err());
    }
}
