//! What known servers say in the body to a token that they do not accept.

use std::collections::HashSet;

use crate::{
    extensions::BodyVerdict,
    judge_body::json::{Json, NoEnd},
};

pub(super) fn graphql(bytes: &[u8], code: &str) -> BodyVerdict {
    by_first_json(bytes, |reply| match reply.elements() {
        // A batch of operations, with a reply each.
        Some(replies) => together(&replies.into_iter().map(|reply| graphql_reply(reply, code)).collect::<Vec<_>>()),
        None => graphql_reply(reply, code),
    })
}

/// Returns the verdict on a batch of operations, from those on each.
fn together(verdicts: &[BodyVerdict]) -> BodyVerdict {
    let are_all = |verdict| verdicts.iter().all(|each| *each == verdict);
    if are_all(BodyVerdict::Accepted) {
        BodyVerdict::Accepted
    } else if are_all(BodyVerdict::Rejected) {
        BodyVerdict::Rejected
    } else {
        BodyVerdict::RejectedInPart
    }
}

fn graphql_reply(reply: Json<'_>, code: &str) -> BodyVerdict {
    let is_refusal = |error: &Json<'_>| {
        let found = error.get("extensions").and_then(|extensions| extensions.get("code"));
        found.is_some_and(|found| found.is_string(code))
    };
    // The paths of the errors, which begin at a field of the operation. `None` if an error has none.
    let refused: Vec<_> = errors(reply).filter(is_refusal).map(path).collect();
    if refused.is_empty() {
        return BodyVerdict::Accepted;
    }
    let is_whole = match reply.get("data") {
        Some(data) if !data.is("null") => data.members().is_some_and(|fields| {
            let refused: HashSet<_> = refused.iter().flatten().filter_map(only_name).collect();
            fields
                .into_iter()
                .all(|(name, value)| value.is("null") && name.as_string().is_some_and(|name| refused.contains(&name)))
        }),
        _ => refused.iter().flatten().all(|path| path.elements().is_some_and(|names| names.len() <= 1)),
    };
    if is_whole { BodyVerdict::Rejected } else { BodyVerdict::RejectedInPart }
}

