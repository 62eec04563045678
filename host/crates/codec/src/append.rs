//! The sections that a codec adds to its component.

use roadstead_transcode::ExportPath;
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentInstanceSection, ComponentSection, ComponentTypeSection,
    ComponentValType, ExportKind, InstanceSection, ModuleArg, ModuleSection, PrimitiveValType,
};

use crate::{
    function_name,
    generate::{GUEST, MEMORY, REALLOC, Served, entry_name, generate, import_name},
    outline::{Counts, Outline},
    scratch::{Item, Scratch},
};

/// What the codec's functions are lifted with.
struct Lifting {
    memory: u32,
    /// The codec's own; the functions for the methods follow it.
    realloc: u32,
}

/// Appends the module, its instance, and the functions under the name `export`.
pub(crate) fn append(
    to: &mut Vec<u8>,
    outline: &Outline,
    scratch: Scratch,
    export: &str,
    served: Vec<(&ExportPath, Served<'_>)>,
) {
    let (paths, methods): (Vec<&ExportPath>, Vec<Served<'_>>) = served.into_iter().unzip();
    let lifting = instantiate(to, outline.counts, scratch, &methods);
    lift(to, outline.counts, &lifting, methods.len());

    let mut instance = ComponentInstanceSection::new();
    let names: Vec<String> = paths.into_iter().map(function_name).collect();
    let functions: Vec<(&str, ComponentExportKind, u32)> = (outline.counts.functions..)
        .zip(&names)
        .map(|(index, name)| (&**name, ComponentExportKind::Func, index))
        .collect();
    instance.export_items(functions);
    instance.append_to_component(to);
    let mut exports = ComponentExportSection::new();
    exports.export(export, ComponentExportKind::Instance, outline.instance_count, None);
    exports.append_to_component(to);
}

/// The module and its only instance, with what it shares with the guest.
fn instantiate(
    to: &mut Vec<u8>,
    mut next: Counts,
    scratch: Scratch,
    methods: &[Served<'_>],
) -> Lifting {
    let guest = match scratch {
        Scratch::Own => None,
        Scratch::Guest { memory, realloc } => {
            let memory = index(to, &mut next.core_memories, ExportKind::Memory, memory);
            let realloc = index(to, &mut next.core_functions, ExportKind::Func, realloc);
            Some((memory, realloc))
        }
    };
    let core = generate(methods, guest.map(|(_, realloc)| realloc));
    ModuleSection(&core.module).append_to_component(to);

    let mut instances = InstanceSection::new();
    let functions = core.functions.iter();
    let mut shared: Vec<(String, ExportKind, u32)> =
        functions.map(|index| (import_name(*index), ExportKind::Func, *index)).collect();
    shared.extend(guest.map(|(memory, _)| (MEMORY.to_owned(), ExportKind::Memory, memory)));
    instances.export_items(shared);
    let of_guest = ModuleArg::Instance(next.core_instances);
    instances.instantiate(next.core_modules, [(GUEST, of_guest)]);
    instances.append_to_component(to);

    let mut aliases = ComponentAliasSection::new();
    let instance = next.core_instances + 1;
    let mut alias = |name: &str, kind: ExportKind| {
        aliases.alias(Alias::CoreInstanceExport { instance, kind, name });
    };
    alias(REALLOC, ExportKind::Func);
    (0..methods.len()).for_each(|method| alias(&entry_name(method), ExportKind::Func));
    let memory = guest.map(|(memory, _)| memory).unwrap_or_else(|| {
        alias(MEMORY, ExportKind::Memory);
        next.core_memories
    });
    aliases.append_to_component(to);
    Lifting { memory, realloc: next.core_functions }
}

/// The index of a core item, which is aliased if it has none.
fn index(to: &mut Vec<u8>, next: &mut u32, kind: ExportKind, item: Item) -> u32 {
    let (instance, name) = match item {
        Item::Known(index) => return index,
        Item::Export(instance, name) => (instance, name),
    };
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport { instance, kind, name });
    aliases.append_to_component(to);
    let index = *next;
    *next += 1;
    index
}

/// One function for each method.
fn lift(to: &mut Vec<u8>, counts: Counts, lifting: &Lifting, methods: usize) {
    let mut types = ComponentTypeSection::new();
    types.defined_type().list(PrimitiveValType::U8);
    let bytes = ComponentValType::Type(counts.types);
    let length = ComponentValType::Primitive(PrimitiveValType::U32);
    types.defined_type().result(Some(bytes), Some(length));
    let result = ComponentValType::Type(counts.types + 1);
    types.function().params([("request", bytes), ("limit", length)]).result(Some(result));
    types.append_to_component(to);

    let mut lifted = CanonicalFunctionSection::new();
    let options =
        [CanonicalOption::Memory(lifting.memory), CanonicalOption::Realloc(lifting.realloc)];
    for function in (lifting.realloc + 1..).take(methods) {
        lifted.lift(function, counts.types + 2, options);
    }
    lifted.append_to_component(to);
}
