//! Assertions about what an issuer and an API have received. Their messages list the requests without secrets.

use std::fmt::{Display, Write as _};

use crate::testing::issuer::Issuer;
use crate::testing::received::ReceivedRequest;
use crate::testing::request::TokenRequest;
use crate::testing::upstream::Upstream;

/// Assertions. Each message lists the recorded token requests without secrets.
impl Issuer {
    /// Asserts how many token requests have arrived.
    ///
    /// # Panics
    /// When there were more or fewer.
    #[track_caller]
    pub fn assert_token_requests(&self, expected: u64) {
        let arrived = self.counts().token_requests;
        assert!(
            arrived == expected,
            "token requests: expected {expected}, but {arrived} arrived:{}",
            list(&self.requests())
        );
    }

    /// Asserts the `grant_type` of all token requests, in the order in which they arrived. A request without one has `none`.
    ///
    /// ```
    /// # use tower_bearer::testing::Issuer;
    /// # let issuer = Issuer::new();
    /// # if false {
    /// issuer.assert_grants(["password", "refresh_token", "refresh_token"]);
    /// # }
    /// ```
    ///
    /// # Panics
    /// When these are not the grants.
    #[track_caller]
    pub fn assert_grants<'a>(&self, expected: impl IntoIterator<Item = &'a str>) {
        let (requests, expected): (_, Vec<_>) = (self.requests(), expected.into_iter().collect());
        let grants: Vec<_> = requests.iter().map(grant).collect();
        assert!(grants == expected, "grants: expected {expected:?}, but these arrived:{}", list(&requests));
    }
}

/// Assertions. Each message lists the recorded requests without secrets.
impl Upstream {
    /// Asserts how many of the recorded requests there are.
    ///
    /// # Panics
    /// When there are more or fewer.
    #[track_caller]
    pub fn assert_requests(&self, expected: usize) {
        let requests = self.requests();
        let arrived = requests.len();
        assert!(arrived == expected, "requests: expected {expected}, but {arrived} arrived:{}", list(&requests));
    }

    /// Asserts the statuses with which the requests were answered, in the order in which the requests arrived. A request without an
    /// answer has 0.
    ///
    /// # Panics
    /// When these are not the statuses.
    #[track_caller]
    pub fn assert_statuses(&self, expected: impl IntoIterator<Item = u16>) {
        let (requests, expected): (_, Vec<_>) = (self.requests(), expected.into_iter().collect());
        let statuses: Vec<_> = requests.iter().map(|request| request.status().unwrap_or_default()).collect();
        assert!(statuses == expected, "statuses: expected {expected:?}, but it was:{}", list(&requests));
    }

    /// Asserts the [names of the tokens](ReceivedRequest::token) of the requests, in the order in which the requests arrived.
    ///
    /// # Panics
    /// When these are not the names.
    #[track_caller]
    pub fn assert_tokens<'a>(&self, expected: impl IntoIterator<Item = &'a str>) {
        let (requests, expected): (_, Vec<_>) = (self.requests(), expected.into_iter().collect());
        let tokens: Vec<_> = requests.iter().map(ReceivedRequest::token).collect();
        assert!(tokens == expected, "tokens: expected {expected:?}, but it was:{}", list(&requests));
    }

    /// Asserts that each request came with exactly this body, whole. There must be a request.
    ///
    /// # Panics
    /// When there is no request, or one with another body.
    #[track_caller]
    pub fn assert_bodies(&self, expected: impl AsRef<[u8]>) {
        let (requests, expected) = (self.requests(), expected.as_ref());
        let is_sent = |request: &ReceivedRequest| request.is_whole() && request.body() == expected;
        if let Some(wrong) = requests.iter().position(|request| !is_sent(request)) {
            let length = expected.len();
            panic!("bodies: expected {length} bytes, but request {} has another body:{}", wrong + 1, list(&requests));
        }
        assert!(!requests.is_empty(), "bodies: expected {} bytes, but no request arrived", expected.len());
    }
}

fn grant(request: &TokenRequest) -> &str {
    request.grant_type().unwrap_or("none")
}

/// A line for each request.
fn list<T: Line>(requests: &[T]) -> String {
    let lines = requests.iter().enumerate().fold(String::new(), |mut all, (index, request)| {
        let _ = write!(all, "\n  {}. {}", index + 1, request.line());
        all
    });
    if lines.is_empty() { " none".to_owned() } else { lines }
}

trait Line {
    fn line(&self) -> impl Display;
}

impl Line for ReceivedRequest {
    fn line(&self) -> impl Display {
        self
    }
}

impl Line for TokenRequest {
    fn line(&self) -> impl Display {
        let names: Vec<_> = self.params().iter().map(|(name, _)| name.as_str()).collect();
        format!("{} with {}", grant(self), names.join(", "))
    }
}
