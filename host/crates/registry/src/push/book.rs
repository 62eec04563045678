//! The newest wire locks of a namespace, damaged ones among them.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_domain::Digest;
use roadstead_transcode::{Lock, Locks};

/// The newest locks of one namespace. A package that is not in it was never published.
#[derive(Debug, Clone, Default)]
pub(crate) struct LockBook(BTreeMap<String, NewestLock>);

#[derive(Debug, Clone)]
pub(crate) struct NewestLock {
    /// Of its text.
    pub(crate) digest: Digest,
    pub(crate) lock: Result<Arc<Lock>, Unreadable>,
}

/// The stored text of a lock is missing or damaged: what it gave out is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl LockBook {
    /// The locks of those packages that were published before; where one does not read, its package
    /// and digest.
    pub(crate) fn locks<'a>(
        &self,
        packages: impl Iterator<Item = &'a str>,
    ) -> Result<Locks, (&'a str, Digest)> {
        let known = packages.filter_map(|package| Some((package, self.0.get(package)?)));
        let lock = |(package, newest): (&'a str, &NewestLock)| match &newest.lock {
            Ok(lock) => Ok((package.to_owned(), (**lock).clone())),
            Err(Unreadable) => Err((package, newest.digest)),
        };
        known.map(lock).collect()
    }

    /// The lock of a package, if it is this one and reads.
    pub(crate) fn readable(&self, package: &str, digest: Digest) -> Option<Arc<Lock>> {
        let newest = self.0.get(package).filter(|newest| newest.digest == digest)?;
        newest.lock.clone().ok()
    }

    /// Whether another book says the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let says = |book: &Self| -> Vec<_> {
            let all = book.0.iter();
            all.map(|(package, lock)| (package.clone(), lock.digest, lock.lock.is_ok())).collect()
        };
        says(self) == says(other)
    }

    /// Packages whose lock does not read, with its digest.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = (&str, Digest)> {
        let damaged = self.0.iter().filter(|(_, newest)| newest.lock.is_err());
        damaged.map(|(package, newest)| (package.as_str(), newest.digest))
    }

    pub(crate) fn digest(&self, package: &str) -> Option<Digest> {
        self.0.get(package).map(|newest| newest.digest)
    }

    pub(crate) fn insert(&mut self, package: String, newest: NewestLock) {
        self.0.insert(package, newest);
    }

    /// Adds the locks of the packages that `digests` names.
    pub(crate) fn extend(
        &mut self,
        of: &Locks,
        digests: impl IntoIterator<Item = (String, Digest)>,
    ) {
        for (package, digest) in digests {
            if let Some(lock) = of.get(&package) {
                self.insert(package, NewestLock { digest, lock: Ok(Arc::new(lock.clone())) });
            }
        }
    }
}
