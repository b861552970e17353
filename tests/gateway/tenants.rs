//! The gateway with a token for each tenant.

use std::fs;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_bearer::testing::{Issuer, IssuerServer};

use crate::{
    config_file::{Folder, settings},
    process::Gateway,
    sides::{Answer, Upstream, empty, get, send, whole},
};

const TENANTS: &str = r#"
    [identity]
    header = "x-tenant"
    name = "tenants"
    max = 100000
    idle = "1h"
    [identity.tenants.acme]
    username = "acme"
    password = { file = "acme" }
    [identity.tenants.globex]
    username = "globex"
    password = { env = "GLOBEX_PASSWORD" }
    [identity.tenants.own]
    grant = "client_credentials"
    "#;

fn issuer() -> Issuer {
    Issuer::builder().user("acme", "acme-password").user("globex", "globex-password").build()
}

/// Starts a gateway with three tenants, in front of an API that repeats two headers.
async fn start(issuer: &IssuerServer, folder: &Folder) -> (Gateway, Upstream) {
    let upstream = Upstream::start(async |request| {
        let value = |name| request.headers().get(name).map_or("none", |value| value.to_str().unwrap());
        Response::new(whole(format!("{} {}", value("authorization"), value("x-tenant"))))
    })
    .await;
    fs::write(folder.0.join("acme"), "acme-password").unwrap();
    let mut command = folder.command(&format!("{}{TENANTS}", settings(issuer, &upstream)));
    command.env("GLOBEX_PASSWORD", "globex-password");
    (Gateway::run(command).await, upstream)
}

async fn ask(gateway: &Gateway, tenants: &[&str]) -> Answer {
    let request =
        tenants.iter().fold(Request::get(&gateway.url), |request, tenant| request.header("x-tenant", *tenant));
    send(request.body(empty()).unwrap()).await
}

