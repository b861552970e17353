//! Where the token is sent when an API redirects.

use std::sync::Mutex;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::Layer;
use tower_bearer::{AnsweredElsewhere, BearerAuthLayer, Error, FixedToken, Outcome, SkipBearerAuth};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::raw;
use crate::scripted::{Answer, Api, Numbered, Strict, URI as API, get, send, status};

const OTHER: &str = "https://files.example.com/1";
const DOWNGRADED: &str = "http://api.example.org/fhir/Patient";
const SAME: &str = "https://api.example.org/fhir/Patient/1";

fn redirect(to: &str) -> Answer {
    let redirect = Response::builder().status(StatusCode::FOUND).header("location", to);
    Answer::Say(redirect.body(Full::default()).unwrap())
}

fn layer() -> BearerAuthLayer {
    BearerAuthLayer::new(Numbered::default())
}

fn listed() -> BearerAuthLayer {
    layer().origins([API]).unwrap()
}

/// Returns the tokens of the two requests that a redirect to `to` causes, followed above the layer.
async fn followed_above(layer: &BearerAuthLayer, to: &str) -> Vec<String> {
    let api = Api::answering([redirect(to)]);
    let mut service = FollowRedirectLayer::new().layer(layer.layer(Strict::new(api.clone())));
    assert_eq!(send(&mut service, get(API)).await.unwrap().status(), 200);
    api.take_authorizations()
}

/// Returns the same, followed below the layer.
async fn followed_below(layer: &BearerAuthLayer, to: &str) -> Vec<String> {
    let api = Api::answering([redirect(to)]);
    let mut service = layer.layer(FollowRedirectLayer::new().layer(Strict::new(api.clone())));
    assert_eq!(send(&mut service, get(API)).await.unwrap().status(), 200);
    api.take_authorizations()
}

/// The list of origins prevents it.
#[tokio::test]
async fn followed_above_it_takes_no_token_to_another_origin() {
    for to in [OTHER, DOWNGRADED, "https://api.example.org:8443/", "//files.example.com/1"] {
        assert_eq!(followed_above(&listed(), to).await, ["Bearer t1", "none"], "{to}");
    }
    assert_eq!(followed_above(&listed(), SAME).await, ["Bearer t1", "Bearer t1"]);
}

/// A page of results names the next one (RFC 8288), which may be anywhere. To the layer it is one more request.
#[tokio::test]
async fn a_next_link_to_another_origin_takes_no_token_along() {
    for to in [OTHER, "https://api.example.org.evil.example/", "https://api.example.org@evil.example/", DOWNGRADED] {
        let page = Response::builder().header("link", format!("<{to}>; rel=\"next\""));
        let api = Api::answering([Answer::Say(page.body(Full::default()).unwrap())]);
        let mut service = listed().layer(Strict::new(api.clone()));
        let first = send(&mut service, get(API)).await.unwrap();
        let link = first.headers()["link"].to_str().unwrap();
        let next = link.trim_start_matches('<').split('>').next().unwrap();
        send(&mut service, get(next)).await.unwrap();
        assert_eq!(api.take_authorizations(), ["Bearer t1", "none"], "{to}");
    }
}

/// The redirect layer's own filter for credentials prevents it.
#[tokio::test]
async fn followed_below_it_takes_no_token_to_another_origin() {
    for layer in [layer(), listed()] {
        for to in [OTHER, DOWNGRADED, "https://api.example.org:8443/"] {
            assert_eq!(followed_below(&layer, to).await, ["Bearer t1", "none"], "{to}");
        }
        assert_eq!(followed_below(&layer, SAME).await, ["Bearer t1", "Bearer t1"]);
    }
}

/// This is why the guide asks for a list of origins there.
#[tokio::test]
async fn followed_above_a_layer_without_a_list_each_hop_gets_the_token() {
    assert_eq!(followed_above(&layer(), OTHER).await, ["Bearer t1", "Bearer t1"]);
}

/// The redirect layer removes the marker and the caller's own header at another origin, so they do not replace a list.
#[tokio::test]
async fn followed_above_the_marker_and_the_callers_header_are_lost_at_another_origin() {
    let mut skipped = get(API);
    skipped.extensions_mut().insert(SkipBearerAuth);
    let own = Request::get(API).header("authorization", "Basic own").body(Full::default()).unwrap();
    for (request, first) in [(skipped, "none"), (own, "Basic own")] {
        for (layer, second) in [(layer(), "Bearer t1"), (listed(), "none")] {
            let api = Api::answering([redirect(OTHER)]);
            let service = layer.keep_existing(true).layer(Strict::new(api.clone()));
            let mut service = FollowRedirectLayer::new().layer(service);
            send(&mut service, request.clone()).await.unwrap();
            assert_eq!(api.take_authorizations(), [first, second]);
        }
    }
}

