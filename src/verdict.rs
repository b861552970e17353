//! Which answers reject the token, and the rules that decide it.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};

use crate::{
    challenge::{Challenge, INSUFFICIENT_SCOPE, INSUFFICIENT_USER_AUTHENTICATION, INVALID_TOKEN},
    rejection::Rejection,
};

/// What an answer says about the token that its request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The request passed authentication.
    Accepted,
    /// The API does not accept the token: it is renewed, and the request is sent again.
    ///
    /// A challenge may name a scope and not say `invalid_token`. If the token is known to lack that scope, the layer treats the
    /// answer as `InsufficientScope`.
    Rejected,
    /// The token is accepted, but its scope is not sufficient (RFC 6750 §3.1). The response gets an
    /// [`InsufficientScope`](crate::InsufficientScope).
    InsufficientScope,
    /// The user has to authenticate again, or by a stronger method (RFC 9470 §3). The response gets an
    /// [`InsufficientUserAuthentication`](crate::InsufficientUserAuthentication).
    InsufficientUserAuthentication,
}

impl Verdict {
    /// Returns the verdict of the default rule. A custom rule can build on it.
    ///
    /// 1. Any status except 401 and 403: accepted.
    /// 2. A `Bearer` challenge that says `insufficient_scope` or `insufficient_user_authentication`: that verdict, because a new
    ///    token would not help. But a 401 that also says `invalid_token` rejects the token. Any other 403: accepted.
    /// 3. Any other 401: rejected, also without a challenge, or with challenges of other schemes only. Many servers send these
    ///    for an invalid token. A rejection that means something else costs a few renewals. A revocation that is not understood
    ///    costs every request until the token expires.
    #[must_use]
    #[inline]
    pub fn standard(status: StatusCode, headers: &HeaderMap) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::by_challenges(status, headers),
            _ => Self::Accepted,
        }
    }

    fn by_challenges(status: StatusCode, headers: &HeaderMap) -> Self {
        let challenges = Challenge::all(headers);
        let says = |code: &str| challenges.iter().any(|challenge| challenge.is_bearer_error(code));
        if status == StatusCode::UNAUTHORIZED && says(INVALID_TOKEN) {
            Self::Rejected
        } else if says(INSUFFICIENT_SCOPE) {
            Self::InsufficientScope
        } else if says(INSUFFICIENT_USER_AUTHENTICATION) {
            Self::InsufficientUserAuthentication
        } else if status == StatusCode::UNAUTHORIZED {
            Self::Rejected
        } else {
            Self::Accepted
        }
    }

    /// Returns the verdict of the rule for gRPC, for [`judge_by`](crate::BearerAuthLayer::judge_by). `grpc-status: 16`
    /// (`UNAUTHENTICATED`) in the headers rejects the token. [`standard`](Self::standard) judges everything else.
    ///
    /// The status is in the headers when the server fails a call before its first message ("trailers-only"). A server that checks
    /// tokens first does so. A status that comes after messages is not seen, because the receiver has those messages already.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken, Verdict};
    /// let layer = BearerAuthLayer::new(FixedToken::new("t")?).judge_by(Verdict::grpc);
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn grpc(status: StatusCode, headers: &HeaderMap) -> Self {
        if headers.get("grpc-status").is_some_and(|code| code == "16") {
            return Self::Rejected;
        }
        Self::standard(status, headers)
    }
}

impl Verdict {
    /// Returns whether an answer with this verdict proves that the API accepted the token.
    ///
    /// Only an answer that comes from behind authentication does: a success, a 304, or the statement that the token is not
    /// sufficient. Any other may come from a proxy, a rate limit or a router that did not check the token. A failed gRPC call
    /// has the status 200.
    pub(crate) fn proves_token(self, status: StatusCode, headers: &HeaderMap) -> bool {
        match self {
            Self::Rejected => false,
            Self::InsufficientScope | Self::InsufficientUserAuthentication => true,
            Self::Accepted => {
                (status.is_success() || status == StatusCode::NOT_MODIFIED)
                    && headers.get("grpc-status").is_none_or(|code| code == "0")
            }
        }
    }
}

