//! What is wrong with a section `[store]`.

use std::fs;

use crate::config_file::{FORM, Folder, TOKEN, TOP};

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
            "store.url: the environment variable NOT_SET_HERE is not set, or is empty; set it to the secret",
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
            more("password = { file = \"empty\" }"),
            "store.password: the file FOLDER/empty is empty; write the secret into it",
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
