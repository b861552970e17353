//! Rejections in the body, as known servers send them, and answers of theirs that look alike.

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, NotRetried, Outcome,
    judge_body::{BodyRule, BodyVerdict},
};

use crate::{
    pieces::{Boxed, Piece, PiecesApi, json},
    scripted::Numbered,
};

/// What the layer does after an answer.
#[derive(Debug, PartialEq)]
enum Done {
    Nothing,
    SentAgain,
    /// The token is renewed, and the request is not sent again.
    Renewed,
}

async fn done(rule: BodyRule, method: Method, text: &'static str) -> Done {
    let (api, source) = (PiecesApi::answering([json([Piece::Data(text)])]), Numbered::default());
    let judging = BearerAuthLayer::new(source.clone()).judge_body(16 * 1024, rule).body(Boxed::new);
    let service = judging.layer(api);
    let request =
        || Request::builder().method(&method).uri("https://api.test/").body(Full::<bytes::Bytes>::default()).unwrap();
    judging.cache().token().await.unwrap();
    let answer = service.clone().oneshot(request()).await.unwrap();
    let done = match answer.extensions().get::<Outcome>() {
        None => Done::Nothing,
        Some(outcome) if outcome.retried() => Done::SentAgain,
        Some(outcome) => match outcome.not_retried() {
            Some(NotRetried::NotIdempotent) => Done::Renewed,
            why => panic!("{why:?}: {text}"),
        },
    };
    let expected = if done == Done::SentAgain { r#"{"ok":true}"# } else { text };
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), expected);
    service.oneshot(request()).await.unwrap();
    assert_eq!(source.asked(), if done == Done::Nothing { 1 } else { 2 }, "{text}");
    done
}

fn graphql() -> BodyRule {
    BodyRule::graphql("UNAUTHENTICATED")
}

#[tokio::test]
async fn graphql_that_refuses_the_whole_operation_is_retried() {
    for text in [
        // Apollo Server 5.5.1, a resolver throws.
        r#"{"errors":[{"message":"User is not authenticated","locations":[{"line":1,"column":2}],"path":["ok"],"extensions":{"code":"UNAUTHENTICATED"}}],"data":{"ok":null}}"#,
        // The field must not be null.
        r#"{"errors":[{"path":["me"],"extensions":{"code":"UNAUTHENTICATED"}}],"data":null}"#,
        // Before the operation, without a path.
        r#"{"errors":[{"message":"no","extensions":{"code":"UNAUTHENTICATED"}}]}"#,
        r#"{"data":{"a":null,"b":null},"errors":[{"path":["b"],"extensions":{"code":"UNAUTHENTICATED"}},{"path":["a"],"extensions":{"code":"UNAUTHENTICATED"}}]}"#,
        r#" [{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]},{"data":null,"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]}]"#,
    ] {
        for method in [Method::POST, Method::GET] {
            assert_eq!(done(graphql(), method, text).await, Done::SentAgain, "{text}");
        }
    }
    let hasura =
        r#"{"errors":[{"extensions":{"path":"$","code":"invalid-jwt"},"message":"Could not verify JWT: JWTExpired"}]}"#;
    assert_eq!(done(BodyRule::graphql("invalid-jwt"), Method::POST, hasura).await, Done::SentAgain);
    assert_eq!(done(graphql(), Method::POST, hasura).await, Done::Nothing, "another code");
}

/// A mutation may have been carried out beside the field that was refused.
#[tokio::test]
async fn graphql_that_gives_partial_data_is_renewed_and_retried_only_for_a_get() {
    for text in [
        r#"{"errors":[{"path":["me"],"extensions":{"code":"UNAUTHENTICATED"}}],"data":{"version":"1","me":null}}"#,
        // `log` has no result, and no error either.
        r#"{"errors":[{"path":["me"],"extensions":{"code":"UNAUTHENTICATED"}}],"data":{"log":null,"me":null}}"#,
        // `create` was carried out. A field of its result was refused.
        r#"{"errors":[{"path":["create","secret"],"extensions":{"code":"UNAUTHENTICATED"}}],"data":{"create":null}}"#,
        r#"{"errors":[{"path":["create","secret"],"extensions":{"code":"UNAUTHENTICATED"}}],"data":null}"#,
        r#"[{"data":{"a":1}},{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]}]"#,
    ] {
        assert_eq!(done(graphql(), Method::POST, text).await, Done::Renewed, "{text}");
        assert_eq!(done(graphql(), Method::GET, text).await, Done::SentAgain, "{text}");
    }
}

