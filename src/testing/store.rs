//! The tokens issued so far.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::Standing;

/// Tokens older than the newest this many are forgotten, so that a benchmark does not fill the memory.
const REMEMBERED: usize = 65_536;

/// What one user granted one client: the tokens that stem from it end together.
pub(super) struct Session {
    pub(super) subject: String,
    pub(super) scope: String,
    pub(super) audience: Vec<String>,
    /// Read and written under the issuer's lock only.
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

/// An access token, kept by its text.
pub(super) struct Access {
    pub(super) session: Arc<Session>,
    pub(super) scope: String,
    /// On the issuer's clock, which starts with it.
    pub(super) expires: Duration,
    /// The `kid`, for a JWT.
    pub(super) key: Option<String>,
    pub(super) revoked: bool,
}

struct Refresh {
    session: Arc<Session>,
    used: bool,
}

#[derive(Default)]
pub(super) struct Store {
    access: Recent<Access>,
    refresh: Recent<Refresh>,
}

impl Store {
    pub(super) fn add_access(&mut self, token: &str, access: Access) {
        self.access.insert(token, access);
    }

    pub(super) fn add_refresh(&mut self, token: &str, session: Arc<Session>) {
        self.refresh.insert(token, Refresh { session, used: false });
    }

    /// What a resource server that asks about the token is told.
    pub(super) fn judge(&self, token: &str, now: Duration, key: &str) -> Standing {
        match self.access.get(token) {
            None => Standing::Unknown,
            Some(access) if access.key.as_deref().is_some_and(|id| id != key) => Standing::Unknown,
            Some(access) if access.revoked || access.session.has_ended() => Standing::Revoked,
            Some(access) if access.expires <= now => Standing::Expired,
            Some(access) => Standing::Accepted { scope: access.scope.clone(), subject: access.session.subject.clone() },
        }
    }

    /// The subject and the scope of a token that was not revoked.
    pub(super) fn alive(&self, token: &str) -> Option<(String, String)> {
        let access = self.access.get(token).filter(|access| !access.revoked && !access.session.has_ended())?;
        Some((access.session.subject.clone(), access.scope.clone()))
    }

    /// The newest access token of this subject.
    pub(super) fn newest_of(&self, subject: &str) -> Option<(&str, &Access)> {
        let mut newest_first = self.access.order.iter().rev();
        newest_first.find_map(|token| {
            let access = self.access.get(token)?;
            (access.session.subject == subject).then_some((token.as_str(), access))
        })
    }

    /// The session that a refresh token would continue, used up or not.
    pub(super) fn session(&self, refresh_token: &str) -> Option<Arc<Session>> {
        let refresh = self.refresh.get(refresh_token)?;
        (!refresh.session.has_ended()).then(|| Arc::clone(&refresh.session))
    }

    /// Uses a one-use refresh token up. The second use ends the session, whoever's copy was stolen (RFC 9700 §4.14.2).
    pub(super) fn use_up(&mut self, refresh_token: &str) -> bool {
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

    /// An access token alone; with a refresh token, all of its session (RFC 7009 §2.1).
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

    pub(super) fn end_all(&self) {
        self.access.entries.values().for_each(|access| access.session.end());
        self.refresh.entries.values().for_each(|refresh| refresh.session.end());
    }
}

/// A map that forgets its oldest entries.
struct Recent<V> {
    order: VecDeque<String>,
    entries: HashMap<String, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { order: VecDeque::new(), entries: HashMap::new() }
    }
}

impl<V> Recent<V> {
    fn get(&self, token: &str) -> Option<&V> {
        self.entries.get(token)
    }

    fn insert(&mut self, token: &str, value: V) {
        self.entries.insert(token.to_owned(), value);
        self.order.push_back(token.to_owned());
        if self.order.len() > REMEMBERED
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
        let mut recent = Recent::default();
        for n in 0..=REMEMBERED {
            recent.insert(&n.to_string(), n);
        }
        assert_eq!((recent.get("0"), recent.get("1")), (None, Some(&1)));
        assert_eq!((recent.order.len(), recent.entries.len()), (REMEMBERED, REMEMBERED));
    }
}
