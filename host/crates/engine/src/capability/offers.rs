//! What the operator offers to modules, and to which.

use std::{collections::BTreeMap, path::PathBuf};

use roadstead_domain::{
    ByteSize, Capabilities, DirectoryMode, Grantee, HostPort, ModuleId, ModuleName, Namespace,
    NetworkOffer,
};

/// Everything that an operator offers by name or pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    pub directories: BTreeMap<String, OfferedDirectory>,
    pub network: Vec<OfferedNetwork>,
    pub secrets: BTreeMap<String, OfferedSecret>,
}

/// A directory that the operator offers to modules under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedDirectory {
    pub path: PathBuf,
    /// The most that a module may ask for.
    pub mode: DirectoryMode,
    /// What may be in it before nothing more is written, whatever a spec says.
    pub size: Option<ByteSize>,
    /// Likewise for files, directories and links in it.
    pub files: Option<u64>,
    pub to: Vec<Grantee>,
}

/// Targets in the network that the operator offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedNetwork {
    pub target: NetworkOffer,
    pub to: Vec<Grantee>,
}

/// A secret that the operator offers to modules under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedSecret {
    /// Holds the secret's text: UTF-8, 64 KiB at most.
    pub file: PathBuf,
    pub to: Vec<Grantee>,
}

/// One offer, as the host's users may see it: no paths of the host.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    pub kind: OfferKind,
    which: Which<'a>,
    pub to: &'a [Grantee],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferKind {
    Directory(DirectoryMode),
    Network,
    Secret,
}

#[derive(Debug, Clone, Copy)]
enum Which<'a> {
    Directory(&'a str),
    Secret(&'a str),
    Target(&'a NetworkOffer),
}

impl Offers {
    /// Every offer: directories by name, the network's in their order, secrets by name.
    pub fn all(&self) -> impl Iterator<Item = Offer<'_>> {
        let directories = self.directories.iter().map(|(name, offered)| Offer {
            kind: OfferKind::Directory(offered.mode),
            which: Which::Directory(name),
            to: &offered.to,
        });
        let network = self.network.iter().map(|offered| Offer {
            kind: OfferKind::Network,
            which: Which::Target(&offered.target),
            to: &offered.to,
        });
        let secrets = self.secrets.iter().map(|(name, offered)| Offer {
            kind: OfferKind::Secret,
            which: Which::Secret(name),
            to: &offered.to,
        });
        directories.chain(network).chain(secrets)
    }

    /// The offers that a module may ask for.
    pub(crate) fn to(&self, namespace: &Namespace, module: &ModuleName) -> Vec<Offer<'_>> {
        self.all().filter(|offer| offer.is_for(namespace, module)).collect()
    }
}

impl Offer<'_> {
    /// A directory's or secret's name, or a pattern of targets.
    pub fn name(&self) -> String {
        match self.which {
            Which::Directory(name) | Which::Secret(name) => name.to_owned(),
            Which::Target(target) => target.to_string(),
        }
    }

    pub fn is_for(&self, namespace: &Namespace, module: &ModuleName) -> bool {
        self.to.iter().any(|grantee| grantee.is(namespace, module))
    }

    /// What a version has of this offer, as its spec asks for it; nothing if it holds none.
    pub fn held_by(&self, id: &ModuleId, asked: &Capabilities) -> Vec<String> {
        if !self.is_for(&id.namespace, &id.name) {
            return Vec::new();
        }
        match self.which {
            Which::Secret(name) => {
                let held = asked.secrets.iter().any(|asked| asked == name);
                held.then(|| format!("wasi:config {name}")).into_iter().collect()
            }
            Which::Directory(name) => asked
                .files
                .iter()
                .filter(|grant| grant.host == name)
                .map(|grant| format!("{} {}", grant.mode, grant.guest))
                .collect(),
            Which::Target(target) => {
                let network = &asked.network;
                let held = |list: &[HostPort], of: &str| -> Vec<String> {
                    let offered = list.iter().filter(|to| target.offers(to));
                    offered.map(|to| format!("{of} {to}")).collect()
                };
                [held(&network.http, "http"), held(&network.tcp, "tcp")].concat()
            }
        }
    }
}
