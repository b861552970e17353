//! What processes tell each other: the outcome of the last token request. It is sealed before it is stored.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    secret_string::SecretString,
    store::{
        fields::{Hash, Millis, Text, millis},
        shared_failure::SharedFailure,
        shared_token::SharedToken,
    },
};

/// The format of a record, its first byte.
const FORMAT: u8 = 1;

/// How many tokens of one refresh token are kept.
const MAX_TOKENS: usize = 32;

/// How many tokens are remembered that ended before their time.
const MAX_ENDED: usize = 16;

/// How many failures with different credentials are remembered.
const MAX_FAILURES: usize = 8;

/// How many refresh tokens are remembered after their use.
const MAX_USED: usize = 256;

/// How long a token that ended before its time is remembered if its lifetime is not known.
const ENDED_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long a record with a refresh token is kept.
const REFRESH_TOKEN_FOR: Duration = Duration::from_secs(60 * 24 * 3600);

/// The outcome of the last token request of one source, in all processes.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Record {
    /// The fence of the lease that committed it.
    pub(super) fence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<SharedRefresh>,
    /// The tokens, by what tells them apart. There are several only if they have one refresh token.
    #[serde(default)]
    pub(super) tokens: BTreeMap<Hash, Slot>,
}

/// What is known of one token.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Slot {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<SharedToken>,
    /// The tokens that were rejected or revoked, with the time up to which that is remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ended: Vec<(Hash, Millis)>,
    /// The last failures, one for each tag of credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<SharedFailure>,
}

/// The refresh token that is used next.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct SharedRefresh {
    /// `None` after it was revoked.
    pub(super) token: Option<Text>,
    /// The tag of the credentials that it came from.
    pub(super) tag: Hash,
    /// The hashes of this refresh token and of those before it. The first one is the oldest of all, then come the last ones.
    #[serde(default)]
    pub(super) used: Vec<Hash>,
}

impl Record {
    /// Reads a record. Returns `None` for another format and for anything that is not a record.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&FORMAT, json)) => serde_json::from_slice(json).ok(),
            _ => None,
        }
    }

    pub(super) fn write(&self) -> Zeroizing<Vec<u8>> {
        // Large enough for most, so that few copies are made while it grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 << 10));
        bytes.push(FORMAT);
        // It fails only if a key of a map is not text.
        let written = serde_json::to_writer(&mut *bytes, self);
        debug_assert!(written.is_ok());
        bytes
    }

    pub(super) fn slot(&self, name: &str) -> Option<&Slot> {
        self.tokens.get(name)
    }

    /// Returns the slot of this name. Drops another one if there are too many.
    pub(super) fn slot_mut(&mut self, name: &str) -> &mut Slot {
        if !self.tokens.contains_key(name) && self.tokens.len() >= MAX_TOKENS {
            let first_to_end = self.tokens.iter().min_by_key(|(_, slot)| slot.token.as_ref().map(SharedToken::expires));
            if let Some(name) = first_to_end.map(|(name, _)| name.clone()) {
                self.tokens.remove(&name);
            }
        }
        self.tokens.entry(name.into()).or_default()
    }

    /// Returns how long the store keeps the record. It is never zero.
    pub(super) fn keep(&self, now: Millis) -> Duration {
        let until = self.tokens.values().map(Slot::needed_until).max().unwrap_or_default();
        let keep = Duration::from_millis(until.saturating_sub(now).max(1));
        if self.refresh.is_some() { keep.max(REFRESH_TOKEN_FOR) } else { keep }
    }

    /// Notes the refresh token that is used next, and those that were used.
    pub(super) fn continue_with(&mut self, refresh_token: Option<&SecretString>, tag: &Hash, used: Vec<Hash>) {
        if refresh_token.is_none() && self.refresh.is_none() {
            return;
        }
        let shared = self.refresh.get_or_insert_with(|| SharedRefresh { token: None, tag: tag.clone(), used: vec![] });
        shared.token = refresh_token.cloned().map(Text);
        shared.tag = tag.clone();
        for hash in used {
            shared.used.retain(|other| *other != hash);
            shared.used.push(hash);
        }
        let extra = shared.used.len().saturating_sub(MAX_USED);
        if extra > 0 {
            // The oldest one is in the settings of those who never save another.
            shared.used.drain(1..=extra);
        }
    }
}

