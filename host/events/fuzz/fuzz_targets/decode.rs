//! `cargo +nightly fuzz run decode` in `host/events`, with `tests/data` as the first corpus.
#![no_main]

#[path = "../invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|record: &[u8]| invariants::check(record));
