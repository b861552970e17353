//! The metadata of servers and APIs, with the answers to all requests that finding it takes.
#![no_main]

use std::sync::{Arc, Mutex};

use http::Uri;
use libfuzzer_sys::fuzz_target;
use tower_bearer::grant::Metadata;
use tower_bearer_fuzz::{answer, assert_hidden, debugged, run, server, shown, split};

const ISSUER: &str = "https://auth.test/t";
const API: &str = "https://api.test/v1";

/// Text that the fuzzer puts where URLs have secrets: before the host, and after `?`.
const IN_URLS: [&str; 2] = ["user:S3cr3t@", "?S3cr3t"];

fuzz_target!(|text: &[u8]| {
    let (mode, answers) = split(text, b"\n");
    // The last answer is repeated.
    let mut rest = answers.to_vec();
    let asked: Arc<Mutex<Vec<Uri>>> = Arc::default();
    let http = {
        let (asked, answers) = (Arc::clone(&asked), Mutex::new(&mut rest).into_inner().unwrap().clone());
        let left = Arc::new(Mutex::new(answers));
        server(move |request| {
            assert_eq!(request.headers().get(http::header::AUTHORIZATION), None);
            asked.lock().unwrap().push(request.uri().clone());
            let mut left = left.lock().unwrap();
            let (first, after) = split(&left, b"\n====\n");
            let (first, after) = (answer(first), after.to_vec());
            if !after.is_empty() {
                *left = after;
            }
            first
        })
    };
    let found = match mode {
        b"smart" => run(Metadata::discover_smart_with(http, API)),
        b"api" => run(Metadata::discover_protected_resource_with(http, API)),
        _ => run(Metadata::discover_with(http, ISSUER)),
    };
    let asked = asked.lock().unwrap();
    check_requests(mode, &asked);
    match found {
        Ok(metadata) => {
            assert_hidden(&debugged(&metadata), &IN_URLS);
            check(mode, &metadata);
        }
        Err(error) => assert_hidden(&shown(&error), &IN_URLS),
    }
});

/// Nobody is asked but the server itself, and the issuer that an API names.
fn check_requests(mode: &[u8], asked: &[Uri]) {
    assert!((1..=5).contains(&asked.len()), "{asked:?}");
    for uri in asked {
        assert_eq!(uri.scheme_str().map(str::to_ascii_lowercase).as_deref(), Some("https"), "{uri}");
        match mode {
            b"smart" => assert_eq!(uri.to_string(), format!("{API}/.well-known/smart-configuration")),
            b"api" => assert!(uri.host() == Some("api.test") || !is_plainly_private(uri), "{uri}"),
            _ => assert_eq!(uri.authority().map(|authority| authority.as_str()), Some("auth.test")),
        }
    }
}

fn check(mode: &[u8], metadata: &Metadata) {
    let endpoints = [Some(metadata.token_endpoint()), metadata.revocation_endpoint(), metadata.jwks_uri()];
    for endpoint in endpoints.into_iter().flatten() {
        let uri: Uri = endpoint.parse().expect("a URL that was checked");
        assert_eq!(uri.scheme_str().map(str::to_ascii_lowercase).as_deref(), Some("https"), "{uri}");
        assert!(!endpoint.contains('@') || !uri.authority().expect("a host").as_str().contains('@'), "{uri}");
        assert!(mode != b"api" || !is_plainly_private(&uri), "{uri}");
    }
    match mode {
        b"smart" => {}
        b"api" => assert!(metadata.issuer().is_some()),
        _ => assert_eq!(metadata.issuer(), Some(ISSUER)),
    }
    let _ = (metadata.client_auth_methods().count(), metadata.grant_types(), metadata.scopes());
}

/// Knows the plainest forms of private hosts, by another way than the crate.
fn is_plainly_private(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let numbers: Vec<_> = host.split('.').map(str::parse::<u8>).collect();
    match numbers.as_slice() {
        [Ok(10 | 127), Ok(_), Ok(_), Ok(_)] | [Ok(192), Ok(168), Ok(_), Ok(_)] | [Ok(169), Ok(254), Ok(_), Ok(_)] => {
            true
        }
        _ => host == "localhost" || host == "[::1]" || host.ends_with(".internal") || !host.contains(['.', ':']),
    }
}
