//! See [`roadstead_fuzz::push`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roadstead_fuzz::push(data));
