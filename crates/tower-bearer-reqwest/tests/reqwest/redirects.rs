//! reqwest follows redirects below the layer. It removes `Authorization` at another origin.

use http::HeaderName;
use reqwest::{Body, Client, StatusCode, redirect::Policy};
use tower_bearer::testing::Issuer;
use tower_bearer_reqwest::{BearerClient, RequestBuilderExt};

use crate::{
    server::{Server, answer, checked, redirect},
    support::{issuer, layer, revoked},
};

/// Starts an API that redirects `/moved` with `status` to `/target` if the token is accepted.
async fn moving(issuer: &Issuer, status: u16, target: String) -> Server {
    let issuer = issuer.clone();
    Server::start(move |seen| match checked(&issuer, seen) {
        accepted if accepted.status() == 200 && seen.path == "/moved" => redirect(status, &target),
        answer => answer,
    })
    .await
}

#[tokio::test]
async fn a_redirect_within_the_origin_keeps_token_method_and_body_also_after_a_retry() {
    for status in [307, 308] {
        let issuer = issuer();
        let server = moving(&issuer, status, "/target".into()).await;
        let api = revoked(&issuer).await;
        let response = api.client().post(server.url("/moved")).body("kept").send_with(&api).await.unwrap();
        assert_eq!((response.status(), response.url().as_str()), (StatusCode::OK, &*server.url("/target")));
        let seen = server.seen();
        assert_eq!(seen.iter().map(|seen| &*seen.path).collect::<Vec<_>>(), ["/moved", "/moved", "/target"]);
        assert_eq!(seen[1].token(), seen[2].token());
        assert!(seen.iter().all(|seen| seen.method == "POST" && seen.body == "kept"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_origin_carries_no_token() {
    for status in [301, 302, 303, 307, 308] {
        let issuer = issuer();
        let elsewhere = Server::start(|_| answer(200, "elsewhere")).await;
        let server = moving(&issuer, status, elsewhere.url("/target")).await;
        let api = revoked(&issuer).await;
        let response = api.client().post(server.url("/moved")).body("kept").send_with(&api).await.unwrap();
        assert_eq!((response.status(), response.url().as_str()), (StatusCode::OK, &*elsewhere.url("/target")));
        assert_eq!(elsewhere.seen().len(), 1);
        assert_eq!(elsewhere.seen()[0].token(), None);
    }
}

#[tokio::test]
async fn a_401_of_another_origin_is_passed_on_and_keeps_the_token() {
    let issuer = issuer();
    let elsewhere = Server::start(|_| answer(401, "elsewhere")).await;
    let server = moving(&issuer, 302, elsewhere.url("/target")).await;
    let api = BearerClient::new(Client::new(), layer(&issuer));
    for _ in 0..3 {
        let response = api.client().get(server.url("/moved")).send_with(&api).await.unwrap();
        assert_eq!(
            (response.status(), response.url().as_str()),
            (StatusCode::UNAUTHORIZED, &*elsewhere.url("/target"))
        );
        assert_eq!(response.text().await.unwrap(), "elsewhere");
    }
    assert_eq!((server.seen().len(), elsewhere.seen().len(), issuer.counts().issued), (3, 3, 1));
}

/// As without this crate: the 307 is the answer.
#[tokio::test]
async fn a_redirect_that_needs_a_stream_again_is_not_followed() {
    let issuer = issuer();
    let server = moving(&issuer, 307, "/target".into()).await;
    let api = revoked(&issuer).await;
    let stream = Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>("kept")]));
    let response = api.client().post(server.url("/moved")).body(stream).send_with(&api).await.unwrap();
    assert_eq!((response.status(), server.seen().len()), (StatusCode::TEMPORARY_REDIRECT, 2));
}

/// The policy in the README. reqwest's own policies would take the header to the other origin.
#[tokio::test]
async fn another_header_needs_a_policy_that_stays_at_the_origin() {
    let issuer = issuer();
    let elsewhere = Server::start(|_| answer(200, "elsewhere")).await;
    let target = elsewhere.url("/target");
    let server = Server::start(move |seen| match &*seen.path {
        "/moved" => redirect(307, &target),
        "/near" => redirect(307, "/target"),
        _ => answer(200, ""),
    })
    .await;
    let same_origin = Policy::custom(|attempt| match attempt.previous().last() {
        Some(from) if from.origin() != attempt.url().origin() => attempt.stop(),
        _ => Policy::default().redirect(attempt),
    });
    let policies = [(same_origin, StatusCode::TEMPORARY_REDIRECT, 0), (Policy::default(), StatusCode::OK, 1)];
    for (policy, status, took_it) in policies {
        let client = Client::builder().redirect(policy).build().unwrap();
        let own_header = layer(&issuer).header(HeaderName::from_static("x-auth-token"));
        let api = BearerClient::new(client, own_header);
        let near = api.client().get(server.url("/near")).send_with(&api).await.unwrap();
        assert_eq!(near.status(), StatusCode::OK);
        let response = api.client().get(server.url("/moved")).send_with(&api).await.unwrap();
        assert_eq!(response.status(), status);
        let seen = elsewhere.seen();
        assert_eq!(seen.iter().filter(|seen| seen.headers.contains_key("x-auth-token")).count(), took_it);
    }
}
