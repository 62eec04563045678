//! A first look at an upload, linear in its size: whether decoding, validating and compiling it
//! stays in proportion.
//!
//! What tools do for each item grows with how deep it lies and with how many others there are, so
//! a small file could keep them busy for minutes, or end the process by recursion. Sections say how
//! many items they have before any of them is read. All bounds stand in one table, [`Outline`]'s
//! default, far above what toolchains make.

mod code;
mod declared;
mod instances;
mod unfold;

use wasmparser::{
    BinaryReaderError, ComponentExternName, FromReader, Imports, Parser, Payload, SectionLimited,
};

use super::{WorldError, binary::malformed};

/// # Errors
/// [`WorldError::TooMany`] names the bound; [`WorldError::Malformed`] and
/// [`WorldError::Truncated`] where the sections do not read.
pub(super) fn check_core(core: &[u8]) -> Result<(), WorldError> {
    let mut outline = Outline::default();
    outline.walk(core)?;
    outline.metadata(core)
}

/// How many component instances an instance of the component consists of.
///
/// # Errors
/// Those of [`check_core`].
pub(super) fn check(component: &[u8]) -> Result<u64, WorldError> {
    let mut outline = Outline::default();
    outline.walk(component)?;
    outline.unfold(component)?;
    let instances = instances::component_instances(component)?;
    outline.component_instances.at_least(instances)?;
    Ok(instances)
}

/// What was seen so far: sums over all depths, and the largest of what is bounded one by one.
#[derive(Debug)]
struct Outline {
    nesting: Count,
    parts: Count,
    instances: Count,
    component_instances: Count,
    types: Count,
    type_nesting: Count,
    type_depth: Count,
    type_members: Count,
    imports: Count,
    exports: Count,
    aliases: Count,
    canonical_functions: Count,
    functions: Count,
    globals: Count,
    memories: Count,
    tables: Count,
    data_segments: Count,
    element_segments: Count,
    function_bytes: Count,
    locals: Count,
    blocks: Count,
    br_table_targets: Count,
    name_bytes: Count,
    custom_sections: Count,
    custom_bytes: Count,
}

/// Beside each bound stands what a Python interpreter with its libraries needs (18 MB, the largest
/// of the modules here).
impl Default for Outline {
    fn default() -> Self {
        let most = |most, what| Count { what, most, found: 0 };
        Self {
            nesting: most(64, "levels of components and core modules in one another"), // 2
            parts: most(1_000, "components and core modules"),                         // 17
            instances: most(4_000, "instances"),                                       // 66
            component_instances: most(64, "component instances in one another"),       // 1
            types: most(100_000, "types"),                                             // 1,672
            type_nesting: most(16, "levels of instance and component types in one another"), // 1
            type_depth: most(64, "levels in one type"),                                // 7
            type_members: most(100_000, "members in one type, written out in full"),   // 64
            imports: most(100_000, "imports"),                                         // 2,301
            exports: most(100_000, "exports"),                                         // 4,220
            aliases: most(100_000, "aliases"),                                         // 1,341
            canonical_functions: most(100_000, "canonical functions"),                 // 125
            functions: most(400_000, "functions"),                                     // 13,357
            globals: most(100_000, "globals"),                                         // 874
            memories: most(100, "memories"),                                           // 1
            tables: most(1_000, "tables"),                                             // 2
            data_segments: most(100_000, "data segments"),                             // 1,905
            element_segments: most(100_000, "element segments"),                       // 7
            function_bytes: most(2 << 20, "bytes in the body of one function"),        // 426,843
            locals: most(20_000, "locals in one function"),                            // 271
            blocks: most(10_000, "levels of blocks in one function"),                  // 781
            br_table_targets: most(20_000, "targets of one br_table"),                 // 3,202
            name_bytes: most(4 << 10, "bytes in one name"),                            // 162
            custom_sections: most(10_000, "custom sections"),                          // 25
            custom_bytes: most(64 << 20, "bytes in custom sections"),                  // 418,030
        }
    }
}

