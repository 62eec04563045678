//! The catalog in one file of redb: crash-safe, for one machine.
//!
//! Every change is one write transaction that is on disk before it is acknowledged. redb refuses
//! to go on after a failed write, so the file is opened anew after one: a disk that was full once
//! does not end publishing until a restart.

mod tables;

use std::{
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase as _};
use roadstead_domain::{ModuleName, Namespace, Version};
use tokio::sync::watch;

use self::tables::{ReadTables, Tables};
use crate::{
    Catalog, CatalogError, Change, Publication, Published, Snapshot,
    rules::{self, Decision},
};

/// A catalog in a file.
#[derive(Clone)]
pub struct RedbCatalog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// None after a failure, until it is opened anew.
    database: Mutex<Option<Database>>,
    revision: watch::Sender<u64>,
}

impl std::fmt::Debug for RedbCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbCatalog").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl RedbCatalog {
    /// Whether there is a catalog at `path`; an empty file is none.
    ///
    /// # Errors
    /// If the path does not read.
    pub fn exists(path: &Path) -> io::Result<bool> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(metadata.len() > 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the catalog file, and makes it, for this user alone, where it is missing. Blocks; after a crash for as long
    /// as repairing takes.
    ///
    /// # Errors
    /// [`CatalogError::InUse`] if another process has it open, [`CatalogError::NewerFormat`] if a
    /// newer release wrote it.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let database = open(path)?;
        let revision = tables::prepare(&database, path)?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                database: Mutex::new(Some(database)),
                revision: watch::Sender::new(revision),
            }),
        })
    }

    /// Runs `work` in one transaction off the async threads; it is committed if `work` says so.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<(Commit, T), CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut database = inner.database.lock();
            let open = match database.take() {
                Some(open) => open,
                None => open(&inner.path)?,
            };
            let written = write(&open, work);
            if !matches!(written, Err(CatalogError::Full(_) | CatalogError::Storage { .. })) {
                *database = Some(open);
            }
            let (revision, value) = written?;
            if let Some(revision) = revision {
                inner.revision.send_replace(revision);
            }
            Ok(value)
        })
        .await
    }
}

/// Whether a transaction changed anything.
enum Commit {
    /// The revision that the change makes.
    Changed(u64),
    Nothing,
}

fn write<T>(
    database: &Database,
    work: impl FnOnce(&mut Tables<'_>) -> Result<(Commit, T), CatalogError>,
) -> Result<(Option<u64>, T), CatalogError> {
    let transaction = database.begin_write().map_err(storage("begin a change"))?;
    let (commit, value) = work(&mut Tables::open(&transaction)?)?;
    match commit {
        Commit::Changed(revision) => {
            transaction.commit().map_err(storage("commit a change"))?;
            Ok((Some(revision), value))
        }
        Commit::Nothing => {
            transaction.abort().map_err(storage("end a transaction"))?;
            Ok((None, value))
        }
    }
}

#[async_trait]
impl Catalog for RedbCatalog {
    async fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut database = inner.database.lock();
            let open = match database.take() {
                Some(open) => open,
                None => open(&inner.path)?,
            };
            let read = open.begin_read().map_err(storage("begin to read"));
            let snapshot = read.and_then(|read| ReadTables::open(&read)?.snapshot());
            *database = Some(open);
            snapshot
        })
        .await
    }

    async fn publish(&self, publication: Publication) -> Result<Published, CatalogError> {
        self.write(move |tables| {
            let Publication { namespace, name, locks, .. } = &publication;
            let module = tables.module(namespace, name)?;
            let decision =
                rules::publish(module, &publication, |package| tables.lock(namespace, package))?;
            let (module, record) = match decision {
                Decision::Create(module, record) => (module, record),
                Decision::Unchanged(record) => {
                    return Ok((Commit::Nothing, Published::Unchanged(record)));
                }
            };
            tables.put_version(namespace, name, &record)?;
            tables.put_module(namespace, name, &module)?;
            for change in locks {
                tables.put_lock(namespace, &change.package, change.to)?;
            }
            let revision = tables.advance()?;
            let change = Change { revision, module: Some(module), outcome: record };
            Ok((Commit::Changed(revision), Published::Created(change)))
        })
        .await
    }

    async fn delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, CatalogError> {
        let (namespace, name, version) = (namespace.clone(), name.clone(), version.cloned());
        self.write(move |tables| {
            let module = tables.module(&namespace, &name)?;
            let (module, deleted) = rules::delete(module, &name, version.as_ref())?;
            for version in &deleted {
                tables.remove_version(&namespace, &name, version)?;
            }
            match &module {
                Some(module) => tables.put_module(&namespace, &name, module)?,
                None => tables.remove_module(&namespace, &name)?,
            }
            let revision = tables.advance()?;
            Ok((Commit::Changed(revision), Change { revision, module, outcome: deleted }))
        })
        .await
    }

    async fn pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, CatalogError> {
        let (namespace, name, version) = (namespace.clone(), name.clone(), version.cloned());
        self.write(move |tables| {
            let mut module = tables.module(&namespace, &name)?;
            if !rules::pin(&mut module, &name, version.as_ref())? {
                let revision = tables.revision()?;
                return Ok((Commit::Nothing, Change { revision, module, outcome: () }));
            }
            if let Some(module) = &module {
                tables.put_module(&namespace, &name, module)?;
            }
            let revision = tables.advance()?;
            Ok((Commit::Changed(revision), Change { revision, module, outcome: () }))
        })
        .await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.inner.revision.subscribe()
    }
}

fn open(path: &Path) -> Result<Database, CatalogError> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(storage("open the catalog"))?;
    let database = Database::builder().create_file(file).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => CatalogError::InUse(path.to_owned()),
        error => storage("open the catalog")(error),
    })?;
    // The file may be new: its name must survive too.
    if let Some(parent) = path.parent() {
        std::fs::File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(storage("sync the catalog's directory"))?;
    }
    Ok(database)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CatalogError> + Send + 'static,
) -> Result<T, CatalogError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(storage("run a change")(error)))
}

/// Sorts a failure of the storage: a full disk is told apart.
fn storage<E: std::error::Error + Send + Sync + 'static>(
    doing: &'static str,
) -> impl FnOnce(E) -> CatalogError {
    move |error| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut full = false;
        while let Some(error) = cause {
            full |= error.downcast_ref::<io::Error>().is_some_and(is_full)
                || error.downcast_ref::<redb::StorageError>().is_some_and(
                    |error| matches!(error, redb::StorageError::Io(error) if is_full(error)),
                );
            cause = error.source();
        }
        if full {
            CatalogError::Full(Box::new(error))
        } else {
            CatalogError::Storage { doing, source: Box::new(error) }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull)
}