fn path(error: Json<'_>) -> Option<Json<'_>> {
    error.get("path").filter(|path| path.is_array())
}

/// Returns the name of the field, if the path is only that.
fn only_name(path: &Json<'_>) -> Option<String> {
    let names = path.elements()?;
    let [name] = names[..] else { return None };
    name.as_string()
}

pub(super) fn marketo(bytes: &[u8]) -> BodyVerdict {
    by_first_json(bytes, |reply| {
        let is_token_error = |error: Json<'_>| error.get("code").is_some_and(|it| is_one_of(it, &["601", "602"]));
        let has_failed = reply.get("success").is_some_and(|success| success.is("false"));
        rejected_if(has_failed && errors(reply).any(is_token_error))
    })
}

pub(super) fn slack(bytes: &[u8]) -> BodyVerdict {
    by_first_json(bytes, |reply| {
        let is_token_error = |error| is_one_of(error, &["invalid_auth", "token_expired", "token_revoked"]);
        let has_failed = reply.get("ok").is_some_and(|ok| ok.is("false"));
        rejected_if(has_failed && reply.get("error").is_some_and(is_token_error))
    })
}

pub(super) fn etcd_watch(bytes: &[u8]) -> BodyVerdict {
    by_first_json(bytes, |line| {
        let of_result = |name| line.get("result").and_then(|result| result.get(name));
        let of_error = |name| line.get("error").and_then(|error| error.get(name));
        let reason = of_result("cancel_reason").and_then(Json::as_string).unwrap_or_default();
        // The second is about a JWT from before a change of users or roles. A new one is good.
        let is_of_token =
            reason.contains("code = Unauthenticated") || reason.ends_with("revision of auth store is old");
        let is_canceled = of_result("canceled").is_some_and(|canceled| canceled.is("true"));
        let is_unauthenticated = ["code", "grpc_code"].into_iter().filter_map(of_error).any(|code| code.is("16"));
        rejected_if((is_canceled && is_of_token) || is_unauthenticated)
    })
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Judges the first JSON text of a body. Anything else is accepted. A byte order mark and text that is not UTF-8 do not matter:
/// the words of a rejection are ASCII. Nor do values that `judge` does not look at.
fn by_first_json(bytes: &[u8], judge: impl FnOnce(Json<'_>) -> BodyVerdict) -> BodyVerdict {
    if BYTE_ORDER_MARK.starts_with(bytes) {
        return BodyVerdict::Undecided;
    }
    let text = String::from_utf8_lossy(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes));
    match Json::first(&text) {
        Ok(value) => judge(value),
        Err(NoEnd::Cut) => BodyVerdict::Undecided,
        // A single word or number says nothing either.
        Err(NoEnd::Invalid) => BodyVerdict::Accepted,
    }
}

fn errors(reply: Json<'_>) -> impl Iterator<Item = Json<'_>> {
    reply.get("errors").and_then(Json::elements).into_iter().flatten()
}

fn is_one_of(value: Json<'_>, said: &[&str]) -> bool {
    said.iter().any(|said| value.is_string(said))
}

fn rejected_if(is_rejected: bool) -> BodyVerdict {
    if is_rejected { BodyVerdict::Rejected } else { BodyVerdict::Accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &[u8] = br#"{"ok":false,"error":"token_expired"}"#;

    #[test]
    fn json_with_a_byte_order_mark_is_read_wherever_it_is_split() {
        let text = [b"\xEF\xBB\xBF", REFUSED].concat();
        assert_eq!(slack(&text), BodyVerdict::Rejected);
        for end in 0..text.len() {
            assert_eq!(slack(&text[..end]), BodyVerdict::Undecided, "{end}");
        }
    }

    #[test]
    fn json_with_text_that_is_not_utf_8_is_read() {
        let text = b"{\"ok\":false,\"warning\":\"m\xFCde\",\"error\":\"token_expired\"}";
        assert_eq!(slack(text), BodyVerdict::Rejected);
        for end in 0..text.len() {
            assert_eq!(slack(&text[..end]), BodyVerdict::Undecided, "{end}");
        }
        assert_eq!(slack(b"\xFF\xFE"), BodyVerdict::Accepted, "it is not JSON");
    }

    /// What a full parser fails on, or what is not JSON at all inside.
    fn odd_values() -> Vec<String> {
        let deep = 50_000;
        let mut odd: Vec<_> = [
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            "1e999",
            "-1e999",
            "NaN",
            "01",
            "\"a\nb\"",
            r#""\x""#,
            r#"[1,,{"a"}]"#,
        ]
        .map(str::to_owned)
        .into();
        odd.push(format!("{}{}", "[".repeat(deep), "]".repeat(deep)));
        odd.push(format!("{}1{}", r#"{"a":"#.repeat(deep), "}".repeat(deep)));
        odd
    }

    #[test]
    fn an_odd_value_that_no_rule_reads_hides_no_rejection() {
        type Rule = fn(&[u8]) -> BodyVerdict;
        let rules: [(Rule, &str); 4] = [
            (
                |bytes| graphql(bytes, "UNAUTHENTICATED"),
                r#""errors":[{"extensions":{"code":"UNAUTHENTICATED",ODD},ODD}],ODD"#,
            ),
            (marketo, r#""success":false,"errors":[{"code":"601",ODD}],ODD"#),
            (slack, r#""ok":false,"error":"token_expired",ODD"#),
            (etcd_watch, r#""error":{"code":16,ODD},ODD"#),
        ];
        for odd in odd_values() {
            let shown: String = odd.chars().take(20).collect();
            for (rule, rejection) in rules {
                for member in [format!(r#""odd":{odd}"#), format!(r#""\ud800":{odd}"#)] {
                    let text = rejection.replace("ODD", &member);
                    for text in [format!("{{{text}}}"), format!("{{{member},{text}}}")] {
                        assert_eq!(rule(text.as_bytes()), BodyVerdict::Rejected, "{shown}");
                        assert_eq!(rule(&text.as_bytes()[..text.len() - 1]), BodyVerdict::Undecided, "{shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_odd_value_where_a_rule_reads_rejects_nothing() {
        for odd in odd_values() {
            let text = format!(r#"{{"ok":false,"error":{odd}}}"#);
            assert_eq!(slack(text.as_bytes()), BodyVerdict::Accepted);
            let text = format!(r#"{{"errors":[{{"extensions":{{"code":{odd}}}}},{odd}]}}"#);
            assert_eq!(graphql(text.as_bytes(), "UNAUTHENTICATED"), BodyVerdict::Accepted);
        }
        for not_json in [r#"{"ok":false,"error":"token_expired" x}"#, r#"{"ok":false,"error":"token_expired",}"#] {
            assert_eq!(slack(not_json.as_bytes()), BodyVerdict::Accepted, "{not_json}");
        }
    }

    #[test]
    fn graphql_data_with_an_odd_value_is_partial_data() {
        let refused = r#""errors":[{"path":["me"],"extensions":{"code":"UNAUTHENTICATED"}}]"#;
        for odd in odd_values() {
            let text = format!(r#"{{{refused},"data":{{"me":null,"other":{odd}}}}}"#);
            assert_eq!(graphql(text.as_bytes(), "UNAUTHENTICATED"), BodyVerdict::RejectedInPart);
            let text = format!(r#"{{{refused},"data":{odd}}}"#);
            assert_eq!(graphql(text.as_bytes(), "UNAUTHENTICATED"), BodyVerdict::RejectedInPart);
        }
    }

    /// It may be longer than it seems.
    #[test]
    fn a_graphql_path_that_cannot_be_read_is_one_of_partial_data() {
        for path in [r#"["me" "name"]"#, r#"["me",]"#, "[me:name]"] {
            let text =
                format!(r#"{{"errors":[{{"path":{path},"extensions":{{"code":"UNAUTHENTICATED"}}}}],"data":null}}"#);
            assert_eq!(graphql(text.as_bytes(), "UNAUTHENTICATED"), BodyVerdict::RejectedInPart, "{path}");
        }
    }

    #[test]
    fn of_a_member_that_is_there_twice_the_last_counts() {
        assert_eq!(slack(br#"{"ok":true,"ok":false,"error":"token_expired"}"#), BodyVerdict::Rejected);
        assert_eq!(slack(br#"{"ok":false,"error":"token_expired","\u006fk":true}"#), BodyVerdict::Accepted);
    }
}
