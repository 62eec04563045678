//! What the benchmarks call of resources: the small call, on something that lives on between calls.

use bindings::exports::bench::session::session::{Guest, GuestEcho};

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../wit-session", world: "sessions" });
    export!(Sessions with_types_in self);
    use super::Sessions;
}

struct Sessions;

struct Echo;

impl Guest for Sessions {
    type Echo = Echo;
}

impl GuestEcho for Echo {
    fn new() -> Self {
        Self
    }

    fn bytes(&self, items: Vec<u8>) -> Vec<u8> {
        items
    }
}
