//! Plays any script of events on a body that is kept for a second attempt.
#![no_main]

#[path = "../../tests/api/replay_model.rs"]
mod replay_model;

libfuzzer_sys::fuzz_target!(|script: &[u8]| replay_model::play(script));
