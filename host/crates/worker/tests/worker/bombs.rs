//! Small components that are costly to compile.

use wasm_encoder::{
    BlockType, CodeSection, ComponentBuilder, ConstExpr, Function, FunctionSection, GlobalSection,
    GlobalType, Instruction, Module, ModuleArg, TypeSection, ValType,
};

/// A component that instantiates a core module with these functions, all without parameters, and a global
/// variable.
fn component(functions: impl Iterator<Item = Function>) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut declared = FunctionSection::new();
    let mut code = CodeSection::new();
    for function in functions {
        declared.function(0);
        code.function(&function);
    }
    let mut globals = GlobalSection::new();
    let variable = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(variable, &ConstExpr::i32_const(1));
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&globals).section(&code);
    let mut component = ComponentBuilder::default();
    let module = component.core_module(None, &module);
    component.core_instantiate(None, module, Vec::<(&str, ModuleArg)>::new());
    component.finish()
}

/// One function in which each of `terms` values depends on the one before, in ways that no compiler
/// takes together.
pub(crate) fn function_of(terms: i32) -> Vec<u8> {
    let mut function = Function::new([(1, ValType::I32)]);
    function.instruction(&Instruction::GlobalGet(0));
    for term in 0..terms {
        function.instruction(&Instruction::I32Const(term + 3));
        function.instruction(&Instruction::I32Mul);
        function.instruction(&Instruction::I32Const(term + 3));
        function.instruction(&Instruction::I32Xor);
        function.instruction(&Instruction::LocalTee(0));
    }
    // What nothing depends on would not be compiled.
    function.instruction(&Instruction::If(BlockType::Empty));
    function.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
    function.instruction(&Instruction::End);
    component([function].into_iter())
}

/// Functions that differ, and so must all be there.
pub(crate) fn many_functions() -> Vec<u8> {
    component((0..10_000).map(|number| {
        let mut function = Function::new([(1, ValType::I32)]);
        function.instruction(&Instruction::Loop(BlockType::Empty));
        function.instruction(&Instruction::LocalGet(0));
        function.instruction(&Instruction::I32Const(number));
        function.instruction(&Instruction::I32Add);
        function.instruction(&Instruction::LocalTee(0));
        function.instruction(&Instruction::BrIf(0));
        function.instruction(&Instruction::End).instruction(&Instruction::End);
        function
    }))
}

/// As large as a function may be.
pub(crate) fn huge_function() -> Vec<u8> {
    function_of(500_000)
}

/// Jump tables of 65,000 targets each.
pub(crate) fn jump_tables() -> Vec<u8> {
    component((0..400).map(|_| {
        let mut function = Function::new([]);
        for _ in 0..100 {
            function.instruction(&Instruction::Block(BlockType::Empty));
        }
        let targets: Vec<u32> = (0..65_000).map(|at| at % 100).collect();
        function.instruction(&Instruction::I32Const(1));
        function.instruction(&Instruction::BrTable(targets.into(), 0));
        for _ in 0..101 {
            function.instruction(&Instruction::End);
        }
        function
    }))
}

/// As many locals as a function may have, in very many functions.
pub(crate) fn many_locals() -> Vec<u8> {
    component((0..200_000).map(|_| {
        let mut function = Function::new([(49_999, ValType::I64)]);
        function.instruction(&Instruction::End);
        function
    }))
}

/// Blocks in blocks, more than a million deep.
pub(crate) fn deep_blocks() -> Vec<u8> {
    let mut function = Function::new([]);
    for _ in 0..1_200_000 {
        function.instruction(&Instruction::Block(BlockType::Empty));
    }
    for _ in 0..=1_200_000 {
        function.instruction(&Instruction::End);
    }
    component([function].into_iter())
}