#[tokio::test]
async fn each_tenant_has_its_own_token_and_the_header_is_not_passed_on() {
    let (issuer, folder) = (issuer(), Folder::new());
    let listening = issuer.listen().await.unwrap();
    let (gateway, _upstream) = start(&listening, &folder).await;
    assert_eq!(issuer.counts().token_requests, 0, "no tenant has asked yet");
    let mut tokens = Vec::new();
    for (tenant, grant, user) in [
        ("acme", "password", Some("acme")),
        ("globex", "password", Some("globex")),
        ("own", "client_credentials", None),
    ] {
        let answer = ask(&gateway, &[tenant]).await;
        let (token, header) = answer.text.rsplit_once(' ').unwrap();
        assert_eq!((answer.status, header), (200, "none"), "{}", answer.text);
        let asked = issuer.last_request().unwrap();
        assert_eq!((asked.grant_type(), asked.param("username")), (Some(grant), user));
        assert_eq!(asked.param("scope"), Some("user/Patient.rs"), "what all tenants have");
        assert_eq!(ask(&gateway, &[tenant]).await.text, answer.text, "{tenant} keeps its token");
        tokens.push(token.to_owned());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!((tokens.len(), issuer.counts().token_requests), (3, 3));

    let health = get(&format!("{}/healthz", gateway.admin)).await;
    let tenants = &health.json()["tenants"];
    assert_eq!((health.status, &tenants["in_use"], &tenants["ready"]), (200, &3.into(), &3.into()));
    let metrics = get(&format!("{}/metrics", gateway.admin)).await.text;
    assert!(metrics.contains("gateway_tenants{state=\"in_use\"} 3\n"), "{metrics}");

    gateway.signal("HUP");
    while issuer.counts().token_requests < 4 {
        ask(&gateway, &["acme"]).await;
    }
    gateway.terminate();
    let (status, said) = gateway.end().await;
    assert_eq!(status, Some(0));
    assert!(!["acme", "globex", "password"].iter().any(|word| said.contains(word)), "{said}");
}

#[tokio::test]
async fn a_request_without_a_known_tenant_is_forbidden_and_nothing_is_sent() {
    let (issuer, folder) = (issuer(), Folder::new());
    let listening = issuer.listen().await.unwrap();
    let (gateway, upstream) = start(&listening, &folder).await;
    for tenants in [&[][..], &["initech"], &[""], &["ACME"], &["acme", "globex"], &["acme", "acme"], &["acme,globex"]] {
        let answer = ask(&gateway, tenants).await;
        assert_eq!(answer.status, 403, "{tenants:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["detail"], "The request does not name a tenant that the gateway knows.");
    }
    // A user cannot have the header removed as one of the connection's.
    let request = Request::get(&gateway.url).header("x-tenant", "acme").header("connection", "x-tenant");
    assert_eq!(send(request.body(empty()).unwrap()).await.status, 200);
    assert_eq!((issuer.counts().token_requests, upstream.seen()), (1, 1));
}

#[tokio::test]
async fn a_wrong_password_of_one_tenant_does_not_affect_the_others() {
    let (issuer, folder) = (issuer(), Folder::new());
    let listening = issuer.listen().await.unwrap();
    let (gateway, upstream) = start(&listening, &folder).await;
    fs::write(folder.0.join("acme"), "wrong").unwrap();
    for _ in 0..3 {
        let answer = ask(&gateway, &["acme"]).await;
        assert!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{}", answer.text);
        assert_eq!(ask(&gateway, &["globex"]).await.status, 200);
    }
    assert_eq!((issuer.counts().token_requests, upstream.seen()), (2, 3), "one attempt with the wrong password");
    fs::write(folder.0.join("acme"), "acme-password").unwrap();
    assert_eq!(ask(&gateway, &["acme"]).await.status, 200);
}

#[tokio::test]
async fn the_tenant_with_the_wrong_password_is_named_to_the_operator() {
    let (issuer, folder) = (issuer(), Folder::new());
    let listening = issuer.listen().await.unwrap();
    let (gateway, _upstream) = start(&listening, &folder).await;
    let failing = async || get(&format!("{}/healthz", gateway.admin)).await.json()["failing_tenants"].to_string();
    fs::write(folder.0.join("acme"), "wrong").unwrap();
    assert_eq!(ask(&gateway, &["globex"]).await.status, 200);
    assert_eq!(failing().await, "[]");
    assert_eq!(ask(&gateway, &["acme"]).await.status, 503);
    assert_eq!(failing().await, r#"["acme"]"#);
    gateway.terminate();
    let (_, said) = gateway.end().await;
    let line = said.lines().find(|line| line.contains("token request failed")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(r#"cache="tenants""#), "{line}");
    assert!(line.contains(r#"identity="acme""#) && !said.contains("globex"), "{said}");
}

#[tokio::test]
async fn the_header_of_the_tenant_is_not_passed_on_as_a_trailer() {
    let (issuer, folder) = (issuer(), Folder::new());
    let listening = issuer.listen().await.unwrap();
    let upstream = Upstream::start(async |mut request| {
        let announced = request.headers().get("trailer").map_or("none", |value| value.to_str().unwrap()).to_owned();
        let trailers = loop {
            match request.body_mut().frame().await {
                Some(frame) => {
                    if let Ok(trailers) = frame.unwrap().into_trailers() {
                        break trailers;
                    }
                }
                None => break http::HeaderMap::new(),
            }
        };
        let names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
        Response::new(whole(format!("{announced} {}", names.join(","))))
    })
    .await;
    fs::write(folder.0.join("acme"), "acme-password").unwrap();
    let mut command = folder.command(&format!("{}{TENANTS}", settings(&listening, &upstream)));
    command.env("GLOBEX_PASSWORD", "globex-password");
    let gateway = Gateway::run(command).await;
    let mut connection = TcpStream::connect(gateway.url.strip_prefix("http://").unwrap()).await.unwrap();
    let request = "POST / HTTP/1.1\r\nhost: a\r\nx-tenant: acme\r\ntrailer: X-Tenant, x-sum\r\ntransfer-encoding: chunked\r\n\
        connection: close\r\n\r\n3\r\nabc\r\n0\r\nx-tenant: globex\r\nx-sum: 1\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("x-sum x-sum") || answer.contains("x-sum x-sum\r\n"), "{answer}");
}

#[tokio::test]
async fn revocations_at_the_end_take_no_longer_than_the_requests_may() {
    let (issuer, folder) = (issuer(), Folder::new());
    let listening = issuer.listen().await.unwrap();
    let upstream = Upstream::echo().await;
    // It accepts connections and does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let top = "revoke_on_exit = true\ndrain = \"1s\"\n";
    let revocation = format!("[token]\nrevocation_url = \"http://{}/\"", silent.local_addr().unwrap());
    fs::write(folder.0.join("acme"), "acme-password").unwrap();
    let all = format!("{top}{}{TENANTS}", settings(&listening, &upstream)).replace("[token]", &revocation);
    let mut command = folder.command(&all);
    command.env("GLOBEX_PASSWORD", "globex-password");
    let gateway = Gateway::run(command).await;
    assert_eq!(ask(&gateway, &["acme"]).await.status, 200);
    gateway.terminate();
    let (status, said) = gateway.end().await;
    assert!(status == Some(0) && said.contains("not all tokens are revoked in time"), "{said}");
}
