//! Makes the codec's core module: one function for each message and pass, shared by all methods.
//!
//! A call goes through two passes over the request. `check` reads all of it, allocates nothing and
//! says whether it can be served; `build` reads it again and stores the values as the canonical ABI
//! has them, in memory that it asks the guest's own `realloc` for. Then the guest's function runs,
//! and `encode` writes what it returned from its end to its beginning. What `build` finds
//! malformed was changed by the guest since it was checked, and traps.

mod build;
mod check;
mod encode;
mod entry;
mod flat;
mod floats;
mod map;
mod numbers;
mod packed;
mod read;
mod scratch;
mod text;
mod walk;
mod write;

use std::collections::HashMap;

use roadstead_transcode::Scalar;
use wasm_encoder::{
    CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};

use crate::{
    asm::{Asm, I32, I64},
    outline::Lift,
    types::{Flat, Signature, align_to},
};

/// The module that the imported things belong to.
pub(crate) const GUEST: &str = "guest";
pub(crate) const MEMORY: &str = "memory";
/// The codec's own `realloc`, for requests.
pub(crate) const REALLOC: &str = "realloc";

/// A method that is served.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    pub(crate) lift: &'a Lift,
    pub(crate) signature: Signature,
}

/// The codec's module and what it wants of the guest.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) module: Module,
    /// Core functions by their index in the component; each is imported under [`import_name`].
    pub(crate) functions: Vec<u32>,
}

pub(crate) fn import_name(function: u32) -> String {
    format!("f{function}")
}

/// The export of the function for one of the methods.
pub(crate) fn entry_name(method: usize) -> String {
    format!("m{method}")
}

/// The module for some methods. `realloc` is the one that scratch memory comes from where a
/// method's own lift names none; without any the module has a memory of its own.
pub(crate) fn generate(methods: &[Served<'_>], realloc: Option<u32>) -> Core {
    let mut generator = Generator::default();
    if let Some(realloc) = realloc {
        generator.realloc(realloc);
    }
    for method in methods {
        generator.import_all(method);
    }
    generator.frame = methods.iter().map(frame).max().unwrap_or(0);
    let entries: Vec<u32> = methods.iter().map(|method| generator.entry(method)).collect();
    let realloc = generator.request_realloc();
    generator.module(&entries, realloc)
}

/// Bytes that a method needs beside what the guest allocates: for its parameters before they are
/// loaded, then for a result that is a single core value.
fn frame(method: &Served<'_>) -> u32 {
    let Signature { request, response } = &method.signature;
    let single = response.message().filter(|of| matches!(of.flat.as_deref(), Some([_])));
    let request = if request.flat.is_some() { request.layout.size } else { 0 };
    request.max(single.map_or(0, |message| message.layout.size))
}

type Type = (Vec<ValType>, Vec<ValType>);

/// What a function is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Varint,
    Tag,
    Span,
    Skip,
    Unknown,
    Utf8,
    Char,
    Count,
    Packed,
    Canonical32,
    Canonical64,
    Copy,
    Fresh,
    Alloc,
    AllocList,
    Grow,
    PutVarint,
    Put,
    PutText,
    PutChar,
    Bounds,
    Check(usize),
    Build(usize),
    Encode(usize),
    CheckEnums(usize),
    Unpack(Scalar),
    UnpackEnums(usize),
    Pack(Scalar),
    PackEnums(usize),
    SameTag(u32),
    CountRun(u32),
}

/// The globals of the module.
mod global {
    /// Where the scratch memory is; 0 before there is any.
    pub(super) const BLOCK: u32 = 0;
    /// How large it is.
    pub(super) const SIZE: u32 = 1;
    /// Which of the guest's `realloc`s the method at hand has.
    pub(super) const REALLOC: u32 = 2;
    /// The most that a response may be.
    pub(super) const LIMIT: u32 = 3;
    /// Bytes of a response over its limit that were thrown away.
    pub(super) const DISCARDED: u32 = 4;
}

/// What stands first in the scratch memory: what a call returns.
const RETURNED: u32 = 16;

#[derive(Default)]
struct Generator {
    types: Vec<Type>,
    type_index: HashMap<Type, u32>,
    /// Core functions of the component and their types.
    imports: Vec<(u32, u32)>,
    import_index: HashMap<u32, u32>,
    reallocs: Vec<u32>,
    functions: Vec<(u32, Function)>,
    known: HashMap<Key, u32>,
    frame: u32,
}

impl Generator {
    fn ty(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let ty = (params.to_vec(), results.to_vec());
        if let Some(index) = self.type_index.get(&ty) {
            return *index;
        }
        let index = count(self.types.len());
        self.types.push(ty.clone());
        self.type_index.insert(ty, index);
        index
    }

