//! What the benchmarks call, as a Rust component. The native peers run the same kernels and make the
//! same items, from the same files.

mod items;
mod kernels;

use bindings::exports::bench::work::{
    compute,
    transfer::{self, Reading},
};

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "full" });
    export!(Work with_types_in self);
    use super::Work;
}

struct Work;

impl transfer::Guest for Work {
    fn bytes_in(items: Vec<u8>) -> u32 {
        count(&items)
    }

    fn bytes_out(count: u32) -> Vec<u8> {
        items::bytes(count)
    }

    fn bytes_echo(items: Vec<u8>) -> Vec<u8> {
        items
    }

    fn floats_in(items: Vec<f32>) -> u32 {
        count(&items)
    }

    fn floats_out(count: u32) -> Vec<f32> {
        items::floats(count)
    }

    fn floats_echo(items: Vec<f32>) -> Vec<f32> {
        items
    }

    fn strings_in(items: Vec<String>) -> u32 {
        count(&items)
    }

    fn strings_out(count: u32) -> Vec<String> {
        items::strings(count)
    }

    fn strings_echo(items: Vec<String>) -> Vec<String> {
        items
    }

    fn records_in(items: Vec<Reading>) -> u32 {
        count(&items)
    }

    fn records_out(count: u32) -> Vec<Reading> {
        (1..=count)
            .map(|sensor| Reading {
                sensor,
                name: items::TEXT.to_owned(),
                value: items::VALUE,
                valid: true,
            })
            .collect()
    }

    fn records_echo(items: Vec<Reading>) -> Vec<Reading> {
        items
    }
}

impl compute::Guest for Work {
    fn matrix(size: u32) -> u64 {
        kernels::matrix(size)
    }

    fn collatz(limit: u32) -> u64 {
        kernels::collatz(limit)
    }

    fn sieve(limit: u32) -> u64 {
        kernels::sieve(limit)
    }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