impl Outline {
    fn walk(&mut self, wasm: &[u8]) -> Result<(), WorldError> {
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(unreadable)? {
                Payload::Version { .. } => {
                    depth += 1;
                    self.nesting.at_least(depth)?;
                    self.parts.add(1)?;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) => {
                    self.custom_sections.add(1)?;
                    self.name_bytes.of(section.name())?;
                    self.custom_bytes.add(section.data().len() as u64)?;
                }
                Payload::CodeSectionEntry(body) => self.body(&body)?,
                Payload::ComponentTypeSection(section) => {
                    let range = section.range();
                    let start = range.start;
                    self.declarations(wasm.get(range).unwrap_or_default(), start)?;
                }
                section => self.core(&section)?,
            }
        }
        Ok(())
    }

    /// The WIT of a core module: components of their own, which hold no further ones.
    fn metadata(&mut self, core: &[u8]) -> Result<(), WorldError> {
        for payload in Parser::new(0).parse_all(core) {
            if let Payload::CustomSection(section) = payload.map_err(unreadable)?
                && section.name().starts_with("component-type")
                && Parser::is_component(section.data())
            {
                self.walk(section.data())?;
                self.unfold(section.data())?;
            }
        }
        Ok(())
    }

    fn core(&mut self, section: &Payload<'_>) -> Result<(), WorldError> {
        match section {
            Payload::TypeSection(section) => {
                self.types.claim(section)?;
                each(section, |group| self.types.add(group.types().len() as u64 - 1))
            }
            Payload::ImportSection(section) => {
                self.imports.claim(section)?;
                each(section, |imports| self.core_imports(imports))
            }
            Payload::ExportSection(section) => {
                self.exports.claim(section)?;
                each(section, |export| self.name_bytes.of(export.name))
            }
            Payload::FunctionSection(section) => self.functions.claim(section),
            Payload::GlobalSection(section) => self.globals.claim(section),
            Payload::TagSection(section) => self.globals.claim(section),
            Payload::MemorySection(section) => self.memories.claim(section),
            Payload::TableSection(section) => self.tables.claim(section),
            Payload::DataSection(section) => self.data_segments.claim(section),
            Payload::ElementSection(section) => self.element_segments.claim(section),
            section => self.component(section),
        }
    }

    fn component(&mut self, section: &Payload<'_>) -> Result<(), WorldError> {
        match section {
            Payload::CoreTypeSection(section) => {
                self.types.claim(section)?;
                each(section, |ty| self.core_type(&ty))
            }
            Payload::ComponentImportSection(section) => {
                self.imports.claim(section)?;
                each(section, |import| self.extern_name(&import.name))
            }
            Payload::ComponentExportSection(section) => {
                self.exports.claim(section)?;
                each(section, |export| self.extern_name(&export.name))
            }
            Payload::ComponentAliasSection(section) => {
                self.aliases.claim(section)?;
                each(section, |alias| self.alias(&alias))
            }
            Payload::ComponentCanonicalSection(section) => self.canonical_functions.claim(section),
            Payload::InstanceSection(section) => self.instances.claim(section),
            Payload::ComponentInstanceSection(section) => self.instances.claim(section),
            _ => Ok(()),
        }
    }

    fn core_imports(&mut self, imports: Imports<'_>) -> Result<(), WorldError> {
        match imports {
            Imports::Single(_, import) => {
                self.name_bytes.of(import.module)?;
                self.name_bytes.of(import.name)
            }
            Imports::Compact1 { module, items } => {
                self.name_bytes.of(module)?;
                self.imports.claim(&items)?;
                each(&items, |item| self.name_bytes.of(item.name))
            }
            Imports::Compact2 { module, names, .. } => {
                self.name_bytes.of(module)?;
                self.imports.claim(&names)?;
                each(&names, |name| self.name_bytes.of(name))
            }
        }
    }

    fn extern_name(&mut self, name: &ComponentExternName<'_>) -> Result<(), WorldError> {
        let parts = [Some(name.name), name.implements, name.version_suffix, name.external_id];
        parts.into_iter().flatten().try_for_each(|part| self.name_bytes.of(part))
    }
}

/// Something that is counted, and the most of it that is taken.
#[derive(Debug)]
struct Count {
    what: &'static str,
    most: u64,
    found: u64,
}

impl Count {
    fn add(&mut self, more: u64) -> Result<(), WorldError> {
        self.at_least(self.found.saturating_add(more))
    }

    fn at_least(&mut self, found: u64) -> Result<(), WorldError> {
        self.found = self.found.max(found);
        if self.found <= self.most {
            return Ok(());
        }
        Err(WorldError::TooMany { what: self.what, most: self.most, found: self.found })
    }

    /// What a section says to hold; its items need not be there.
    fn claim<T>(&mut self, section: &SectionLimited<'_, T>) -> Result<(), WorldError> {
        self.add(u64::from(section.count()))
    }

    fn of(&mut self, name: &str) -> Result<(), WorldError> {
        self.at_least(name.len() as u64)
    }
}

fn each<'a, T: FromReader<'a>>(
    section: &SectionLimited<'a, T>,
    mut check: impl FnMut(T) -> Result<(), WorldError>,
) -> Result<(), WorldError> {
    section.clone().into_iter().try_for_each(|item| check(item.map_err(unreadable)?))
}

fn unreadable(error: BinaryReaderError) -> WorldError {
    malformed(error.to_string())
}
