//! The bytes of a file with a client secret, and what is sent of them.
#![no_main]

use std::{
    fs, process,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tower_bearer::{
    Reason, TokenSource,
    grant::{ClientAuth, ClientCredentials, Secret},
};
use tower_bearer_fuzz::{answer, assert_hidden, run, server, shown};

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("tower-bearer-fuzz-{}", process::id()));
    fs::write(&path, bytes).unwrap();
    let sent: Arc<Mutex<Option<Full<Bytes>>>> = Arc::default();
    let seen = Arc::clone(&sent);
    let grant = ClientCredentials::builder("https://auth.test/token")
        .client_auth(ClientAuth::post("client-1", Secret::file(&path)))
        .build_with(server(move |request| {
            *seen.lock().unwrap() = Some(request.into_body());
            answer(b"200\n\n{\"access_token\":\"t\"}")
        }))
        .unwrap();
    let obtained = run(grant.obtain(Reason::First));
    match (expected(bytes), sent.lock().unwrap().take()) {
        (Some(expected), Some(body)) => {
            let body = run(body.collect()).unwrap().to_bytes();
            let secret = form_urlencoded::parse(&body).find(|(name, _)| name == "client_secret").unwrap().1;
            assert_eq!(secret, expected);
            assert!(obtained.is_ok());
        }
        (None, None) => {
            let error = obtained.unwrap_err();
            // It names the file, and shows nothing of it.
            let shown = shown(&error);
            assert!(shown.contains(&*path.to_string_lossy()));
            if str::from_utf8(bytes).is_ok_and(|text| text.contains("S3cr3t")) {
                assert_hidden(&shown, &["S3cr3t"]);
            }
        }
        (expected, sent) => panic!("{expected:?} was expected, and a request was sent: {}", sent.is_some()),
    }
});

/// Reads a secret by a slower way than the crate.
fn expected(bytes: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], big: bool| {
        let units = bytes.chunks(2).map(|pair| match (pair, big) {
            ([a, b], true) => Some(u16::from(*a) << 8 | u16::from(*b)),
            ([a, b], false) => Some(u16::from(*b) << 8 | u16::from(*a)),
            _ => None,
        });
        String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()
    };
    let text = match bytes {
        [0xfe, 0xff, rest @ ..] => utf16(rest, true)?,
        [0xff, 0xfe, rest @ ..] => utf16(rest, false)?,
        _ => String::from_utf8(bytes.to_vec()).ok()?,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).unwrap_or(text);
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}
