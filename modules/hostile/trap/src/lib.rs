//! Ends its calls in every wrong way.

use std::sync::atomic::{AtomicU32, Ordering};

use bindings::exports::hostile::trap::trap::Guest;

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(Trap with_types_in self);
    use super::Trap;
}

struct Trap;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl Guest for Trap {
    fn abort() {
        std::process::abort();
    }

    #[allow(clippy::panic, reason = "what this module is for")]
    fn panic(message: String) {
        panic!("{message}");
    }

    #[allow(unsafe_code, reason = "what this module is for")]
    fn read_out_of_bounds() -> u8 {
        let behind = std::hint::black_box(usize::MAX - 16) as *const u8;
        // SAFETY: none; the sandbox is what has to hold.
        unsafe { behind.read_volatile() }
    }

    #[allow(clippy::exit, reason = "what this module is for")]
    fn exit(code: u8) {
        std::process::exit(i32::from(code));
    }

    fn count(n: u32) -> u32 {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if n != 0 && calls.is_multiple_of(n) {
            std::process::abort();
        }
        calls
    }
}
