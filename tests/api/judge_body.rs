//! Rejections in the body of an answer: which answers are looked at, what the caller gets, and when. The rules of known servers
//! are in `judge_body_servers.rs`.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use bytes::{Buf, Bytes, buf::Chain};
use futures::FutureExt;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use proptest::prelude::*;
use tokio::{
    net::TcpListener,
    time::{Instant, advance},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, NotRetried, Outcome, ResponseFuture, SkipBearerAuth, Verdict,
    judge_body::{BodyRule, BodyVerdict, JudgeBody, JudgeBodyFuture, JudgeBodyLayer, JudgedBody, Made, Wrapped},
    replay::CloneBody,
};

use crate::{
    pieces::{Boxed, Piece, Pieces, PiecesApi, frames, json},
    scripted::{Numbered, Strict, get, outcome},
    support::{Ask, HOUR, SECOND, scripted, token},
};

use Piece::{After, Data, Fails, Never, Soon, Trailers};

const LIMIT: usize = 64;
const DEAD: Piece = Data(r#"{"dead":true}"#);

/// The rule of the API in these tests: `"dead":true` rejects, and `}` is the end.
fn rule() -> BodyRule {
    BodyRule::new(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        if text.contains(r#""dead":true"#) {
            BodyVerdict::Rejected
        } else if text.contains('}') {
            BodyVerdict::Accepted
        } else {
            BodyVerdict::Undecided
        }
    })
}

fn layer(source: &Numbered) -> JudgeBodyLayer<CloneBody> {
    BearerAuthLayer::new(source.clone()).judge_body(LIMIT, rule())
}

/// Sends a GET request through a new layer. Returns the answer, with its body as it is.
async fn answered(api: &PiecesApi) -> Response<JudgedBody<Boxed>> {
    sent(api, get("https://api.test/")).await
}

async fn sent(api: &PiecesApi, request: Ask) -> Response<JudgedBody<Boxed>> {
    layer(&Numbered::default()).layer(Strict::new(api.clone())).oneshot(request).await.unwrap()
}

fn retried<B>(answer: &Response<B>) -> bool {
    answer.extensions().get().is_some_and(Outcome::retried)
}

async fn text<B: Body<Error: std::fmt::Debug>>(body: B) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_rejection_in_the_body_is_renewed_and_the_request_is_sent_again_with_any_method() {
    for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
        let (api, source) = (PiecesApi::answering([json([DEAD])]), Numbered::default());
        let service = layer(&source).layer(Strict::new(api.clone()));
        let request =
            Request::builder().method(&method).uri("https://api.test/").body(Full::<Bytes>::from("q")).unwrap();
        let answer = service.oneshot(request).await.unwrap();
        assert!(outcome(&answer).retried() && outcome(&answer).not_retried().is_none(), "{method}");
        assert_eq!(text(answer.into_body()).await, r#"{"ok":true}"#);
        assert_eq!(
            (source.asked(), api.take_authorizations()),
            (2, vec!["Bearer t1".to_owned(), "Bearer t2".to_owned()])
        );
    }
}

#[tokio::test]
async fn without_the_rule_such_an_answer_is_a_success() {
    let (api, source) = (PiecesApi::answering([json([DEAD])]), Numbered::default());
    let service = BearerAuthLayer::new(source.clone()).layer(api);
    let answer = service.oneshot(get("https://api.test/")).await.unwrap();
    assert!(!retried(&answer) && text(answer.into_body()).await.contains("dead") && source.asked() == 1);
}

