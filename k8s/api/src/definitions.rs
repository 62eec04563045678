//! The definitions of the objects, as `k8s/crds` holds them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::{Module, ModuleVersion, WireLocks};

/// The definitions, each with the name of its file.
pub fn definitions() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("modules.yaml", Module::crd()),
        ("moduleversions.yaml", ModuleVersion::crd()),
        ("wirelocks.yaml", WireLocks::crd()),
    ]
}

/// A definition as the text of its file.
///
/// # Errors
/// If it cannot be written as YAML.
pub fn yaml(definition: &CustomResourceDefinition) -> Result<String, serde_norway::Error> {
    let text = serde_norway::to_string(definition)?;
    Ok(format!("# Generated from k8s/api, whose tests write it anew when it is stale.\n{text}"))
}
