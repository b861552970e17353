//! A token in a record.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    store::fields::{Hash, Millis, Text, millis},
    token::{AccessToken, Lifetime, ResponseMembers},
};

/// A token that is nearer to its end than this, or than a tenth of its lifetime, is not taken over.
const MARGIN: Duration = Duration::from_secs(60);

/// How long a token counts as usable if its lifetime is not known.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(3600);

/// A token, with its age by the time of day.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct SharedToken {
    text: Text,
    pub(super) hash: Hash,
    pub(super) issued: Millis,
    /// `None` if it is not known. 0 if the token had expired when it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_in: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Members::is_absent")]
    members: Members,
}

/// The other members of the token response.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
enum Members {
    #[default]
    Absent,
    Kept(Text),
    TooLong,
}

impl Members {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl SharedToken {
    pub(super) fn new(token: &AccessToken, hash: Hash, now: Millis) -> Self {
        Self {
            text: Text(token.secret().into()),
            hash,
            issued: issued(token, now),
            lifetime: match token.lifetime() {
                Lifetime::Unknown => None,
                Lifetime::AlreadyExpired => Some(0),
                Lifetime::For(lifetime) => Some(millis(lifetime).max(1)),
            },
            refresh_in: token.refresh_in().map(|age| millis(age).max(1)),
            scope: token.scope().map(Into::into),
            members: match token.response_members() {
                ResponseMembers::Absent => Members::Absent,
                ResponseMembers::Kept(json) => Members::Kept(Text(json.clone())),
                ResponseMembers::TooLong => Members::TooLong,
            },
        }
    }

    /// Returns the token with its age. `None` if its text is not a token.
    pub(super) fn token(&self, now: Millis) -> Option<AccessToken> {
        let lifetime = match self.lifetime {
            None => Lifetime::Unknown,
            Some(0) => Lifetime::AlreadyExpired,
            Some(lifetime) => Lifetime::For(Duration::from_millis(lifetime)),
        };
        let age = Duration::from_millis(now.saturating_sub(self.issued));
        let mut token = AccessToken::new(self.text.0.clone()).ok()?.with_known_life(lifetime, age);
        if let Some(age) = self.refresh_in {
            token = token.with_refresh_in(Duration::from_millis(age));
        }
        if let Some(scope) = &self.scope {
            token = token.with_scope(scope.clone());
        }
        Some(token.with_response(match &self.members {
            Members::Absent => ResponseMembers::Absent,
            Members::Kept(json) => ResponseMembers::Kept(json.0.clone()),
            Members::TooLong => ResponseMembers::TooLong,
        }))
    }

    /// Returns whether it is too old to be taken over.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        now.saturating_add(millis(MARGIN).min(self.lifetime() / 10)) >= self.expires()
    }

    pub(super) fn expires(&self) -> Millis {
        self.issued.saturating_add(self.lifetime())
    }

    fn lifetime(&self) -> Millis {
        self.lifetime.unwrap_or(millis(UNKNOWN_LIFETIME))
    }
}

/// Returns when a token was issued, by the time of day.
pub(super) fn issued(token: &AccessToken, now: Millis) -> Millis {
    now.saturating_sub(millis(Instant::now().saturating_duration_since(token.issued_at())))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const HOUR: Millis = 3_600_000;

    fn shared(token: &AccessToken) -> SharedToken {
        SharedToken::new(token, "hash".into(), 10 * HOUR)
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_keeps_its_age_and_all_that_is_known_of_it() {
        let members = ResponseMembers::Kept(r#"{"patient":"p1"}"#.to_owned().into());
        let token = AccessToken::new("t")
            .unwrap()
            .with_expires_in(Duration::from_secs(3600))
            .with_refresh_in(Duration::from_secs(1800))
            .with_scope("a b")
            .with_response(members);
        tokio::time::advance(Duration::from_secs(600)).await;
        let json = serde_json::to_vec(&shared(&token)).unwrap();
        let read: SharedToken = serde_json::from_slice(&json).unwrap();
        assert_eq!(read, shared(&token));
        tokio::time::advance(Duration::from_secs(600)).await;
        let shared = read.token(10 * HOUR + HOUR / 6).unwrap();
        assert_eq!((shared.secret(), shared.scope(), shared.lifetime()), ("t", Some("a b"), token.lifetime()));
        assert_eq!((shared.issued_at(), shared.refresh_in()), (token.issued_at(), token.refresh_in()));
        assert_eq!(shared.response::<Value>().unwrap(), token.response::<Value>().unwrap());
    }

    #[test]
    fn a_token_near_its_end_is_not_taken_over() {
        let token =
            |lifetime: u64| shared(&AccessToken::new("t").unwrap().with_expires_in(Duration::from_millis(lifetime)));
        let now = 10 * HOUR;
        assert!(!token(HOUR).is_over(now + HOUR - 60_001) && token(HOUR).is_over(now + HOUR - 60_000));
        assert!(!token(1000).is_over(now + 899) && token(1000).is_over(now + 900));
        assert!(shared(&AccessToken::new("t").unwrap().with_expires_in(Lifetime::AlreadyExpired)).is_over(now));
        assert!(!shared(&AccessToken::new("t").unwrap()).is_over(now));
    }

    #[test]
    fn the_claims_of_a_jwt_are_read_by_the_process_that_received_it() {
        let token = AccessToken::new("eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.")
            .unwrap()
            .with_known_life(Lifetime::For(Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(token.lifetime(), Lifetime::For(Duration::from_secs(60)));
    }
}
