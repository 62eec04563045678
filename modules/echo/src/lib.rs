//! Gives back what it is given.

use bindings::exports::demo::echo::echo::{Guest, Reading};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(Echo with_types_in self);
    use super::Echo;
}

struct Echo;

impl Guest for Echo {
    fn bytes(data: Vec<u8>) -> Vec<u8> {
        data
    }

    fn text(text: String) -> String {
        text
    }

    fn sample(reading: Reading) -> Reading {
        reading
    }
}