#[tokio::test]
async fn a_rejection_is_found_wherever_the_bytes_are_split() {
    for pieces in [
        vec![Data(r#"{"de"#), Data(r#"ad":tr"#), Data("ue}")],
        vec![Data(""), Soon, Data(r#"{"dead":"#), Soon, Soon, Data("true}"), Trailers],
        vec![Soon, Data("{"), After(400), Data(r#""dead":true"#), Never],
        vec![DEAD, Fails],
    ] {
        assert!(retried(&answered(&PiecesApi::answering([json(pieces.clone())])).await), "{pieces:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_rejected_again_reaches_the_caller_as_it_is() {
    let pieces = [Data(r#"{"de"#), Data(r#"ad":true}"#), Trailers];
    let api = PiecesApi::answering([json(pieces), json(pieces)]);
    let answer = answered(&api).await;
    assert!(retried(&answer));
    assert_eq!(frames(answer.into_body()).await, frames(Pieces::new(&pieces, false)).await);
}

/// It holds no connection, so the request need not be sent with the rejected token again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_read_to_its_end_is_passed_on_however_late_the_renewal_fails() {
    let large: &'static str = format!(r#"{{"dead":true}}{}"#, " ".repeat(2000)).leak();
    for (pieces, has_length, sent) in [
        (vec![DEAD], false, 1),
        (vec![Data(large)], true, 1),
        (vec![DEAD, Fails], false, 1),
        (vec![DEAD, Never], false, 2),
    ] {
        let api = PiecesApi::answering([json(pieces.clone()), json(pieces.clone())]).with_length(has_length);
        let (source, _) = scripted(async |n| {
            tokio::time::sleep(4 * SECOND).await;
            if n == 1 { Ok(token(n)) } else { Err(tower_bearer::Error::transient("the issuer is down")) }
        });
        let service = BearerAuthLayer::new(source).judge_body(4096, rule()).layer(api.clone());
        let answer = service.oneshot(get("https://api.test/")).await.unwrap();
        assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::RenewalFailed { .. })), "{pieces:?}");
        assert_eq!(api.take_authorizations().len(), sent, "{pieces:?}");
        if sent == 1 {
            assert_eq!(frames(answer.into_body()).await, frames(Pieces::new(&pieces, has_length)).await);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_retried_reaches_the_caller_as_it_is() {
    let api = PiecesApi::answering([json([DEAD, Trailers])]);
    let service = BearerAuthLayer::new(Numbered::default()).without_retry().judge_body(LIMIT, rule()).layer(api);
    let answer = service.oneshot(get("https://api.test/")).await.unwrap();
    assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::NotReplayable)));
    assert_eq!(frames(answer.into_body()).await, frames(Pieces::new(&[DEAD, Trailers], false)).await);
}

#[tokio::test]
async fn after_a_rejection_in_part_only_an_idempotent_request_is_sent_again_and_the_token_is_renewed_for_both() {
    let in_part =
        BodyRule::new(
            |bytes| {
                if bytes.starts_with(b"{\"dead") { BodyVerdict::RejectedInPart } else { BodyVerdict::Accepted }
            },
        );
    for (method, is_retried) in
        [(Method::GET, true), (Method::PUT, true), (Method::POST, false), (Method::PATCH, false)]
    {
        let (api, source) = (PiecesApi::answering([json([DEAD])]), Numbered::default());
        let service = BearerAuthLayer::new(source.clone()).judge_body(LIMIT, in_part.clone()).layer(api.clone());
        let request =
            || Request::builder().method(&method).uri("https://api.test/").body(Full::<Bytes>::default()).unwrap();
        let answer = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(retried(&answer), is_retried, "{method}");
        let is_held_back = matches!(outcome(&answer).not_retried(), Some(NotRetried::NotIdempotent));
        assert_eq!(is_held_back, !is_retried, "{method}");
        service.oneshot(request()).await.unwrap();
        assert_eq!((source.asked(), api.take_authorizations().pop().as_deref()), (2, Some("Bearer t2")));
    }
}

/// One POST in two is rejected in part, whatever its token is.
#[tokio::test(start_paused = true)]
async fn posts_that_are_rejected_in_part_stay_within_the_bound_on_renewals_at_any_pace() {
    let in_part = BodyRule::new(|bytes| match bytes.first() {
        Some(b'!') => BodyVerdict::RejectedInPart,
        _ => BodyVerdict::Accepted,
    });
    for gap in [0.9, 1.0, 5.0, 8.0, 10.0, 16.0, 30.0] {
        let (source, asked) = scripted(async |n| Ok(token(n).with_expires_in(48 * HOUR)));
        let api = service_fn(|request: Ask| {
            let body = if request.uri().path() == "/bad" { "!" } else { "{}" };
            let answer = Response::builder().header("content-type", "application/json");
            std::future::ready(Ok::<_, Infallible>(answer.body(Full::<Bytes>::from(body)).unwrap()))
        });
        let service = BearerAuthLayer::new(source).judge_body(LIMIT, in_part.clone()).layer(api);
        let start = Instant::now();
        while start.elapsed() < HOUR {
            for path in ["good", "bad"] {
                let request = Request::post(format!("https://api.test/{path}")).body(Full::default()).unwrap();
                service.clone().oneshot(request).await.unwrap();
                advance(Duration::from_secs_f64(gap)).await;
            }
        }
        assert!((2..=37).contains(&asked.times()), "{} with a gap of {gap} s", asked.times());
    }
}

/// As etcd's watch does.
#[tokio::test(start_paused = true)]
async fn a_stream_of_json_reaches_the_caller_as_soon_as_the_rule_has_decided() {
    let start = Instant::now();
    let answer = answered(&PiecesApi::answering([json([Data("{\"created\":1}\n"), Never])])).await;
    assert!(!retried(&answer) && start.elapsed() < SECOND / 100);
    let answer = answered(&PiecesApi::answering([json([DEAD, Never])])).await;
    assert!(retried(&answer));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_brings_no_more_bytes_is_accepted_after_half_a_second() {
    for pieces in [vec![Never], vec![Data("{\"a\":"), Never], vec![Data("{"), After(60_000), Data("\"dead\":true}")]] {
        let start = Instant::now();
        let answer = answered(&PiecesApi::answering([json(pieces.clone())])).await;
        assert!(!retried(&answer), "{pieces:?}");
        assert_eq!(start.elapsed(), SECOND / 2, "{pieces:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_byte_by_byte_is_accepted_after_half_a_second_in_all() {
    let start = Instant::now();
    let drip: Vec<_> = (0..60).flat_map(|_| [After(90), Data("x")]).collect();
    let answer = answered(&PiecesApi::answering([json(drip.clone())])).await;
    assert_eq!(start.elapsed(), SECOND / 2);
    assert_eq!(frames(answer.into_body()).await, frames(Pieces::new(&drip, false)).await);
}

#[test]
fn the_wait_ends_where_no_tokio_timer_runs() {
    let api = PiecesApi::answering([json([Data("{"), Never])]);
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        let judging = layer(&Numbered::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(judging.cache().token()).unwrap();
        let answer = futures::executor::block_on(judging.layer(api).oneshot(get("https://api.test/"))).unwrap();
        done.send(answer.status()).unwrap();
    });
    assert_eq!(result.recv_timeout(10 * SECOND).unwrap(), 200);
}

fn typed(content_type: &str) -> Response<Vec<Piece>> {
    Response::builder().header("content-type", content_type).body(vec![DEAD, Never]).unwrap()
}

#[tokio::test]
async fn other_answers_pass_unread() {
    let mut unread: Vec<_> = [
        "text/event-stream",
        "application/grpc",
        "application/grpc+json",
        "application/x-ndjson",
        "text/html",
        "application/jsonp",
    ]
    .map(|other| (Method::GET, typed(other)))
    .into();
    unread.push((Method::GET, Response::new(vec![DEAD, Never])));
    for status in [204, 205, 206, 304, 302, 400, 404, 500] {
        let mut answer = typed("application/json");
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        unread.push((Method::GET, answer));
    }
    for coding in ["gzip", "br", "identity, gzip"] {
        let mut answer = typed("application/json");
        answer.headers_mut().insert("content-encoding", coding.parse().unwrap());
        unread.push((Method::GET, answer));
    }
    unread.push((Method::HEAD, typed("application/json")));
    unread.push((Method::CONNECT, typed("application/json")));
    for (method, answer) in unread {
        let shown = format!("{method} {answer:?}");
        let api = PiecesApi::answering([answer]);
        let request = Request::builder().method(method).uri("https://api.test/").body(Full::default()).unwrap();
        let answer = sent(&api, request).await;
        assert!(!retried(&answer) && api.polls() == 0, "{shown}");
    }

    let (api, mut skipped) = (PiecesApi::answering([typed("application/json")]), get("https://api.test/"));
    skipped.extensions_mut().insert(SkipBearerAuth);
    sent(&api, skipped).await;
    assert_eq!((api.polls(), api.take_authorizations()), (0, vec!["none".to_owned()]));
}

#[tokio::test]
async fn json_is_looked_at_in_any_spelling_of_its_type() {
    for json in [
        "application/json",
        "APPLICATION/Json;charset=utf-8",
        "application/graphql-response+json",
        "application/problem+json",
    ] {
        let mut answer = typed(json);
        answer.headers_mut().insert("content-encoding", "Identity".parse().unwrap());
        *answer.status_mut() = StatusCode::CREATED;
        assert!(retried(&answered(&PiecesApi::answering([answer])).await), "{json}");
    }
}

#[tokio::test]
async fn of_several_content_types_each_has_to_be_meant() {
    for (types, is_looked_at) in [
        (["application/json", "application/json"], true),
        (["application/json", "application/problem+json;charset=utf-8"], true),
        (["application/json", "text/html"], false),
        (["text/html", "application/json"], false),
    ] {
        let mut answer = typed(types[0]);
        answer.headers_mut().append("content-type", types[1].parse().unwrap());
        let api = PiecesApi::answering([answer]);
        assert_eq!((retried(&answered(&api).await), api.polls() > 0), (is_looked_at, is_looked_at), "{types:?}");
    }
}

#[tokio::test]
async fn other_content_types_can_be_set() {
    let source = Numbered::default();
    let judging = layer(&source).content_types(["text/html", "Application/X-NDJSON"]).unwrap();
    for (other, is_retried) in
        [("text/html; charset=utf-8", true), ("application/x-ndjson", true), ("application/json", false)]
    {
        let service = judging.layer(PiecesApi::answering([typed(other)]));
        let answer = service.oneshot(get("https://api.test/")).await.unwrap();
        assert_eq!(retried(&answer), is_retried, "{other}");
    }
    let error = layer(&source).content_types(["text/plain; charset=utf-8"]).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("text/plain"), "{error}");
}

/// Returns what the rule was shown of a body, and how often the body was polled before the caller got it.
async fn shown(limit: usize, pieces: &[Piece]) -> (Vec<String>, usize) {
    let (api, shown) = (PiecesApi::answering([json(pieces)]), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&shown);
    let rule = BodyRule::new(move |bytes| {
        seen.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
        BodyVerdict::Undecided
    });
    let service = BearerAuthLayer::new(Numbered::default()).judge_body(limit, rule).layer(api.clone());
    let answer = service.oneshot(get("https://api.test/")).await.unwrap();
    let polls = api.polls();
    assert_eq!(frames(answer.into_body()).await, frames(Pieces::new(pieces, false)).await);
    let shown = shown.lock().unwrap().clone();
    (shown, polls)
}

#[tokio::test]
async fn no_more_is_read_than_the_limit_and_a_chunk_is_not_split() {
    let pieces = [Data("abc"), Data("def"), Data("ghi")];
    for (limit, seen, polls) in
        [(1, "a", 1), (3, "abc", 1), (4, "abcd", 2), (6, "abcdef", 2), (9, "abcdefghi", 3), (10, "abcdefghi", 4)]
    {
        assert_eq!(shown(limit, &pieces).await, (vec![seen.to_owned()], polls), "{limit}");
    }
    assert_eq!(shown(0, &pieces).await, (vec![], 0), "nothing is looked at");
}

#[tokio::test]
async fn chunks_without_data_use_none_of_the_limit_and_their_number_is_bounded() {
    let pieces = [Data(""), Data("ab"), Trailers, Data(""), Data("c"), Data("d")];
    assert_eq!(shown(3, &pieces).await, (vec!["abc".to_owned()], 5));
    for empty in [Data(""), Trailers] {
        assert_eq!(shown(10, &[empty; 50]).await.1, 51);
        assert_eq!(shown(10, &[empty; 300]).await.1, 256);
    }
}

#[tokio::test]
async fn the_rule_is_asked_when_nothing_more_is_ready_and_gets_the_bytes_from_the_start() {
    let (seen, _) = shown(LIMIT, &[Data("a"), Data("b"), Soon, Soon, Data("c"), Soon, Data("")]).await;
    assert_eq!(seen, ["ab", "abc", "abc"]);
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => proptest::sample::select(vec!["", "{", "a", "}", r#""dead""#, ":true", "0123456789abcdefghijklmnopqrstuvwxyz"]).prop_map(Data),
        2 => Just(Soon),
        1 => Just(Trailers),
        1 => Just(Fails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    /// Frames, errors, size hints and the end: in each, the caller cannot see that the body was looked at.
    #[test]
    fn the_bytes_that_were_looked_at_are_handed_on_unchanged(
        pieces in proptest::collection::vec(piece(), 0..12),
        limit in 0_usize..50,
        has_length: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (read, expected) = runtime.block_on(async {
            let inner = service_fn(|_: Ask| {
                let body = Pieces::new(&pieces, has_length);
                let answer = Response::builder().header("content-type", "application/json").body(body).unwrap();
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            let never = BearerAuthLayer::new(Numbered::default()).without_retry().judge_body(limit, rule());
            let answer = never.layer(inner).oneshot(get("https://api.test/")).await.unwrap();
            (frames(answer.into_body()).await, frames(Pieces::new(&pieces, has_length)).await)
        });
        prop_assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn an_error_in_the_middle_comes_after_the_bytes_before_it() {
    let pieces = [Data("{\"a\""), Fails];
    let answer = answered(&PiecesApi::answering([json(pieces)])).await;
    let seen = frames(answer.into_body()).await;
    assert!(seen.len() == 2 && seen[1].contains("the connection broke"), "{seen:?}");
}

/// Data in two pieces, which is not contiguous.
#[tokio::test]
async fn data_of_any_type_is_judged_and_keeps_its_type() {
    type Two = Chain<Bytes, Bytes>;
    let inner = service_fn(|request: Ask| {
        let is_first = request.headers()["authorization"] == "Bearer t1";
        let text: [&'static str; 2] = if is_first { ["{\"dead\"", ":true}"] } else { ["{\"ok\"", ":true}"] };
        let [first, second] = text.map(|text| Bytes::from_static(text.as_bytes()));
        let frames = futures::stream::iter([Ok::<_, Infallible>(Frame::data(first.chain(second)))]);
        let answer = Response::builder().header("content-type", "application/json");
        std::future::ready(answer.body(StreamBody::new(frames)))
    });
    let service = layer(&Numbered::default()).layer(inner);
    let answer = service.oneshot(get("https://api.test/")).await.unwrap();
    assert!(retried(&answer));
    let data: Two = pin!(answer.into_body()).frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data.remaining(), 11);
}

#[tokio::test]
async fn with_a_function_the_answers_keep_their_type() {
    fn keeps<S: Service<Ask, Response = Response<Boxed>>>(service: S) -> S {
        service
    }
    let judging = layer(&Numbered::default()).body(Boxed::new);
    for pieces in [vec![DEAD], vec![Data("{}")]] {
        keeps(judging.layer(PiecesApi::answering([json(pieces)]))).oneshot(get("https://api.test/")).await.unwrap();
    }
    let html =
        judging.layer(PiecesApi::answering([typed("text/html")])).oneshot(get("https://api.test/")).await.unwrap();
    assert_eq!(html.status(), 200);
}

#[test]
fn its_types_are_shareable_and_its_future_can_be_spawned() {
    fn is_shareable<T: Send + Sync + Clone + 'static>() {}
    fn is_send<T: Send + 'static>() {}
    fn is_sync<T: Sync + Unpin>() {}
    type Inner = tower::util::BoxCloneSyncService<Ask, Response<Boxed>, BoxError>;
    is_shareable::<(BodyRule, BodyVerdict, Wrapped, JudgeBodyLayer<CloneBody>)>();
    is_shareable::<BearerAuth<JudgeBody<Inner, Wrapped>>>();
    is_shareable::<JudgeBodyLayer<CloneBody, Made<fn(JudgedBody<Boxed>) -> Boxed, Boxed>>>();
    is_send::<ResponseFuture<JudgeBody<Inner, Wrapped>, Full<Bytes>, JudgedBody<Boxed>, CloneBody>>();
    is_send::<JudgeBodyFuture<<Inner as Service<Ask>>::Future, Boxed, Wrapped>>();
    is_send::<JudgedBody<Boxed>>();
    is_sync::<JudgedBody<Full<Bytes>>>();
}

#[tokio::test]
async fn its_future_runs_in_a_task() {
    let service = layer(&Numbered::default()).layer(PiecesApi::answering([json([Soon, DEAD])]));
    assert!(retried(&tokio::spawn(service.oneshot(get("https://api.test/"))).await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_request_that_is_cancelled_while_its_answer_is_looked_at_leaves_nothing() {
    let (api, source) = (PiecesApi::answering([json([Data("{"), Never])]), Numbered::default());
    let service = layer(&source).layer(api.clone());
    let idle = api.bodies();
    let mut request = Box::pin(service.clone().oneshot(get("https://api.test/")));
    while api.polls() == 0 {
        assert!(request.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!(api.bodies() > idle);
    drop(request);
    assert_eq!(api.bodies(), idle);
    let answer = service.oneshot(get("https://api.test/")).await.unwrap();
    assert!(!retried(&answer) && source.asked() == 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_always_rejects_in_the_body_costs_no_more_than_one_that_always_answers_401() {
    let mut costs = Vec::new();
    for code in [200, 401] {
        let source = Numbered::default();
        let api = service_fn(move |request: Ask| async move {
            let is_dead = request.uri().path() == "/dead";
            let answer = Response::builder().status(if is_dead { code } else { 200 });
            let text = if is_dead { r#"{"dead":true}"# } else { r#"{"ok":true}"# };
            Ok::<_, Infallible>(
                answer.header("content-type", "application/json").body(Full::<Bytes>::from(text)).unwrap(),
            )
        });
        let service = layer(&source).layer(api);
        let mut spent = 0;
        for _ in 0..100 {
            for path in ["/dead", "/"] {
                let answer = service.clone().oneshot(crate::support::ask(path)).await.unwrap();
                let why = answer.extensions().get().and_then(Outcome::not_retried);
                spent += u64::from(matches!(why, Some(NotRetried::BudgetSpent)));
                advance(Duration::from_millis(50)).await;
            }
        }
        costs.push((source.asked(), spent));
    }
    assert!(costs[0].0 <= 6 && costs[0].1 > 80, "{costs:?}");
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_rejects_in_the_body_proves_no_token() {
    let (source, asked) = scripted(async |n| Ok(token(n).with_expires_in(48 * HOUR)));
    let api = service_fn(async |_: Ask| {
        let answer = Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(answer.body(Full::<Bytes>::from(r#"{"dead":true}"#)).unwrap())
    });
    let service = BearerAuthLayer::new(source).judge_body(LIMIT, rule()).layer(api);
    for _ in 0..1800 {
        service.clone().oneshot(crate::support::ask("/")).await.unwrap();
        advance(2 * SECOND).await;
    }
    assert!((10..=38).contains(&asked.times()), "{} token requests in an hour", asked.times());
}

/// A token that was proved by a judged answer is revoked again and again: each time, one request finds it out.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_looked_at_and_accepted_proves_the_token() {
    let (source, asked) = scripted(async |n| Ok(token(n).with_expires_in(48 * HOUR)));
    let revoked = Arc::new(Mutex::new("Bearer t0".to_owned()));
    let is_revoked = Arc::clone(&revoked);
    let api = service_fn(move |request: Ask| {
        let is_dead = request.headers()["authorization"] == **is_revoked.lock().unwrap();
        let text = if is_dead { r#"{"dead":true}"# } else { r#"{"ok":true}"# };
        let answer = Response::builder().header("content-type", "application/json");
        std::future::ready(answer.body(Full::<Bytes>::from(text)))
    });
    let service = BearerAuthLayer::new(source).judge_body(LIMIT, rule()).layer(api);
    for revocation in 1..30 {
        for _ in 0..200 {
            let answer = service.clone().oneshot(crate::support::ask("/")).await.unwrap();
            assert!(text(answer.into_body()).await.contains("ok"));
            advance(SECOND / 10).await;
        }
        *revoked.lock().unwrap() = format!("Bearer t{}", asked.times());
        let answer = service.clone().oneshot(crate::support::ask("/")).await.unwrap();
        assert!(outcome(&answer).retried() && text(answer.into_body()).await.contains("ok"), "revocation {revocation}");
        assert_eq!(asked.times(), revocation + 1);
    }
}

#[tokio::test]
async fn it_builds_on_the_rule_for_status_and_headers() {
    let insufficient = |_: StatusCode, headers: &http::HeaderMap| {
        if headers.contains_key("x-missing-scope") { Verdict::InsufficientScope } else { Verdict::Accepted }
    };
    let mut answer = json([DEAD]);
    answer.headers_mut().insert("x-missing-scope", "a".parse().unwrap());
    let api = PiecesApi::answering([answer, json([DEAD])]);
    let judging = BearerAuthLayer::new(Numbered::default()).judge_by(insufficient).judge_body(LIMIT, rule());
    let service = judging.layer(api);
    let first = service.clone().oneshot(get("https://api.test/")).await.unwrap();
    assert!(matches!(outcome(&first).not_retried(), Some(NotRetried::InsufficientScope)));
    assert!(outcome(&service.oneshot(get("https://api.test/")).await.unwrap()).retried());
}

#[tokio::test]
async fn of_two_layers_each_follows_its_own_rule() {
    let (outer, inner) = (Numbered::default(), Numbered::default());
    let accepting = BodyRule::new(|_| BodyVerdict::Accepted);
    // The inner layer finds a rejection. The outer one looks at the answer as well, or at no JSON.
    for types in ["application/json", "text/plain"] {
        let api = PiecesApi::answering([json([DEAD]), json([DEAD])]);
        let service = layer(&inner).layer(api);
        let judging = BearerAuthLayer::new(outer.clone()).judge_body(LIMIT, accepting.clone());
        let service = judging.content_types([types]).unwrap().layer(service);
        service.oneshot(get("https://api.test/")).await.unwrap();
    }
    assert_eq!(outer.asked(), 2, "a token for each of its layers, and no renewal");

    let (outer, api) = (Numbered::default(), PiecesApi::answering([json([DEAD]), json([DEAD])]));
    let service = BearerAuthLayer::new(outer.clone()).judge_by(Verdict::grpc).layer(layer(&inner).layer(api));
    service.oneshot(get("https://api.test/")).await.unwrap();
    assert_eq!(outer.asked(), 1, "a layer that judges no bodies");
}

#[tokio::test]
async fn nothing_of_a_body_or_a_token_is_in_a_debug_output() {
    let api = PiecesApi::answering([json([Data(r#"{"s3cret-text":1"#), Never])]);
    let judging = BearerAuthLayer::new(tower_bearer::FixedToken::new("s3cret-token").unwrap())
        .judge_body(LIMIT, BodyRule::graphql("UNAUTHENTICATED"))
        .body(|body: JudgedBody<Boxed>| -> Boxed { UnsyncBoxBody::new(body) });
    let wrapped =
        BearerAuthLayer::new(tower_bearer::FixedToken::new("s3cret-token").unwrap()).judge_body(LIMIT, rule());
    let mut request = Box::pin(wrapped.layer(api).call(get("https://api.test/")));
    assert!(request.as_mut().now_or_never().is_none());
    let waiting = format!("{request:?}");
    let answer = request.await.unwrap();
    let shown = format!("{judging:?} {:?} {waiting} {answer:?} {:?}", judging.layer(()), BodyVerdict::Rejected);
    assert!(shown.contains("graphql") && shown.contains("JudgedBody") && !shown.contains("s3cret"), "{shown}");
}

/// As etcd's watch: the server sends one line, and then keeps its answer open.
#[tokio::test]
async fn a_chunked_answer_of_a_server_that_stays_open_is_judged_and_read_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let watch = hyper::service::service_fn(async |request: Request<Incoming>| {
                let is_first = request.headers()["authorization"] == "Bearer t1";
                let pieces = [if is_first { DEAD } else { Data("{}\n") }, After(50), Data("{\"event\":1}\n"), Never];
                let answer = Response::builder().header("content-type", "application/json");
                answer.body(Pieces::new(&pieces, false))
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), watch);
            tokio::spawn(connection);
        }
    });
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = get(&format!("http://{addr}/v3/watch"));
    let answer = layer(&Numbered::default()).layer(client).oneshot(request).await.unwrap();
    assert!(outcome(&answer).retried());
    let mut body = answer.into_body();
    for line in ["{}\n", "{\"event\":1}\n"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), line);
    }
}
