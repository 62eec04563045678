//! Where hosts keep what they share.
//!
//! Who a host is at a cloud's store is never a setting of ours: it comes from the environment or the
//! machine, in the ways that the cloud's own tools know (`AWS_…`, `GOOGLE_…`, a role of the pod or
//! the instance).

use std::{path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder, gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem, path::Path as Key, prefix::PrefixStore,
};

use crate::{OpenError, http::Connector};

/// A store that all hosts of a pool can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory that every host has mounted, with renames that are whole or not at all.
    Directory(PathBuf),
    /// Amazon S3, or what speaks like it.
    S3 { bucket: Bucket, region: Option<String> },
    /// Google Cloud Storage.
    Gcs { bucket: Bucket },
}

/// A part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    /// Begins the name of everything that is stored; may be empty.
    pub prefix: String,
    /// Where the store is, if not where its cloud has it.
    pub endpoint: Option<String>,
    /// Whether the endpoint may be asked in plain text.
    pub allow_http: bool,
}

impl Place {
    /// Opens it. Nothing is asked of it yet, except whether a directory is there.
    ///
    /// # Errors
    /// [`OpenError::NotMounted`] or [`OpenError::Shared`].
    pub fn open(&self) -> Result<Arc<dyn ObjectStore>, OpenError> {
        match self {
            Self::Directory(path) => {
                if !path.is_dir() {
                    return Err(OpenError::NotMounted(path.clone()));
                }
                let store = LocalFileSystem::new_with_prefix(path).map_err(OpenError::Shared)?;
                Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
            }
            Self::S3 { bucket, region } => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(&bucket.name)
                    .with_http_connector(Connector)
                    .with_client_options(options(bucket))
                    .with_retry(retry());
                if let Some(region) = region {
                    builder = builder.with_region(region);
                }
                if let Some(endpoint) = &bucket.endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                below(builder.build(), bucket)
            }
            Self::Gcs { bucket } => {
                let mut builder = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(&bucket.name)
                    .with_http_connector(Connector)
                    .with_client_options(options(bucket))
                    .with_retry(retry());
                if let Some(endpoint) = &bucket.endpoint {
                    builder = builder.with_base_url(endpoint);
                }
                below(builder.build(), bucket)
            }
        }
    }
}

fn below<S: ObjectStore>(
    store: object_store::Result<S>,
    bucket: &Bucket,
) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let store = store.map_err(OpenError::Shared)?;
    let prefix = Key::parse(&bucket.prefix).map_err(|error| OpenError::Shared(error.into()))?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

fn options(bucket: &Bucket) -> ClientOptions {
    ClientOptions::new().with_allow_http(bucket.allow_http)
}

/// Few and short: who waits has a bound of its own, and tries again later.
fn retry() -> RetryConfig {
    RetryConfig { max_retries: 4, retry_timeout: Duration::from_secs(15), ..RetryConfig::default() }
}
