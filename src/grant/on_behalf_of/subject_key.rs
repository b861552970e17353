//! By what the tokens of users are kept apart: a keyed hash of the tokens that requests give.

use std::fmt;

use ring::{hmac, rand::SystemRandom};

use crate::{error::Error, grant::on_behalf_of::subject::Subject};

/// The key of one user's token in a cache of many: a hash, from which the user's token cannot be found.
///
/// [`OnBehalfOf::key`](crate::grant::OnBehalfOf::key) makes it. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubjectKey([u8; 32]);

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey([redacted])")
    }
}

/// Makes the keys of one grant, by HMAC-SHA-256 with a random key of its own.
///
/// The random key stands for all that the grant says itself: its server, client, audience, resources, scope and actor. So no two
/// grants make the same key, and what the grant does not know of itself, such as the certificate of its HTTP client, counts as well.
pub(crate) struct KeyMaker(hmac::Key);

impl KeyMaker {
    /// Draws a random key.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub(crate) fn new() -> Result<Self, Error> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self).map_err(|_| {
            Error::config("the operating system gives no random numbers: allow the process to use its random device")
        })
    }

    /// Hashes the tokens of a subject. The length of each comes before it, so that no two pairs are the same bytes.
    pub(crate) fn key(&self, subject: &Subject) -> SubjectKey {
        let mut hash = hmac::Context::with_key(&self.0);
        for token in [Some(&subject.token), subject.actor.as_ref()] {
            let text = token.map(|token| token.expose().as_bytes());
            // An actor with an empty token is not the same as none.
            hash.update(&[u8::from(text.is_some())]);
            let text = text.unwrap_or_default();
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let mut key = [0; 32];
        key.copy_from_slice(hash.sign().as_ref());
        SubjectKey(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(token: &str, actor: Option<&str>) -> Subject {
        let subject = Subject::new(token);
        actor.map_or(subject.clone(), |actor| subject.with_actor(actor))
    }

    #[test]
    fn each_pair_of_tokens_has_its_own_key() {
        let keys = KeyMaker::new().unwrap();
        let pairs = [
            ("ab", Some("c")),
            ("a", Some("bc")),
            ("abc", None),
            ("abc", Some("")),
            ("", Some("abc")),
            ("c", Some("ab")),
            // The byte that says that there is an actor is a part of these.
            ("a\u{1}b", Some("c")),
            ("a", Some("b\u{1}c")),
        ];
        for (at, (token, actor)) in pairs.into_iter().enumerate() {
            let key = keys.key(&subject(token, actor));
            assert!(key == keys.key(&subject(token, actor)), "{at}");
            for (other, actor) in &pairs[..at] {
                assert!(key != keys.key(&subject(other, *actor)), "{at}");
            }
        }
    }

    #[test]
    fn two_grants_never_make_the_same_key() {
        let subject = subject("a", None);
        assert!(KeyMaker::new().unwrap().key(&subject) != KeyMaker::new().unwrap().key(&subject));
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let key = KeyMaker::new().unwrap().key(&subject("a", None));
        assert_eq!(format!("{key:?}"), "SubjectKey([redacted])");
    }
}
