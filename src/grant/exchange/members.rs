//! The members of a JSON object, as hostile input. Each member stays text until it is read, so an odd one matters only to
//! what needs it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::secret_string::SecretString;

/// The deepest nesting of JSON that is read.
const MAX_DEPTH: u32 = 64;

/// The members of an object, in their order. A name may come several times.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// Says what is wrong, as a clause about the text.
    pub(super) fn parse(json: &'a str) -> Result<Self, &'static str> {
        check_object(json)?;
        serde_json::from_str(json).map_err(|_| NOT_AN_OBJECT)
    }

    /// Returns what the last member of this name says, if `read` understands one of them.
    pub(crate) fn last<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.0.iter().rev().filter(|(other, _)| other == name).find_map(|(_, value)| read(value.get()))
    }

    /// Returns whether two members of this name have different strings.
    pub(crate) fn is_ambiguous(&self, name: &str, is_same: fn(&str, &str) -> bool) -> bool {
        let named = self.0.iter().filter(|(other, _)| other == name);
        let mut strings = named.filter_map(|(_, value)| string(value.get()));
        let first = strings.next();
        strings.any(|other| first.as_ref().is_some_and(|first| !is_same(first.expose(), other.expose())))
    }

    /// Returns whether a member of this name is neither a string nor null.
    pub(crate) fn is_odd(&self, name: &str) -> bool {
        self.last(name, |json| Some(!json.starts_with('"') && json != "null")).unwrap_or(false)
    }

    /// Writes an object of the members whose names are not in `omitted`. Of members with the same name, it has the last.
    pub(super) fn without(&self, omitted: &[&str]) -> SecretString {
        let members = self.0.iter().filter(|(name, _)| !omitted.contains(&&**name));
        let members: BTreeMap<&str, &str> = members.map(|(name, value)| (&**name, value.get())).collect();
        // The buffer has its full size at once: a buffer that grows leaves copies of its content behind.
        let size: usize = members.iter().map(|(name, value)| 6 * name.len() + value.len() + 4).sum();
        let mut json = String::with_capacity(size + 2);
        json.push('{');
        for (name, value) in members {
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&serde_json::Value::from(name).to_string());
            json.push(':');
            json.push_str(value);
        }
        json.push('}');
        json.into()
    }
}

fn string(json: &str) -> Option<SecretString> {
    serde_json::from_str::<String>(json).ok().map(SecretString::from)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    members.push((name.0, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Reader)
    }
}

/// A name that is copied only if it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) const NOT_AN_OBJECT: &str = "it is not a JSON object of the form that the standard requires";

/// Checks that a text can be an object, and is not nested too deeply for a parser.
fn check_object(json: &str) -> Result<(), &'static str> {
    if !json.trim_ascii_start().starts_with('{') {
        return Err(NOT_AN_OBJECT);
    }
    if is_nested_too_deeply(json.as_bytes()) { Err("its JSON is nested too deeply") } else { Ok(()) }
}

/// Returns whether JSON is nested more deeply than any real reply. The parser skips unknown members at any depth.
fn is_nested_too_deeply(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}
