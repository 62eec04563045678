//! Types as they unfold: a record of two of the type before it is twice as large as that one, so a
//! few dozen of them are more than any memory holds if they are ever written out.

use std::collections::HashMap;

use wasmparser::{
    Parser, ValidPayload, Validator, WasmFeatures,
    component_types::{
        ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType, ComponentItem,
        ComponentValType,
    },
    types::TypesRef,
};

use super::{Outline, unreadable};
use crate::world::WorldError;

/// Of a type with all types in it, as a tree.
#[derive(Clone, Copy, Default)]
struct Size {
    depth: u64,
    members: u64,
}

impl Outline {
    /// Measures every value and function type of a component and those inside it.
    pub(super) fn unfold(&mut self, component: &[u8]) -> Result<(), WorldError> {
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut sizes = Sizes::default();
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(unreadable)?;
            // Bodies of functions are left for the compiler to validate.
            let ValidPayload::End(types) = validator.payload(&payload).map_err(unreadable)? else {
                continue;
            };
            let types = types.as_ref();
            for index in 0..types.component_type_count() {
                let size = sizes.of(types, types.component_any_type_at(index));
                self.type_depth.at_least(size.depth)?;
                self.type_members.at_least(size.members)?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Sizes(HashMap<ComponentAnyTypeId, Size>);

impl Sizes {
    /// Recursion is bounded: the validator takes no type that is deeper than 100.
    fn of(&mut self, types: TypesRef<'_>, id: ComponentAnyTypeId) -> Size {
        if let Some(size) = self.0.get(&id) {
            return *size;
        }
        let size = match id {
            ComponentAnyTypeId::Defined(id) => types.get(id).map(|ty| self.defined(types, ty)),
            ComponentAnyTypeId::Func(id) => types.get(id).map(|func| {
                let params = func.params.iter().map(|(_, ty)| *ty);
                self.sum(types, params.chain(func.result).map(|ty| (ty, 1)))
            }),
            ComponentAnyTypeId::Instance(id) => {
                types.get(id).map(|instance| self.largest(types, instance.exports.values()))
            }
            ComponentAnyTypeId::Component(id) => types.get(id).map(|component| {
                self.largest(types, component.imports.values().chain(component.exports.values()))
            }),
            ComponentAnyTypeId::Resource(_) => None,
        };
        let size = size.unwrap_or_default();
        self.0.insert(id, size);
        size
    }

    fn defined(&mut self, types: TypesRef<'_>, ty: &ComponentDefinedType) -> Size {
        use ComponentDefinedType as Defined;
        let parts: Vec<(ComponentValType, u64)> = match ty {
            Defined::Primitive(_) | Defined::Own(_) | Defined::Borrow(_) => Vec::new(),
            Defined::Flags(names) | Defined::Enum(names) => {
                return Size { depth: 1, members: names.len() as u64 };
            }
            Defined::Record(record) => record.fields.values().map(|ty| (*ty, 1)).collect(),
            Defined::Variant(variant) => {
                variant.cases.values().filter_map(|case| Some((case.ty?, 1))).collect()
            }
            Defined::Tuple(tuple) => tuple.types.iter().map(|ty| (*ty, 1)).collect(),
            Defined::List { element: ty, .. } | Defined::Option { ty, .. } => vec![(*ty, 1)],
            Defined::FixedLengthList { element, length, .. } => vec![(*element, (*length).into())],
            Defined::Map { key, value, .. } => vec![(*key, 1), (*value, 1)],
            Defined::Result { ok, err, .. } => ok.iter().chain(err).map(|ty| (*ty, 1)).collect(),
            Defined::Future { ty, .. } | Defined::Stream { ty, .. } => {
                ty.iter().map(|ty| (*ty, 1)).collect()
            }
        };
        let inner = self.sum(types, parts.into_iter());
        Size { depth: inner.depth + 1, members: inner.members.saturating_add(1) }
    }

    fn sum(
        &mut self,
        types: TypesRef<'_>,
        parts: impl Iterator<Item = (ComponentValType, u64)>,
    ) -> Size {
        parts.fold(Size::default(), |sum, (ty, times)| {
            let part = match ty {
                ComponentValType::Primitive(_) => Size { depth: 1, members: 1 },
                ComponentValType::Type(id) => self.of(types, ComponentAnyTypeId::Defined(id)),
            };
            Size {
                depth: sum.depth.max(part.depth),
                members: sum.members.saturating_add(part.members.saturating_mul(times)),
            }
        })
    }

    fn largest<'a>(
        &mut self,
        types: TypesRef<'_>,
        items: impl Iterator<Item = &'a ComponentItem>,
    ) -> Size {
        items.fold(Size::default(), |largest, item| {
            let size = match item.ty {
                ComponentEntityType::Func(id) => self.of(types, ComponentAnyTypeId::Func(id)),
                ComponentEntityType::Value(ty) => self.sum(types, std::iter::once((ty, 1))),
                ComponentEntityType::Type { referenced, .. } => self.of(types, referenced),
                ComponentEntityType::Instance(id) => {
                    self.of(types, ComponentAnyTypeId::Instance(id))
                }
                ComponentEntityType::Component(id) => {
                    self.of(types, ComponentAnyTypeId::Component(id))
                }
                ComponentEntityType::Module(_) => Size::default(),
            };
            Size {
                depth: largest.depth.max(size.depth),
                members: largest.members.max(size.members),
            }
        })
    }
}
