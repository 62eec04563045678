//! Answers with more than anybody asked for.

use bindings::exports::hostile::output_flood::output_flood::Guest;

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(OutputFlood with_types_in self);
    use super::OutputFlood;
}

struct OutputFlood;

impl Guest for OutputFlood {
    fn bytes(size: u32) -> Vec<u8> {
        vec![b'x'; length(size)]
    }

    fn texts(count: u32, length_of_each: u32) -> Vec<String> {
        vec!["x".repeat(length(length_of_each)); length(count)]
    }

    fn empties(count: u32) -> Vec<Vec<u64>> {
        vec![Vec::new(); length(count)]
    }
}

fn length(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
