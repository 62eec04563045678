//! Credentials that were verified, so that they are not verified at each call: bounded, and read
//! without a lock.
//!
//! A token or certificate is known by its hash. An entry is good until its token expires, and while the issuer
//! has the keys by which it was verified.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{Identity, TokenHash};

/// Parts that change on their own: one is copied to add an entry.
const SHARDS: usize = 64;
/// Entries of one part.
const ENTRIES: usize = 64;

#[derive(Clone)]
pub(crate) struct Entry {
    pub identity: Identity,
    /// The issuer of a token, and which keys of it there were; none for a certificate.
    pub keys: Option<(usize, u64)>,
}

type Shard = ArcSwap<HashMap<TokenHash, Entry>>;

pub(crate) struct VerifiedTokens(Vec<Shard>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Shard::default()).collect())
    }
}

impl VerifiedTokens {
    fn shard(&self, token: &TokenHash) -> Option<&Shard> {
        let [first, ..] = token.0;
        self.0.get(usize::from(first) % SHARDS)
    }

    pub(crate) fn get(&self, token: &TokenHash) -> Option<Entry> {
        self.shard(token)?.load().get(token).cloned()
    }

    /// Keeps a token; where there is no room, those go that are good no more, or the one that
    /// expires first.
    pub(crate) fn put(&self, token: TokenHash, entry: &Entry, now: u64) {
        let Some(shard) = self.shard(&token) else { return };
        shard.rcu(|entries| {
            let mut entries = HashMap::clone(entries);
            if ENTRIES <= entries.len() {
                entries.retain(|_, entry| !entry.identity.is_expired(now));
            }
            if ENTRIES <= entries.len() {
                let first = entries.iter().min_by_key(|(_, entry)| entry.identity.until());
                if let Some(first) = first.map(|(token, _)| *token) {
                    entries.remove(&first);
                }
            }
            entries.insert(token, entry.clone());
            Arc::new(entries)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Source, Standing};

    fn entry(until: u64) -> Entry {
        let identity =
            Identity::new("x".into(), Source::Anonymous, Some(until), Standing::default());
        Entry { identity, keys: None }
    }

    #[test]
    fn room_is_bounded_and_what_expires_first_goes() {
        let tokens = VerifiedTokens::default();
        let hash = |number: u64| {
            let mut hash = [0; 32];
            hash.iter_mut().skip(1).zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
            TokenHash(hash)
        };
        let most = ENTRIES as u64;
        for number in 0..most {
            tokens.put(hash(number), &entry(1000 + number), 0);
        }
        assert!((0..most).all(|number| tokens.get(&hash(number)).is_some()));
        tokens.put(hash(most), &entry(5000), 0);
        assert!(tokens.get(&hash(0)).is_none(), "it expired first");
        tokens.put(hash(most + 1), &entry(5000), 1010);
        let left = (0..most + 2).filter(|number| tokens.get(&hash(*number)).is_some()).count();
        assert_eq!(left, ENTRIES - 10 + 1, "those that had expired went together");
    }
}
