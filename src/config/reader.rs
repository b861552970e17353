//! Reads settings from a tree, with errors that name their place.
//!
//! A format's own deserializer shows values in its errors, and lines of the file. This one knows the place of each value,
//! and the names of the keys at each place, and shows only these.

use std::{
    collections::btree_map,
    fmt::{self, Display},
    iter::Enumerate,
    slice,
};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use crate::{
    config::{nearest, place::Place, tree::Value},
    error::Error,
};

/// A value, and where it is.
pub(super) struct Reader<'a> {
    value: &'a Value,
    place: Place,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct ReadError {
    problem: String,
    /// `None` until it passes the value that it is about.
    place: Option<Place>,
    /// The key that is missing in the value.
    missing: Option<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a Value, place: Place) -> Self {
        Self { value, place }
    }

    /// Visits the value as it is.
    fn any<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        fields: Option<&'static [&'static str]>,
    ) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) | Value::Variable(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), place: &self.place }),
            Value::Table(_) => visitor.visit_map(self.entries(fields)),
        }
    }

    fn entries(&self, fields: Option<&'static [&'static str]>) -> Entries<'_> {
        let rest = if let Value::Table(table) = self.value { table.iter() } else { btree_map::Iter::default() };
        let with_place = fields.is_some_and(|fields| fields.contains(&Place::FIELD));
        Entries { rest, next: None, place: &self.place, with_place }
    }

    fn text_of_variable(&self) -> Option<&'a str> {
        if let Value::Variable(text) = self.value { Some(text.trim()) } else { None }
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(text) = self.text_of_variable() else { return self.any(visitor, None) };
        if let Ok(number) = text.parse() {
            return Reader { value: &Value::Integer(number), ..self }.any(visitor, None);
        }
        match text.parse() {
            Ok(number) => visitor.visit_f64(number),
            Err(_) => self.any(visitor, None),
        }
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(text) = self.text_of_variable() else { return self.any(visitor, None) };
        let items: Vec<_> = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Value::Variable(item.to_owned()))
            .collect();
        visitor.visit_seq(Items { items: items.iter().enumerate(), place: &self.place })
    }
}

/// Numbers are read alike, whatever their type.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.any(visitor, None)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.text_of_variable().map(str::parse) {
            Some(Ok(value)) => visitor.visit_bool(value),
            _ => self.any(visitor, None),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if let Value::Null = self.value { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.list(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.text_of_variable().is_some()
            && let Some(first) = fields.iter().find(|field| **field != Place::FIELD)
        {
            let example = self.place.child(first);
            let advice = format!("this is a group; set the variables of its keys, such as {example:?}");
            return Err(de::Error::custom(advice));
        }
        // Types take a list for a struct whose keys have no names.
        if let Value::List(_) = self.value {
            return Err(de::Error::invalid_type(Unexpected::Seq, &visitor));
        }
        self.any(visitor, Some(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Text(name) | Value::Variable(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Table(_) => visitor.visit_enum(MapAccessDeserializer::new(self.entries(None))),
            _ => Err(de::Error::custom(format!("this is not text; {}", nearest::advice("", variants)))),
        }
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: Enumerate<slice::Iter<'a, Value>>,
    place: &'a Place,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((at, value)) = self.items.next() else { return Ok(None) };
        let place = self.place.item(at);
        seed.deserialize(Reader { value, place: place.clone() }).map(Some).map_err(|error| error.at(place))
    }
}

struct Entries<'a> {
    rest: btree_map::Iter<'a, String, Value>,
    /// The entry whose key was read.
    next: Option<(Place, &'a Value)>,
    place: &'a Place,
    /// Whether the value has a field for its own place, and did not get it yet.
    with_place: bool,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        if self.with_place {
            return seed.deserialize(StrDeserializer::new(Place::FIELD)).map(Some);
        }
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        let place = self.place.child(key);
        if key == Place::FIELD {
            return Err(<ReadError as de::Error>::unknown_field(key, &[]).at(place));
        }
        let read = seed.deserialize(StrDeserializer::new(key)).map_err(|error: ReadError| error.at(place.clone()))?;
        self.next = Some((place, value));
        Ok(Some(read))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        if std::mem::take(&mut self.with_place) {
            return seed.deserialize(StrDeserializer::new(self.place.as_field()));
        }
        let (place, value) = self.next.take().unwrap_or_else(|| (self.place.clone(), &Value::Null));
        seed.deserialize(Reader { value, place: place.clone() }).map_err(|error| error.at(place))
    }
}

impl ReadError {
    /// Gives the error its place, unless it has one.
    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(match self.missing {
            Some(key) => place.child(key),
            None => place,
        });
        self
    }

    /// Returns the error for users. `root` is the place of all settings.
    pub(super) fn within(self, root: Place) -> Error {
        let located = self.at(root);
        located.place.unwrap_or_default().error(located.problem)
    }
}

impl de::Error for ReadError {
    fn custom<T: Display>(problem: T) -> Self {
        Self { problem: problem.to_string(), place: None, missing: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("this is {}; give {}", kind(found), Wanted(expected)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("this value cannot be used; give {}", Wanted(expected)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::custom(format!("this list has {length} items; give {}", Wanted(expected)))
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format!("unknown value; {}", nearest::advice(name, known)))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format!("unknown key; {}", nearest::advice(name, known)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::custom("this key is missing; add it") }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::custom("this key is here twice; remove one") }
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ReadError {}

/// Returns what kind of value was found. The value itself may be a secret.
fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Unit | Unexpected::Option => "empty",
        Unexpected::Seq => "a list",
        Unexpected::Map | Unexpected::StructVariant => "a table",
        _ => "another kind of value",
    }
}

/// What is expected, in the words of people who write settings and not of those who write Rust.
struct Wanted<'a>(&'a dyn Expected);

impl Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.0.to_string();
        f.write_str(match expected.as_str() {
            "a string" | "path string" | "string or map" => "text",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            "a map" => "a table",
            "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number that is not negative",
            "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
            "f32" | "f64" => "a number",
            "unit" => "the name alone, as text",
            text if text.starts_with("struct ") => "a table",
            text => text,
        })
    }
}
