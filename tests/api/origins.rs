//! Where the token may be sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::{Layer, limit::GlobalConcurrencyLimitLayer};
use tower_bearer::{BearerAuthLayer, Error, Outcome, SentWithoutToken, SkipBearerAuth};

use crate::scripted::{Api, Numbered, Strict, URI as API, get, send, status};

type Layered = BearerAuthLayer;

fn layer() -> Layered {
    BearerAuthLayer::new(Numbered::default())
}

fn listed() -> Layered {
    layer().origins(["https://api.example.org/fhir", "https://*.files.example.org"]).unwrap()
}

/// Returns the `Authorization` header that the API received, `unsent`, or the error.
async fn seen(layer: &Layered, request: Request<Full<Bytes>>) -> Result<String, Error> {
    let api = Api::default();
    let answer = send(&mut layer.layer(Strict::new(api.clone())), request).await;
    let seen = api.take_authorizations();
    match answer {
        Ok(_) => Ok(seen.concat()),
        Err(error) => {
            assert!(seen.is_empty(), "a request that fails is not sent");
            Err(*error.downcast().unwrap())
        }
    }
}

fn with_own(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).header("authorization", "Basic own").body(Full::default()).unwrap()
}

fn skipped(uri: &str) -> Request<Full<Bytes>> {
    let mut request = get(uri);
    request.extensions_mut().insert(SkipBearerAuth);
    request
}

/// RFC 6750 §5.3.
#[tokio::test]
async fn a_token_does_not_go_in_the_clear_but_to_loopback() {
    for exposed in [
        "http://api.example.org/?key=hidden",
        "http://user:hidden@api.example.org/",
        "http://127.0.0.1.example.org/",
        "http://localhost.example.org/",
        "http://localhost@api.example.org/",
        "http://0.0.0.0/",
        "http://[::2]/",
        "ftp://localhost/",
        "ws://localhost/",
        "unix://2f746d70/",
        "api.example.org:80",
    ] {
        let source = Numbered::default();
        let error = seen(&BearerAuthLayer::new(source.clone()), get(exposed)).await.unwrap_err();
        assert!(error.is_insecure() && error.is_terminal() && !error.is_config(), "{exposed}: {error:?}");
        assert!(error.to_string().contains("use https") && !format!("{error} {error:?}").contains("hidden"), "{error}");
        assert_eq!(source.asked(), 0);

        assert_eq!(seen(&layer().allow_plain_http(true), get(exposed)).await.unwrap(), "Bearer t1", "{exposed}");
        assert!(seen(&layer().allow_plain_http(true).allow_plain_http(false), get(exposed)).await.is_err());
    }
    for private in [API, "http://localhost:1/", "http://LOCALHOST/", "http://127.8.8.8/", "http://[::1]:1/", "[::1]:1"]
    {
        assert_eq!(seen(&layer(), get(private)).await.unwrap(), "Bearer t1", "{private}");
    }
}

#[tokio::test]
async fn the_error_names_where_it_would_have_gone() {
    let error = seen(&layer(), get("http://api.example.org:8080/fhir?x=y")).await.unwrap_err();
    assert!(error.to_string().starts_with("the request to http://api.example.org:8080 was not sent"), "{error}");
}

/// Listing a plain http origin does not allow it. Only the switch does.
#[tokio::test]
async fn a_listed_plain_http_origin_needs_the_switch_too() {
    let listed = layer().origins(["http://mesh.local"]).unwrap();
    assert!(seen(&listed, get("http://mesh.local/")).await.unwrap_err().is_insecure());
    assert_eq!(seen(&listed.allow_plain_http(true), get("http://mesh.local/")).await.unwrap(), "Bearer t1");
}

/// How origins are compared is tested in `src`.
#[tokio::test]
async fn only_listed_origins_get_the_token() {
    let listed = listed();
    for (uri, token) in [
        (API, true),
        ("https://API.example.org:443/other", true),
        ("https://eu.files.example.org/1", true),
        ("https://files.example.org/1", false),
        ("https://evilfiles.example.org/1", false),
        ("https://api.example.org:444/fhir", false),
        ("https://api.example.org@evil.example/fhir", false),
        ("http://api.example.org/fhir", false),
        ("ftp://api.example.org/fhir", false),
    ] {
        assert_eq!(seen(&listed, get(uri)).await.unwrap(), if token { "Bearer t1" } else { "none" }, "{uri}");
    }
}