    /// Imports a core function of the guest, once. Goes before any function is defined.
    fn import(&mut self, function: u32, params: &[ValType], results: &[ValType]) -> u32 {
        if let Some(index) = self.import_index.get(&function) {
            return *index;
        }
        let ty = self.ty(params, results);
        let index = count(self.imports.len());
        self.imports.push((function, ty));
        self.import_index.insert(function, index);
        index
    }

    fn realloc(&mut self, function: u32) {
        let index = self.import(function, &[I32; 4], &[I32]);
        if !self.reallocs.contains(&index) {
            self.reallocs.push(index);
        }
    }

    fn import_all(&mut self, method: &Served<'_>) {
        let Served { lift, signature } = method;
        if let Some(realloc) = lift.realloc {
            self.realloc(realloc);
        }
        let (params, results) = (core_params(&signature.request.flat), core_results(signature));
        self.import(lift.function, &params, &results);
        if let Some(post_return) = lift.post_return {
            self.import(post_return, &results, &[]);
        }
    }

    /// The index of an imported function.
    fn imported(&self, function: u32) -> u32 {
        self.import_index.get(&function).copied().unwrap_or_default()
    }

    /// A function of the module, written once.
    fn define(
        &mut self,
        key: Key,
        params: &[ValType],
        results: &[ValType],
        write: impl FnOnce(&mut Self, &mut Asm),
    ) -> u32 {
        if let Some(index) = self.known.get(&key) {
            return *index;
        }
        let (index, slot) = self.begin(params, results);
        self.known.insert(key, index);
        let mut asm = Asm::new(params.len());
        write(self, &mut asm);
        self.finish(slot, asm);
        index
    }

    /// Gives out an index before the function is written: others may be written in between.
    fn begin(&mut self, params: &[ValType], results: &[ValType]) -> (u32, usize) {
        let ty = self.ty(params, results);
        let slot = self.functions.len();
        self.functions.push((ty, Function::new([])));
        (count(self.imports.len() + slot), slot)
    }

    fn finish(&mut self, slot: usize, asm: Asm) {
        if let Some((_, function)) = self.functions.get_mut(slot) {
            *function = asm.finish();
        }
    }

    /// Bytes before the buffer in the scratch memory.
    fn header(&self) -> u32 {
        align_to(RETURNED.saturating_add(self.frame), 8)
    }

    fn module(self, entries: &[u32], realloc: u32) -> Core {
        let mut types = TypeSection::new();
        for (params, results) in self.types {
            types.ty().function(params, results);
        }
        let mut imports = ImportSection::new();
        for (function, ty) in &self.imports {
            imports.import(GUEST, &import_name(*function), EntityType::Function(*ty));
        }
        let memory = MemoryType {
            minimum: 0,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for (ty, function) in &self.functions {
            functions.function(*ty);
            code.function(function);
        }
        let mut globals = GlobalSection::new();
        let of = |val_type| GlobalType { val_type, mutable: true, shared: false };
        for _ in [global::BLOCK, global::SIZE, global::REALLOC, global::LIMIT] {
            globals.global(of(I32), &ConstExpr::i32_const(0));
        }
        globals.global(of(I64), &ConstExpr::i64_const(0));
        let mut exports = ExportSection::new();
        for (method, index) in entries.iter().enumerate() {
            exports.export(&entry_name(method), ExportKind::Func, *index);
        }
        exports.export(REALLOC, ExportKind::Func, realloc);
        let mut module = Module::new();
        if self.reallocs.is_empty() {
            let mut memories = MemorySection::new();
            memories.memory(memory);
            exports.export(MEMORY, ExportKind::Memory, 0);
            module.section(&types).section(&imports).section(&functions).section(&memories);
        } else {
            imports.import(GUEST, MEMORY, memory);
            module.section(&types).section(&imports).section(&functions);
        }
        module.section(&globals).section(&exports).section(&code);
        let functions = self.imports.into_iter().map(|(function, _)| function).collect();
        Core { module, functions }
    }
}

/// As the canonical ABI has them: all in locals, or a pointer to where they lie.
fn core_params(flat: &Flat) -> Vec<ValType> {
    flat.clone().unwrap_or_else(|| vec![I32])
}

/// None, one value, or a pointer to where they lie.
fn core_results(signature: &Signature) -> Vec<ValType> {
    match signature.response.message() {
        None => Vec::new(),
        Some(message) => match message.flat.as_deref() {
            Some([single]) => vec![*single],
            _ => vec![I32],
        },
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
