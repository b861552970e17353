//! Parses hostile `WWW-Authenticate` field lines. Each challenge is written so that it is parsed as the same challenge
//! again.
#![no_main]

use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use libfuzzer_sys::fuzz_target;
use tower_bearer::{Challenge, Verdict};

fuzz_target!(|field: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in field.split(|byte| *byte == b'\n') {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, line);
        }
    }
    let challenges = Challenge::all(&headers);
    let written: Vec<String> = challenges.iter().map(Challenge::to_string).collect();
    assert_eq!(Challenge::parse(written.join(", ").as_bytes()), challenges);

    let says = |code| challenges.iter().any(|c| c.is_scheme("Bearer") && c.param("error") == Some(code));
    let verdict = Verdict::standard(StatusCode::UNAUTHORIZED, &headers);
    assert!(verdict == Verdict::Rejected || !says("invalid_token"));
});
