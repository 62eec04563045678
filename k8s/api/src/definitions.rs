//! The definitions of the objects, as `k8s/crds` holds them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use crate::{Module, ModuleVersion, NativeModule, NativeModuleVersion, WireLocks};

/// Formats of numbers and texts that Kubernetes knows; it warns about others.
const FORMATS: [&str; 4] = ["date-time", "double", "int32", "int64"];

/// The definitions, each with the name of its file.
pub fn definitions() -> Vec<(&'static str, CustomResourceDefinition)> {
    [
        ("modules.yaml", Module::crd()),
        ("moduleversions.yaml", ModuleVersion::crd()),
        ("wirelocks.yaml", WireLocks::crd()),
        ("nativemodules.yaml", NativeModule::crd()),
        ("nativemoduleversions.yaml", NativeModuleVersion::crd()),
    ]
    .map(|(file, definition)| (file, plain(definition)))
    .into()
}

/// A definition as the text of its file.
///
/// # Errors
/// If it cannot be written as YAML.
pub fn yaml(definition: &CustomResourceDefinition) -> Result<String, serde_norway::Error> {
    let text = serde_norway::to_string(definition)?;
    Ok(format!("# Generated from k8s/api, whose tests write it anew when it is stale.\n{text}"))
}

/// Without the formats that Kubernetes does not know.
fn plain(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|all| all.open_api_v3_schema.as_mut());
        schema.into_iter().for_each(known_formats);
    }
    definition
}

fn known_formats(schema: &mut JSONSchemaProps) {
    if schema.format.as_deref().is_some_and(|format| !FORMATS.contains(&format)) {
        schema.format = None;
    }
    schema.properties.iter_mut().flat_map(|all| all.values_mut()).for_each(known_formats);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        known_formats(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        known_formats(values);
    }
}
