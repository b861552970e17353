//! Gateways that share their tokens by a Redis server.

use std::{fs, time::Duration};

use futures::future::join_all;
use http::Request;
use serde_json::Value;
use tower_bearer::testing::{Failure, Issuer, RefreshTokens};

use crate::{
    config_file::{Folder, settings},
    process::Gateway,
    redis::Redis,
    sides::{Answer, Upstream, empty, get, send},
    users::{granted, token},
};

pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Writes the sealing key, and returns a section for the server. Its times are long, because the machine may be busy.
pub(crate) fn section(redis: &Redis, folder: &Folder) -> String {
    fs::write(folder.0.join("sealing-key"), KEY).unwrap();
    format!(
        "\n[cache]\nrenewal_deadline = \"60s\"\n[store]\nurl = \"{}\"\nkeys = [{{ file = \"sealing-key\" }}]\nprefix = \"fleet\"\n\
         deadline = \"10s\"\nlease = \"20s\"\nwait = \"30s\"\n",
        redis.url()
    )
}

async fn health(gateway: &Gateway) -> Answer {
    get(&format!("{}/healthz", gateway.admin)).await
}

pub(crate) async fn store(gateway: &Gateway) -> Value {
    health(gateway).await.json()["store"].clone()
}

pub(crate) async fn assert_metrics(gateway: &Gateway, lines: &[&str]) {
    let metrics = get(&format!("{}/metrics", gateway.admin)).await.text;
    for line in lines {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
}

/// Waits until `/healthz` says whether the store is available.
async fn until_available(gateway: &Gateway, is_available: bool) {
    while store(gateway).await["available"] != is_available {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn two_cold_gateways_and_many_requests_make_one_token_request() {
    let Some(redis) = Redis::start() else { return };
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gate = issuer.hold();
    let all = format!("{}{}", settings(&listening, &upstream), section(&redis, &folder));
    let gateways = [Gateway::run(folder.command(&all)).await, Gateway::run(folder.command(&all)).await];
    let requests = gateways.iter().flat_map(|gateway| [&gateway.url; 50]).map(|url| get(url));
    let (answers, ()) = tokio::join!(join_all(requests), async {
        gate.waiting(1).await;
        // Both have asked by now: one has the lease, and the other waits for it.
        while store(&gateways[0]).await["waits"] == 0 && store(&gateways[1]).await["waits"] == 0 {}
        gate.release();
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(issuer.counts().token_requests, 1);

    let stores = [store(&gateways[0]).await, store(&gateways[1]).await];
    let sum = |field: &str| stores.iter().map(|store| store[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("exchanges"), sum("hits"), sum("alone"), sum("failures")), (1, 1, 0, 0));
    for (gateway, store) in gateways.iter().zip(&stores) {
        assert_eq!((&store["available"], &store["connected"]), (&true.into(), &true.into()));
        assert_metrics(
            gateway,
            &[
                "# TYPE gateway_store_token_requests_total counter",
                "gateway_store_available 1",
                &format!("gateway_store_token_requests_total{{how=\"lease\"}} {}", store["exchanges"]),
                &format!("gateway_store_readings_total{{found=\"token\"}} {}", store["hits"]),
                "gateway_store_failures_total 0",
                "gateway_store_evicts 0",
            ],
        )
        .await;
    }

    let readable = redis.everything();
    let readable = String::from_utf8_lossy(&readable);
    assert!(readable.contains("fleet:{") && readable.contains(":record"), "{readable}");
    for secret in
        ["eyJ", "user1", "client1", "password", "client-secret", &listening.token_url(), "user/Patient.rs", KEY]
    {
        assert!(!readable.contains(secret), "{secret}: {readable}");
    }
}

#[tokio::test]
async fn no_request_fails_while_the_store_is_down_and_it_is_used_again_when_it_is_back() {
    let Some(mut redis) = Redis::start() else { return };
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let all = format!("{}{}", settings(&listening, &upstream), section(&redis, &folder));
    let gateway = Gateway::run(folder.command(&all)).await;
    assert_eq!(get(&gateway.url).await.status, 200);

    redis.kill();
    until_available(&gateway, false).await;
    assert_eq!(get(&gateway.url).await.status, 200, "the token is still there");
    issuer.revoke_all();
    let answers = join_all([&gateway.url; 20].map(|url| get(url))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "the gateway asks the issuer itself");
    assert_eq!(issuer.counts().token_requests, 2);
    let answer = health(&gateway).await;
    let store = &answer.json()["store"];
    assert_eq!((answer.status, &store["available"], &store["alone"]), (200, &false.into(), &1.into()), "{store}");
    assert!(store["last_error"].as_str().unwrap().starts_with("the connection to the Redis server failed"), "{store}");
    assert_metrics(
        &gateway,
        &["gateway_store_available 0", "gateway_store_token_requests_total{how=\"alone\"} 1", "gateway_token_ready 1"],
    )
    .await;

    redis.restart();
    until_available(&gateway, true).await;
    let exchanges = self::store(&gateway).await["exchanges"].as_u64().unwrap();
    issuer.revoke_all();
    assert_eq!(get(&gateway.url).await.status, 200);
    let other = Gateway::run(folder.command(&all)).await;
    assert_eq!(get(&other.url).await.status, 200);
    let store = self::store(&gateway).await;
    assert_eq!((&store["exchanges"], &store["last_error"]), (&(exchanges + 1).into(), &Value::Null));
    assert_eq!(issuer.counts().token_requests, 3, "the other one has the stored token");
    assert_metrics(&gateway, &["gateway_store_available 1"]).await;
}

#[tokio::test]
async fn a_gateway_starts_and_gets_a_token_without_the_store() {
    let Some(mut redis) = Redis::start() else { return };
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    redis.kill();
    let all = format!("{}{}", settings(&listening, &upstream), section(&redis, &folder));
    let gateway = Gateway::run(folder.command(&all)).await;
    assert_eq!(get(&gateway.url).await.status, 200);
    assert_eq!(health(&gateway).await.status, 200);
}

#[tokio::test]
async fn each_tenant_s_token_is_shared() {
    let Some(redis) = Redis::start() else { return };
    let folder = Folder::new();
    let issuer = Issuer::builder().user("acme", "acme-password").build();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    fs::write(folder.0.join("acme"), "acme-password").unwrap();
    let tenants = "[identity]\nheader = \"x-tenant\"\n[identity.tenants.acme]\nusername = \"acme\"\npassword = { file = \"acme\" }\n\
        [identity.tenants.own]\ngrant = \"client_credentials\"\n";
    let all = format!("{}{}{tenants}", settings(&listening, &upstream), section(&redis, &folder));
    for _ in 0..2 {
        let gateway = Gateway::run(folder.command(&all)).await;
        for tenant in ["acme", "own"] {
            let request = Request::get(&gateway.url).header("x-tenant", tenant).body(empty()).unwrap();
            assert_eq!(send(request).await.status, 200);
        }
        assert_eq!(issuer.counts().token_requests, 2, "one for each tenant");
        assert_eq!(store(&gateway).await["available"], true);
    }
}

#[tokio::test]
async fn each_user_s_token_is_shared_and_so_is_a_refusal() {
    let Some(redis) = Redis::start() else { return };
    let folder = Folder::new();
    let issuer = Issuer::builder().user("ada", "1").build();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let users = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nupstream = \"{}\"\n[token]\nurl = \"{}\"\ngrant = \"token_exchange\"\n\
         client_id = \"client1\"\nclient_secret = {{ env = \"GATEWAY_SECRET\" }}\n[identity]\nsubject_token = \"authorization\"\n",
        upstream.url("/"),
        listening.token_url()
    );
    let all = format!("{users}{}", section(&redis, &folder));
    let ada = token(&listening, "grant_type=password&username=ada&password=1").await;
    let before = issuer.counts().token_requests;
    for _ in 0..2 {
        let gateway = Gateway::run(folder.command(&all)).await;
        for (token, status) in [(&*ada, 200), ("made-up", 401)] {
            let request = Request::get(&gateway.url).header("authorization", format!("Bearer {token}"));
            let answer = send(request.body(empty()).unwrap()).await;
            assert_eq!(answer.status, status, "{}", answer.text);
        }
        assert_eq!(issuer.counts().token_requests, before + 2, "one for each user");
    }
    let stored = redis.everything();
    assert!(!String::from_utf8_lossy(&stored).contains(&ada) && !stored.is_empty());
}

#[tokio::test]
async fn gateways_share_a_rotating_refresh_token_by_a_name() {
    let Some(redis) = Redis::start() else { return };
    let folder = Folder::new();
    let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let signed_in = granted(&listening, "grant_type=password&username=user1&password=user-password").await;
    fs::write(folder.0.join("refresh-token"), signed_in["refresh_token"].as_str().unwrap()).unwrap();
    let section = section(&redis, &folder).replace("[store]", "[store]\nname = \"ada\"");
    let all = settings(&listening, &upstream)
        .replace("grant = \"password\"", "grant = \"refresh_token\"")
        .replace("username = \"user1\"", "refresh_token = { file = \"refresh-token\" }")
        .replace("password = { file = \"password\" }\n", "\n")
        + &section;
    let before = issuer.counts().token_requests;
    for count in 1..=3 {
        let gateway = Gateway::run(folder.command(&all)).await;
        assert_eq!(get(&gateway.url).await.status, 200);
        issuer.revoke_current();
        assert_eq!(get(&gateway.url).await.status, 200);
        assert_eq!(issuer.counts().token_requests, before + 1 + count, "it continues with the stored refresh token");
    }
}

#[tokio::test]
async fn no_output_shows_a_secret_of_the_store() {
    let Some(redis) = Redis::start() else { return };
    redis.ask(&[b"ACL", b"SETUSER", b"default", b"resetpass", b">r3dis-secret"]);
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    fs::write(folder.0.join("redis-password"), "r3dis-wrong\n").unwrap();
    let password = "[store]\npassword = { file = \"redis-password\" }";
    let all = format!("{}{}", settings(&listening, &upstream), section(&redis, &folder)).replace("[store]", password);
    let mut command = folder.command(&all);
    command.env("RUST_LOG", "trace");
    let gateway = Gateway::run(command).await;
    assert_eq!(get(&gateway.url).await.status, 200, "without the store");
    let mut said = health(&gateway).await.text;
    assert!(said.contains("the Redis server refused the user or the password: check both"), "{said}");
    // It is read again.
    fs::write(folder.0.join("redis-password"), "r3dis-secret\n").unwrap();
    until_available(&gateway, true).await;
    issuer.fail_next(1, Failure::Status(503));
    issuer.revoke_all();
    assert_eq!(get(&gateway.url).await.status, 200);
    said += &health(&gateway).await.text;
    said += &get(&format!("{}/metrics", gateway.admin)).await.text;
    gateway.terminate();
    let (status, lines) = gateway.end().await;
    assert!(status == Some(0) && lines.contains("TRACE"), "{lines}");
    said += &lines;
    for secret in ["r3dis-wrong", "r3dis-secret", KEY, "eyJ", "user-password"] {
        let at = said.find(secret);
        assert!(at.is_none(), "{secret}: {:?}", at.map(|at| &said[at.saturating_sub(300)..at + secret.len()]));
    }
}

#[tokio::test]
async fn the_file_that_the_guide_to_fleets_shows_is_whole() {
    let Some(redis) = Redis::start() else { return };
    // The ACL rule is the one that the store's documentation shows.
    let readme = include_str!("../../crates/tower-bearer-redis/README.md");
    let rule = readme.lines().find_map(|line| line.strip_prefix("user tokens ")).unwrap();
    let words = ["ACL", "SETUSER", "tokens"].into_iter().chain(rule.split(' '));
    redis.ask(&words.map(str::as_bytes).collect::<Vec<_>>());
    let guide = include_str!("../../docs/fleet.md");
    let file = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let all = [
        ("https://api.example.org", &*upstream.url("/")),
        ("https://auth.example.org/token", &listening.token_url()),
        ("redis://redis.example.org", &redis.url()),
        (":8080", ":0"),
        (":9090", ":0"),
    ]
    .iter()
    .fold(file.to_owned(), |file, (shown, real)| file.replace(shown, real));
    fs::write(folder.0.join("sealing-key"), KEY).unwrap();
    fs::write(folder.0.join("redis-password"), "s3cret\n").unwrap();
    let gateway = Gateway::run(folder.command(&all)).await;
    assert_eq!(get(&gateway.url).await.status, 200);
    // On a busy machine, a call may take longer than the usual deadline.
    issuer.revoke_all();
    while store(&gateway).await["exchanges"] == 0 {
        issuer.revoke_all();
        get(&gateway.url).await;
    }
}
