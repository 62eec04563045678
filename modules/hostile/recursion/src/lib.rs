//! Calls itself until the stack ends.

use std::hint::black_box;

use bindings::exports::hostile::recursion::recursion::Guest;

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(Recursion with_types_in self);
    use super::Recursion;
}

struct Recursion;

impl Guest for Recursion {
    #[allow(unconditional_recursion, reason = "what this module is for")]
    fn forever() -> u64 {
        // The addition after the call keeps it from becoming a loop.
        black_box(Self::forever()).wrapping_add(1)
    }

    fn depth(levels: u32) -> u32 {
        if levels == 0 { 0 } else { black_box(Self::depth(levels - 1)).wrapping_add(1) }
    }
}