/// Without a list, the token is for each hop, but must not be sent over plain http.
#[tokio::test]
async fn followed_above_a_hop_down_to_plain_http_is_an_error() {
    let api = Api::answering([redirect(DOWNGRADED)]);
    let mut service = FollowRedirectLayer::new().layer(layer().layer(Strict::new(api.clone())));
    let error = send(&mut service, get(API)).await.unwrap_err();
    assert!(error.downcast_ref().is_some_and(Error::is_insecure), "{error}");
    assert_eq!(api.take_authorizations(), ["Bearer t1"]);
}

/// Above, each hop is a separate request. Below, all hops are one attempt, and the retry starts from the first.
#[tokio::test]
async fn a_rejected_hop_is_sent_again_above_and_the_whole_attempt_below() {
    for (above, paths) in [
        (true, ["/fhir/Patient", "/fhir/Patient/1", "/fhir/Patient/1"].as_slice()),
        (false, &["/fhir/Patient", "/fhir/Patient/1", "/fhir/Patient", "/fhir/Patient/1"]),
    ] {
        let api = Api::answering([redirect(SAME), status(401), if above { status(200) } else { redirect(SAME) }]);
        let follow = FollowRedirectLayer::new();
        let answer = if above {
            send(&mut follow.layer(listed().layer(Strict::new(api.clone()))), get(API)).await
        } else {
            send(&mut listed().layer(follow.layer(Strict::new(api.clone()))), get(API)).await
        };
        assert!(answer.unwrap().extensions().get().is_some_and(Outcome::retried));
        let seen: Vec<_> = api.take_seen().iter().map(|seen| seen.head.uri.path().to_owned()).collect();
        assert_eq!(seen, paths);
    }
}

/// The layer cannot see below it which server sent the 401.
#[tokio::test]
async fn followed_below_a_401_of_the_other_origin_counts_as_the_apis() {
    let api = Api::answering([redirect(OTHER), status(401)]);
    let mut service = listed().layer(FollowRedirectLayer::new().layer(Strict::new(api.clone())));
    send(&mut service, get(API)).await.unwrap();
    assert_eq!(api.take_authorizations(), ["Bearer t1", "none", "Bearer t2"]);
}

/// A client that follows redirects can say it.
#[tokio::test]
async fn a_401_that_is_marked_as_of_another_origin_is_passed_on_and_keeps_the_token() {
    let api = Api::answering([status(401), status(403), status(200)]);
    let marking = tower::ServiceBuilder::new()
        .map_response(|mut answer: Response<_>| {
            if answer.status() != StatusCode::OK {
                answer.extensions_mut().insert(AnsweredElsewhere);
            }
            answer
        })
        .service(Strict::new(api.clone()));
    let mut service = layer().layer(marking);
    for expected in [401, 403, 200] {
        let answer = send(&mut service, get(API)).await.unwrap();
        assert_eq!(answer.status(), expected);
        assert!(answer.extensions().get::<Outcome>().is_none_or(|outcome| !outcome.retried()));
    }
    assert_eq!(api.take_authorizations(), ["Bearer t1"; 3]);
}

/// Over real connections, with two servers on different ports.
#[tokio::test]
async fn between_real_servers_the_token_stays_at_the_first() {
    let (other, of_other) = raw::api(["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"; 2]).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: http://{other}/1\r\ncontent-length: 0\r\n\r\n");
    let (addr, of_first) = raw::api([redirect.clone(), redirect]).await;
    let url = format!("http://{addr}/fhir/Patient");
    let layer = BearerAuthLayer::new(FixedToken::new("t1").unwrap()).origins([&url]).unwrap();
    let (client, follow) = (Client::builder(TokioExecutor::new()).build_http(), FollowRedirectLayer::new());

    let above = send(&mut follow.layer(layer.layer(client.clone())), get(&url)).await.unwrap();
    let below = send(&mut layer.layer(follow.layer(client)), get(&url)).await.unwrap();
    assert_eq!((above.status(), below.status()), (StatusCode::OK, StatusCode::OK));
    let tokens = |taken: &Mutex<raw::Taken>| {
        let taken = taken.lock().unwrap();
        let with = |head: &&String| head.contains("authorization: Bearer t1\r\n");
        (taken.heads.len(), taken.heads.iter().filter(with).count())
    };
    assert_eq!((tokens(&of_first), tokens(&of_other)), ((2, 2), (2, 0)));
}
