//! The ids of handles: what they name, under the host's seal.
//!
//! An id says in clear which host it is of, and which life of that, and names the version, session
//! and handle. Hosts of a pool share the secret: each knows the ids of the others.
//! The seal, HMAC-SHA256 cut to 16 bytes, also covers the resource and the owner, which whoever uses
//! the id must know: it fits no other resource and no other caller.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use roadstead_domain::HostName;
use sha2::Sha256;

/// Names what is sealed, so that a seal of this key never means anything else.
const PURPOSE: &[u8] = b"roadstead handle 2\0";

const FORMAT: u8 = 2;
const TAG: usize = 16;

/// No id is longer.
const LONGEST: usize = 576;

/// The secret that ids are sealed with, and the host's name in them. Ids of a host's former life are
/// recognized by the same two, those of another host of the pool by the same secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    secret: [u8; 32],
    host: HostName,
}

impl SessionKey {
    pub fn new(secret: [u8; 32], host: HostName) -> Self {
        Self { secret, host }
    }

    /// One that nobody knows.
    pub fn random() -> Self {
        Self::new(rand::random(), HostName::default())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey")
    }
}

/// What an id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HandleId {
    pub(super) host: HostName,
    life: u64,
    pub(super) session: u64,
    pub(super) handle: u64,
}

/// Makes ids and tells those that it made from all others.
pub(super) struct Seal {
    mac: Hmac<Sha256>,
    host: HostName,
    life: u64,
}

impl Seal {
    pub(super) fn new(key: &SessionKey) -> Self {
        // HMAC's own padding to a block of the hash.
        let mut block = [0; 64];
        block.iter_mut().zip(key.secret).for_each(|(to, from)| *to = from);
        let mut mac = Hmac::new(&block.into());
        mac.update(PURPOSE);
        Self { mac, host: key.host.clone(), life: rand::random() }
    }

    pub(super) fn is_of_this_host(&self, id: &HandleId) -> bool {
        id.host == self.host
    }

    pub(super) fn is_of_this_life(&self, id: &HandleId) -> bool {
        self.is_of_this_host(id) && id.life == self.life
    }

    pub(super) fn id(
        &self,
        session: u64,
        handle: u64,
        module: &str,
        resource: &str,
        owner: Option<&str>,
    ) -> Vec<u8> {
        let mut id = vec![FORMAT];
        id.extend([self.life, session, handle].iter().flat_map(|number| number.to_be_bytes()));
        let host = self.host.as_str();
        // A name has 63 bytes at most.
        id.extend(u8::try_from(host.len()));
        id.extend(host.bytes());
        id.extend(module.bytes());
        let tag = self.over(&id, resource, owner).finalize().into_bytes();
        id.extend(tag.iter().take(TAG));
        id
    }

    /// What an id names; none if no host of the pool made it for this resource and this owner.
    pub(super) fn open(&self, id: &[u8], resource: &str, owner: Option<&str>) -> Option<HandleId> {
        if LONGEST < id.len() {
            return None;
        }
        let (named, tag) = id.split_last_chunk::<TAG>()?;
        self.over(named, resource, owner).verify_truncated_left(tag).ok()?;
        let (&FORMAT, rest) = named.split_first()? else { return None };
        let (life, rest) = number(rest)?;
        let (session, rest) = number(rest)?;
        let (handle, rest) = number(rest)?;
        let (length, rest) = rest.split_first()?;
        let (host, _module) = rest.split_at_checked(usize::from(*length))?;
        let host = std::str::from_utf8(host).ok()?.parse().ok()?;
        Some(HandleId { host, life, session, handle })
    }

    fn over(&self, named: &[u8], resource: &str, owner: Option<&str>) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        // Each with its length before it: no two of them read the same in a row.
        let mut part = |bytes: &[u8]| {
            mac.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(bytes);
        };
        part(named);
        part(resource.as_bytes());
        if let Some(owner) = owner {
            part(owner.as_bytes());
        }
        mac
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULE: &str = "default/counter@1.0.0";
    const RESOURCE: &str = "demo.ops.OpsCounter";
    /// Of an id without its seal: format, three numbers, `host-a` and the module.
    const LENGTH: usize = 1 + 24 + 7 + MODULE.len();

    fn seal(key: u8) -> Seal {
        named(key, "host-a")
    }

    fn named(key: u8, host: &str) -> Seal {
        Seal::new(&SessionKey::new([key; 32], host.parse().unwrap()))
    }

    #[test]
    fn an_id_fits_its_host_resource_and_owner_alone() {
        let seal = seal(7);
        for owner in [None, Some(""), Some("alice")] {
            let id = seal.id(1, 2, MODULE, RESOURCE, owner);
            let opened = seal.open(&id, RESOURCE, owner).unwrap();
            assert_eq!((opened.session, opened.handle), (1, 2));
            assert!(seal.is_of_this_life(&opened));
            for other in [None, Some(""), Some("alice"), Some("bob")] {
                assert_eq!(seal.open(&id, RESOURCE, other).is_some(), other == owner);
            }
            assert_eq!(seal.open(&id, "demo.ops.OpsOther", owner), None);
            let stranger = named(8, "host-a");
            assert_eq!(stranger.open(&id, RESOURCE, owner), None);
        }
    }

    #[test]
    fn a_later_life_of_the_host_knows_its_former_ids() {
        let id = seal(7).id(1, 2, MODULE, RESOURCE, None);
        let later = seal(7);
        let opened = later.open(&id, RESOURCE, None).unwrap();
        assert!(!later.is_of_this_life(&opened));
    }

    #[test]
    fn an_id_names_its_host_to_those_of_the_same_pool() {
        let other = named(7, &"b".repeat(63));
        let id = other.id(1, 2, &"m".repeat(200), RESOURCE, Some("alice"));
        let opened = seal(7).open(&id, RESOURCE, Some("alice")).unwrap();
        assert_eq!((opened.host.as_str().len(), opened.session, opened.handle), (63, 1, 2));
        assert!(!seal(7).is_of_this_host(&opened) && !seal(7).is_of_this_life(&opened));
        assert!(other.is_of_this_host(&opened) && other.is_of_this_life(&opened));
        assert_eq!(named(8, "host-a").open(&id, RESOURCE, Some("alice")), None);
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = SessionKey::new([0xab; 32], HostName::default());
        assert_eq!(format!("{key:?}"), "SessionKey");
    }

    proptest! {
        #[test]
        fn no_changed_bits_make_an_id(
            bits in prop::collection::btree_set(0_usize..(LENGTH + 16) * 8, 1..8),
        ) {
            let seal = seal(7);
            let mut id = seal.id(u64::MAX, 2, MODULE, RESOURCE, None);
            prop_assert_eq!(id.len(), LENGTH + 16);
            for bit in bits {
                id[bit / 8] ^= 1 << (bit % 8);
            }
            prop_assert_eq!(seal.open(&id, RESOURCE, None), None);
        }

        #[test]
        fn no_other_bytes_make_an_id(
            bytes in prop::collection::vec(any::<u8>(), 0..700),
            cut in 0_usize..LENGTH + 16,
        ) {
            let seal = seal(7);
            prop_assert_eq!(seal.open(&bytes, RESOURCE, None), None);
            let id = seal.id(1, 2, MODULE, RESOURCE, None);
            prop_assert_eq!(seal.open(&id[..cut], RESOURCE, None), None);
            prop_assert_eq!(seal.open(&[&id[..], &bytes[..1.min(bytes.len())]].concat(), RESOURCE, None).is_some(), bytes.is_empty());
        }
    }
}