/// It passes in the same way as a skipped request. The layer does not handle its response.
#[tokio::test]
async fn a_request_to_another_origin_is_unchanged() {
    let (source, api) = (Numbered::default(), Api::answering([status(401)]));
    let layer = BearerAuthLayer::new(source.clone()).origins([API]).unwrap();
    let mut service = layer.layer(Strict::new(api.clone()));
    let answer = send(&mut service, with_own("https://other.example.org/")).await.unwrap();
    let marks = (answer.extensions().len(), answer.extensions().get().copied());
    assert_eq!((answer.status().as_u16(), marks), (401, (1, Some(SentWithoutToken::OtherOrigin))));
    assert_eq!((api.take_authorizations(), source.asked()), (vec!["Basic own".to_owned()], 0));
}

#[tokio::test]
async fn a_request_that_needs_no_token_is_not_checked() {
    for uri in [API, "https://other.example.org/", "http://api.example.org/", "/fhir/Patient", "ftp://api.example.org/"]
    {
        for layer in [layer(), listed()] {
            assert_eq!(seen(&layer, skipped(uri)).await.unwrap(), "none", "{uri}");
            assert_eq!(seen(&layer.keep_existing(true), with_own(uri)).await.unwrap(), "Basic own", "{uri}");
        }
    }
    assert!(seen(&layer(), with_own("http://api.example.org/")).await.unwrap_err().is_insecure(), "it is replaced");
}

#[tokio::test]
async fn keeping_is_for_requests_that_have_a_header_only() {
    let keeping = listed().keep_existing(true);
    assert_eq!(seen(&keeping, get(API)).await.unwrap(), "Bearer t1");
    assert!(seen(&keeping, get("/fhir/Patient")).await.unwrap_err().is_config());
    assert!(seen(&layer().keep_existing(true), get("http://api.example.org/")).await.unwrap_err().is_insecure());
}

/// A connection or a layer below decides where it goes.
#[tokio::test]
async fn a_uri_without_a_host_is_allowed_unless_there_is_a_list() {
    for uri in ["/fhir/Patient", "*"] {
        assert_eq!(seen(&layer(), get(uri)).await.unwrap(), "Bearer t1", "{uri}");
    }
    let mut with_host = get("/fhir/Patient");
    with_host.headers_mut().insert("host", "api.example.org".parse().unwrap());
    for request in [get("/fhir/Patient"), get("*"), get("api.example.org:443"), with_host] {
        let error = seen(&listed(), request).await.unwrap_err();
        assert!(error.is_config() && !error.is_insecure(), "{error:?}");
        assert!(error.to_string().contains("whole URL"), "{error}");
    }
}

#[tokio::test]
async fn a_uri_without_a_host_goes_to_the_assumed_origin() {
    let to = |layer: Layered, url: &str| layer.assume_origin(url).unwrap();
    for uri in ["/fhir/Patient", "*"] {
        assert_eq!(seen(&to(layer(), "https://other.example.org/base"), get(uri)).await.unwrap(), "Bearer t1");
        assert_eq!(seen(&to(layer(), "http://localhost:1"), get(uri)).await.unwrap(), "Bearer t1");
        assert_eq!(seen(&to(listed(), "https://API.example.org:443"), get(uri)).await.unwrap(), "Bearer t1");
        assert_eq!(seen(&to(listed(), "https://other.example.org"), get(uri)).await.unwrap(), "none");

        let error = seen(&to(layer(), "http://mesh.local:1"), get(uri)).await.unwrap_err();
        assert!(error.is_insecure() && error.to_string().contains("to http://mesh.local:1 was not sent"), "{error}");
        let private = to(layer().allow_plain_http(true), "http://mesh.local:1");
        assert_eq!(seen(&private, get(uri)).await.unwrap(), "Bearer t1");
    }
}

