//! `cargo +nightly fuzz run onnx_load`

#![no_main]

#[path = "../load.rs"]
mod load;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = load::load(bytes);
});
