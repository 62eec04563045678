//! Components made from WIT alone.
//!
//! A function whose arguments and result cross the canonical ABI in the same core types gives its
//! argument back: that holds for one scalar, and for anything wide enough to travel through memory
//! (more than 16 core values), where argument and result are both one pointer. All other functions
//! trap, except that one named `busy` first counts its argument down to zero. Imports are declared
//! and never called.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{
    Function, LiftLowerAbi, ManglingAndAbi, Resolve, WasmExport, WasmExportKind, WasmImport,
    WorldId, WorldItem, WorldKey,
    abi::{AbiVariant, WasmType},
};

const MANGLING: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

/// Where the bump allocator begins; 0 must stay free, for it is the null pointer.
const HEAP_BASE: u32 = 1024;

/// Spends processor time in proportion to the argument, then gives it back.
const COUNT_DOWN: &str = "(local $left i64)
  (local.set $left (local.get 0))
  (block $done (loop $again
    (br_if $done (i64.eqz (local.get $left)))
    (local.set $left (i64.sub (local.get $left) (i64.const 1)))
    (br $again)))
  (local.get 0)";

/// An import of WASI 0.1, as `wasm32-wasip1` output has them.
const PREVIEW1: &str = "(import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32)))\n";

/// A core module with WIT metadata, as `cargo build --target wasm32-wasip1` makes them.
///
/// # Errors
/// Where the WIT does not parse or holds several worlds.
pub(crate) fn core(wit: &Path) -> anyhow::Result<Vec<u8>> {
    embedded(wit, PREVIEW1)
}

/// The component of the only world in `wit`, with `padding` zero bytes in a custom section.
///
/// # Errors
/// Where the WIT does not parse, holds several worlds, or does not encode.
pub(crate) fn echo(wit: &Path, padding: usize) -> anyhow::Result<Vec<u8>> {
    let module = embedded(wit, "")?;
    let mut component = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    if padding > 0 {
        append_custom_section(&mut component, padding)?;
    }
    Ok(component)
}

fn embedded(wit: &Path, imports: &str) -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], None)?;
    let mut module = wat::parse_str(core_module(&resolve, world, imports)?)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(module)
}

fn core_module(resolve: &Resolve, world: WorldId, imports: &str) -> anyhow::Result<String> {
    let world = resolve.worlds.get(world).context("the world exists")?;
    let mut wat = format!("(module\n{imports}");
    for (key, item) in &world.imports {
        for (interface, function) in functions(resolve, key, item) {
            import(&mut wat, resolve, interface, function)?;
        }
    }
    let realloc = resolve.wasm_export_name(MANGLING, WasmExport::Realloc);
    let memory = resolve.wasm_export_name(MANGLING, WasmExport::Memory);
    write!(
        wat,
        r#"(memory (export "{memory}") 1)
(global $next (mut i32) (i32.const {HEAP_BASE}))
(func (export "{realloc}") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
    (i32.sub (i32.const 0) (local.get $align))))
  (global.set $next (i32.add (local.get $at) (local.get $size)))
  (block $fits
    (br_if $fits (i32.le_u (global.get $next) (i32.shl (memory.size) (i32.const 16))))
    (br_if $fits (i32.ne (i32.const -1) (memory.grow
      (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16))))))
    unreachable)
  (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
  (local.get $at))
"#
    )?;
    for (key, item) in &world.exports {
        for (interface, function) in functions(resolve, key, item) {
            export(&mut wat, resolve, interface, function)?;
        }
    }
    wat.push_str(")\n");
    Ok(wat)
}

/// The functions of one import or export, each with the interface it belongs to.
fn functions<'a>(
    resolve: &'a Resolve,
    key: &'a WorldKey,
    item: &'a WorldItem,
) -> Vec<(Option<&'a WorldKey>, &'a Function)> {
    match item {
        WorldItem::Function(function) => vec![(None, function)],
        WorldItem::Interface { id, .. } => resolve
            .interfaces
            .get(*id)
            .into_iter()
            .flat_map(|interface| interface.functions.values())
            .map(|function| (Some(key), function))
            .collect(),
        WorldItem::Type { .. } => Vec::new(),
    }
}

fn import(
    wat: &mut String,
    resolve: &Resolve,
    interface: Option<&WorldKey>,
    function: &Function,
) -> anyhow::Result<()> {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let (module, name) =
        resolve.wasm_import_name(MANGLING, WasmImport::Func { interface, func: function });
    let (params, results) = (types(&signature.params), types(&signature.results));
    writeln!(wat, "(import \"{module}\" \"{name}\" (func (param {params}) (result {results})))")?;
    Ok(())
}

fn export(
    wat: &mut String,
    resolve: &Resolve,
    interface: Option<&WorldKey>,
    function: &Function,
) -> anyhow::Result<()> {
    let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
    let name = |kind| {
        resolve.wasm_export_name(MANGLING, WasmExport::Func { interface, func: function, kind })
    };
    let (params, results) = (types(&signature.params), types(&signature.results));
    let body = if function.name == "busy" && params == "i64" && results == "i64" {
        COUNT_DOWN
    } else if params == results && signature.params.len() == 1 {
        "local.get 0"
    } else if signature.results.is_empty() {
        ""
    } else {
        "unreachable"
    };
    let normal = name(WasmExportKind::Normal);
    writeln!(wat, "(func (export \"{normal}\") (param {params}) (result {results}) {body})")?;
    if signature.retptr {
        let post = name(WasmExportKind::PostReturn);
        writeln!(
            wat,
            "(func (export \"{post}\") (param {results}) (global.set $next (i32.const {HEAP_BASE})))"
        )?;
    }
    Ok(())
}

fn types(types: &[WasmType]) -> String {
    let names: Vec<_> = types
        .iter()
        .map(|wasm_type| match wasm_type {
            WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
            WasmType::I64 | WasmType::PointerOrI64 => "i64",
            WasmType::F32 => "f32",
            WasmType::F64 => "f64",
        })
        .collect();
    names.join(" ")
}

/// Section id 0, its size, the name `padding`, then zeros.
fn append_custom_section(component: &mut Vec<u8>, padding: usize) -> anyhow::Result<()> {
    const NAME: &[u8] = b"padding";
    component.push(0);
    let mut size = u32::try_from(1 + NAME.len() + padding).context("padding is too large")?;
    loop {
        let low = u8::try_from(size & 0x7f)?;
        size >>= 7;
        component.push(if size == 0 { low } else { low | 0x80 });
        if size == 0 {
            break;
        }
    }
    component.push(u8::try_from(NAME.len())?);
    component.extend_from_slice(NAME);
    component.resize(component.len() + padding, 0);
    Ok(())
}
