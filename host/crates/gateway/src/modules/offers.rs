//! What the operator offers and who holds it, in the contract's messages.

use roadstead_proto::v1 as pb;
use roadstead_registry::{HeldOffer, Holder, OfferKind};

pub(super) fn offer(offer: HeldOffer) -> pb::Offer {
    let (kind, mode) = match offer.kind {
        OfferKind::Directory(mode) => ("directory", mode.to_string()),
        OfferKind::Network => ("network", String::new()),
        OfferKind::Secret => ("secret", String::new()),
    };
    pb::Offer {
        kind: kind.to_owned(),
        name: offer.name,
        mode,
        to: offer.to,
        holders: offer.holders.into_iter().map(holder).collect(),
    }
}

fn holder(Holder { id, grants }: Holder) -> pb::OfferHolder {
    pb::OfferHolder {
        namespace: id.namespace.to_string(),
        module: id.name.to_string(),
        version: id.version.to_string(),
        grants,
    }
}
