//! What a version's code is made of, and the name under which it is stored.

use std::collections::BTreeMap;

use roadstead_catalog::VersionRecord;
use roadstead_domain::{Digest, ModuleName, Version};
use roadstead_worker::Upload;

/// Everything that decides which code is made, beside the engine: the same recipe always makes
/// code that does the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) component: Digest,
    pub(crate) codec: Option<Codec>,
}

/// What the compiled codec of a component is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Codec {
    name: ModuleName,
    version: Version,
    /// Of every package, as in the record.
    pub(crate) locks: BTreeMap<String, Digest>,
}

impl Recipe {
    pub(crate) fn of(name: &ModuleName, record: &VersionRecord) -> Self {
        let codec = record.has_codec().then(|| Codec {
            name: name.clone(),
            version: record.version.clone(),
            locks: record.locks.clone(),
        });
        Self { component: record.component, codec }
    }

    /// What the code is stored by. Module and version do not take part: they decide over names
    /// alone, which code does not have.
    pub(crate) fn key(&self) -> Digest {
        let Some(codec) = &self.codec else { return self.component };
        let mut text = format!("codec {}\n{}\n", roadstead_codec::VERSION, self.component);
        for (package, lock) in &codec.locks {
            text.push_str(&format!("{package} {lock}\n"));
        }
        Digest::of(text.as_bytes())
    }
}

impl Codec {
    /// For a worker; `lock` is the text of the locks.
    pub(crate) fn upload(&self, lock: String) -> Upload {
        let Self { name, version, .. } = self.clone();
        Upload { name, version, wit: Vec::new(), lock, native: false }
    }
}
