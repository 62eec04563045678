//! Looks at a component before it is compiled: its imports, and what its spec can never get here.

use roadstead_domain::{ByteSize, ModuleSpec};
use wasmparser::{
    Encoding, Parser, Payload, ValidPayload, Validator, WasmFeatures,
    component_types::{ComponentAnyTypeId, ComponentEntityType},
    types::Types,
};

use crate::{EngineConfig, ImportGrant, InspectError, UnknownImport, capability};

/// What each import would get on a host of this configuration. Needs no engine.
///
/// # Errors
/// [`InspectError`] if the component could never run there.
pub fn inspect(
    config: &EngineConfig,
    component: &[u8],
    spec: &ModuleSpec,
) -> Result<Vec<ImportGrant>, InspectError> {
    if let Some(why) = config.never_fits(spec) {
        return Err(InspectError::NeverFits(why));
    }
    let outline = Outline::read(component)?;
    outline.fits(spec)?;
    let imported = |binding: &&String| !outline.imports.contains(*binding);
    let strangers: Vec<String> = spec.bindings.keys().filter(imported).cloned().collect();
    if !strangers.is_empty() {
        return Err(InspectError::NoSuchImports(strangers));
    }
    let mut grants = Vec::with_capacity(outline.imports.len());
    let mut unknown = Vec::new();
    for name in outline.imports {
        if let Some(binding) = spec.bindings.get(&name) {
            grants.push(ImportGrant { grant: format!("module {binding}"), name });
            continue;
        }
        match capability::grant_of(&name, spec) {
            Ok(grant) => grants.push(ImportGrant { name, grant }),
            Err(hint) => unknown.push(UnknownImport { name, hint }),
        }
    }
    if unknown.is_empty() { Ok(grants) } else { Err(InspectError::UnknownImports(unknown)) }
}

/// What can be seen of a component without validating it.
#[derive(Default)]
struct Outline {
    imports: Vec<String>,
    /// The largest memory that a core module starts with.
    memory: u64,
    /// The largest table that a core module starts with.
    table: u64,
}

impl Outline {
    fn read(component: &[u8]) -> Result<Self, InspectError> {
        let invalid = |error: wasmparser::BinaryReaderError| {
            InspectError::Invalid(error.message().to_owned())
        };
        let mut outline = Self::default();
        let mut depth = 0_usize;
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(invalid)?;
            // Bodies of functions are left for the compiler to validate.
            let valid = validator.payload(&payload).map_err(invalid)?;
            if let ValidPayload::End(types) = valid
                && depth == 0
            {
                outline.imports.retain(|name| needs_a_definition(&types, name));
            }
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    let why = "it is a core module: make it a component first";
                    return Err(InspectError::Invalid(why.to_owned()));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        outline.imports.push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory.map_err(invalid)?;
                        let page = 1_u64 << memory.page_size_log2.unwrap_or(16).min(16);
                        outline.memory = outline.memory.max(memory.initial.saturating_mul(page));
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        outline.table = outline.table.max(table.map_err(invalid)?.ty.initial);
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn fits(&self, spec: &ModuleSpec) -> Result<(), InspectError> {
        let limits = &spec.limits;
        if limits.memory.0 < self.memory {
            return Err(InspectError::NeverFits(format!(
                "its memory starts with {}, and limits.memory is {}",
                ByteSize(self.memory),
                limits.memory
            )));
        }
        if limits.tables < self.table {
            return Err(InspectError::NeverFits(format!(
                "a table starts with {} elements, and limits.tables is {}",
                self.table, limits.tables
            )));
        }
        Ok(())
    }
}

/// Whether there is anything to link for an import. An interface that only names types, as the one
/// that another interface uses them from, needs nobody to serve it.
fn needs_a_definition(types: &Types, import: &str) -> bool {
    let Some(item) = types.as_ref().component_item_for_import(import) else { return true };
    match &item.ty {
        ComponentEntityType::Instance(id) => types
            .as_ref()
            .get(*id)
            .is_none_or(|instance| instance.exports.values().any(|item| !names_a_type(&item.ty))),
        other => !names_a_type(other),
    }
}

fn names_a_type(item: &ComponentEntityType) -> bool {
    let ComponentEntityType::Type { referenced, .. } = item else { return false };
    !matches!(referenced, ComponentAnyTypeId::Resource(_))
}
