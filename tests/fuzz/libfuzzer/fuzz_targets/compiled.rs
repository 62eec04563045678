//! See [`roadstead_fuzz::compiled`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roadstead_fuzz::compiled(data));