/// What a layer concludes from an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Whether the rule rejects the token, and the layer found that the token lacks a scope, or that another server answered. Such an
    /// answer does not prove the token: it may be dead as well.
    pub(crate) is_inferred: bool,
}

impl Judgement {
    /// The answer is accepted.
    pub(crate) const ACCEPTED: Self = Self { verdict: Verdict::Accepted, is_inferred: false };

    /// Returns whether an answer proves that the API accepted the token; see [`Verdict::proves_token`].
    pub(crate) fn proves_token(self, status: StatusCode, headers: &HeaderMap) -> bool {
        !self.is_inferred && self.verdict.proves_token(status, headers)
    }
}

/// The rule that a layer uses.
#[derive(Clone)]
pub(crate) enum VerdictRule {
    Standard,
    Custom(Arc<CustomRule>),
}

/// A rule that a user has set.
#[derive(Clone, Default)]
pub(crate) struct CustomRule {
    /// `None` is [`Verdict::standard`].
    judge: Option<Arc<Judge>>,
    /// They apply to what `judge` accepts.
    rejections: Vec<Rejection>,
    /// Whether the body of an answer may reject as well.
    judges_body: bool,
}

pub(crate) type Judge = dyn Fn(StatusCode, &HeaderMap) -> Verdict + Send + Sync;

impl VerdictRule {
    pub(crate) fn judging_by(&self, judge: Arc<Judge>) -> Self {
        Self::Custom(Arc::new(CustomRule { judge: Some(judge), ..self.custom() }))
    }

    pub(crate) fn rejecting_on(&self, rejection: Rejection) -> Self {
        let mut custom = self.custom();
        custom.rejections.push(rejection);
        Self::Custom(Arc::new(custom))
    }

    fn custom(&self) -> CustomRule {
        match self {
            Self::Standard => CustomRule::default(),
            Self::Custom(rule) => CustomRule::clone(rule),
        }
    }

    pub(crate) fn judging_bodies(&self) -> Self {
        Self::Custom(Arc::new(CustomRule { judges_body: true, ..self.custom() }))
    }

    /// Returns whether the body of an answer may reject as well.
    pub(crate) fn judges_body(&self) -> bool {
        matches!(self, Self::Custom(rule) if rule.judges_body)
    }

    /// Returns whether the rule accepts every answer with this status, without reading its headers.
    #[inline]
    pub(crate) fn accepts_by_status(&self, status: StatusCode) -> bool {
        matches!(self, Self::Standard) && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    #[inline]
    pub(crate) fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        match self {
            Self::Standard => Verdict::standard(status, headers),
            Self::Custom(rule) => rule.judge(status, headers),
        }
    }
}

impl CustomRule {
    fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        let verdict =
            self.judge.as_ref().map_or_else(|| Verdict::standard(status, headers), |judge| judge(status, headers));
        let rejects = |rejection: &Rejection| rejection.is_in(status, headers);
        if verdict == Verdict::Accepted && self.rejections.iter().any(rejects) {
            // It stands for a 401.
            return Verdict::by_challenges(StatusCode::UNAUTHORIZED, headers);
        }
        verdict
    }
}