/// It is also not the origin of a host without a scheme.
#[tokio::test]
async fn the_assumed_origin_is_not_for_a_uri_with_a_host() {
    let assuming = layer().assume_origin("https://api.example.org").unwrap();
    assert!(seen(&assuming, get("http://api.example.org/")).await.unwrap_err().is_insecure());
    assert!(seen(&assuming, get("api.example.org:443")).await.unwrap_err().is_insecure());
    let assuming = listed().assume_origin("https://api.example.org").unwrap();
    assert_eq!(seen(&assuming, get("https://other.example.org/")).await.unwrap(), "none");
}

/// Its URI is the other end of a tunnel, and its headers are for the proxy (RFC 9110 §9.3.6).
#[tokio::test]
async fn a_connect_request_takes_no_token_to_a_proxy() {
    let connect = || {
        let mut request = get("api.example.org:443");
        *request.method_mut() = Method::CONNECT;
        request
    };
    let assuming = || layer().assume_origin("https://api.example.org").unwrap();
    for layer in [layer(), listed(), assuming(), assuming().origins([API]).unwrap()] {
        seen(&layer, connect()).await.unwrap_err();
    }
    let mut own = connect();
    own.headers_mut().insert("authorization", "Basic own".parse().unwrap());
    assert_eq!(seen(&layer().keep_existing(true), own).await.unwrap(), "Basic own");
}

#[test]
fn a_bad_assumed_origin_is_an_error_at_once_and_shows_no_secret() {
    for (url, says) in [
        (
            "https://user:hidden@api.example.org",
            "the assumed origin has a user in it; write it as https://api.example.org",
        ),
        ("hidden.example.org", "the assumed origin has no http or https scheme; write it as https://api.example.org"),
        (
            "https://*.hidden.org",
            "the assumed origin has a wildcard in it; name one host, such as https://api.example.org",
        ),
    ] {
        let error = layer().assume_origin(url).unwrap_err();
        assert!(error.is_config() && error.is_terminal());
        assert_eq!(error.to_string(), says);
        assert!(!format!("{error:?}").contains("hidden"));
    }
}

/// After a refused request, an idle service holds no permit.
#[tokio::test]
async fn readiness_is_given_up_when_a_request_is_refused() {
    let permits = Arc::new(Semaphore::new(1));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let mut service = listed().layer(limit.layer(Strict::new(Api::default())));
    send(&mut service, get("/fhir/Patient")).await.unwrap_err();
    assert_eq!(permits.available_permits(), 1);
    let mut service = layer().layer(limit.layer(Strict::new(Api::default())));
    send(&mut service, get("http://api.example.org/")).await.unwrap_err();
    assert_eq!(permits.available_permits(), 1);
}

#[tokio::test]
async fn the_same_list_holds_for_what_is_sent_twice() {
    let api = Api::answering([status(401)]);
    let answer = send(&mut listed().layer(Strict::new(api.clone())), get(API)).await.unwrap();
    assert!(answer.extensions().get().is_some_and(Outcome::retried));
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
}

/// The parser's own tests cover what is wrong with each entry.
#[test]
fn a_bad_list_is_an_error_at_once_and_shows_no_secret() {
    for (list, says) in [
        (&[][..], "empty"),
        (&["https://a.example", "https://user:hidden@b.example"], "URL 2 of the origins has a user in it"),
        (&["hidden"], "URL 1 of the origins has no http or https scheme"),
        (&["https://*.org/hidden"], "wildcard"),
    ] {
        let error = layer().origins(list).unwrap_err();
        assert!(error.is_config() && error.is_terminal());
        assert!(error.to_string().contains(says) && !format!("{error:?}").contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn the_last_list_counts_and_the_replay_keeps_it() {
    let listed = listed().origins(["https://other.example.org".to_owned()]).unwrap().without_retry();
    let api = Api::default();
    let mut service = listed.layer(Strict::new(api.clone()));
    send(&mut service, get(API)).await.unwrap();
    send(&mut service, get("https://other.example.org/")).await.unwrap();
    assert_eq!(api.take_authorizations(), ["none", "Bearer t1"]);
}
