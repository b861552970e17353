//! What known servers say in the body to a token that they do not accept.

use serde_json::{Value, error::Category};

use crate::extensions::BodyVerdict;

pub(super) fn graphql(bytes: &[u8], code: &str) -> BodyVerdict {
    by_first_json(bytes, |reply| match reply {
        // A batch of operations, with a reply each.
        Value::Array(replies) => together(&replies.iter().map(|reply| graphql_reply(reply, code)).collect::<Vec<_>>()),
        reply => graphql_reply(reply, code),
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

fn graphql_reply(reply: &Value, code: &str) -> BodyVerdict {
    let refused = || errors(reply).filter(|error| error["extensions"]["code"] == code);
    // The path of an error begins at a field of the operation. `None` if the error has none.
    let path = |error: &Value| error["path"].as_array().cloned();
    let is_whole = match &reply["data"] {
        Value::Null => refused().all(|error| path(error).is_none_or(|path| path.len() <= 1)),
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            value.is_null() && refused().any(|error| path(error).is_some_and(|path| path == [name.as_str()]))
        }),
        _ => false,
    };
    match refused().next() {
        None => BodyVerdict::Accepted,
        Some(_) if is_whole => BodyVerdict::Rejected,
        Some(_) => BodyVerdict::RejectedInPart,
    }
}

pub(super) fn marketo(bytes: &[u8]) -> BodyVerdict {
    by_first_json(bytes, |reply| {
        let is_token_error = |error: &Value| ["601", "602"].iter().any(|&code| error["code"] == code);
        rejected_if(reply["success"] == false && errors(reply).any(is_token_error))
    })
}

pub(super) fn slack(bytes: &[u8]) -> BodyVerdict {
    by_first_json(bytes, |reply| {
        let is_token_error =
            ["invalid_auth", "token_expired", "token_revoked"].iter().any(|&code| reply["error"] == code);
        rejected_if(reply["ok"] == false && is_token_error)
    })
}

pub(super) fn etcd_watch(bytes: &[u8]) -> BodyVerdict {
    by_first_json(bytes, |line| {
        let (result, error) = (&line["result"], &line["error"]);
        let reason = result["cancel_reason"].as_str().unwrap_or_default();
        // The second is about a JWT from before a change of users or roles. A new one is good.
        let is_of_token =
            reason.contains("code = Unauthenticated") || reason.ends_with("revision of auth store is old");
        let is_unauthenticated = error["code"] == 16 || error["grpc_code"] == 16;
        rejected_if((result["canceled"] == true && is_of_token) || is_unauthenticated)
    })
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Judges the first JSON text of a body. Anything else is accepted. A byte order mark and text that is not UTF-8 do not matter:
/// the words of a rejection are ASCII.
fn by_first_json(bytes: &[u8], judge: impl FnOnce(&Value) -> BodyVerdict) -> BodyVerdict {
    if BYTE_ORDER_MARK.starts_with(bytes) {
        return BodyVerdict::Undecided;
    }
    let text = String::from_utf8_lossy(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes));
    match serde_json::Deserializer::from_str(&text).into_iter::<Value>().next() {
        Some(Ok(value)) => judge(&value),
        Some(Err(error)) if error.classify() != Category::Eof => BodyVerdict::Accepted,
        Some(Err(_)) | None => BodyVerdict::Undecided,
    }
}

fn errors(reply: &Value) -> impl Iterator<Item = &Value> {
    reply["errors"].as_array().into_iter().flatten()
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
}
