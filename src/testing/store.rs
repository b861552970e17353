//! The tokens issued so far.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::testing::token_status::TokenStatus;

/// The number of tokens of each kind that are remembered. Older ones are forgotten, so that a benchmark does not fill the
/// memory.
const MAX_REMEMBERED: usize = 65_536;

/// What one user granted to one client. All tokens of a session end together.
pub(super) struct Session {
    pub(super) subject: String,
    pub(super) scope: String,
    pub(super) audience: Vec<String>,
    /// Accessed only under the issuer's lock.
    ended: AtomicBool,
}

impl Session {
    pub(super) fn new(subject: &str, scope: String, audience: Vec<String>) -> Self {
        Self { subject: subject.to_owned(), scope, audience, ended: AtomicBool::new(false) }
    }

    fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

/// What the store knows about one access token.
pub(super) struct AccessRecord {
    pub(super) session: Arc<Session>,
    pub(super) scope: String,
    /// The time since the issuer's start at which the token expires.
    pub(super) expires: Duration,
    /// The `kid` of the key that signed the token, if it is a JWT.
    pub(super) key: Option<String>,
    pub(super) revoked: bool,
}

struct RefreshRecord {
    session: Arc<Session>,
    used: bool,
}

#[derive(Default)]
pub(super) struct Store {
    access: BoundedMap<AccessRecord>,
    refresh: BoundedMap<RefreshRecord>,
}

impl Store {
    pub(super) fn add_access(&mut self, token: &str, access: AccessRecord) {
        self.access.insert(token, access);
    }

    pub(super) fn add_refresh(&mut self, token: &str, session: Arc<Session>) {
        self.refresh.insert(token, RefreshRecord { session, used: false });
    }

    /// Returns the status of a token for a resource server.
    pub(super) fn status(&self, token: &str, now: Duration, key: &str) -> TokenStatus {
        match self.access.get(token) {
            None => TokenStatus::Unknown,
            Some(access) if access.key.as_deref().is_some_and(|id| id != key) => TokenStatus::Unknown,
            Some(access) if access.revoked || access.session.has_ended() => TokenStatus::Revoked,
            Some(access) if access.expires <= now => TokenStatus::Expired,
            Some(access) => {
                TokenStatus::Accepted { scope: access.scope.clone(), subject: access.session.subject.clone() }
            }
        }
    }

    /// Returns the subject and the scope of a token that was not revoked.
    pub(super) fn unrevoked(&self, token: &str) -> Option<(String, String)> {
        let access = self.access.get(token).filter(|access| !access.revoked && !access.session.has_ended())?;
        Some((access.session.subject.clone(), access.scope.clone()))
    }

    /// Returns the newest access token of this subject.
    pub(super) fn newest_of(&self, subject: &str) -> Option<(&str, &AccessRecord)> {
        let mut newest_first = self.access.order.iter().rev();
        newest_first.find_map(|token| {
            let access = self.access.get(token)?;
            (access.session.subject == subject).then_some((token.as_str(), access))
        })
    }

    /// Returns the session of a refresh token, whether the token was used or not.
    pub(super) fn session(&self, refresh_token: &str) -> Option<Arc<Session>> {
        let refresh = self.refresh.get(refresh_token)?;
        (!refresh.session.has_ended()).then(|| Arc::clone(&refresh.session))
    }

    /// Marks a refresh token as used. Returns `false` if it is unknown or was used before.
    ///
    /// A second use ends the session, because one of the two users may have stolen the token (RFC 9700 §4.14.2).
    pub(super) fn consume(&mut self, refresh_token: &str) -> bool {
        let Some(refresh) = self.refresh.entries.get_mut(refresh_token) else {
            return false;
        };
        if refresh.used {
            refresh.session.end();
            return false;
        }
        refresh.used = true;
        true
    }

    /// Revokes a token. A refresh token ends its whole session, an access token does not (RFC 7009 §2.1).
    pub(super) fn revoke(&mut self, token: &str) {
        if let Some(access) = self.access.entries.get_mut(token) {
            access.revoked = true;
        }
        if let Some(refresh) = self.refresh.get(token) {
            refresh.session.end();
        }
    }

    pub(super) fn revoke_newest(&mut self) {
        if let Some(token) = self.access.order.back()
            && let Some(access) = self.access.entries.get_mut(token)
        {
            access.revoked = true;
        }
    }

    pub(super) fn revoke_all(&self) {
        self.access.entries.values().for_each(|access| access.session.end());
        self.refresh.entries.values().for_each(|refresh| refresh.session.end());
    }
}

/// A map that removes its oldest entry when it is full.
struct BoundedMap<V> {
    order: VecDeque<String>,
    entries: HashMap<String, V>,
}

impl<V> Default for BoundedMap<V> {
    fn default() -> Self {
        Self { order: VecDeque::new(), entries: HashMap::new() }
    }
}

impl<V> BoundedMap<V> {
    fn get(&self, token: &str) -> Option<&V> {
        self.entries.get(token)
    }

    fn insert(&mut self, token: &str, value: V) {
        self.entries.insert(token.to_owned(), value);
        self.order.push_back(token.to_owned());
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_tokens_are_forgotten() {
        let mut map = BoundedMap::default();
        for n in 0..=MAX_REMEMBERED {
            map.insert(&n.to_string(), n);
        }
        assert_eq!((map.get("0"), map.get("1")), (None, Some(&1)));
        assert_eq!((map.order.len(), map.entries.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}
