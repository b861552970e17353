//! The response of a token endpoint (RFC 6749 §5).

use crate::{
    error::Error,
    grant::exchange::{members::Members, reply::ServerReply},
    secret_string::SecretString,
    token::{AccessToken, Lifetime, ResponseMembers},
};

/// The token types that are sent as Bearer tokens, in any case. The second one is what some servers call the first.
const BEARER_TYPES: [&str; 2] = ["bearer", "bearertoken"];

/// The token types that are not: their tokens need a proof in each request, or are not access tokens at all.
const OTHER_TYPES: [&str; 4] = ["dpop", "pop", "mac", "n_a"];

/// What a token endpoint answered to one request.
pub(crate) struct TokenAnswer {
    pub(crate) granted: Result<Granted, Error>,
    /// The refresh token that came along. It counts whatever the access token is like: it may have replaced the one that
    /// was sent.
    pub(crate) refresh_token: Option<SecretString>,
}

/// An issued token, and what came with it.
pub(crate) struct Granted {
    pub(crate) token: AccessToken,
    /// The type of the token (RFC 8693 §2.2.1).
    pub(crate) issued_token_type: Option<String>,
}

impl TokenAnswer {
    pub(crate) fn failed(error: Error) -> Self {
        Self { granted: Err(error), refresh_token: None }
    }
}

/// Returns the refresh token of a response. Some servers send an empty one when there is none. One that was not UTF-8 is
/// not the server's any more.
pub(crate) fn refresh_token(members: &Members<'_>) -> Option<SecretString> {
    let refresh_token = members.secret("refresh_token");
    refresh_token.filter(|token| !token.expose().is_empty() && !token.expose().contains(char::REPLACEMENT_CHARACTER))
}

/// Returns the access token of a response, unless it is empty: some servers send an empty one with an error.
pub(crate) fn access_token(members: &Members<'_>) -> Option<SecretString> {
    members.secret("access_token").filter(|token| !token.expose().is_empty())
}

/// Checks the members of a successful response (RFC 6749 §5.1) and turns them into a token. `accepted` are more token types
/// that are sent as Bearer tokens.
pub(crate) fn granted(members: &Members<'_>, reply: &ServerReply, accepted: &[String]) -> Result<Granted, Error> {
    let without_token = |why: &'static str| Error::unusable_response(why).of_credentials();
    let Some(token) = access_token(members) else {
        return Err(without_token(if members.is_odd("access_token") {
            "its access_token is not a string"
        } else {
            "it has no access_token"
        }));
    };
    if members.is_ambiguous("access_token", str::eq) {
        return Err(without_token("it has two different access_tokens"));
    }
    check_type(members, &token, reply, accepted)?;
    let mut token = AccessToken::new(token)?;
    if let Some(lifetime) = members.lifetime("expires_in") {
        token = token.with_expires_in(lifetime);
    }
    if let Some(Lifetime::For(age)) = members.lifetime("refresh_in") {
        token = token.with_refresh_in(age);
    }
    if let Some(scope) = members.scope("scope") {
        token = token.with_scope(scope);
    }
    if let Some(server_time) = reply.date() {
        token = token.with_issuer_time(server_time);
    }
    token = token.with_response(ResponseMembers::keep(members.without(&["access_token", "refresh_token"])));
    Ok(Granted { token, issued_token_type: members.text("issued_token_type") })
}

/// Checks that the token is sent as a Bearer token (RFC 6749 §7.1). A response without a type means that.
fn check_type(
    members: &Members<'_>,
    token: &SecretString,
    reply: &ServerReply,
    accepted: &[String],
) -> Result<(), Error> {
    if members.is_ambiguous("token_type", str::eq_ignore_ascii_case) {
        return Err(Error::unusable_response("it has two different token_types"));
    }
    if members.is_odd("token_type") {
        return Err(Error::unusable_response("its token_type is not a string"));
    }
    let Some(name) = members.text("token_type") else { return Ok(()) };
    let lower = name.to_ascii_lowercase();
    if BEARER_TYPES.contains(&lower.as_str()) || accepted.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
        return Ok(());
    }
    Err(Error::unusable_response(match lower.as_str() {
        "n_a" => "its token_type is N_A: it is not an access token (RFC 8693 §2.2.1)".to_owned(),
        _ if is_never_bearer(&name) => format!(
            "its token_type is {name}, so each request would need a proof that this crate does not make; have the server \
             issue Bearer tokens to this client"
        ),
        _ => {
            let shown = reply.displayable(&name).filter(|name| !token.expose().contains(name));
            let shown = shown.map_or_else(String::new, |name| format!(" but {name}"));
            format!(
                "its token_type is not Bearer{shown}; if its tokens are sent as Bearer tokens, call `accept_token_type`"
            )
        }
    }))
}

/// Returns whether tokens of this type can never be sent as Bearer tokens.
pub(crate) fn is_never_bearer(token_type: &str) -> bool {
    OTHER_TYPES.iter().any(|other| other.eq_ignore_ascii_case(token_type))
}
