//! Leaves everything to the module that its import is bound to.

use bindings::{
    bench::work::transfer as other,
    exports::bench::work::transfer::{Guest, Reading},
};

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "through" });
    export!(Through with_types_in self);
    use super::Through;
}

struct Through;

impl Guest for Through {
    fn bytes_in(items: Vec<u8>) -> u32 {
        other::bytes_in(&items)
    }

    fn bytes_out(count: u32) -> Vec<u8> {
        other::bytes_out(count)
    }

    fn bytes_echo(items: Vec<u8>) -> Vec<u8> {
        other::bytes_echo(&items)
    }

    fn floats_in(items: Vec<f32>) -> u32 {
        other::floats_in(&items)
    }

    fn floats_out(count: u32) -> Vec<f32> {
        other::floats_out(count)
    }

    fn floats_echo(items: Vec<f32>) -> Vec<f32> {
        other::floats_echo(&items)
    }

    fn strings_in(items: Vec<String>) -> u32 {
        other::strings_in(&items)
    }

    fn strings_out(count: u32) -> Vec<String> {
        other::strings_out(count)
    }

    fn strings_echo(items: Vec<String>) -> Vec<String> {
        other::strings_echo(&items)
    }

    fn records_in(items: Vec<Reading>) -> u32 {
        other::records_in(&theirs(items))
    }

    fn records_out(count: u32) -> Vec<Reading> {
        ours(other::records_out(count))
    }

    fn records_echo(items: Vec<Reading>) -> Vec<Reading> {
        ours(other::records_echo(&theirs(items)))
    }
}

fn theirs(items: Vec<Reading>) -> Vec<other::Reading> {
    let reading =
        |Reading { sensor, name, value, valid }| other::Reading { sensor, name, value, valid };
    items.into_iter().map(reading).collect()
}

fn ours(items: Vec<other::Reading>) -> Vec<Reading> {
    let reading =
        |other::Reading { sensor, name, value, valid }| Reading { sensor, name, value, valid };
    items.into_iter().map(reading).collect()
}
