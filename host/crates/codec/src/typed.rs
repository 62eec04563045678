//! What types say of a component beside what its sections do: which functions give futures, which on
//! the wire look like what they come to, and what core instances export.

use roadstead_transcode::ExportPath;
use wasmparser::{
    BinaryReaderError, CompositeInnerType, Parser, ValType, ValidPayload, Validator, WasmFeatures,
    component_types::{ComponentDefinedType, ComponentEntityType, ComponentItem, ComponentValType},
    types::{EntityType, Types},
};

/// The types of a component.
pub(crate) struct Typed(Option<Types>);

impl Typed {
    /// Reads types alone: bodies of functions are not looked into.
    pub(crate) fn read(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut last = None;
        for payload in Parser::new(0).parse_all(component) {
            if let ValidPayload::End(types) = validator.payload(&payload?)? {
                last = Some(types);
            }
        }
        Ok(Self(last))
    }

    /// Whether a function gives a future, or is not known at all.
    pub(crate) fn gives_future(&self, path: &ExportPath) -> bool {
        self.result(path).is_none_or(|gives| gives)
    }

    fn result(&self, path: &ExportPath) -> Option<bool> {
        let types = self.0.as_ref()?.as_ref();
        let root = |name: &str| types.component_item_for_export(name);
        let function = match &path.interface {
            None => root(&path.function)?,
            Some(interface) => {
                let ComponentItem { ty: ComponentEntityType::Instance(id), .. } = root(interface)?
                else {
                    return None;
                };
                types.get(*id)?.exports.get(path.function.as_str())?
            }
        };
        let ComponentEntityType::Func(id) = function.ty else { return None };
        let Some(ComponentValType::Type(result)) = types.get(id)?.result else {
            return Some(false);
        };
        let result = types.get(result)?;
        Some(matches!(
            result,
            ComponentDefinedType::Future { .. } | ComponentDefinedType::Stream { .. }
        ))
    }

    /// Whether a core instance exports a memory of this name, of the usual kind.
    pub(crate) fn has_memory(&self, instance: u32, name: &str) -> bool {
        let is_usual = |item: &EntityType| match item {
            EntityType::Memory(memory) => {
                !memory.memory64 && !memory.shared && memory.page_size_log2.is_none()
            }
            _ => false,
        };
        self.core_export(instance, name).is_some_and(is_usual)
    }

    /// Whether a core instance exports a function of this name with the type of a `realloc`.
    pub(crate) fn has_realloc(&self, instance: u32, name: &str) -> bool {
        let Some(EntityType::Func(id)) = self.core_export(instance, name) else { return false };
        let ty = self.0.as_ref().and_then(|types| types.as_ref().get(*id));
        match ty.map(|ty| &ty.composite_type.inner) {
            Some(CompositeInnerType::Func(function)) => {
                function.params() == [ValType::I32; 4] && function.results() == [ValType::I32]
            }
            _ => false,
        }
    }

    fn core_export(&self, instance: u32, name: &str) -> Option<&EntityType> {
        let types = self.0.as_ref()?.as_ref();
        if types.core_instance_count() <= instance {
            return None;
        }
        types.get(types.core_instance_at(instance))?.exports(types).get(name)
    }
}
