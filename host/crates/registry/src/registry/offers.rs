//! Who holds what the operator offers.

use roadstead_domain::{Grantee, ModuleId, Namespace};
use roadstead_engine::{OfferKind, Offers};

use crate::Registry;

/// One offer of the operator, and the versions that were granted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOffer {
    pub kind: OfferKind,
    pub name: String,
    pub to: Vec<String>,
    pub holders: Vec<Holder>,
}

/// A version, and what it asked for of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub id: ModuleId,
    pub grants: Vec<String>,
}

impl Registry {
    /// Every offer that a module of the namespace may ask for, with those of the namespace that may
    /// and that hold it; without a namespace, every offer with all holders. Versions that this host does not serve hold none.
    pub fn offers(&self, within: Option<&Namespace>) -> Vec<HeldOffer> {
        let routes = self.routes();
        let modules: Vec<_> = match within {
            Some(namespace) => routes.modules(namespace).collect(),
            None => routes.all_modules().collect(),
        };
        let versions = || modules.iter().flat_map(|module| module.versions.values());
        let offers: &Offers = self.engine.offers();
        let visible = offers.all().filter(|offer| {
            within.is_none_or(|namespace| offer.to.iter().any(|to| to.is_within(namespace)))
        });
        visible
            .map(|offer| {
                let held = versions().filter(|live| live.problem().is_none()).map(|live| Holder {
                    id: live.id().clone(),
                    grants: offer.held_by(live.id(), &live.record().spec.capabilities),
                });
                let mut holders: Vec<_> = held.filter(|held| !held.grants.is_empty()).collect();
                holders.sort_by(|a, b| key(&a.id).cmp(&key(&b.id)));
                let told =
                    |to: &&_| within.is_none_or(|namespace| Grantee::is_within(to, namespace));
                HeldOffer {
                    kind: offer.kind,
                    name: offer.name(),
                    to: offer.to.iter().filter(told).map(ToString::to_string).collect(),
                    holders,
                }
            })
            .collect()
    }
}

fn key(id: &ModuleId) -> (&Namespace, &roadstead_domain::ModuleName, &roadstead_domain::Version) {
    (&id.namespace, &id.name, &id.version)
}
