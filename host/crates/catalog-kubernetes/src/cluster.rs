//! Requests to the API server, each bounded in time and its failure sorted.

use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use roadstead_catalog::CatalogError;
use roadstead_domain::{ModuleName, Namespace};
use roadstead_k8s_api::{Module, ModuleVersion, NativeModule, NativeModuleVersion, WireLocks};
use serde_json::{Value, json};

use crate::{
    error::{Failure, request},
    objects::{Kind, Read, read},
};

/// Versions that one answer to a list may hold.
const PAGE: u32 = 200;

/// What a change says anew of an object; what it does not name stays.
pub(crate) enum Edit {
    Annotations(Value),
    Spec(Value),
}

/// The API server, and who this host is there.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    /// Stands with every field that this host writes.
    manager: String,
}

impl Cluster {
    pub(crate) fn new(client: Client, pool: &str) -> Self {
        Self { client, manager: format!("roadstead-host-{pool}") }
    }

    pub(crate) fn api(&self, namespace: &Namespace, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace.as_str(), &resource(kind))
    }

    pub(crate) fn namespaces(&self) -> Api<NamespaceObject> {
        Api::all(self.client.clone())
    }

    /// The object as it is now, not as a cache has it.
    pub(crate) async fn get(
        &self,
        namespace: &Namespace,
        kind: Kind,
        name: &str,
    ) -> Result<Option<Read>, Failure> {
        let doing = "read an object";
        match request(doing, self.api(namespace, kind).get(name)).await {
            Ok(object) => readable(doing, kind, object).map(Some),
            Err(Failure::Gone) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The objects of a kind of all versions of a module, as they are now.
    pub(crate) async fn versions(
        &self,
        namespace: &Namespace,
        kind: Kind,
        module: &ModuleName,
    ) -> Result<Vec<Read>, Failure> {
        let api = self.api(namespace, kind);
        let mut params = ListParams::default().fields(&format!("spec.module={module}")).limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = request("list versions", api.list(&params)).await?;
            found.extend(page.items.into_iter().filter_map(|object| read(kind, object)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Creates an object that must not be there yet.
    pub(crate) async fn create(
        &self,
        namespace: &Namespace,
        kind: Kind,
        metadata: Value,
        spec: Value,
    ) -> Result<Read, Failure> {
        let doing = "create an object";
        let resource = resource(kind);
        let object = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
            "spec": spec,
        });
        let object: DynamicObject = serde_json::from_value(object).map_err(|error| {
            CatalogError::Storage { doing: "write an object as JSON", source: error.into() }
        })?;
        let params =
            PostParams { field_manager: Some(self.manager.clone()), ..PostParams::default() };
        let api = self.api(namespace, kind);
        match request(doing, api.create(&params, &object)).await {
            Ok(object) => readable(doing, kind, object),
            // What is missing then is the namespace.
            Err(Failure::Gone) => Err(CatalogError::NotEnabled(namespace.clone()).into()),
            Err(failure) => Err(failure),
        }
    }

    /// Changes parts of an object, if it still is as of `revision`.
    pub(crate) async fn patch(
        &self,
        namespace: &Namespace,
        kind: Kind,
        name: &str,
        revision: u64,
        edit: Edit,
    ) -> Result<Read, Failure> {
        let doing = "change an object";
        let revision = revision.to_string();
        let change = match edit {
            Edit::Annotations(annotations) => {
                json!({"metadata": {"resourceVersion": revision, "annotations": annotations}})
            }
            Edit::Spec(spec) => json!({"metadata": {"resourceVersion": revision}, "spec": spec}),
        };
        let params =
            PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let api = self.api(namespace, kind);
        let change = Patch::Merge(change);
        readable(doing, kind, request(doing, api.patch(name, &params, &change)).await?)
    }

    /// Deletes the very object of this uid. One that is gone already is no failure.
    pub(crate) async fn delete(
        &self,
        namespace: &Namespace,
        kind: Kind,
        name: &str,
        uid: &str,
    ) -> Result<(), Failure> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = self.api(namespace, kind);
        match request("delete an object", api.delete(name, &params)).await {
            // Another object of the same name is not the one meant: that one is gone.
            Ok(_) | Err(Failure::Gone | Failure::Conflict) => Ok(()),
            Err(failure) => Err(failure),
        }
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
    }
}

fn readable(doing: &'static str, kind: Kind, object: DynamicObject) -> Result<Read, Failure> {
    read(kind, object).ok_or_else(|| {
        let message = "it answered with an object without a name or a comparable resourceVersion";
        Failure::Other(CatalogError::Refused { doing, message: message.to_owned() })
    })
}
