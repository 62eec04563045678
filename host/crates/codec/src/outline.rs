//! Where a component lifts what it exports, and how many of everything it has at its root.
//!
//! Reads the root's sections and, of nested components, which import each export stands for: the
//! components that toolchains make export interfaces through such shims.

use std::{collections::HashMap, rc::Rc};

use roadstead_transcode::ExportPath;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, ExternalKind, Parser, Payload,
};

use crate::Unserved;

/// Payloads that are read of a component, nested ones included. Code is stepped over.
const MAX_SECTIONS: usize = 1 << 20;

/// A lifted function at the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lift {
    /// The core function.
    pub(crate) function: u32,
    pub(crate) memory: Option<u32>,
    pub(crate) realloc: Option<u32>,
    pub(crate) post_return: Option<u32>,
    /// Why it cannot be called like this.
    pub(crate) unserved: Option<Unserved>,
}

/// The next free index of everything that a graft adds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) core_modules: u32,
    pub(crate) core_instances: u32,
    pub(crate) core_functions: u32,
    pub(crate) core_memories: u32,
    pub(crate) functions: u32,
    pub(crate) types: u32,
}

/// What is known of a component's root.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) counts: Counts,
    core_functions: Aliased,
    core_memories: Aliased,
    functions: Vec<Option<Lift>>,
    instances: Vec<Rc<Exports>>,
    components: Vec<Rc<Shim>>,
    exports: Exports,
    /// Names of all exports, of any kind.
    names: Vec<String>,
    pub(crate) instance_count: u32,
}

/// What an instance, or the root itself, exports.
#[derive(Debug, Default, Clone)]
struct Exports {
    functions: HashMap<String, u32>,
    instances: HashMap<String, usize>,
}

/// Of a nested component: the imported function that stands behind an exported name.
#[derive(Debug, Default, Clone)]
struct Shim {
    functions: Vec<Option<String>>,
    exports: HashMap<String, String>,
}

type Read<T> = Result<T, BinaryReaderError>;

impl Outline {
    pub(crate) fn read(component: &[u8]) -> Read<Self> {
        let mut outline = Self::default();
        let mut open: Vec<Nested> = Vec::new();
        for payload in Parser::new(0).parse_all(component).take(MAX_SECTIONS) {
            let payload = payload?;
            match (&payload, open.last_mut()) {
                (Payload::Version { .. }, _) => {}
                (Payload::ModuleSection { .. }, _) => open.push(Nested::Module),
                (Payload::ComponentSection { .. }, None) => {
                    open.push(Nested::Shim(Shim::default()));
                }
                (Payload::ComponentSection { .. }, Some(_)) => open.push(Nested::Deeper),
                (Payload::End(_), _) => match open.pop() {
                    Some(Nested::Module) if open.is_empty() => outline.counts.core_modules += 1,
                    Some(Nested::Shim(shim)) => outline.components.push(Rc::new(shim)),
                    _ => {}
                },
                (_, Some(Nested::Shim(shim))) => shim.section(&payload)?,
                (_, Some(_)) => {}
                (_, None) => outline.section(payload)?,
            }
        }
        Ok(outline)
    }

    /// The lift behind an export.
    pub(crate) fn lift(&self, path: &ExportPath) -> Result<&Lift, Unserved> {
        let exports = match &path.interface {
            None => Some(&self.exports),
            Some(interface) => {
                let index = self.exports.instances.get(interface);
                index.and_then(|index| self.instances.get(*index)).map(|exports| &**exports)
            }
        };
        let function = exports.and_then(|exports| exports.functions.get(&path.function));
        let lift = function.and_then(|index| self.functions.get(usize::try_from(*index).ok()?));
        match lift {
            Some(Some(Lift { unserved: Some(why), .. })) => Err(*why),
            Some(Some(lift)) => Ok(lift),
            _ => Err(Unserved::NotAtRoot),
        }
    }

    /// The core instance that exports a core function.
    pub(crate) fn instance_of_function(&self, function: u32) -> Option<u32> {
        self.core_functions.instance(function)
    }

    /// The core instance that exports a memory.
    pub(crate) fn instance_of_memory(&self, memory: u32) -> Option<u32> {
        self.core_memories.instance(memory)
    }

