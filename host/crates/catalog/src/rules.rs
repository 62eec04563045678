//! The rules of every change, as pure functions: the implementations of the catalog only read,
//! call these, and write, in one transaction.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_domain::{Digest, ModuleName, Version};

use crate::{CatalogError, ModuleRecord, Publication, VersionChoice, VersionRecord};

/// What a publication comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write the module and the publication's locks.
    Create(ModuleRecord, Arc<VersionRecord>),
    /// The content is there already.
    Unchanged(Arc<VersionRecord>),
}

/// The version that a push without one gets.
pub fn next_version(module: Option<&ModuleRecord>) -> Version {
    module.map_or_else(Version::first, |module| module.highest.next_patch())
}

/// The version that already holds what a push without a version brings: the newest, if its content
/// is the same. Content that only an older version has is new again.
pub fn already_newest<'a>(
    module: Option<&'a ModuleRecord>,
    record: &VersionRecord,
) -> Option<&'a Arc<VersionRecord>> {
    let (_, newest) = module?.versions.last_key_value()?;
    same_content(newest, record).then_some(newest)
}

/// Whether pushing `pushed` would bring nothing new over `published`: the same bytes with the same
/// spec, and no other comments.
pub fn same_content(published: &VersionRecord, pushed: &VersionRecord) -> bool {
    published.digest == pushed.digest
        && published.spec == pushed.spec
        && pushed.wit.is_none_or(|wit| published.wit == Some(wit))
}

/// Decides on a publication.
///
/// # Errors
/// [`CatalogError::NameTaken`], [`CatalogError::VersionExists`], [`CatalogError::NotNext`] or
/// [`CatalogError::LockMoved`].
pub fn publish(
    module: Option<ModuleRecord>,
    publication: &Publication,
    lock: impl Fn(&str) -> Result<Option<Digest>, CatalogError>,
) -> Result<Decision, CatalogError> {
    let Publication { name, choice, record, locks, .. } = publication;
    if let Some(native) = module.as_ref().and_then(ModuleRecord::is_native)
        && native != record.is_native()
    {
        return Err(CatalogError::NameTaken { name: name.clone(), native });
    }
    match choice {
        VersionChoice::Next => {
            if let Some(newest) = already_newest(module.as_ref(), record) {
                return Ok(Decision::Unchanged(Arc::clone(newest)));
            }
            let next = next_version(module.as_ref());
            if record.version != next {
                return Err(CatalogError::NotNext { name: name.clone(), next });
            }
        }
        VersionChoice::Explicit => {
            let exists = module.as_ref().and_then(|module| module.versions.get(&record.version));
            if let Some(exists) = exists {
                if same_content(exists, record) {
                    return Ok(Decision::Unchanged(Arc::clone(exists)));
                }
                let (name, version) = (name.clone(), record.version.clone());
                return Err(CatalogError::VersionExists { name, version });
            }
        }
    }
    for change in locks {
        let now = lock(&change.package)?;
        if now != change.from {
            return Err(CatalogError::LockMoved { package: change.package.clone(), now });
        }
    }
    let record = Arc::new(record.clone());
    let mut module = module.unwrap_or_else(|| ModuleRecord {
        versions: BTreeMap::new(),
        pinned: None,
        traffic: None,
        highest: record.version.clone(),
    });
    module.highest = module.highest.max(record.version.clone());
    module.versions.insert(record.version.clone(), Arc::clone(&record));
    Ok(Decision::Create(module, record))
}

/// Deletes one version or all; the versions deleted, and what is left of the module.
///
/// # Errors
/// [`CatalogError::NoSuchModule`], [`CatalogError::NoSuchVersion`] or [`CatalogError::Pinned`].
pub fn delete(
    module: Option<ModuleRecord>,
    name: &ModuleName,
    version: Option<&Version>,
) -> Result<(Option<ModuleRecord>, Vec<Version>), CatalogError> {
    let mut module = module.ok_or_else(|| CatalogError::NoSuchModule(name.clone()))?;
    let Some(version) = version else {
        return Ok((None, module.versions.into_keys().collect()));
    };
    if module.pinned.as_ref() == Some(version) {
        return Err(CatalogError::Pinned { name: name.clone(), version: version.clone() });
    }
    if module.versions.remove(version).is_none() {
        return Err(CatalogError::NoSuchVersion { name: name.clone(), version: version.clone() });
    }
    let left = (!module.versions.is_empty()).then_some(module);
    Ok((left, vec![version.clone()]))
}

/// Pins or unpins; none if that changes nothing.
///
/// # Errors
/// [`CatalogError::NoSuchModule`] or [`CatalogError::NoSuchVersion`].
pub fn pin(
    module: &mut Option<ModuleRecord>,
    name: &ModuleName,
    version: Option<&Version>,
) -> Result<bool, CatalogError> {
    let module = module.as_mut().ok_or_else(|| CatalogError::NoSuchModule(name.clone()))?;
    if let Some(version) = version
        && !module.versions.contains_key(version)
    {
        return Err(CatalogError::NoSuchVersion { name: name.clone(), version: version.clone() });
    }
    let changed = module.pinned.as_ref() != version;
    module.pinned = version.cloned();
    Ok(changed)
}
