//! How the catalog lies in redb's tables: one row per module, per version and per lock.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use roadstead_domain::{Digest, ModuleName, Namespace, Version};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::storage;
use crate::{CatalogError, ModuleRecord, Snapshot, VersionRecord};

/// The format of the file: a reader of another number must not touch it.
const FORMAT: u64 = 1;

type ModuleKey = (&'static str, &'static str);
type VersionKey = (&'static str, &'static str, &'static str);

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const MODULES: TableDefinition<'_, ModuleKey, &[u8]> = TableDefinition::new("modules");
const VERSIONS: TableDefinition<'_, VersionKey, &[u8]> = TableDefinition::new("versions");
/// Namespace and protobuf package.
const LOCKS: TableDefinition<'_, ModuleKey, &[u8]> = TableDefinition::new("locks");

/// What a row of a module holds beside its versions.
#[derive(Serialize, Deserialize)]
struct ModuleRow {
    pinned: Option<Version>,
    highest: Version,
}

/// The tables within one change.
pub(super) struct Tables<'txn> {
    meta: Table<'txn, &'static str, u64>,
    modules: Table<'txn, ModuleKey, &'static [u8]>,
    versions: Table<'txn, VersionKey, &'static [u8]>,
    locks: Table<'txn, ModuleKey, &'static [u8]>,
}

/// The tables as of one revision.
pub(super) struct ReadTables {
    meta: ReadOnlyTable<&'static str, u64>,
    modules: ReadOnlyTable<ModuleKey, &'static [u8]>,
    versions: ReadOnlyTable<VersionKey, &'static [u8]>,
    locks: ReadOnlyTable<ModuleKey, &'static [u8]>,
}

/// Checks the format and makes the tables of a new file; tells the newest revision.
pub(super) fn prepare(database: &Database, path: &Path) -> Result<u64, CatalogError> {
    let transaction = database.begin_write().map_err(storage("begin a change"))?;
    let revision = {
        let mut tables = Tables::open(&transaction)?;
        let format = get_number(&tables.meta, "format")?;
        if format.is_some_and(|format| format != FORMAT) {
            let format = format.unwrap_or_default();
            return Err(CatalogError::NewerFormat { path: path.to_owned(), format });
        }
        tables.meta.insert("format", FORMAT).map_err(storage("write the format"))?;
        tables.revision()?
    };
    transaction.commit().map_err(storage("commit a change"))?;
    Ok(revision)
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, CatalogError> {
        Ok(Self {
            meta: transaction.open_table(META).map_err(storage("open a table"))?,
            modules: transaction.open_table(MODULES).map_err(storage("open a table"))?,
            versions: transaction.open_table(VERSIONS).map_err(storage("open a table"))?,
            locks: transaction.open_table(LOCKS).map_err(storage("open a table"))?,
        })
    }

    pub(super) fn revision(&self) -> Result<u64, CatalogError> {
        Ok(get_number(&self.meta, "revision")?.unwrap_or_default())
    }

    pub(super) fn advance(&mut self) -> Result<u64, CatalogError> {
        let revision = self.revision()? + 1;
        self.meta.insert("revision", revision).map_err(storage("write the revision"))?;
        Ok(revision)
    }

    pub(super) fn module(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
    ) -> Result<Option<ModuleRecord>, CatalogError> {
        let (namespace, name) = (namespace.as_str(), name.as_str());
        let row = self.modules.get((namespace, name)).map_err(storage("read a module"))?;
        let Some(row) = row else { return Ok(None) };
        let ModuleRow { pinned, highest } = decode(row.value())?;
        let mut versions = BTreeMap::new();
        let rows = self
            .versions
            .range((namespace, name, "")..)
            .map_err(storage("read a module's versions"))?;
        for row in rows {
            let (key, value) = row.map_err(storage("read a version"))?;
            let (row_namespace, row_name, _) = key.value();
            if (row_namespace, row_name) != (namespace, name) {
                break;
            }
            let record: VersionRecord = decode(value.value())?;
            versions.insert(record.version.clone(), Arc::new(record));
        }
        Ok(Some(ModuleRecord { versions, pinned, traffic: None, highest }))
    }

    pub(super) fn put_module(
        &mut self,
        namespace: &Namespace,
        name: &ModuleName,
        module: &ModuleRecord,
    ) -> Result<(), CatalogError> {
        let ModuleRecord { pinned, highest, .. } = module;
        let row = encode(&ModuleRow { pinned: pinned.clone(), highest: highest.clone() })?;
        self.modules
            .insert((namespace.as_str(), name.as_str()), row.as_slice())
            .map_err(storage("write a module"))?;
        Ok(())
    }

    pub(super) fn remove_module(
        &mut self,
        namespace: &Namespace,
        name: &ModuleName,
    ) -> Result<(), CatalogError> {
        let key = (namespace.as_str(), name.as_str());
        self.modules.remove(key).map_err(storage("delete a module"))?;
        Ok(())
    }

    pub(super) fn put_version(
        &mut self,
        namespace: &Namespace,
        name: &ModuleName,
        record: &VersionRecord,
    ) -> Result<(), CatalogError> {
        let version = record.version.to_string();
        let key = (namespace.as_str(), name.as_str(), version.as_str());
        let row = encode(record)?;
        self.versions.insert(key, row.as_slice()).map_err(storage("write a version"))?;
        Ok(())
    }

    pub(super) fn remove_version(
        &mut self,
        namespace: &Namespace,
        name: &ModuleName,
        version: &Version,
    ) -> Result<(), CatalogError> {
        let version = version.to_string();
        let key = (namespace.as_str(), name.as_str(), version.as_str());
        self.versions.remove(key).map_err(storage("delete a version"))?;
        Ok(())
    }

    pub(super) fn lock(
        &self,
        namespace: &Namespace,
        package: &str,
    ) -> Result<Option<Digest>, CatalogError> {
        let row = self.locks.get((namespace.as_str(), package)).map_err(storage("read a lock"))?;
        row.map(|row| decode(row.value())).transpose()
    }

    pub(super) fn put_lock(
        &mut self,
        namespace: &Namespace,
        package: &str,
        lock: Digest,
    ) -> Result<(), CatalogError> {
        let row = encode(&lock)?;
        self.locks
            .insert((namespace.as_str(), package), row.as_slice())
            .map_err(storage("write a lock"))?;
        Ok(())
    }
}

