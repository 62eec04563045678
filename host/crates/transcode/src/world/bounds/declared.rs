//! Types as they are declared: how many, how deep in one another, with which names.
//!
//! A component type or an instance type holds declarations, among them types again. The parser
//! reads them by recursion without a bound, so they are walked here first, without.

use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentAlias, ComponentDefinedType, ComponentType,
    ComponentTypeDeclaration, CoreType, ModuleTypeDeclaration,
};

use super::{Outline, unreadable};
use crate::world::WorldError;

/// How declarations begin.
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;
const TYPE_DECLARATION: u8 = 0x01;

impl Outline {
    /// The types of a section: their number, and then they.
    pub(super) fn declarations(&mut self, section: &[u8], at: usize) -> Result<(), WorldError> {
        let mut reader = BinaryReader::new(section, at);
        let count = reader.read_var_u32().map_err(unreadable)?;
        self.types.add(u64::from(count))?;
        (0..count).try_for_each(|_| self.declared(&mut reader))
    }

    fn declared(&mut self, reader: &mut BinaryReader<'_>) -> Result<(), WorldError> {
        // Declarations that are still to come, at every level.
        let mut open = Vec::new();
        loop {
            if let COMPONENT_TYPE | INSTANCE_TYPE = next(reader).map_err(unreadable)? {
                reader.read_u8().map_err(unreadable)?;
                let declarations = reader.read_var_u32().map_err(unreadable)?;
                self.types.add(u64::from(declarations))?;
                open.push(declarations);
                self.type_nesting.at_least(open.len() as u64)?;
            } else {
                let ty = reader.read().map_err(unreadable)?;
                self.type_names(&ty)?;
            }
            loop {
                let Some(left) = open.last_mut() else { return Ok(()) };
                let Some(fewer) = left.checked_sub(1) else {
                    open.pop();
                    continue;
                };
                *left = fewer;
                if next(reader).map_err(unreadable)? == TYPE_DECLARATION {
                    reader.read_u8().map_err(unreadable)?;
                    break;
                }
                let declaration = reader.read().map_err(unreadable)?;
                self.declaration(&declaration)?;
            }
        }
    }

    fn declaration(&mut self, declared: &ComponentTypeDeclaration<'_>) -> Result<(), WorldError> {
        match declared {
            ComponentTypeDeclaration::CoreType(ty) => self.core_type(ty),
            ComponentTypeDeclaration::Type(ty) => self.type_names(ty),
            ComponentTypeDeclaration::Alias(alias) => self.alias(alias),
            ComponentTypeDeclaration::Export { name, .. } => self.extern_name(name),
            ComponentTypeDeclaration::Import(import) => self.extern_name(&import.name),
        }
    }

    pub(super) fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), WorldError> {
        match alias {
            ComponentAlias::InstanceExport { name, .. }
            | ComponentAlias::CoreInstanceExport { name, .. } => self.name_bytes.of(name),
            ComponentAlias::Outer { .. } => Ok(()),
        }
    }

    pub(super) fn core_type(&mut self, ty: &CoreType<'_>) -> Result<(), WorldError> {
        let declarations = match ty {
            CoreType::Rec(group) => return self.types.add(group.types().len() as u64 - 1),
            CoreType::Module(declarations) => declarations,
        };
        self.types.add(declarations.len() as u64)?;
        declarations.iter().try_for_each(|declaration| match declaration {
            ModuleTypeDeclaration::Type(group) => self.types.add(group.types().len() as u64 - 1),
            ModuleTypeDeclaration::Export { name, .. } => self.name_bytes.of(name),
            ModuleTypeDeclaration::Import(import) => {
                self.name_bytes.of(import.module)?;
                self.name_bytes.of(import.name)
            }
            ModuleTypeDeclaration::OuterAlias { .. } => Ok(()),
        })
    }

    fn type_names(&mut self, ty: &ComponentType<'_>) -> Result<(), WorldError> {
        use ComponentDefinedType::{Enum, Flags, Record, Variant};
        let mut name = |name: &&str| self.name_bytes.of(name);
        match ty {
            ComponentType::Func(func) => func.params.iter().try_for_each(|(param, _)| name(param)),
            ComponentType::Defined(Record(fields)) => {
                fields.iter().try_for_each(|(field, _)| name(field))
            }
            ComponentType::Defined(Variant(cases)) => {
                cases.iter().try_for_each(|case| name(&case.name))
            }
            ComponentType::Defined(Flags(names) | Enum(names)) => names.iter().try_for_each(name),
            _ => Ok(()),
        }
    }
}

/// The byte that comes next.
fn next(reader: &BinaryReader<'_>) -> Result<u8, BinaryReaderError> {
    reader.clone().read_u8()
}