    pub(crate) fn has_export(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    fn section(&mut self, payload: Payload<'_>) -> Read<()> {
        match payload {
            Payload::InstanceSection(section) => self.counts.core_instances += section.count(),
            Payload::ComponentTypeSection(section) => self.counts.types += section.count(),
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(alias?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    self.canonical(function?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    let exports = self.instance(instance?);
                    self.instances.push(Rc::new(exports));
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    match import?.ty {
                        ComponentTypeRef::Module(_) => self.counts.core_modules += 1,
                        ComponentTypeRef::Func(_) => self.functions.push(None),
                        ComponentTypeRef::Type(_) => self.counts.types += 1,
                        ComponentTypeRef::Instance(_) => self.instances.push(Rc::default()),
                        ComponentTypeRef::Component(_) => self.components.push(Rc::default()),
                        ComponentTypeRef::Value(_) => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.export(export.name.name, export.kind, export.index);
                }
            }
            _ => {}
        }
        self.counts.core_functions = count(self.core_functions.all.len());
        self.counts.core_memories = count(self.core_memories.all.len());
        self.counts.functions = count(self.functions.len());
        self.instance_count = count(self.instances.len());
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) {
        match alias {
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                let of = Some((instance_index, name.to_owned()));
                match kind {
                    ExternalKind::Func => self.core_functions.push(of),
                    ExternalKind::Memory => self.core_memories.push(of),
                    _ => {}
                }
            }
            ComponentAlias::InstanceExport { kind, instance_index, name } => {
                let of = usize::try_from(instance_index).ok();
                let of = of.and_then(|index| self.instances.get(index));
                match kind {
                    ComponentExternalKind::Func => {
                        let index = of.and_then(|exports| exports.functions.get(name)).copied();
                        let lift = index.and_then(|index| self.function(index));
                        self.functions.push(lift);
                    }
                    ComponentExternalKind::Instance => {
                        let index = of.and_then(|exports| exports.instances.get(name)).copied();
                        let exports = index.and_then(|index| self.instances.get(index)).cloned();
                        self.instances.push(exports.unwrap_or_default());
                    }
                    ComponentExternalKind::Component => self.components.push(Rc::default()),
                    ComponentExternalKind::Module => self.counts.core_modules += 1,
                    ComponentExternalKind::Type => self.counts.types += 1,
                    ComponentExternalKind::Value => {}
                }
            }
            ComponentAlias::Outer { kind, .. } => match kind {
                ComponentOuterAliasKind::CoreModule => self.counts.core_modules += 1,
                ComponentOuterAliasKind::Type => self.counts.types += 1,
                ComponentOuterAliasKind::Component => self.components.push(Rc::default()),
                ComponentOuterAliasKind::CoreType => {}
            },
        }
    }

    fn canonical(&mut self, function: CanonicalFunction) {
        match function {
            CanonicalFunction::Lift { core_func_index, options, .. } => {
                let mut lift = Lift::new(core_func_index, &options);
                lift.memory = lift.memory.map(|index| self.core_memories.first(index));
                lift.realloc = lift.realloc.map(|index| self.core_functions.first(index));
                lift.post_return = lift.post_return.map(|index| self.core_functions.first(index));
                self.functions.push(Some(lift));
            }
            // All others define a core function.
            _ => self.core_functions.push(None),
        }
    }

    fn instance(&self, instance: ComponentInstance<'_>) -> Exports {
        let mut found = Exports::default();
        match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                let index = usize::try_from(component_index).ok();
                let Some(shim) = index.and_then(|index| self.components.get(index)) else {
                    return found;
                };
                let given: HashMap<&str, u32> = args
                    .iter()
                    .filter(|arg| arg.kind == ComponentExternalKind::Func)
                    .map(|arg| (arg.name, arg.index))
                    .collect();
                for (name, import) in &shim.exports {
                    if let Some(index) = given.get(import.as_str()) {
                        found.functions.insert(name.clone(), *index);
                    }
                }
            }
            ComponentInstance::FromExports(exports) => {
                for export in &exports {
                    found.add(export.name.name, export.kind, export.index);
                }
            }
        }
        found
    }

    /// An export is one more name for what it exports.
    fn export(&mut self, name: &str, kind: ComponentExternalKind, index: u32) {
        self.names.push(name.to_owned());
        self.exports.add(name, kind, index);
        match kind {
            ComponentExternalKind::Func => {
                let lift = self.function(index);
                self.functions.push(lift);
            }
            ComponentExternalKind::Instance => {
                let known = usize::try_from(index).ok();
                let known = known.and_then(|index| self.instances.get(index)).cloned();
                self.instances.push(known.unwrap_or_default());
            }
            ComponentExternalKind::Component => self.components.push(Rc::default()),
            ComponentExternalKind::Module => self.counts.core_modules += 1,
            ComponentExternalKind::Type => self.counts.types += 1,
            ComponentExternalKind::Value => {}
        }
    }

    fn function(&self, index: u32) -> Option<Lift> {
        self.functions.get(usize::try_from(index).ok()?).cloned().flatten()
    }
}

