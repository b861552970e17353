//! What those can read who have the store and not the key.

use std::fmt::Write;

use tower_bearer::{
    Reason, TokenCache, TokenSource,
    grant::{ClientAuth, PasswordGrant},
    store::Stored,
    testing::{Issuer, RefreshTokens, TokenFormat},
};

use super::processes::Fleet;
use crate::support::obtain;

#[tokio::test(start_paused = true)]
async fn nothing_in_the_store_or_in_debug_output_tells_whose_token_it_is() {
    let issuer = Issuer::builder()
        .token_format(TokenFormat::Opaque)
        .refresh_tokens(RefreshTokens::Rotating)
        .user("alice", "pa55word")
        .scope("patient/Patient.rs")
        .build();
    let fleet = Fleet::new(issuer);
    let process = fleet.process();
    let grant = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("alice", "pa55word")
        .scope("patient/Patient.rs")
        .build_with(fleet.issuer.service())
        .unwrap();
    let stored = Stored::new(grant, &process).named("tenant-4711");
    let mut secrets: Vec<String> = [
        "alice",
        "pa55word",
        "client1",
        "client-secret",
        "issuer.test",
        "Patient.rs",
        "tenant-4711",
        "Bearer",
        "invalid_grant",
    ]
    .map(str::to_owned)
    .into();
    let mut seen = Vec::new();
    let mut shown = format!("{stored:?} {process:?} {:?}", fleet.store);
    let mut last = None;
    for n in 0..4 {
        if n == 3 {
            fleet.issuer.set_password("alice", "changed");
            fleet.issuer.revoke_all();
        }
        let why = last.take().map_or(Reason::First, Reason::rejected);
        match stored.obtain(why).await {
            Ok(token) => {
                secrets.push(token.secret().to_owned());
                last = Some(token);
            }
            Err(error) => assert_eq!((n, error.oauth_code()), (3, Some("invalid_grant"))),
        }
        secrets.extend(fleet.issuer.last_request().unwrap().param("refresh_token").map(str::to_owned));
        seen.extend(fleet.store.records());
        write!(shown, "{:?} {stored:?} {process:?}", fleet.store).unwrap();
    }
    let cache = TokenCache::new(stored);
    write!(shown, "{cache:?} {:?}", cache.status()).unwrap();
    assert!(seen.len() >= 4 && secrets.len() >= 13, "{} {}", seen.len(), secrets.len());
    for secret in &secrets {
        for (name, record) in &seen {
            assert!(!record.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is in a record");
            assert!(!name.to_string().contains(secret) && !format!("{name:?}").contains(secret));
        }
        assert!(secret == "invalid_grant" || !shown.contains(secret), "{secret} is in {shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_does_not_open_under_another_name() {
    let fleet = Fleet::new(crate::support::issuer());
    let process = fleet.process();
    obtain(&fleet.stored(&process).named("one")).await.unwrap();
    let (one, record) = fleet.store.records().pop().unwrap();
    obtain(&fleet.stored(&process).named("other")).await.unwrap();
    let other = fleet.store.records().into_iter().map(|(key, _)| key).find(|key| *key != one).unwrap();
    super::faults::put(&fleet.store, other, record).await;
    obtain(&fleet.stored(&process).named("other")).await.unwrap();
    assert!(process.status().unreadable > 0);
    assert_eq!(fleet.issuer.counts().token_requests, 3);
}
