//! The header that carries the token, its scheme, and the method that gets none.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use tower::Layer;
use tower_bearer::{BearerAuthLayer, FixedToken, TokenCache};
use tower_http::follow_redirect::{FollowRedirectLayer, policy::FilterCredentials};

use crate::scripted::{Answer, Api, Numbered, Strict, URI, World, get, send, status, world};

const X_AUTH: HeaderName = HeaderName::from_static("x-auth-token");

type Set = fn(BearerAuthLayer) -> BearerAuthLayer;

/// The settings of a layer, and how it sends the token `t1`.
fn settings() -> [(Set, HeaderName, &'static str); 7] {
    [
        (|layer| layer, AUTHORIZATION, "Bearer t1"),
        (|layer| layer.without_scheme(), AUTHORIZATION, "t1"),
        (|layer| layer.scheme("Zoho-oauthtoken").unwrap(), AUTHORIZATION, "Zoho-oauthtoken t1"),
        (|layer| layer.header(X_AUTH), X_AUTH, "Bearer t1"),
        (|layer| layer.header(X_AUTH).without_scheme(), X_AUTH, "t1"),
        (
            |layer| layer.without_scheme().header(HeaderName::from_static("txn-token")),
            "txn-token".parse().unwrap(),
            "t1",
        ),
        (
            |layer| layer.header(X_AUTH).without_scheme().scheme("Bearer").unwrap().header(AUTHORIZATION),
            AUTHORIZATION,
            "Bearer t1",
        ),
    ]
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// A request with a caller's own credentials in several headers.
fn with_credentials() -> Request<Full<bytes::Bytes>> {
    let mut request = get(URI);
    for name in [X_AUTH, HeaderName::from_static("x-kept"), AUTHORIZATION, HeaderName::from_static("txn-token")] {
        request.headers_mut().append(&name, HeaderValue::from_static("caller's"));
        request.headers_mut().append(name, HeaderValue::from_static("also the caller's"));
    }
    request
}

#[tokio::test]
async fn the_token_goes_in_the_header_and_after_the_scheme_that_the_layer_sets() {
    for (set, name, value) in settings() {
        // Its token is waited for, it is a hit, and it is rejected and sent again.
        let World { api, layer, .. } = world([status(200), status(200), status(401)]);
        let mut service = set(layer).layer(Strict::new(api.clone()));
        for _ in 0..3 {
            assert_eq!(send(&mut service, with_credentials()).await.unwrap().status(), 200);
        }
        let seen = api.take_seen();
        let again = value.replace("t1", "t2");
        for (seen, value) in seen.iter().zip([value, value, value, &again]) {
            let headers = &seen.head.headers;
            assert_eq!(values(headers, &name), [value], "{name}");
            assert!(headers[&name].is_sensitive());
            for other in
                [X_AUTH, HeaderName::from_static("x-kept"), AUTHORIZATION, HeaderName::from_static("txn-token")]
            {
                assert!(
                    other == name || values(headers, &other) == ["caller's", "also the caller's"],
                    "{other} {name}"
                );
            }
            assert!(headers.keys().eq(with_credentials().headers().keys()), "in the same order: {headers:?}");
        }
        assert_eq!(seen.len(), 4);
    }
}

#[tokio::test]
async fn a_header_of_the_callers_own_is_kept_if_that_is_set() {
    for (set, name, _) in settings() {
        let World { api, layer, source } = world([]);
        let mut service = set(layer.keep_existing(true)).layer(Strict::new(api.clone()));
        let mut own = get(URI);
        own.headers_mut().insert(&name, HeaderValue::from_static("caller's"));
        send(&mut service, own).await.unwrap();
        assert_eq!((values(&api.take_seen()[0].head.headers, &name), source.asked()), (vec!["caller's"], 0));
        let mut other = with_credentials();
        other.headers_mut().remove(&name);
        send(&mut service, other).await.unwrap();
        assert!(api.take_seen()[0].head.headers[&name].as_bytes().ends_with(b"t1"));
    }
}

#[tokio::test]
async fn layers_with_different_schemes_share_one_cache() {
    let (cache, api) = (TokenCache::new(Numbered::default()), Api::default());
    for (set, name, value) in settings() {
        let layer = set(BearerAuthLayer::with_cache(cache.clone()));
        send(&mut layer.layer(Strict::new(api.clone())), get(URI)).await.unwrap();
        assert_eq!(values(&api.take_seen()[0].head.headers, &name), [value]);
    }
}

#[tokio::test]
async fn another_origin_gets_no_token_in_any_header() {
    let World { api, layer, .. } = world([]);
    let layer = layer.header(X_AUTH).without_scheme().origins(["https://other.example.org"]).unwrap();
    send(&mut layer.layer(Strict::new(api.clone())), get(URI)).await.unwrap();
    assert!(api.take_seen()[0].head.headers.is_empty());
}

#[test]
fn a_scheme_is_one_word() {
    let layer = || BearerAuthLayer::new(FixedToken::new("t1").unwrap());
    for wrong in ["", " ", "Token ", "Two words", "Bearer:", "a=b", "ä", "a\n", "\"q\""] {
        let error = layer().scheme(wrong).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("`without_scheme`"), "{wrong}: {error}");
    }
    assert!(layer().scheme("Zoho-oauthtoken").is_ok() && layer().scheme("token!").is_ok());
}

#[tokio::test]
async fn no_output_shows_a_token_in_a_header_of_its_own() {
    let api = Api::default();
    let layer = BearerAuthLayer::new(FixedToken::new("s3cret").unwrap()).header(X_AUTH).scheme("Own").unwrap();
    let mut service = layer.layer(Strict::new(api.clone()));
    send(&mut service, get(URI)).await.unwrap();
    let headers = &api.take_seen()[0].head.headers;
    assert_eq!(values(headers, &X_AUTH), ["Own s3cret"]);
    assert!(!format!("{headers:?} {layer:?}").contains("s3cret"));
}

fn redirect() -> Answer {
    let redirect = Response::builder().status(302).header("location", "https://files.example.com/1");
    Answer::Say(redirect.body(Full::default()).unwrap())
}

/// This is why the documentation asks for the redirect layer above, with a list of origins.
#[tokio::test]
async fn below_the_layer_a_redirect_takes_another_header_along_unless_all_headers_are_removed() {
    let tokens = |api: &Api| {
        let seen = api.take_seen();
        let has = seen.iter().map(|seen| seen.head.headers.contains_key(X_AUTH));
        has.collect::<Vec<_>>()
    };
    let layer = || BearerAuthLayer::new(Numbered::default()).header(X_AUTH).without_scheme();
    let below = Api::answering([redirect()]);
    send(&mut layer().layer(FollowRedirectLayer::new().layer(Strict::new(below.clone()))), get(URI)).await.unwrap();
    assert_eq!(tokens(&below), [true, true]);

    let removed = Api::answering([redirect()]);
    let follow = FollowRedirectLayer::with_policy(FilterCredentials::new().remove_all());
    send(&mut layer().layer(follow.layer(Strict::new(removed.clone()))), get(URI)).await.unwrap();
    assert_eq!(tokens(&removed), [true, false]);

    let above = Api::answering([redirect()]);
    let listed = layer().origins([URI]).unwrap();
    send(&mut FollowRedirectLayer::new().layer(listed.layer(Strict::new(above.clone()))), get(URI)).await.unwrap();
    assert_eq!(tokens(&above), [true, false]);
}

/// RFC 9110 §9.3.8: the answer to `TRACE` shows the request's headers.
#[tokio::test]
async fn trace_carries_no_token() {
    for (set, name, _) in settings() {
        let World { api, layer, source } = world([status(401)]);
        let mut service = set(layer).layer(Strict::new(api.clone()));
        let trace = |own: bool| {
            let mut request = get(URI);
            *request.method_mut() = Method::TRACE;
            if own {
                request.headers_mut().insert(&name, HeaderValue::from_static("caller's"));
            }
            request
        };
        let answer = send(&mut service, trace(false)).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.extensions().is_empty()), (401, true));
        send(&mut service, trace(true)).await.unwrap();
        let seen = api.take_seen();
        assert!(seen[0].head.headers.is_empty() && seen[1].head.headers[&name] == "caller's");
        assert_eq!((source.asked(), seen.len()), (0, 2), "no token is asked for, and there is no retry");
        send(&mut service, get(URI)).await.unwrap();
        assert!(api.take_seen()[0].head.headers[&name].as_bytes().ends_with(b"t1"));
    }
}