impl fmt::Debug for VerdictRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("Standard"),
            Self::Custom(rule) => {
                let judge = if rule.judge.is_some() { "custom" } else { "standard" };
                f.debug_struct("Custom").field("judge", &judge).field("rejections", &rule.rejections).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    fn verdict(status: u16, challenge: &'static str) -> Verdict {
        let mut headers = HeaderMap::new();
        if !challenge.is_empty() {
            headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        Verdict::standard(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn only_a_401_rejects() {
        for status in [200, 302, 400, 403, 404, 407, 419, 500, 503] {
            assert_eq!(verdict(status, r#"Bearer error="invalid_token""#), Verdict::Accepted, "{status}");
        }
    }

    #[test]
    fn a_401_rejects_with_whatever_challenge_but_an_insufficiency() {
        for challenge in [
            "",
            "Bearer",
            "bearer ERROR=invalid_token",
            "Basic realm=x",
            "DPoP",
            r#"Basic realm="Bearer error=insufficient_scope""#,
        ] {
            assert_eq!(verdict(401, challenge), Verdict::Rejected, "{challenge}");
        }
        assert_eq!(verdict(401, r#"Basic realm="a, b", BEARER error=insufficient_scope"#), Verdict::InsufficientScope);
        assert_eq!(
            verdict(401, r#"Bearer error="insufficient_user_authentication", acr_values="mfa""#),
            Verdict::InsufficientUserAuthentication
        );
        assert_eq!(verdict(401, "Bearer error=insufficient_scope, Bearer error=invalid_token"), Verdict::Rejected);
        assert_eq!(verdict(401, "DPoP error=insufficient_scope"), Verdict::Rejected, "we sent no DPoP");
    }

    #[test]
    fn a_403_is_an_insufficiency_if_it_says_so_and_nothing_otherwise() {
        let scope = Verdict::InsufficientScope;
        assert_eq!(verdict(403, r#"Bearer error="insufficient_scope", scope="a""#), scope);
        assert_eq!(verdict(403, "DPoP error=x, bearer ERROR=insufficient_scope"), scope);
        assert_eq!(verdict(403, "Bearer error=insufficient_scope, Bearer error=invalid_token"), scope);
        let authentication = Verdict::InsufficientUserAuthentication;
        assert_eq!(verdict(403, "Bearer error=insufficient_user_authentication"), authentication);
        for nothing in ["", "Bearer", "Bearer error=invalid_token", "DPoP error=insufficient_scope", "Basic realm=x"] {
            assert_eq!(verdict(403, nothing), Verdict::Accepted, "{nothing}");
        }
        for status in [200, 400, 404, 419, 500] {
            assert_eq!(verdict(status, "Bearer error=insufficient_scope"), Verdict::Accepted, "{status}");
        }
    }

    #[test]
    fn only_an_answer_from_behind_authentication_proves_the_token() {
        let proves = |verdict: Verdict, status: u16, grpc: &'static str| {
            let mut headers = HeaderMap::new();
            if !grpc.is_empty() {
                headers.insert("grpc-status", grpc.parse().unwrap());
            }
            verdict.proves_token(StatusCode::from_u16(status).unwrap(), &headers)
        };
        for status in [200, 201, 204, 206, 304] {
            assert!(proves(Verdict::Accepted, status, ""), "{status}");
        }
        for status in [302, 400, 403, 404, 408, 409, 421, 425, 429, 500, 503] {
            assert!(!proves(Verdict::Accepted, status, ""), "{status}");
        }
        assert!(proves(Verdict::Accepted, 200, "0"));
        assert!(!proves(Verdict::Accepted, 200, "14") && !proves(Verdict::Accepted, 200, "8"));
        assert!(proves(Verdict::InsufficientScope, 403, "") && !proves(Verdict::Rejected, 200, "16"));
    }

    #[test]
    fn grpc_is_judged_by_its_status_first() {
        let verdict = |http: u16, grpc: &'static str| {
            let headers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), grpc.parse().unwrap())]);
            Verdict::grpc(StatusCode::from_u16(http).unwrap(), &headers)
        };
        assert_eq!((verdict(200, "16"), verdict(200, "0")), (Verdict::Rejected, Verdict::Accepted));
        assert_eq!((verdict(200, "7"), verdict(200, "1")), (Verdict::Accepted, Verdict::Accepted));
        assert_eq!(Verdict::grpc(StatusCode::UNAUTHORIZED, &HeaderMap::new()), Verdict::Rejected, "from a proxy");
    }
}
