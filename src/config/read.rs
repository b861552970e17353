//! Settings from a format.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

use crate::{
    config::{
        place::Place,
        reader::{ReadError, Reader},
        tree::Value,
    },
    error::Error,
};

/// Reads settings from the deserializer of a format, such as `toml::Deserializer` or `serde_json::Deserializer`.
///
/// `T` is your own type with the types of [this module](crate::config) in it, or one of them. With
/// `#[serde(deny_unknown_fields)]`, an unknown key of your own type is an error as well.
///
/// ```
/// use tower_bearer::config::{self, CacheConfig};
///
/// let json: serde_json::Value = serde_json::from_str(r#"{ "renewal_deadline": 5 }"#)?;
/// let wrong = config::read::<CacheConfig>(json).unwrap_err();
/// assert_eq!(
///     wrong.to_string(),
///     r#"renewal_deadline: this is a whole number; give a duration with its unit, such as "90s" or "1h 30m""#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// When a value is wrong, a required one is missing, or a key is unknown. The error is one line: the path of the key, what is
/// wrong, and what to do.
pub fn read<'de, T: DeserializeOwned>(settings: impl Deserializer<'de>) -> Result<T, Error> {
    // Of a format's own error, only the first line: those below show the file.
    let value = Value::deserialize(settings).map_err(|error| {
        let text = error.to_string();
        ReadError::custom(text.lines().next().unwrap_or_default()).within(Place::default())
    })?;
    from_tree(&value, Place::default())
}

/// Reads settings from a tree.
pub(super) fn from_tree<T: DeserializeOwned>(value: &Value, place: Place) -> Result<T, Error> {
    T::deserialize(Reader::new(value, place.clone())).map_err(|error| error.within(place))
}