#[tokio::test]
async fn graphql_that_only_contains_the_word_is_accepted() {
    for text in [
        r#"{"errors":[{"message":"no","path":["scoped"],"extensions":{"code":"FORBIDDEN"}}],"data":{"scoped":null}}"#,
        r#"{"data":{"code":"UNAUTHENTICATED"}}"#,
        r#"{"data":{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]}}"#,
        r#"{"errors":[{"message":"UNAUTHENTICATED","code":"UNAUTHENTICATED","extensions":{"detail":{"code":"UNAUTHENTICATED"}}}]}"#,
        r#"{"errors":[{"extensions":{"code":"unauthenticated"}}]}"#,
        r#"{"errors":{"extensions":{"code":"UNAUTHENTICATED"}}}"#,
        r#"{"errors":"UNAUTHENTICATED","data":null}"#,
        r#"{"extensions":{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]},"data":{}}"#,
        r#""{\"errors\":[{\"extensions\":{\"code\":\"UNAUTHENTICATED\"}}]}""#,
        r#"{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}"#,
        "UNAUTHENTICATED",
        "",
        "[]",
        "null",
    ] {
        assert_eq!(done(graphql(), Method::POST, text).await, Done::Nothing, "{text}");
    }
}

#[tokio::test]
async fn marketo_says_601_or_602() {
    for text in [
        r#"{"requestId":"18a8","success":false,"errors":[{"code":"601","message":"Access token invalid"}]}"#,
        r#"{"requestId":"18a8","success":false,"errors":[{"code":"602","message":"Access token expired"}]}"#,
    ] {
        assert_eq!(done(BodyRule::marketo(), Method::POST, text).await, Done::SentAgain, "{text}");
    }
    for text in [
        r#"{"requestId":"18a8","success":false,"errors":[{"code":"606","message":"Max rate limit exceeded"}]}"#,
        r#"{"requestId":"18a8","success":true,"result":[{"status":"skipped","errors":[{"code":"601"}]}]}"#,
        r#"{"success":true,"errors":[{"code":"601"}]}"#,
        r#"{"errors":[{"code":"601"}]}"#,
    ] {
        assert_eq!(done(BodyRule::marketo(), Method::POST, text).await, Done::Nothing, "{text}");
    }
}

#[tokio::test]
async fn slack_says_which_error_it_is() {
    for text in [
        r#"{"ok":false,"error":"invalid_auth"}"#,
        r#"{"ok":false,"error":"token_expired","warning":"x"}"#,
        r#"{"error":"token_revoked","ok":false}"#,
    ] {
        assert_eq!(done(BodyRule::slack(), Method::POST, text).await, Done::SentAgain, "{text}");
    }
    for text in [
        r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"identify"}"#,
        r#"{"ok":false,"error":"account_inactive"}"#,
        r#"{"ok":true,"error":"invalid_auth"}"#,
        r#"{"ok":true,"messages":[{"ok":false,"error":"invalid_auth"}]}"#,
    ] {
        assert_eq!(done(BodyRule::slack(), Method::POST, text).await, Done::Nothing, "{text}");
    }
}

/// The first, and what is not a rejection, as etcd 3.4.23 sends them. The others are as its source and that of its JSON gateway say.
#[tokio::test]
async fn a_watch_of_etcd_is_retried_if_it_was_canceled_because_of_the_token() {
    for text in [
        r#"{"result":{"header":{"revision":"2"},"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"}}
"#,
        r#"{"result":{"header":{"revision":"2"},"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"}}
"#,
        r#"{"error":{"grpc_code":16,"http_code":401,"message":"etcdserver: invalid auth token","http_status":"Unauthorized"}}"#,
        r#"{"error":{"code":16,"message":"etcdserver: invalid auth token","details":[]}}"#,
    ] {
        assert_eq!(done(BodyRule::etcd_watch(), Method::POST, text).await, Done::SentAgain, "{text}");
    }
    for text in [
        r#"{"result":{"header":{"revision":"2"},"created":true}}
{"result":{"canceled":true,"cancel_reason":"rpc error: code = Unauthenticated desc = later"}}
"#,
        r#"{"result":{"header":{"revision":"2"},"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"rpc error: code = PermissionDenied desc = etcdserver: permission denied"}}
"#,
        r#"{"result":{"created":true,"events":[{"kv":{"value":"code = Unauthenticated"}}]}}"#,
        r#"{"error":{"grpc_code":7,"http_code":403}}"#,
    ] {
        assert_eq!(done(BodyRule::etcd_watch(), Method::POST, text).await, Done::Nothing, "{text}");
    }
}

