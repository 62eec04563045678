//! Takes all the memory that it gets.

use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
};

use bindings::exports::hostile::memory_bomb::memory_bomb::Guest;

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(MemoryBomb with_types_in self);
    use super::MemoryBomb;
}

struct MemoryBomb;

static HOARD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

impl Guest for MemoryBomb {
    fn explode() {
        let mut blocks = Vec::new();
        loop {
            blocks.push(black_box(vec![1_u8; 1 << 20]));
        }
    }

    fn take(bytes: u32) -> bool {
        black_box(filled(bytes)).is_some()
    }

    fn hoard(bytes: u32) -> Option<u64> {
        let block = filled(bytes)?;
        let mut hoard = HOARD.lock().unwrap_or_else(PoisonError::into_inner);
        hoard.push(block);
        Some(hoard.iter().map(|block| block.len() as u64).sum())
    }
}

/// Bytes that were really written to; none where the allocation is refused.
fn filled(bytes: u32) -> Option<Vec<u8>> {
    let length = usize::try_from(bytes).ok()?;
    let mut block = Vec::new();
    block.try_reserve_exact(length).ok()?;
    block.resize(length, 1);
    Some(block)
}
