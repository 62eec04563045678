//! Requests to the API server, each bounded in time and its failure sorted.

use roadstead_domain::with_causes;
use std::{path::Path, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1::{Namespace as NamespaceObject, PersistentVolumeClaim, Pod, Secret, Service},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, Config, Error, Resource,
    api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::DynamicObject,
};
use roadstead_k8s_api::{Module, ModuleVersion, NativeModule, NativeModuleVersion, WireLocks};
use serde_json::Value;

use crate::{objects::Kind, settings::LeaseName};

/// Stands with every field that a controller writes.
pub(crate) const MANAGER: &str = "roadstead-controller";

/// How long one request may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);

/// The cluster cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("read the kubeconfig {path}")]
    Kubeconfig {
        path: String,
        #[source]
        source: Box<KubeconfigError>,
    },
    #[error("this controller runs in no pod with a service account: name a file by --kubeconfig")]
    NotInCluster(#[source] Box<InClusterError>),
    #[error("connect to the cluster")]
    Client(#[source] Box<Error>),
}

/// Why a request came to nothing, as far as one can act on it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("another was first")]
    Conflict,
    #[error("the object is gone")]
    Gone,
    #[error("the API server does not allow it: {0}")]
    Refused(String),
    /// Whether it was done is not known.
    #[error("the API server does not answer: {0}")]
    Unavailable(String),
}

/// The API server, as this controller asks it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
}

impl Cluster {
    pub(crate) async fn connect(kubeconfig: Option<&Path>) -> Result<Self, ConnectError> {
        let config = match kubeconfig {
            None => {
                Config::incluster().map_err(|error| ConnectError::NotInCluster(Box::new(error)))?
            }
            Some(path) => {
                let failed = |source| ConnectError::Kubeconfig {
                    path: path.display().to_string(),
                    source: Box::new(source),
                };
                let file = Kubeconfig::read_from(path).map_err(failed)?;
                let options = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(file, &options).await.map_err(failed)?
            }
        };
        let client = Client::try_from(roadstead_k8s_watch::bounded(config))
            .map_err(|error| ConnectError::Client(Box::new(error)))?;
        Ok(Self { client })
    }

    pub(crate) fn api(&self, namespace: &str, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    pub(crate) fn namespaces(&self) -> Api<NamespaceObject> {
        Api::all(self.client.clone())
    }

    pub(crate) fn leases(&self, lease: &LeaseName) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &lease.namespace)
    }

    /// Reads an object as it is now.
    pub(crate) async fn get(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
    ) -> Result<DynamicObject, Failure> {
        request(self.api(namespace, kind).get(name)).await
    }

    /// Applies the controller's own fields of an object, or of its status.
    pub(crate) async fn apply(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        fields: Value,
        status: bool,
    ) -> Result<DynamicObject, Failure> {
        let api = self.api(namespace, kind);
        let params = PatchParams::apply(MANAGER).force();
        let mut body = fields;
        let resource = resource(kind);
        if let Some(body) = body.as_object_mut() {
            body.insert("apiVersion".to_owned(), resource.api_version.into());
            body.insert("kind".to_owned(), resource.kind.into());
        }
        let patch = Patch::Apply(body);
        if status {
            request(api.patch_status(name, &params, &patch)).await
        } else {
            request(api.patch(name, &params, &patch)).await
        }
    }

    /// Deletes the very object of this uid. One that is gone already is no failure.
    pub(crate) async fn delete(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        uid: &str,
    ) -> Result<(), Failure> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
        let params =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match request(self.api(namespace, kind).delete(name, &params)).await {
            Ok(_) | Err(Failure::Gone | Failure::Conflict) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// A Secret, if it is there.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Secret>, Failure> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        request(api.get_opt(name)).await
    }

    /// Makes a Secret that must not be there yet.
    pub(crate) async fn make_secret(
        &self,
        namespace: &str,
        secret: &Secret,
    ) -> Result<(), Failure> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        request(api.create(&params, secret)).await.map(drop)
    }

    /// Applies a Secret whole.
    pub(crate) async fn apply_secret(
        &self,
        namespace: &str,
        name: &str,
        secret: &Secret,
    ) -> Result<(), Failure> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams::apply(MANAGER).force();
        request(api.patch(name, &params, &Patch::Apply(secret))).await.map(drop)
    }

    /// Merges into a status; what is null there goes, whoever wrote it.
    pub(crate) async fn merge_status(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        fields: &Value,
    ) -> Result<DynamicObject, Failure> {
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(namespace, kind);
        request(api.patch_status(name, &params, &Patch::Merge(fields))).await
    }
}

pub(crate) fn resource(kind: Kind) -> ApiResource {
    fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
        ApiResource::erase::<K>(&())
    }
    match kind {
        Kind::Module => of::<Module>(),
        Kind::NativeModule => of::<NativeModule>(),
        Kind::Version => of::<ModuleVersion>(),
        Kind::NativeVersion => of::<NativeModuleVersion>(),
        Kind::Locks => of::<WireLocks>(),
        Kind::Pod => of::<Pod>(),
        Kind::Deployment => of::<Deployment>(),
        Kind::StatefulSet => of::<StatefulSet>(),
        Kind::Service => of::<Service>(),
        Kind::NetworkPolicy => of::<NetworkPolicy>(),
        Kind::Claim => of::<PersistentVolumeClaim>(),
    }
}

/// Runs one request, bounded in time.
pub(crate) async fn request<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(REQUEST, work).await {
        Ok(answer) => answer.map_err(sort),
        Err(late) => Err(Failure::Unavailable(late.to_string())),
    }
}

fn sort(error: Error) -> Failure {
    let Error::Api(status) = &error else { return Failure::Unavailable(with_causes(&error)) };
    match status.code {
        409 => Failure::Conflict,
        404 => Failure::Gone,
        400 | 401 | 403 | 405 | 413 | 415 | 422 => Failure::Refused(status.message.clone()),
        _ => Failure::Unavailable(status.message.clone()),
    }
}
