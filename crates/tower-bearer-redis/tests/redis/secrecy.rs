//! What a user of the server can read: nothing that tells whose tokens are there.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose};
use redis::Value;
use tokio::time::sleep;
use tower_bearer::testing::{Issuer, IssuerServer, RefreshTokens};

use crate::{
    server::{Server, Version},
    workers::{Settings, Worker, all},
};

#[tokio::test]
async fn a_dump_of_the_server_tells_nothing() {
    // Compressed text would not be found.
    let Some(redis) = Server::start(Version::Redis7, &["--rdbcompression", "no"]) else { return };
    let (one, of_one) = issuer("one", RefreshTokens::Rotating).await;
    let (two, of_two) = issuer("two", RefreshTokens::Kept).await;
    let mut workers = Vec::new();
    for (name, server, grant) in [
        ("one", &of_one, "password"),
        ("one", &of_one, "password"),
        ("one", &of_one, "client_credentials"),
        ("two", &of_two, "password"),
    ] {
        workers.push(Worker::start(&settings(name, server, &redis).set("GRANT", grant)).await);
    }
    let mut needles: BTreeSet<String> = BTreeSet::new();
    // Its refusal is stored, which others then get.
    let wrong =
        settings("one", &of_one, &redis).set("USERNAME", "stranger-of-one").set("PASSWORD", "password-of-nobody");
    let refused = Worker::start(&wrong).await.burst(10).await;
    assert!(refused.answers.keys().all(|answer| answer.contains("invalid_grant")), "{:?}", refused.answers);

    all(&mut workers, async |worker| worker.load(1).await).await;
    for _ in 0..8 {
        needles.extend(all(&mut workers, Worker::token).await.into_iter().filter_map(|report| report.token));
        sleep(Duration::from_millis(500)).await;
    }
    // With a refresh token of another process.
    let refresh_tokens = |issuer: &Issuer| {
        let requests = issuer.requests();
        requests.iter().filter_map(|request| request.param("refresh_token").map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let refresh_token = refresh_tokens(&two).pop_first().expect("a renewal by a refresh token");
    let settings = settings("two", &of_two, &redis).set("GRANT", "refresh_token").set("NAME", "name-of-two");
    let mut continued = Worker::start(&settings.set("REFRESH_TOKEN", refresh_token)).await;
    continued.burst(10).await.answered();
    needles.extend(continued.token().await.token);
    for report in all(&mut workers, Worker::stop).await {
        report.answered();
    }

    assert!(needles.len() > 8, "several tokens of each source: {}", needles.len());
    let parts: Vec<_> = needles.iter().flat_map(|token| token.split('.')).map(str::to_owned).collect();
    needles.extend(parts);
    let of_one_used = refresh_tokens(&one);
    assert!(of_one_used.len() > 1, "rotated refresh tokens");
    needles.extend(of_one_used);
    needles.extend(refresh_tokens(&two));
    for name in ["one", "two"] {
        needles.extend(["client", "secret", "user", "password"].map(|what| format!("{what}-of-{name}")));
    }
    needles.extend(["name-of-two", "stranger-of-one", "password-of-nobody"].map(str::to_owned));
    needles.extend([of_one.addr(), of_two.addr()].map(|addr| addr.to_string()));
    needles.extend([of_one.addr(), of_two.addr()].map(|addr| format!("{}", addr.ip())));

    let dump = redis.dump();
    let Value::Array(keys) = redis.run("KEYS *") else { panic!() };
    let names: Vec<_> = keys.into_iter().map(|key| redis::from_redis_value::<String>(key).unwrap()).collect();
    let records: Vec<_> = names.iter().filter(|name| name.ends_with(":record")).collect();
    assert_eq!(records.len(), 5, "{names:?}");
    for name in &names {
        assert!(found(&dump, name.as_bytes()), "{name} is not in the dump");
    }
    println!("searched {} bytes for {} secrets", dump.len(), needles.len());
    for needle in &needles {
        for form in forms(needle) {
            assert!(!found(&dump, &form), "{needle} is in the dump, as {}", String::from_utf8_lossy(&form));
        }
    }

    // The search finds each form of what is there.
    let planted = "client-of-one";
    let base64 = |prefix: &str| general_purpose::STANDARD.encode(format!("{prefix}{planted} and more"));
    for text in [planted.to_owned(), hex(planted), hex(planted).to_uppercase(), base64(""), base64("?"), base64("ab")] {
        redis.run(&format!("SET planted {text}"));
        let dump = redis.dump();
        assert!(forms(planted).iter().any(|form| found(&dump, form)), "{text} is not found");
    }
}

/// Starts an issuer of short tokens, with a client and a user of this name.
async fn issuer(name: &str, refresh_tokens: RefreshTokens) -> (Issuer, IssuerServer) {
    let issuer = Issuer::builder()
        .client(format!("client-of-{name}"), format!("secret-of-{name}"))
        .user(format!("user-of-{name}"), format!("password-of-{name}"))
        .refresh_tokens(refresh_tokens)
        .lifetime(Duration::from_secs(2))
        .build();
    let server = issuer.listen().await.unwrap();
    (issuer, server)
}

fn settings(name: &str, server: &IssuerServer, redis: &Server) -> Settings {
    Settings::new(server, &redis.url())
        .set("CLIENT_ID", format!("client-of-{name}"))
        .set("CLIENT_SECRET", format!("secret-of-{name}"))
        .set("USERNAME", format!("user-of-{name}"))
        .set("PASSWORD", format!("password-of-{name}"))
}

fn found(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns a text as it is, in hexadecimal digits, and as a part of Base64.
fn forms(text: &str) -> Vec<Vec<u8>> {
    assert!(text.len() >= 8, "a short text is found by chance");
    let mut forms = vec![text.as_bytes().to_vec(), hex(text).to_uppercase().into_bytes(), hex(text).into_bytes()];
    for engine in [general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE_NO_PAD] {
        for before in 0..3 {
            // The characters that depend on what stands before and after it are left out.
            let encoded = engine.encode([&vec![0; before], text.as_bytes()].concat());
            let whole = (before + text.len()) / 3 * 4;
            forms.push(encoded.as_bytes()[(before * 8).div_ceil(6)..whole].to_vec());
        }
    }
    forms
}

fn hex(text: &str) -> String {
    text.bytes()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}
