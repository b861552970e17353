//! A body that is kept, with any script of what it does and what is done with it.
#![no_main]

#[path = "../../tests/api/replay_model.rs"]
mod replay_model;

libfuzzer_sys::fuzz_target!(|script: &[u8]| replay_model::play(script));
