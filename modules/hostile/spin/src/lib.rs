//! Never returns.

use std::hint::black_box;

use bindings::exports::hostile::spin::spin::Guest;

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(Spin with_types_in self);
    use super::Spin;
}

struct Spin;

impl Guest for Spin {
    fn forever() {
        loop {
            black_box(());
        }
    }

    fn rounds(count: u64) -> u64 {
        (0..count).map(|round| black_box(round).min(1) | 1).sum()
    }
}