impl ReadTables {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, CatalogError> {
        Ok(Self {
            meta: transaction.open_table(META).map_err(storage("open a table"))?,
            modules: transaction.open_table(MODULES).map_err(storage("open a table"))?,
            versions: transaction.open_table(VERSIONS).map_err(storage("open a table"))?,
            locks: transaction.open_table(LOCKS).map_err(storage("open a table"))?,
        })
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        let mut snapshot = Snapshot {
            revision: get_number(&self.meta, "revision")?.unwrap_or_default(),
            ..Snapshot::default()
        };
        for row in self.modules.iter().map_err(storage("read modules"))? {
            let (key, row) = row.map_err(storage("read a module"))?;
            let ModuleRow { pinned, highest } = decode(row.value())?;
            let versions = BTreeMap::new();
            let module = ModuleRecord { versions, pinned, traffic: None, highest };
            let (namespace, name) = key.value();
            snapshot.modules.insert((parse(namespace)?, parse(name)?), module);
        }
        for row in self.versions.iter().map_err(storage("read versions"))? {
            let (key, row) = row.map_err(storage("read a version"))?;
            let record: VersionRecord = decode(row.value())?;
            let (namespace, name, _) = key.value();
            if let Some(module) = snapshot.modules.get_mut(&(parse(namespace)?, parse(name)?)) {
                module.versions.insert(record.version.clone(), Arc::new(record));
            }
        }
        for row in self.locks.iter().map_err(storage("read locks"))? {
            let (key, row) = row.map_err(storage("read a lock"))?;
            let (namespace, package) = key.value();
            snapshot.locks.insert((parse(namespace)?, package.to_owned()), decode(row.value())?);
        }
        Ok(snapshot)
    }
}

fn get_number(
    table: &impl ReadableTable<&'static str, u64>,
    key: &str,
) -> Result<Option<u64>, CatalogError> {
    let row = table.get(key).map_err(storage("read a number"))?;
    Ok(row.map(|row| row.value()))
}

fn parse<T>(text: &str) -> Result<T, CatalogError>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(storage("read a name"))
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, CatalogError> {
    serde_json::to_vec(value).map_err(storage("write a record"))
}

fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, CatalogError> {
    serde_json::from_slice(row).map_err(storage("read a record"))
}