/// Core functions or memories, of which several may be the same.
#[derive(Debug, Default)]
struct Aliased {
    /// For each, the first that is the same, and the instance that exports it.
    all: Vec<(u32, Option<u32>)>,
    known: HashMap<(u32, String), u32>,
}

impl Aliased {
    /// One more: the export of an instance, or one of its own.
    fn push(&mut self, of: Option<(u32, String)>) {
        let index = count(self.all.len());
        let instance = of.as_ref().map(|(instance, _)| *instance);
        let first = of.map_or(index, |of| *self.known.entry(of).or_insert(index));
        self.all.push((first, instance));
    }

    fn first(&self, index: u32) -> u32 {
        self.get(index).map_or(index, |(first, _)| first)
    }

    fn instance(&self, index: u32) -> Option<u32> {
        self.get(index)?.1
    }

    fn get(&self, index: u32) -> Option<(u32, Option<u32>)> {
        self.all.get(usize::try_from(index).ok()?).copied()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What is open around a payload, below the root.
enum Nested {
    Module,
    Shim(Shim),
    Deeper,
}

impl Exports {
    fn add(&mut self, name: &str, kind: ComponentExternalKind, index: u32) {
        match kind {
            ComponentExternalKind::Func => {
                self.functions.insert(name.to_owned(), index);
            }
            ComponentExternalKind::Instance => {
                if let Ok(index) = usize::try_from(index) {
                    self.instances.insert(name.to_owned(), index);
                }
            }
            _ => {}
        }
    }
}

impl Shim {
    fn section(&mut self, payload: &Payload<'_>) -> Read<()> {
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    if let ComponentTypeRef::Func(_) = import.ty {
                        self.functions.push(Some(import.name.name.to_owned()));
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.clone() {
                    if let CanonicalFunction::Lift { .. } = function? {
                        self.functions.push(None);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    let kind = ComponentExternalKind::Func;
                    if matches!(alias?, ComponentAlias::InstanceExport { kind: k, .. } if k == kind)
                    {
                        self.functions.push(None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Func {
                        let index = usize::try_from(export.index).ok();
                        let import = index.and_then(|index| self.functions.get(index)).cloned();
                        let import = import.flatten();
                        if let Some(import) = &import {
                            self.exports.insert(export.name.name.to_owned(), import.clone());
                        }
                        self.functions.push(import);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Lift {
    fn new(function: u32, options: &[CanonicalOption]) -> Self {
        let mut lift =
            Self { function, memory: None, realloc: None, post_return: None, unserved: None };
        for option in options {
            match option {
                CanonicalOption::UTF8 => {}
                CanonicalOption::Memory(index) => lift.memory = Some(*index),
                CanonicalOption::Realloc(index) => lift.realloc = Some(*index),
                CanonicalOption::PostReturn(index) => lift.post_return = Some(*index),
                CanonicalOption::UTF16 | CanonicalOption::CompactUTF16 => {
                    lift.unserved = Some(Unserved::Encoding);
                }
                CanonicalOption::Async | CanonicalOption::Callback(_) => {
                    lift.unserved = Some(Unserved::Async);
                }
                CanonicalOption::CoreType(_) | CanonicalOption::Gc => {
                    lift.unserved = Some(Unserved::NotAtRoot);
                }
            }
        }
        lift
    }
}
