//! A first look at an upload, linear in its size: whether decoding and validating it stays so.
//!
//! What decoders do for each item grows with how deep it lies and with how many others there are,
//! so a small file could keep them busy for minutes. Sections say how many items they have before
//! any of them is read. The bounds are far above what toolchains make: a Python interpreter with
//! its libraries is 14 core modules two levels deep with 64 instances and 4,200 exports.

use wasmparser::{Parser, Payload};

use super::{WorldError, binary::malformed};

/// How deep components and core modules may lie in one another.
const NESTING: usize = 64;
/// Components and core modules in all.
const PARTS: u64 = 1_000;
const INSTANCES: u64 = 4_000;
/// Of types, imports, exports, aliases and canonical functions each.
const ITEMS: u64 = 100_000;

/// # Errors
/// [`WorldError::TooMany`] names the bound; [`WorldError::Malformed`] and
/// [`WorldError::Truncated`] where the sections do not read.
pub(super) fn check(wasm: &[u8]) -> Result<(), WorldError> {
    let mut outline = Outline::default();
    outline.walk(wasm)
}

/// What was seen so far, at all depths together.
#[derive(Default)]
struct Outline {
    parts: u64,
    instances: u64,
    types: u64,
    imports: u64,
    exports: u64,
    aliases: u64,
    functions: u64,
}

impl Outline {
    fn walk(&mut self, wasm: &[u8]) -> Result<(), WorldError> {
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|error| malformed(error.to_string()))?;
            match &payload {
                Payload::Version { .. } => {
                    depth += 1;
                    if NESTING < depth {
                        return Err(too_many("levels of nesting", NESTING as u64));
                    }
                    add(&mut self.parts, 1, "components and core modules", PARTS)?;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                // WIT metadata of a core module: a component of its own.
                Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                    if depth <= 1 && Parser::is_component(section.data()) {
                        self.walk(section.data())?;
                    }
                }
                other => self.count(other)?,
            }
        }
        Ok(())
    }

    fn count(&mut self, section: &Payload<'_>) -> Result<(), WorldError> {
        let (count, items, what, most) = match section {
            Payload::TypeSection(s) => (&mut self.types, s.count(), "types", ITEMS),
            Payload::CoreTypeSection(s) => (&mut self.types, s.count(), "types", ITEMS),
            Payload::ComponentTypeSection(s) => (&mut self.types, s.count(), "types", ITEMS),
            Payload::ImportSection(s) => (&mut self.imports, s.count(), "imports", ITEMS),
            Payload::ComponentImportSection(s) => (&mut self.imports, s.count(), "imports", ITEMS),
            Payload::ExportSection(s) => (&mut self.exports, s.count(), "exports", ITEMS),
            Payload::ComponentExportSection(s) => (&mut self.exports, s.count(), "exports", ITEMS),
            Payload::ComponentAliasSection(s) => (&mut self.aliases, s.count(), "aliases", ITEMS),
            Payload::ComponentCanonicalSection(s) => {
                (&mut self.functions, s.count(), "canonical functions", ITEMS)
            }
            Payload::InstanceSection(s) => (&mut self.instances, s.count(), "instances", INSTANCES),
            Payload::ComponentInstanceSection(s) => {
                (&mut self.instances, s.count(), "instances", INSTANCES)
            }
            _ => return Ok(()),
        };
        add(count, u64::from(items), what, most)
    }
}

fn add(count: &mut u64, more: u64, what: &'static str, most: u64) -> Result<(), WorldError> {
    *count = count.saturating_add(more);
    if *count <= most { Ok(()) } else { Err(too_many(what, most)) }
}

fn too_many(what: &'static str, most: u64) -> WorldError {
    WorldError::TooMany { what, most }
}
