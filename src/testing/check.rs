//! The check of a request's bearer token, for a resource server.

use http::header::{AUTHORIZATION, HeaderMap};

use crate::testing::issuer::Issuer;
use crate::testing::token_status::TokenStatus;

impl Issuer {
    /// Checks the bearer token in a request's headers, and counts it as an API request.
    #[must_use]
    pub fn check(&self, headers: &HeaderMap) -> TokenStatus {
        let token = bearer_token(headers);
        let mut state = self.state();
        let status = match token {
            Ok(token) => state.store.status(token, self.clock().elapsed(), state.key.id()),
            Err(status) => status,
        };
        state.counts.api_requests += 1;
        if status.is_accepted() {
            state.counts.api_accepted += 1;
        } else {
            state.counts.api_rejected += 1;
        }
        status
    }
}

fn bearer_token(headers: &HeaderMap) -> Result<&str, TokenStatus> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenStatus::Missing)?;
    if values.next().is_some() {
        return Err(TokenStatus::Malformed);
    }
    let value = value.to_str().map_err(|_| TokenStatus::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(TokenStatus::Missing);
    }
    let token = token.trim_start_matches(' ');
    let is_visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible { Ok(token) } else { Err(TokenStatus::Malformed) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_without_a_valid_token_have_different_statuses() {
        let issuer = Issuer::new();
        for (value, status) in [
            ("Basic YTpi", TokenStatus::Missing),
            ("Bearer", TokenStatus::Malformed),
            ("Bearer ", TokenStatus::Malformed),
            ("Bearer a b", TokenStatus::Malformed),
            ("Bearer a\tb", TokenStatus::Malformed),
            ("Bearer é", TokenStatus::Malformed),
            ("bearer abc==", TokenStatus::Unknown),
            ("Bearer =", TokenStatus::Unknown),
            ("Bearer 1|a:b!", TokenStatus::Unknown),
        ] {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.clone())]);
            assert_eq!(issuer.check(&headers), status, "{value:?}");
        }
        assert_eq!(issuer.check(&HeaderMap::new()), TokenStatus::Missing);
        let mut two = HeaderMap::new();
        two.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        two.append(AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert_eq!(issuer.check(&two), TokenStatus::Malformed);
        assert_eq!((issuer.counts().api_requests, issuer.counts().api_rejected), (11, 11));
    }
}
