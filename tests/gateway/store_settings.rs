//! What the keys of a section `[store]` do, and what is wrong with one.

use std::{fs, net::TcpListener, path::Path};

use tower_bearer::testing::Issuer;

use crate::{
    config_file::{FORM, Folder, TOKEN, TOP, settings},
    process::Gateway,
    redis::Redis,
    sides::{Upstream, get},
    store::{KEY, assert_metrics, section, store},
};

const KEYS: &str = "keys = [{ file = \"sealing-key\" }]\n";
const URL: &str = "url = \"redis://127.0.0.1:1\"\n";

fn folder() -> Folder {
    let folder = Folder::new();
    for (name, text) in [
        ("sealing-key", "8888888888888888888888888888888888888888888888888888888888888888"),
        ("short", "czNjcmV0"),
        ("text", "s3cret key"),
        ("empty", "\n"),
        ("url", "redis://user:s3cret@host:port"),
    ] {
        fs::write(folder.0.join(name), text).unwrap();
    }
    folder
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "each setting has a row")]
async fn each_wrong_setting_of_the_store_is_one_line_with_its_key_and_what_to_do() {
    let folder = folder();
    let store = |lines: &str| format!("{TOP}{TOKEN}[store]\n{lines}\n");
    let more = |lines: &str| store(&format!("{URL}{KEYS}{lines}"));
    let at = |url: &str| store(&format!("{KEYS}url = {url}"));
    let password = r#"store.url: a password must not be in the settings; give `user` and `password`, or the whole URL as { file = "…" } or { env = "…" }"#;
    for (settings, line) in [
        (more("sentinal = \"s3cret\""), "store.sentinal: unknown key; did you mean `sentinel`?"),
        (store(KEYS), "store.url: this key is missing; give the URL of the server, such as \"redis://127.0.0.1:6379\""),
        (at("6379"), &*format!("store.url: this is a whole number; give text, {FORM}")),
        (at("\"redis://user:s3cret@host\""), password),
        (at("\"redis://one,redis://:s3cret@two\""), password),
        (
            at("\"s3cret:6379\""),
            "store.url: URL 1 is not of the form redis://user:password@host:port/database; correct it",
        ),
        (
            at("{ file = \"url\" }"),
            "store.url: URL 1 is not of the form redis://user:password@host:port/database; correct it",
        ),
        (
            at("{ env = \"NOT_SET_HERE\" }"),
            "store.url: the environment variable NOT_SET_HERE is not set: set it to the secret",
        ),
        (at("\"redis://one/3,redis://two\""), "store.url: a cluster has only database 0; correct it"),
        (
            at("\"rediss://one/#insecure\""),
            "store.url: URL 1 has #insecure, which is not supported: name the certificates to trust by `ca_file`; correct it",
        ),
        (at("\"rediss://one,redis://two\""), "store.url: all URLs must begin with rediss://, or none; correct it"),
        (
            store(URL),
            r#"store.keys: this key is missing, or is empty; give [{ file = "…" }] with 32 bytes that `openssl rand -base64 32` makes"#,
        ),
        (
            store(&format!("{URL}keys = [\"s3cret\"]")),
            &format!("store.keys[0]: the secret itself must not be in the settings; give {FORM}"),
        ),
        (
            store(&format!("{URL}keys = [{{ file = \"sealing-key\" }}, {{ file = \"short\" }}]")),
            "store.keys[1]: a key that seals the records of the token store is wrong: it has 6 bytes and not 32; make one with `openssl rand -base64 32`",
        ),
        (
            more("names_key = { file = \"text\" }"),
            "store.names_key: a key that seals the records of the token store is wrong: it is neither base64 nor hexadecimal; make one with `openssl rand -base64 32`",
        ),
        (
            more("names_key = { file = \"none\" }"),
            "store.names_key: the file FOLDER/none cannot be read (No such file or directory (os error 2)); check the path and its permissions",
        ),
        (
            more("password = \"s3cret\""),
            &format!("store.password: the secret itself must not be in the settings; give {FORM}"),
        ),
        (
            more("user = \"tokens\""),
            r#"store.password: this key is missing, and without it `user` would not log in; give { file = "…" } or { env = "…" }"#,
        ),
        (
            more("password = { file = \"empty\" }"),
            "store.password: the file FOLDER/empty cannot be read (it is empty); check the path and its permissions",
        ),
        (
            more("password = { file = \"text\", env = \"A\" }"),
            "store.password: this has `file` and `env`; remove one of them",
        ),
        (more("prefix = \"\""), "store.prefix: the prefix must not be empty and must not have braces; correct it"),
        (more("prefix = \"a{b\""), "store.prefix: the prefix must not be empty and must not have braces; correct it"),
        (more("cluster = true\nsentinel = \"m\""), "store.sentinel: `cluster` is set as well; remove one of them"),
        (
            more("sentinel = \"\""),
            "store.sentinel: this is empty; give the name of the master, as the sentinels know it",
        ),
        (
            more("ca_file = \"none\""),
            "store.ca_file: the file FOLDER/none cannot be read (No such file or directory (os error 2)); check the path",
        ),
        (
            more("ca_file = \"text\""),
            "store.ca_file: certificates are set, but no URL begins with rediss://; correct it",
        ),
        (
            more("ca_file = \"text\"").replace("redis:", "rediss:"),
            "store.ca_file: the roots of TLS hold no certificate in PEM; correct it",
        ),
        (
            more("deadline = 250"),
            "store.deadline: this is a whole number; give a duration with its unit, such as \"90s\" or \"1h 30m\"",
        ),
        (
            more("deadline = \"0s\""),
            "store.deadline: this is too short or too long; give a duration from \"1ms\" to \"1m\"",
        ),
        (
            more("lease = \"11m\""),
            "store.lease: this is too short or too long; give a duration from \"100ms\" to \"10m\"",
        ),
        (
            more("lease = \"10s\""),
            "store.wait: this is not longer than `lease` (10s), so nobody would wait until another gateway takes over; give a longer duration",
        ),
        (more("name = \"\""), "store.name: this is empty; give a name, or remove the key"),
    ] {
        assert_eq!(folder.complaint(&settings).await, line);
    }
}