impl Slot {
    /// Notes that a token is not to be used any more. Returns whether that is new.
    pub(super) fn end(&mut self, hash: &Hash, now: Millis) -> bool {
        let mut until = millis(ENDED_FOR) + now;
        let is_current = self.token.as_ref().is_some_and(|token| token.hash == *hash);
        if is_current && let Some(token) = self.token.take() {
            until = until.max(token.expires());
        }
        self.ended.retain(|(_, until)| *until > now);
        let is_known = self.is_ended(hash);
        if !is_known {
            self.ended.push((hash.clone(), until));
            let extra = self.ended.len().saturating_sub(MAX_ENDED);
            self.ended.drain(..extra);
        }
        is_current || !is_known
    }

    pub(super) fn is_ended(&self, hash: &str) -> bool {
        self.ended.iter().any(|(ended, _)| **ended == *hash)
    }

    /// Returns the last failure with these credentials.
    pub(super) fn failure(&self, tag: &Hash) -> Option<&SharedFailure> {
        self.failures.iter().find(|failure| failure.tag == *tag)
    }

    /// Notes a failure in place of the one before with the same credentials.
    pub(super) fn fail(&mut self, failure: SharedFailure) {
        self.failures.retain(|other| other.tag != failure.tag);
        self.failures.push(failure);
        let extra = self.failures.len().saturating_sub(MAX_FAILURES);
        self.failures.drain(..extra);
    }

    fn needed_until(&self) -> Millis {
        let token = self.token.as_ref().map(SharedToken::expires);
        let failures = self.failures.iter().map(|failure| failure.forgotten);
        let ended = self.ended.iter().map(|(_, until)| *until);
        token.into_iter().chain(failures).chain(ended).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record { fence: 7, ..Record::default() };
        record.continue_with(Some(&"r1".into()), &"tag".into(), vec!["h0".into(), "h1".into()]);
        record.slot_mut("a").end(&"h".into(), 1000);
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let written = record().write();
        assert_eq!(Record::read(&written), Some(record()));
        let mut other_format = written.clone();
        other_format[0] = 2;
        for wrong in [&other_format[..], b"", b"\x01", b"\x01{}", b"garbage", &written[..written.len() - 1]] {
            assert_eq!(Record::read(wrong), None);
        }
    }

    #[test]
    fn a_time_is_never_rounded_to_none() {
        assert_eq!(Record::default().keep(1000), Duration::from_millis(1));
        assert!(record().keep(1000) >= REFRESH_TOKEN_FOR);
    }

    #[test]
    fn the_oldest_refresh_token_and_the_last_ones_are_remembered() {
        let mut record = record();
        for n in 0..2 * MAX_USED {
            record.continue_with(Some(&"r".into()), &"tag".into(), vec![format!("n{n}").into()]);
        }
        let used = record.refresh.unwrap().used;
        assert_eq!((used.len(), &*used[0]), (MAX_USED, "h0"));
        assert_eq!(*used[MAX_USED - 1], *format!("n{}", 2 * MAX_USED - 1));
    }

    #[test]
    fn a_token_ends_once() {
        let mut slot = Slot::default();
        assert!(slot.end(&"h".into(), 0) && !slot.end(&"h".into(), 0));
        assert!(slot.is_ended("h") && !slot.is_ended("i"));
        for n in 0..MAX_ENDED {
            slot.end(&format!("n{n}").into(), 0);
        }
        assert_eq!((slot.ended.len(), slot.is_ended("h")), (MAX_ENDED, false));
    }

    #[test]
    fn an_ended_token_is_forgotten_after_a_day() {
        let (mut slot, day) = (Slot::default(), millis(ENDED_FOR));
        slot.end(&"h".into(), 0);
        slot.end(&"i".into(), day - 1);
        assert!(slot.is_ended("h"));
        slot.end(&"j".into(), day);
        assert!(!slot.is_ended("h") && slot.is_ended("i") && slot.is_ended("j"));
    }

    #[test]
    fn the_token_that_ends_first_makes_room_for_another() {
        let mut record = Record::default();
        for n in 0..MAX_TOKENS {
            record.slot_mut(&format!("n{n}"));
        }
        record.slot_mut("n5").end(&"h".into(), 0);
        assert!(record.slot("n5").is_some_and(|slot| slot.is_ended("h")), "one that is known needs no room");
        assert_eq!(record.tokens.len(), MAX_TOKENS);
        record.slot_mut("another");
        assert_eq!(record.tokens.len(), MAX_TOKENS);
        assert!(record.slot("another").is_some());
    }

    #[test]
    fn a_refresh_token_may_have_no_history() {
        let mut record = Record::default();
        record.continue_with(Some(&"r".into()), &"tag".into(), vec![]);
        assert!(record.refresh.is_some_and(|refresh| refresh.used.is_empty()));
    }
}
