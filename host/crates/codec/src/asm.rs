//! Writes the body of one core function: locals by number, labels by name instead of by depth.

use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, ValType};

pub(crate) const I32: ValType = ValType::I32;
pub(crate) const I64: ValType = ValType::I64;
pub(crate) const V128: ValType = ValType::V128;

/// A local variable or a parameter.
pub(crate) type Local = u32;

/// A block, loop or `if` that is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label(u32);

/// A function that is being written. Its parameters are the first locals.
pub(crate) struct Asm {
    params: u32,
    locals: Vec<ValType>,
    code: Vec<u8>,
    open: u32,
}

/// An address with a constant offset. Alignments are hints only, and none is given.
pub(crate) fn at(offset: u32) -> MemArg {
    MemArg { offset: u64::from(offset), align: 0, memory_index: 0 }
}

impl Asm {
    pub(crate) fn new(params: usize) -> Self {
        let params = u32::try_from(params).unwrap_or(u32::MAX);
        Self { params, locals: Vec::new(), code: Vec::new(), open: 0 }
    }

    /// One more local, zero at first.
    pub(crate) fn local(&mut self, ty: ValType) -> Local {
        let index = u32::try_from(self.locals.len()).unwrap_or(u32::MAX);
        self.locals.push(ty);
        self.params.saturating_add(index)
    }

    pub(crate) fn i(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    pub(crate) fn block(&mut self) -> Label {
        self.i().block(BlockType::Empty);
        self.opened()
    }

    pub(crate) fn loop_(&mut self) -> Label {
        self.i().loop_(BlockType::Empty);
        self.opened()
    }

    pub(crate) fn if_(&mut self) -> Label {
        self.i().if_(BlockType::Empty);
        self.opened()
    }

    /// An `if` that leaves a value.
    pub(crate) fn if_value(&mut self, ty: ValType) -> Label {
        self.i().if_(BlockType::Result(ty));
        self.opened()
    }

    pub(crate) fn else_(&mut self) {
        self.i().else_();
    }

    pub(crate) fn end(&mut self) {
        self.i().end();
        self.open = self.open.saturating_sub(1);
    }

    fn opened(&mut self) -> Label {
        self.open += 1;
        Label(self.open)
    }

    fn depth(&self, label: Label) -> u32 {
        self.open.saturating_sub(label.0)
    }

    pub(crate) fn br(&mut self, label: Label) {
        let depth = self.depth(label);
        self.i().br(depth);
    }

    pub(crate) fn br_if(&mut self, label: Label) {
        let depth = self.depth(label);
        self.i().br_if(depth);
    }

    pub(crate) fn br_table(&mut self, labels: &[Label], otherwise: Label) {
        let depths: Vec<u32> = labels.iter().map(|label| self.depth(*label)).collect();
        let otherwise = self.depth(otherwise);
        self.i().br_table(depths, otherwise);
    }

    /// Traps where the condition on the stack holds.
    pub(crate) fn trap_if(&mut self) {
        self.if_();
        self.i().unreachable();
        self.end();
    }

    /// `local += constant`.
    pub(crate) fn add(&mut self, local: Local, constant: i32) {
        self.i().local_get(local).i32_const(constant).i32_add().local_set(local);
    }

    pub(crate) fn finish(mut self) -> Function {
        self.i().end();
        let mut function = Function::new_with_locals_types(self.locals);
        function.raw(self.code);
        function
    }
}