#[tokio::test]
async fn an_odd_value_beside_a_rejection_does_not_hide_it() {
    let deep: &'static str =
        format!(r#"{{"debug":{}{},"ok":false,"error":"token_expired"}}"#, "[".repeat(128), "]".repeat(128)).leak();
    for text in [
        r#"{"ok":false,"error":"token_expired","warning":"\ud800"}"#,
        r#"{"\ud800":1,"ok":false,"error":"token_expired"}"#,
        r#"{"ok":false,"error":"token_expired","took":1e999}"#,
        deep,
    ] {
        assert_eq!(done(BodyRule::slack(), Method::POST, text).await, Done::SentAgain, "{text}");
    }
    let cut = r#"{"errors":[{"message":"no \ud83d...","extensions":{"code":"UNAUTHENTICATED"}}],"data":null}"#;
    assert_eq!(done(graphql(), Method::POST, cut).await, Done::SentAgain);
}

/// As a client of several APIs needs it.
#[tokio::test]
async fn of_two_rules_in_any_order_one_has_to_reject() {
    for rule in [graphql().or(BodyRule::slack()), BodyRule::slack().or(graphql())] {
        for (text, expected) in [
            (r#"{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]}"#, Done::SentAgain),
            (r#"{"ok":false,"error":"invalid_auth"}"#, Done::SentAgain),
            (
                r#"{"data":{"a":1,"b":null},"errors":[{"path":["b"],"extensions":{"code":"UNAUTHENTICATED"}}]}"#,
                Done::Renewed,
            ),
            (r#"{"errors":[{"extensions":{"code":"FORBIDDEN"}}]}"#, Done::Nothing),
            (r#"{"ok":false,"error":"missing_scope"}"#, Done::Nothing),
            (r#"{"ok":true}"#, Done::Nothing),
            ("", Done::Nothing),
        ] {
            assert_eq!(done(rule.clone(), Method::POST, text).await, expected, "{rule:?}: {text}");
        }
        let three = rule.or(BodyRule::marketo());
        let marketo = r#"{"success":false,"errors":[{"code":"601"}]}"#;
        assert_eq!(done(three, Method::POST, marketo).await, Done::SentAgain);
    }
    assert_eq!(format!("{:?}", graphql().or(BodyRule::slack())), r#"BodyRule("graphql or slack")"#);
}

#[tokio::test]
async fn of_two_rules_that_reject_the_one_that_rejects_in_part_counts() {
    use BodyVerdict::{Accepted, Rejected, RejectedInPart, Undecided};
    for (verdicts, expected) in [
        ([Rejected, RejectedInPart], Done::Renewed),
        ([Accepted, RejectedInPart], Done::Renewed),
        ([Undecided, RejectedInPart], Done::Renewed),
        ([Rejected, Rejected], Done::SentAgain),
        ([Rejected, Accepted], Done::SentAgain),
        ([Rejected, Undecided], Done::SentAgain),
        ([Accepted, Undecided], Done::Nothing),
        ([Accepted, Accepted], Done::Nothing),
        ([Undecided, Undecided], Done::Nothing),
    ] {
        let [first, second] = verdicts;
        for (first, second) in [(first, second), (second, first)] {
            // They accept the answer to the second attempt.
            let says = |verdict| BodyRule::new(move |bytes| if bytes.contains(&b'!') { verdict } else { Accepted });
            let rule = says(first).or(says(second));
            assert_eq!(done(rule, Method::POST, r#"{"a":"!"}"#).await, expected, "{first:?} or {second:?}");
        }
    }
}

/// A rule that has accepted the start is asked again, because the other one needs more.
#[tokio::test]
async fn a_rule_that_accepts_does_not_keep_the_other_from_reading_on() {
    let accepting = BodyRule::new(|_| BodyVerdict::Accepted);
    for rule in [accepting.clone().or(BodyRule::slack()), BodyRule::slack().or(accepting)] {
        let pieces = [Piece::Data(r#"{"ok":false,"#), Piece::Soon, Piece::Data(r#""error":"invalid_auth"}"#)];
        let api = PiecesApi::answering([json(pieces)]);
        let service = BearerAuthLayer::new(Numbered::default()).judge_body(1024, rule).layer(api);
        let answer: Response<_> = service.oneshot(crate::scripted::get("https://api.test/")).await.unwrap();
        assert!(answer.extensions().get().is_some_and(Outcome::retried));
    }
}

/// The rules read a whole JSON text, so one that is longer than the limit is not judged.
#[tokio::test]
async fn an_answer_that_is_longer_than_the_limit_is_accepted() {
    const TEXT: &str = r#"{"ok":false,"error":"invalid_auth"}"#;
    for (limit, is_retried) in [(TEXT.len(), true), (TEXT.len() - 1, false), (1, false)] {
        let api = PiecesApi::answering([json([Piece::Data(TEXT)])]);
        let service = BearerAuthLayer::new(Numbered::default()).judge_body(limit, BodyRule::slack()).layer(api);
        let answer: Response<_> = service.oneshot(crate::scripted::get("https://api.test/")).await.unwrap();
        assert_eq!(answer.extensions().get().is_some_and(Outcome::retried), is_retried, "{limit}");
    }
}
