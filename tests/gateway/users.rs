//! The gateway with a token for each user, in exchange for the user's token.

use std::fs;

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tower_bearer::testing::{Failure, Issuer, IssuerServer, TokenRequest, TokenStatus};

use crate::{
    config_file::Folder,
    process::Gateway,
    sides::{Answer, Upstream, empty, get, send, whole},
};

const EXCHANGE: &str = r#"
    grant = "token_exchange"
    audience = "https://api.test"
    resource = "https://api.test/v1"
    scope = "user/Patient.rs"
    actor_token = { file = "actor" }
    actor_token_type = "access_token"
    "#;

const BY_AUTHORIZATION: &str = "[identity]\nsubject_token = \"authorization\"\nmax = 1000\nidle = \"1h\"\n";

fn two_users() -> Issuer {
    Issuer::builder().user("ada", "1").user("bob", "2").build()
}

/// The gateway between an issuer and an API that requires the issuer's tokens, and repeats the headers that it got.
struct Sides {
    issuer: Issuer,
    listening: IssuerServer,
    upstream: Upstream,
    gateway: Gateway,
    _folder: Folder,
}

impl Sides {
    async fn start(issuer: Issuer, grant: &str, identity: &str) -> Self {
        let (folder, listening) = (Folder::new(), issuer.listen().await.unwrap());
        let checking = issuer.clone();
        let upstream = Upstream::start(move |request| {
            let status = if checking.check(request.headers()).is_accepted() { 200 } else { 401 };
            let line = |(name, value): (_, &http::HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap());
            let got: String = request.headers().iter().map(line).collect();
            async move { Response::builder().status(status).body(whole(got)).unwrap() }
        })
        .await;
        fs::write(folder.0.join("actor"), token(&listening, "grant_type=client_credentials").await).unwrap();
        let settings = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nupstream = \"{}\"\n[token]\nurl = \"{}\"\n\
             client_id = \"client1\"\nclient_secret = {{ env = \"GATEWAY_SECRET\" }}\n{grant}\n{identity}",
            upstream.url("/"),
            listening.token_url()
        );
        let gateway = Gateway::run(folder.command(&settings)).await;
        Self { issuer, listening, upstream, gateway, _folder: folder }
    }

    async fn exchanging(identity: &str) -> Self {
        Self::start(two_users(), EXCHANGE, identity).await
    }

    /// Returns the token that a user brings to the gateway.
    async fn signed_in(&self, user: &str) -> String {
        let password = if user == "ada" { "1" } else { "2" };
        token(&self.listening, &format!("grant_type=password&username={user}&password={password}")).await
    }

    /// Sends a request with these headers through the gateway.
    async fn ask(&self, headers: &[(&str, &str)]) -> Answer {
        let request = headers
            .iter()
            .fold(Request::get(&self.gateway.url), |request, (name, value)| request.header(*name, *value));
        send(request.body(empty()).unwrap()).await
    }

    async fn ask_as(&self, token: &str) -> Answer {
        self.ask(&[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Returns the token requests of the gateway.
    fn exchanges(&self) -> Vec<TokenRequest> {
        let is_own = |request: &TokenRequest| request.grant_type().is_some_and(|grant| grant.starts_with("urn:"));
        self.issuer.requests().into_iter().filter(is_own).collect()
    }
}

/// Asks the issuer for a token.
pub(crate) async fn token(issuer: &IssuerServer, form: &str) -> String {
    granted(issuer, form).await["access_token"].as_str().unwrap().to_owned()
}

/// Returns the issuer's answer to a token request that it grants.
pub(crate) async fn granted(issuer: &IssuerServer, form: &str) -> serde_json::Value {
    let request = Request::post(issuer.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", "Basic Y2xpZW50MTpjbGllbnQtc2VjcmV0")
        .body(whole(form.to_owned()))
        .unwrap();
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Returns the token that the API got.
fn sent_token(answer: &Answer) -> String {
    let mut lines = answer.text.lines().filter_map(|line| line.strip_prefix("authorization: Bearer "));
    let token = lines.next().unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
    assert_eq!(lines.next(), None);
    token
}

fn user_of(issuer: &Issuer, token: &str) -> String {
    let header = format!("Bearer {token}").parse().unwrap();
    match issuer.check(&HeaderMap::from_iter([(AUTHORIZATION, header)])) {
        TokenStatus::Accepted { subject, .. } => subject,
        other => panic!("{other:?}"),
    }
}

/// Checks that the answer is the gateway's own 401.
fn assert_refused(answer: &Answer, challenge: &str, detail: &str, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text);
    assert_eq!(answer.headers["www-authenticate"], challenge, "{what}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    let problem = answer.json();
    assert_eq!((&problem["status"], problem["detail"].as_str()), (&401.into(), Some(detail)), "{what}");
}

const NO_USER: (&str, &str) = ("Bearer", "The request has no token of a user.");
const REFUSED: (&str, &str) = ("Bearer error=\"invalid_token\"", "The user's token has expired, or was refused.");

#[tokio::test]
async fn each_user_has_a_token_of_their_own_and_the_users_token_is_not_passed_on() {
    let sides = Sides::exchanging(BY_AUTHORIZATION).await;
    let mut sent = Vec::new();
    for user in ["ada", "bob"] {
        let subject = sides.signed_in(user).await;
        for scheme in ["Bearer", "bearer"] {
            let answer = sides.ask(&[("authorization", &format!("{scheme} {subject}"))]).await;
            assert!(answer.status == 200 && !answer.text.contains(&subject), "{}", answer.text);
            let token = sent_token(&answer);
            assert_eq!(user_of(&sides.issuer, &token), user);
            sent.push(token);
        }
        let asked = sides.issuer.last_request().unwrap();
        for (name, value) in [
            ("subject_token", &*subject),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", "https://api.test"),
            ("resource", "https://api.test/v1"),
            ("scope", "user/Patient.rs"),
        ] {
            assert_eq!(asked.param(name), Some(value), "{name}");
        }
        assert_eq!(user_of(&sides.issuer, asked.param("actor_token").unwrap()), "client1");
    }
    sent.dedup();
    assert_eq!((sent.len(), sides.exchanges().len()), (2, 2), "each user keeps the token");

    let health = get(&format!("{}/healthz", sides.gateway.admin)).await;
    let users = &health.json()["users"];
    assert_eq!((health.status, &users["in_use"], &users["ready"]), (200, &2.into(), &2.into()));
    let metrics = get(&format!("{}/metrics", sides.gateway.admin)).await.text;
    assert!(metrics.contains("gateway_users{state=\"in_use\"} 2\n"), "{metrics}");
    sides.gateway.terminate();
    let (status, said) = sides.gateway.end().await;
    // `eyJ` is the beginning of every JWT.
    assert!(status == Some(0) && !said.contains("eyJ"), "{said}");
}

#[tokio::test]
async fn a_request_without_a_users_token_is_a_401_and_nothing_is_sent() {
    let sides = Sides::exchanging(BY_AUTHORIZATION).await;
    let ada = format!("Bearer {}", sides.signed_in("ada").await);
    for given in [
        &[][..],
        &[""],
        &["Basic YTpi"],
        &["Bearer"],
        &["Bearer "],
        &["Bearer a b"],
        &[&ada, "Bearer x"],
        &[&ada, &ada],
    ] {
        let headers: Vec<_> = given.iter().map(|value| ("authorization", *value)).collect();
        assert_refused(&sides.ask(&headers).await, NO_USER.0, NO_USER.1, &format!("{given:?}"));
    }
    assert_eq!((sides.exchanges().len(), sides.upstream.seen()), (0, 0));
    // A user cannot have the header removed as one of the connection's.
    assert_eq!(sides.ask(&[("authorization", &ada), ("connection", "authorization")]).await.status, 200);
    let metrics = get(&format!("{}/metrics", sides.gateway.admin)).await.text;
    assert!(metrics.contains("gateway_requests_total{outcome=\"refused\"} 8\n"), "{metrics}");
}

#[tokio::test]
async fn a_users_token_that_has_expired_is_a_401_and_is_not_exchanged() {
    let sides = Sides::exchanging(BY_AUTHORIZATION).await;
    for _ in 0..3 {
        let answer = sides.ask_as("eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.").await;
        assert_refused(&answer, REFUSED.0, REFUSED.1, "expired");
    }
    assert_eq!((sides.exchanges().len(), sides.upstream.seen()), (0, 0));
}

/// RFC 8693 §2.2.2 and RFC 7523 §3.1 have different codes for it.
#[tokio::test]
async fn a_users_token_that_is_refused_is_a_401_that_is_remembered_for_that_token_only() {
    let sides = Sides::exchanging(BY_AUTHORIZATION).await;
    let ada = sides.signed_in("ada").await;
    for (count, code) in ["invalid_grant", "invalid_request", "invalid_token"].into_iter().enumerate() {
        sides.issuer.fail_next(1, Failure::OAuth(400, code));
        for _ in 0..3 {
            assert_refused(&sides.ask_as(&format!("made-up-{code}")).await, REFUSED.0, REFUSED.1, code);
            assert_eq!(sides.ask_as(&ada).await.status, 200);
        }
        // One of each, and one of Ada.
        assert_eq!(sides.exchanges().len(), count + 2);
    }
    assert_eq!(sides.upstream.seen(), 9);
}

#[tokio::test]
async fn a_refusal_of_the_gateway_itself_is_not_the_users_fault() {
    let sides = Sides::exchanging(BY_AUTHORIZATION).await;
    let ada = sides.signed_in("ada").await;
    sides.issuer.fail_next(1, Failure::OAuth(401, "invalid_client"));
    let answer = sides.ask_as(&ada).await;
    assert!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{}", answer.text);
    assert_eq!(sides.upstream.seen(), 0);
}

#[tokio::test]
async fn a_revoked_token_of_one_user_is_exchanged_again_and_the_request_sent_once_more() {
    let sides = Sides::exchanging(BY_AUTHORIZATION).await;
    let (ada, bob) = (sides.signed_in("ada").await, sides.signed_in("bob").await);
    let of_ada = sent_token(&sides.ask_as(&ada).await);
    let of_bob = sent_token(&sides.ask_as(&bob).await);
    sides.issuer.revoke_current();
    let answer = sides.ask_as(&bob).await;
    assert_eq!(answer.status, 200);
    let renewed = sent_token(&answer);
    assert!(renewed != of_bob && user_of(&sides.issuer, &renewed) == "bob");
    assert_eq!(sent_token(&sides.ask_as(&ada).await), of_ada);
    let subjects: Vec<_> =
        sides.exchanges().iter().map(|sent| sent.param("subject_token").unwrap().to_owned()).collect();
    assert_eq!((subjects, sides.upstream.seen()), (vec![ada, bob.clone(), bob], 5));
    let metrics = get(&format!("{}/metrics", sides.gateway.admin)).await.text;
    assert!(metrics.contains("gateway_retries_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn another_header_has_the_users_token_with_or_without_the_scheme() {
    let identity = "[identity]\nsubject_token = \"x-user-token\"\n";
    let sides = Sides::exchanging(identity).await;
    let (ada, bob) = (sides.signed_in("ada").await, sides.signed_in("bob").await);
    let bearer = format!("Bearer {ada}");
    let mut sent = Vec::new();
    for value in [&ada, &bearer] {
        let answer = sides.ask(&[("x-user-token", value), ("authorization", &format!("Bearer {bob}"))]).await;
        assert!(answer.status == 200 && !answer.text.contains(&ada) && !answer.text.contains(&bob), "{}", answer.text);
        assert!(!answer.text.contains("x-user-token"), "{}", answer.text);
        sent.push(sent_token(&answer));
    }
    assert_eq!((user_of(&sides.issuer, &sent[0]), sent[0] == sent[1]), ("ada".into(), true));
    for given in [&[][..], &[""], &["Basic YTpi"], &["Bearer"], &[&ada, &bob]] {
        let mut headers: Vec<_> = given.iter().map(|value| ("x-user-token", *value)).collect();
        headers.push(("authorization", &bearer));
        assert_refused(&sides.ask(&headers).await, NO_USER.0, NO_USER.1, &format!("{given:?}"));
    }
    assert_eq!((sides.exchanges().len(), sides.upstream.seen()), (1, 2));
}

/// RFC 7523 §2.1. Here the users' tokens are those of another issuer, which this one trusts.
#[tokio::test]
async fn with_the_jwt_bearer_grant_the_users_token_is_the_assertion() {
    let provider = two_users();
    let at_provider = provider.listen().await.unwrap();
    let issuer = Issuer::builder().user("ada", "1").user("bob", "2").trusts(&provider).build();
    let grant = "grant = \"jwt_bearer\"\nscope = \"user/Patient.rs\"";
    let sides = Sides::start(issuer, grant, BY_AUTHORIZATION).await;
    for (user, password) in [("ada", "1"), ("bob", "2")] {
        let own = token(&at_provider, &format!("grant_type=password&username={user}&password={password}")).await;
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={own}\
             &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
             &requested_token_type=urn:ietf:params:oauth:token-type:id-jag&audience={}",
            sides.listening.token_url()
        );
        let assertion = token(&at_provider, &form).await;
        for _ in 0..2 {
            let answer = sides.ask_as(&assertion).await;
            assert!(answer.status == 200 && !answer.text.contains(&assertion), "{}", answer.text);
            assert_eq!(user_of(&sides.issuer, &sent_token(&answer)), user);
        }
        let asked = sides.issuer.last_request().unwrap();
        assert_eq!((asked.param("assertion"), asked.param("scope")), (Some(&*assertion), Some("user/Patient.rs")));
    }
    for _ in 0..2 {
        assert_refused(&sides.ask_as("made-up").await, REFUSED.0, REFUSED.1, "not an assertion");
    }
    assert_eq!((sides.exchanges().len(), sides.upstream.seen()), (3, 4));
}

#[tokio::test]
async fn no_more_tokens_are_requested_at_once_than_the_file_says() {
    let sides = Sides::exchanging(&format!("{BY_AUTHORIZATION}renewals_at_once = 1\n")).await;
    // A client that was not accepted yet is tried once at a time anyway.
    assert_eq!(sides.ask_as(&sides.signed_in("ada").await).await.status, 200);
    let (ada, bob) = (sides.signed_in("ada").await, sides.signed_in("bob").await);
    let gate = sides.issuer.hold();
    let health = format!("{}/healthz", sides.gateway.admin);
    let look = async {
        gate.waiting(1).await;
        while get(&health).await.json()["users"]["renewing"] != 2 {}
        for _ in 0..20 {
            get(&health).await;
        }
        let held = sides.exchanges().len();
        gate.release();
        held
    };
    let (of_ada, of_bob, held) = tokio::join!(sides.ask_as(&ada), sides.ask_as(&bob), look);
    assert_eq!((of_ada.status, of_bob.status, held), (200, 200, 2), "the first exchange, and one that is held");
    assert_eq!(sides.exchanges().len(), 3);
}
