//! The gateway with its settings in a file.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use http::{Request, Response};
use tokio::process::Command;
use tower_bearer::testing::{Issuer, IssuerServer};

use crate::{
    process::{Gateway, command},
    sides::{Upstream, empty, get, send, whole},
};

/// A folder with a file of settings, and with secrets beside it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("gateway-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("password"), "user-password\n").unwrap();
        Self(folder)
    }

    /// Returns the command with these settings. It runs in another folder.
    pub(crate) fn command(&self, settings: &str) -> Command {
        fs::write(self.0.join("gateway.toml"), settings).unwrap();
        let mut command = command();
        command.arg("--config").arg(self.0.join("gateway.toml"));
        command.env("GATEWAY_SECRET", "client-secret").current_dir(env::temp_dir());
        command
    }

    /// Returns the one line that says why the gateway does not start.
    pub(crate) async fn complaint(&self, settings: &str) -> String {
        let output = self.command(settings).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (said, complaint) = (text(output.stdout), text(output.stderr));
        assert_eq!((output.status.code(), said.as_str()), (Some(2), ""), "{settings}: {complaint}");
        assert!(!complaint.contains("s3cret"), "{complaint}");
        let line = complaint.strip_prefix("gateway: ").and_then(|line| line.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("{complaint}"));
        assert!(!line.contains('\n'), "{line}");
        line.replace(&*self.0.to_string_lossy(), "FOLDER")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn settings(issuer: &IssuerServer, upstream: &Upstream) -> String {
    format!(
        r#"
        listen = "127.0.0.1:0"
        admin = "127.0.0.1:0"
        upstream = "{}"
        [token]
        url = "{}"
        grant = "password"
        client_id = "client1"
        client_auth = "basic"
        client_secret = {{ env = "GATEWAY_SECRET" }}
        username = "user1"
        password = {{ file = "password" }}
        scope = "user/Patient.rs"
        "#,
        upstream.url("/"),
        issuer.token_url()
    )
}

#[tokio::test]
async fn a_request_passes_with_the_token_of_the_file_s_grant() {
    let (issuer, folder) = (Issuer::new(), Folder::new());
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::run(folder.command(&settings(&listening, &upstream))).await;
    assert_eq!(get(&gateway.url).await.status, 200);
    let asked = issuer.last_request().unwrap();
    assert_eq!((asked.grant_type(), asked.param("username")), (Some("password"), Some("user1")));
    assert_eq!(asked.param("scope"), Some("user/Patient.rs"));
    assert_eq!(issuer.counts().token_requests, 1);

    issuer.revoke_all();
    assert_eq!(get(&gateway.url).await.status, 200, "a rejected token is renewed");
    gateway.terminate();
    let (status, said) = gateway.end().await;
    assert_eq!(status, Some(0));
    assert!(!said.contains("user-password") && !said.contains("client-secret"), "{said}");
}

#[tokio::test]
async fn a_secret_beside_the_file_is_read_again_for_each_token_request() {
    let (issuer, folder) = (Issuer::new(), Folder::new());
    fs::write(folder.0.join("password"), "wrong").unwrap();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::run(folder.command(&settings(&listening, &upstream))).await;
    assert_eq!(get(&gateway.url).await.status, 503);
    fs::write(folder.0.join("password"), "user-password").unwrap();
    assert_eq!(get(&gateway.url).await.status, 200);
}

#[tokio::test]
async fn the_sections_for_cache_and_layer_and_the_other_keys_are_used() {
    let (issuer, folder) = (Issuer::new(), Folder::new());
    // It rejects each token, and repeats what it received.
    let upstream = Upstream::start(async |request| {
        let value = |name| request.headers().get(name).map_or("none", |value| value.to_str().unwrap());
        let seen = format!("{} {} {}", value("x-token").len() > 9, value("authorization"), value("x-forwarded-for"));
        Response::builder().status(403).body(whole(seen)).unwrap()
    })
    .await;
    let listening = issuer.listen().await.unwrap();
    let rest = "[cache]\nname = \"fhir\"\nrenewal_deadline = \"5s\"\n[layer]\nheader = \"x-token\"\nscheme = \"none\"\nretry = false\nreject_on = [403]\n";
    let top = "timeout = \"5s\"\ndrain = \"1m\"\nforwarded = \"remove\"\nrevoke_on_exit = true\n";
    let revocation = format!("revocation_url = \"{}\"\n", listening.token_url().replace("/token", "/revoke"));
    let all = format!("{top}{}\n{revocation}{rest}", settings(&listening, &upstream));
    let mut command = folder.command(&all);
    command.env("RUST_LOG", "info");
    let gateway = Gateway::run(command).await;
    let request = Request::get(&gateway.url).header("x-forwarded-for", "192.0.2.1").body(empty()).unwrap();
    let answer = send(request).await;
    assert_eq!((answer.status, answer.text.as_str(), upstream.seen()), (403, "true none none", 1));
    gateway.terminate();
    let (status, said) = gateway.end().await;
    assert!(status == Some(0) && said.contains("the token is revoked"), "{said}");
    let line = said.lines().find(|line| line.contains("token issued")).unwrap();
    assert!(line.contains("cache=\"fhir\""), "{line}");
}

pub(crate) const FORM: &str =
    r#"{ file = "…" } with the path of a file, or { env = "…" } with the name of an environment variable"#;
pub(crate) const TOP: &str = "upstream = \"https://api.test\"\n";
pub(crate) const TOKEN: &str = "[token]\nurl = \"https://auth.test/token\"\ngrant = \"password\"\nclient_id = \"c\"\nclient_secret = { env = \"GATEWAY_SECRET\" }\nusername = \"u\"\npassword = { file = \"password\" }\n";

#[tokio::test]
async fn each_wrong_setting_is_one_line_with_its_key_and_what_to_do() {
    let folder = Folder::new();
    let (top, token) = (|line: &str| format!("{line}\n{TOP}{TOKEN}"), |line: &str| format!("{TOP}{TOKEN}{line}\n"));
    for (settings, line) in [
        (top("upstraem = \"s3cret\""), "upstraem: unknown key; did you mean `upstream`?"),
        (token("clinet_id = \"s3cret\""), "token.clinet_id: unknown key; did you mean `client_id`?"),
        (TOKEN.to_owned(), "upstream: this key is missing; give the URL of the API"),
        (TOP.to_owned(), "token: this section is missing; say how to get a token"),
        (
            "upstream = \"api\"".to_owned(),
            "upstream: this URL must have a scheme and a host, such as https://fhir.example.org/r4; give a base URL",
        ),
        (
            "upstream = \"http://api.test\"".to_owned(),
            "upstream: this is plain http, so others on the network could read the token; use https, or set allow_plain_http = true if the network is protected in another way",
        ),
        (top("listen = \"s3cret\""), "listen: this is not an address with a port; give one such as \"127.0.0.1:8080\""),
        (top("admin = 8080"), "admin: this is a whole number; give text"),
        (top("timeout = \"0s\""), "timeout: this is too short or too long; give a duration from \"1s\" to \"24h\""),
        (
            top("timeout = 30"),
            "timeout: this is a whole number; give a duration with its unit, such as \"90s\" or \"1h 30m\"",
        ),
        (
            top("drain = \"s3cret\""),
            "drain: this is not a duration; give numbers with their units, such as \"250ms\", \"90s\" or \"1h 30m\"",
        ),
        (top("forwarded = \"s3cret\""), "forwarded: unknown value; give x-forwarded, forwarded, both, remove or keep"),
        (
            top("trust_forwarded = true"),
            "trust_forwarded: this is of no use alone; set `forwarded` to x-forwarded, forwarded or both",
        ),
        (
            top("ca_file = \"ca.pem\""),
            "ca_file: the file FOLDER/ca.pem cannot be read (No such file or directory (os error 2)); check the path",
        ),
        (top("revoke_on_exit = 1"), "revoke_on_exit: this is a whole number; give true or false"),
        (
            token("password = \"s3cret\"").replace("password = { file = \"password\" }\n", ""),
            &*format!("token.password: the secret itself must not be in the settings; give {FORM}"),
        ),
        (
            token("").replace("file = \"password\"", "file = \"none\""),
            "token.password: the file FOLDER/none cannot be read (No such file or directory (os error 2)); check the path and its permissions",
        ),
        (
            token("").replace("GATEWAY_SECRET", "NOT_SET_HERE"),
            "token.client_secret: the environment variable NOT_SET_HERE is not set, or is empty; set it to the secret",
        ),
        (token("").replace("username = \"u\"\n", ""), "token.username: this key is missing; give the user's name"),
        (
            token("").replace("\"password\"\nclient", "\"client_credentials\"\nclient"),
            "token.username: this is of no use with grant = \"client_credentials\"; remove it, or change `grant`",
        ),
        (
            token("[cache]\nrenewal_deadline = 10"),
            "cache.renewal_deadline: this is a whole number; give a duration with its unit, such as \"90s\" or \"1h 30m\"",
        ),
        (
            token("[layer]\nreject_on = [200]"),
            "layer.reject_on[0]: this answer cannot reject a token; give an error status such as 403, \"invalid_token\", \"grpc\", or the path of a login page such as \"/login\"",
        ),
        (
            token("[layer]\norigins = [\"https://api.test\"]"),
            "layer.origins: this is of no use here, because the token goes only to `upstream`; remove it",
        ),
        (
            token("[layer]\nassume_origin = \"https://api.test\""),
            "layer.assume_origin: this is of no use here, because each request has the URL of `upstream`; remove it",
        ),
        (
            token("[layer]\nallow_plain_http = true"),
            "layer.allow_plain_http: this is of no use here; set `allow_plain_http` at the top of the file",
        ),
        (
            token("password = \"s3cret"),
            "FOLDER/gateway.toml line 9: this is not TOML (invalid basic string, expected `\"`); correct the line",
        ),
    ] {
        assert_eq!(folder.complaint(&settings).await, line);
    }
}

#[tokio::test]
async fn each_wrong_setting_of_the_identities_is_one_line_too() {
    let folder = Folder::new();
    let identity = |lines: &str| format!("{TOP}{TOKEN}[identity]\n{lines}\n");
    let users = |lines: &str| {
        let token = "url = \"https://auth.test/token\"\ngrant = \"token_exchange\"\nclient_id = \"c\"\nclient_secret = { env = \"GATEWAY_SECRET\" }";
        format!("{TOP}[token]\n{token}\n{lines}\n[identity]\nsubject_token = \"authorization\"\n")
    };
    for (settings, line) in [
        (identity("heder = \"x-tenant\""), "identity.heder: unknown key; did you mean `header`?"),
        (
            identity("listen = \"127.0.0.1:0\""),
            "identity.listen: unknown key; `listen` belongs at the top of the file, before the first section",
        ),
        (
            identity("header = \"x-tenant\"\n[identity.tenants.acme]\ntimeout = \"1s\""),
            "identity.tenants.acme.timeout: unknown key; `timeout` belongs at the top of the file, before the first section",
        ),
        (
            identity("max = 1"),
            "identity.header: this key is missing; give the header with the tenant's name, or `subject_token` with the header of the user's token",
        ),
        (
            identity("header = \"s3 cret\""),
            "identity.header: this is not the name of a header; give one such as \"x-tenant\"",
        ),
        (
            identity("header = \"x-tenant\""),
            "identity.tenants: there are no tenants; add a section for each, such as [identity.tenants.acme]",
        ),
        (
            identity("header = \"x-tenant\"\nmax = 0"),
            "identity.max: this is 0, so no token could be kept; give a larger number",
        ),
        (
            identity("header = \"x-tenant\"\nidle = \"s3cret\""),
            "identity.idle: this is not a duration; give numbers with their units, such as \"250ms\", \"90s\" or \"1h 30m\"",
        ),
        (
            identity("header = \"x-tenant\"\nidle = 3600"),
            "identity.idle: this is a whole number; give a duration with its unit, such as \"90s\" or \"1h 30m\"",
        ),
        (
            identity("header = \"x-tenant\"\nname = \"\""),
            "identity.name: this is empty; give a name, or remove the key",
        ),
        (
            identity("header = \"x-tenant\"\nrenewals_at_once = 0"),
            "identity.renewals_at_once: this is 0, so no token could be requested; give a larger number",
        ),
        (
            identity("header = \"x-tenant\"\nsubject_token = \"authorization\""),
            "identity.subject_token: `header` is set as well; remove one of them: `header` is for tenants, `subject_token` for users",
        ),
        (
            identity("subject_token = \"s3 cret\""),
            "identity.subject_token: this is not the name of a header; give one such as \"authorization\"",
        ),
        (
            identity("subject_token = \"authorization\""),
            "token.grant: this grant takes no token of a user; use `token_exchange` or `jwt_bearer`",
        ),
        (
            format!("{TOP}[identity]\nsubject_token = \"authorization\"\n"),
            "token: this section is missing; say how a user's token is exchanged, with grant = \"token_exchange\"",
        ),
        (
            identity("subject_token = \"authorization\"\n[identity.tenants.acme]\nusername = \"a\""),
            "identity.tenants: this is of no use with `subject_token`; remove it, or use `header` in place of `subject_token`",
        ),
        (
            users("subject_token = { env = \"GATEWAY_SECRET\" }"),
            "token.subject_token: each request brings the token of its user; remove this key",
        ),
        (
            users("actor_token_type = \"jwt\""),
            "token.actor_token_type: this is of no use without `actor_token`; remove it, or add that",
        ),
        (
            users("username = \"u\""),
            "token.username: this is of no use with grant = \"token_exchange\"; remove it, or change `grant`",
        ),
        (
            users("actor_token = { file = \"none\" }\nactor_token_type = \"jwt\""),
            "token.actor_token: the file FOLDER/none cannot be read (No such file or directory (os error 2)); check the path and its permissions",
        ),
        (
            users("scope = \"a  \\u0001\""),
            "token.scope: the scope has a character that RFC 6749 §3.3 does not allow; use printable ASCII without quotes and backslashes",
        ),
        (
            identity("header = \"x-tenant\"\n[identity.tenants.acme]\nusrname = \"a\""),
            "identity.tenants.acme.usrname: unknown key; did you mean `username`?",
        ),
        (
            identity("header = \"x-tenant\"\n[identity.tenants.acme]\npassword = { env = \"NOT_SET_HERE\" }"),
            "identity.tenants.acme.password: the environment variable NOT_SET_HERE is not set, or is empty; set it to the secret",
        ),
    ] {
        assert_eq!(folder.complaint(&settings).await, line);
    }
}

#[tokio::test]
async fn an_identity_that_cannot_work_is_an_error_at_the_place_of_its_setting() {
    let folder = Folder::new();
    let identity = |lines: &str| format!("{TOP}{TOKEN}[identity]\n{lines}\n");
    for (settings, line) in [
        (
            identity("header = \"Content-Length\""),
            "identity.header: HTTP itself uses this header; give another one such as \"x-tenant\"",
        ),
        (
            identity("subject_token = \"host\""),
            "identity.subject_token: HTTP itself uses this header; give another one such as \"authorization\"",
        ),
        (
            identity("header = \"x-tenant\"\n[identity.tenants.\"\"]\nusername = \"a\""),
            "identity.tenants.\"\": the name of this tenant is empty; give it a name",
        ),
        (
            identity("header = \"x-tenant\"\n[identity.tenants.\"a b\"]\nusername = \"\""),
            &format!("identity.tenants.\"a b\".username: this is empty; give text, {FORM}"),
        ),
        (
            identity("header = \"x-tenant\"\n[identity.tenants.acme]\nusername = \"a\"")
                .replace("https://auth.test/token", "http://auth.test/token"),
            "token.url: the token URL at http://auth.test is plain http, which would send secrets unencrypted; use https, or set allow_plain_http = true if the network is private by other means",
        ),
        (
            identity("header = \"x-tenant\"\n[identity.tenants.acme]\npassword = 123456789012345678901234"),
            &format!("identity.tenants.acme.password: the secret itself must not be in the settings; give {FORM}"),
        ),
    ] {
        assert_eq!(folder.complaint(&settings).await, line);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let output = command().args(["--config", "/nowhere/gateway.toml"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        complaint,
        "gateway: --config /nowhere/gateway.toml: No such file or directory (os error 2); check the path\n"
    );
}

#[tokio::test]
async fn no_other_option_is_given_with_a_file() {
    let folder = Folder::new();
    for (args, name) in [
        (&["--upstream", "https://s3cret.test"][..], "--upstream"),
        (&["--no-auth"], "--no-auth"),
        (&["--client-id", "s3cret"], "--client-id"),
        (&["--rewrite-location"], "--rewrite-location"),
    ] {
        let output = folder.command(&format!("{TOP}{TOKEN}")).args(args).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2));
        let complaint = String::from_utf8(output.stderr).unwrap();
        let line =
            format!("gateway: {name} is of no use with --config: write this setting into the file; see --help\n");
        assert_eq!(complaint, line);
    }
}

#[tokio::test]
async fn the_files_that_the_guide_to_identities_shows_are_whole() {
    let guide = include_str!("../../docs/identities.md");
    let files: Vec<_> = guide.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(files.len(), 2);
    for (file, identities) in files.iter().zip(["tenants", "users"]) {
        let folder = Folder::new();
        let mut command = folder.command(&file.replace(":8080", ":0").replace(":9090", ":0"));
        command.env("ACME_PASSWORD", "1").env("GLOBEX_PASSWORD", "2");
        let gateway = Gateway::run(command).await;
        let health = get(&format!("{}/healthz", gateway.admin)).await;
        assert_eq!((health.status, &health.json()[identities]["in_use"]), (200, &0.into()));
    }
}

#[tokio::test]
async fn the_file_that_help_shows_is_right() {
    let output = command().arg("--help").output().await.unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let shown = help.split("Paths are relative to the file.").nth(1).unwrap().replace("...", "");
    // The lines for users, which replace those for tenants, are shown further to the right.
    let (users, shown): (Vec<_>, Vec<_>) =
        shown.lines().filter(|line| line.starts_with("  ")).partition(|line| line.starts_with("    "));
    let (users, shown) = (users.join("\n"), shown.join("\n"));
    let folder = Folder::new();
    fs::write(folder.0.join("redis-password"), "r3dis").unwrap();
    fs::write(folder.0.join("sealing-key"), "8".repeat(64)).unwrap();
    // The certificates are not there. That is the last thing that is wrong with it.
    assert!(folder.complaint(&shown).await.starts_with("ca_file: the file FOLDER/ca.pem cannot be read"));
    let rest = shown.replace("ca_file = \"ca.pem\"", "").replace("GATEWAY_SECRET", "NOT_SET_HERE");
    let unset = "token.client_secret: the environment variable NOT_SET_HERE";
    assert!(folder.complaint(&rest).await.starts_with(unset));
    let users = format!("{TOP}{users}");
    assert!(folder.complaint(&users).await.starts_with("token.actor_token: the file FOLDER/actor cannot be read"));
}
