//! Between numbers on the wire and positions in a type.

use crate::{
    asm::{Asm, I32, Local},
    generate::read::signed,
};

/// Keys that follow each other, and whose values do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    key: u32,
    value: u32,
    length: u32,
}

/// From each number to where it stands.
pub(super) fn positions(asm: &mut Asm, number: Local, numbers: &[u32]) {
    let pairs = numbers.iter().copied().zip(0..).collect();
    lookup(asm, number, pairs);
}

/// From where each number stands to the number.
pub(super) fn numbers(asm: &mut Asm, position: Local, numbers: &[u32]) {
    lookup(asm, position, (0..).zip(numbers.iter().copied()).collect());
}

/// Leaves the value of the key in a local, or -1. Nearly always there is one run.
fn lookup(asm: &mut Asm, key: Local, mut pairs: Vec<(u32, u32)>) {
    pairs.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for (key, value) in pairs {
        match runs.last_mut() {
            Some(run)
                if run.key.checked_add(run.length) == Some(key)
                    && run.value.checked_add(run.length) == Some(value) =>
            {
                run.length += 1;
            }
            _ => runs.push(Run { key, value, length: 1 }),
        }
    }
    search(asm, key, &runs);
}

fn search(asm: &mut Asm, key: Local, runs: &[Run]) {
    match runs {
        [] => {
            asm.i().i32_const(-1);
        }
        [run] => {
            asm.i().local_get(key).i32_const(signed(run.key)).i32_sub();
            asm.i().i32_const(signed(run.length)).i32_lt_u();
            asm.if_value(I32);
            let difference = run.value.wrapping_sub(run.key);
            asm.i().local_get(key).i32_const(signed(difference)).i32_add();
            asm.else_();
            asm.i().i32_const(-1);
            asm.end();
        }
        runs => {
            let (left, right) = runs.split_at(runs.len() / 2);
            let middle = right.first().map_or(0, |run| run.key);
            asm.i().local_get(key).i32_const(signed(middle)).i32_lt_u();
            asm.if_value(I32);
            search(asm, key, left);
            asm.else_();
            search(asm, key, right);
            asm.end();
        }
    }
}
