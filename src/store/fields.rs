//! The types of what is in a record.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret_string::SecretString;

/// Secret text in a record.
#[derive(Clone)]
pub(super) struct Text(pub(super) SecretString);

/// Milliseconds of the time of day, since 1970.
pub(super) type Millis = u64;

/// A keyed hash, in hexadecimal digits.
pub(super) type Hash = Box<str>;

/// Returns the milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> Millis {
    // Far above all lifetimes, far below an overflow.
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX).min(1 << 52)
}

/// Returns the milliseconds of a time of day.
pub(super) fn at(time: SystemTime) -> Millis {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }
}

#[cfg(test)]
impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
