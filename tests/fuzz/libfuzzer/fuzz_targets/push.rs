//! See [`roadstead_fuzz::push`].
#![no_main]

roadstead_fuzz::worker_in_tests!();

libfuzzer_sys::fuzz_target!(|data: &[u8]| roadstead_fuzz::push(data));
