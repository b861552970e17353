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

/// Judges the first JSON text of a body. Anything else is accepted.
fn by_first_json(bytes: &[u8], judge: impl FnOnce(&Value) -> BodyVerdict) -> BodyVerdict {
    match serde_json::Deserializer::from_slice(bytes).into_iter::<Value>().next() {
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
