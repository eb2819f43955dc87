#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| symbolon_fuzz::run("claims", input));