#[tokio::test]
async fn a_refresh_token_is_shared_only_by_a_name() {
    let folder = folder();
    let store = format!("[store]\n{URL}{KEYS}");
    let refresh = TOKEN
        .replace("\"password\"\n", "\"refresh_token\"\n")
        .replace("username = \"u\"\npassword = { file = \"password\" }", "refresh_token = { file = \"password\" }");
    let tenant = |lines: &str| format!("[identity]\nheader = \"x-tenant\"\n[identity.tenants.acme]\n{lines}\n");
    let own = tenant("grant = \"refresh_token\"\nrefresh_token = { file = \"password\" }");
    for (settings, token) in [
        (format!("{TOP}{refresh}{store}"), "token"),
        (format!("{TOP}{refresh}{}{store}", tenant("refresh_token = { file = \"text\" }")), "token"),
        (format!("{TOP}{TOKEN}{own}{store}"), "identity.tenants.acme"),
    ] {
        let line = format!(
            "store.name: this key is missing, and {token}.grant = \"refresh_token\" does not tell whose tokens these are; give a name that only gateways with the same tokens give"
        );
        assert_eq!(folder.complaint(&settings).await, line);
    }
}

#[tokio::test]
async fn keys_rotate_without_a_miss_and_a_record_of_an_unknown_key_is_counted() {
    let Some(redis) = Redis::start() else { return };
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    fs::write(folder.0.join("new-key"), "8".repeat(64)).unwrap();
    let all = format!("{}{}", settings(&listening, &upstream), section(&redis, &folder));
    let old = "keys = [{ file = \"sealing-key\" }]";
    let names = "names_key = { file = \"sealing-key\" }";
    for (keys, requests, is_unreadable) in [
        (old.to_owned(), 1, false),
        ("keys = [{ file = \"sealing-key\" }, { file = \"new-key\" }]".to_owned(), 1, false),
        (format!("keys = [{{ file = \"new-key\" }}, {{ env = \"OLD_KEY\" }}]\n{names}"), 1, false),
        (format!("keys = [{{ file = \"new-key\" }}]\n{names}"), 2, true),
        (format!("keys = [{{ file = \"new-key\" }}, {{ file = \"sealing-key\" }}]\n{names}"), 2, false),
    ] {
        let mut command = folder.command(&all.replace(old, &keys));
        command.env("OLD_KEY", KEY);
        let gateway = Gateway::run(command).await;
        assert_eq!(get(&gateway.url).await.status, 200);
        assert_eq!(issuer.counts().token_requests, requests, "{keys}");
        // The record is read twice before a token request.
        let seen = store(&gateway).await["unreadable"].as_u64().unwrap();
        assert_eq!(seen > 0, is_unreadable, "{keys}");
        assert_metrics(&gateway, &[&format!("gateway_store_unreadable_total {seen}")]).await;
    }
}

#[tokio::test]
async fn the_servers_are_asked_as_what_the_keys_say_that_they_are() {
    let Some(redis) = Redis::start() else { return };
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let all = format!("{}{}", settings(&listening, &upstream), section(&redis, &folder));
    // This one is alone: it does not know the commands of the others.
    for (keys, problem) in [
        ("sentinel = \"mymaster\"", "no sentinel knows a master \"mymaster\" that can be reached"),
        ("cluster = true", "the Redis server refused with ERR"),
        (
            "user = \"nobody\"\npassword = { env = \"GATEWAY_SECRET\" }",
            "the Redis server refused the user or the password",
        ),
    ] {
        let gateway = Gateway::run(folder.command(&all.replace("[store]", &format!("[store]\n{keys}")))).await;
        assert_eq!(get(&gateway.url).await.status, 200);
        let error = store(&gateway).await["last_error"].to_string().replace("\\\"", "\"");
        assert!(error.contains(problem), "{keys}: {error}");
    }
}

#[tokio::test]
async fn a_server_with_tls_is_trusted_by_the_named_certificates() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let file = |name| data.join(name).display().to_string();
    let (certificate, private) = (file("localhost.pem"), file("localhost-key.pem"));
    let arguments = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &private];
    let more = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
    let Some(redis) = Redis::start_with(&[&arguments[..], &more].concat()) else { return };
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    fs::copy(&certificate, folder.0.join("redis-ca.pem")).unwrap();
    let all = format!("{}{}", settings(&listening, &upstream), section(&redis, &folder))
        .replace(&redis.url(), &format!("rediss://localhost:{port}"));
    let with_roots = all.replace("[store]", "[store]\nca_file = \"redis-ca.pem\"");
    for (settings, problem) in [(&with_roots, ""), (&all, "the TLS connection to the Redis server failed")] {
        let gateway = Gateway::run(folder.command(settings)).await;
        assert_eq!(get(&gateway.url).await.status, 200);
        let store = store(&gateway).await;
        assert_eq!(store["available"], problem.is_empty(), "{store}");
        assert!(store["last_error"].as_str().unwrap_or_default().starts_with(problem), "{store}");
    }
}
