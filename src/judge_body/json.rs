//! Finds values in JSON by where they are, and reads no others.
//!
//! A full parser fails on the whole text when any part of it is unusual: an unpaired surrogate, a number that is too large, deep
//! nesting. Here, a value that is not looked at is only skipped by its strings and brackets, without recursion.

/// The text of one JSON value, without the white space around it.
#[derive(Clone, Copy)]
pub(super) struct Json<'a>(&'a str);

/// Why a value has no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoEnd {
    /// More text may bring it.
    Cut,
    /// It is not JSON.
    Invalid,
}

impl<'a> Json<'a> {
    /// Returns the object or array that a text begins with.
    ///
    /// # Errors
    /// When it is not complete, or when the text begins with anything else.
    pub(super) fn first(text: &'a str) -> Result<Self, NoEnd> {
        let text = trimmed_start(text);
        match text.as_bytes().first() {
            None => Err(NoEnd::Cut),
            Some(b'{' | b'[') => Ok(Self(&text[..end_of_container(text)?])),
            Some(_) => Err(NoEnd::Invalid),
        }
    }

    /// Returns the member of an object. If there are several of this name, the last one counts.
    pub(super) fn get(self, name: &str) -> Option<Self> {
        let found = self.members()?.into_iter().rev().find(|(key, _)| key.is_string(name))?;
        Some(found.1)
    }

    /// Returns the members of an object with their names, or `None` if it is not an object.
    pub(super) fn members(self) -> Option<Vec<(Self, Self)>> {
        let mut rest = trimmed_start(self.0.strip_prefix('{')?);
        let mut members = Vec::new();
        while !rest.starts_with('}') {
            let (name, after) = Self::split(next_item(rest, members.is_empty())?)?;
            let after = trimmed_start(after).strip_prefix(':').filter(|_| name.0.starts_with('"'))?;
            let (value, after) = Self::split(trimmed_start(after))?;
            members.push((name, value));
            rest = trimmed_start(after);
        }
        Some(members)
    }

    /// Returns the elements of an array, or `None` if it is not an array.
    pub(super) fn elements(self) -> Option<Vec<Self>> {
        let mut rest = trimmed_start(self.0.strip_prefix('[')?);
        let mut elements = Vec::new();
        while !rest.starts_with(']') {
            let (element, after) = Self::split(next_item(rest, elements.is_empty())?)?;
            elements.push(element);
            rest = trimmed_start(after);
        }
        Some(elements)
    }

    /// Returns what a string says, or `None` if it is not a valid string.
    pub(super) fn as_string(self) -> Option<String> {
        self.0.starts_with('"').then(|| serde_json::from_str(self.0).ok())?
    }

    /// Returns whether it is a string that says this.
    pub(super) fn is_string(self, said: &str) -> bool {
        // Most strings have no escapes, so they need not be copied.
        if self.0.contains('\\') {
            return self.as_string().is_some_and(|it| it == said);
        }
        self.0.strip_prefix('"').and_then(|it| it.strip_suffix('"')) == Some(said)
    }

    /// Returns whether it is this literal or number, as it is written.
    pub(super) fn is(self, literal: &str) -> bool {
        self.0 == literal
    }

    /// Returns whether it is an array.
    pub(super) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Returns the value that a text begins with, and what comes after it.
    fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let end = match text.as_bytes().first()? {
            b'"' => end_of_string(text.as_bytes(), 0).ok()?,
            b'{' | b'[' => end_of_container(text).ok()?,
            _ => text.find(['"', ',', ':', '{', '}', '[', ']']).filter(|end| *end > 0)?,
        };
        Some((Self(text[..end].trim_ascii_end()), &text[end..]))
    }
}

/// Returns the text from the next member or element on. A comma is before each but the first.
fn next_item(rest: &str, is_first: bool) -> Option<&str> {
    if is_first { Some(rest) } else { rest.strip_prefix(',').map(trimmed_start) }
}

/// Returns where the object or array ends that a text begins with.
fn end_of_container(text: &str) -> Result<usize, NoEnd> {
    let bytes = text.as_bytes();
    // The closing brackets that are to come.
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_string(bytes, at - 1)?,
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' if open.pop() != Some(*byte) => return Err(NoEnd::Invalid),
            b'}' | b']' if open.is_empty() => return Ok(at),
            _ => {}
        }
    }
    Err(NoEnd::Cut)
}

/// Returns where the string ends that begins at `begin`.
fn end_of_string(bytes: &[u8], begin: usize) -> Result<usize, NoEnd> {
    let mut at = begin + 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return Ok(at + 1),
            b'\\' => 2,
            _ => 1,
        };
    }
    Err(NoEnd::Cut)
}

/// Removes the white space of JSON (RFC 8259 §2) at the start.
fn trimmed_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::first(text).unwrap()
    }

    #[test]
    fn members_and_elements_are_found_as_a_full_parser_finds_them() {
        for text in [
            "{}",
            " { } ",
            "[]",
            r#"{"a":1,"b":[1,2,{"a":3}],"c":"}\"]","\u0061b":{"d":null}}"#,
            " [ 1 , true , \"a,b\" , [ ] , { \"x\" : [ ] } ] ",
            r#"{"a":1,"a":2}"#,
            r#"{"\\":"\\","\"":"\\\""}"#,
            "{\"a\":\t-1.5e3\r\n,\"m\u{fc}de\":\"\u{1f600}\"}",
        ] {
            let (ours, full) = (json(text), serde_json::from_str::<serde_json::Value>(text).unwrap());
            let parsed = |value: Json<'_>| serde_json::from_str::<serde_json::Value>(value.0).unwrap();
            if let Some(members) = full.as_object() {
                assert_eq!(ours.members().unwrap().is_empty(), members.is_empty(), "{text}");
                for (name, value) in members {
                    assert_eq!(&parsed(ours.get(name).unwrap()), value, "{text}");
                }
                assert!(ours.elements().is_none() && ours.get("none").is_none(), "{text}");
            } else {
                let elements: Vec<_> = ours.elements().unwrap().into_iter().map(parsed).collect();
                assert_eq!(&elements, full.as_array().unwrap(), "{text}");
                assert!(ours.members().is_none() && ours.get("none").is_none(), "{text}");
            }
        }
    }

    #[test]
    fn a_text_ends_with_its_last_bracket_and_not_before() {
        let text = r#"{"a":["]}",{"b":"\"}"}],"c":{}}"#;
        for end in 0..text.len() {
            assert_eq!(Json::first(&text[..end]).err(), Some(NoEnd::Cut), "{end}");
        }
        assert_eq!(json(&format!("{text}{{\"next\":")).0, text);
        for invalid in ["1", "null", r#""{}""#, "}", "{]", "[}", "{[}]", "<html>"] {
            assert_eq!(Json::first(invalid).err(), Some(NoEnd::Invalid), "{invalid}");
        }
    }

    #[test]
    fn an_object_or_array_whose_own_form_is_wrong_has_no_members() {
        for text in [
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{\"a\":1 \"b\":2}",
            "{,}",
            "{\"a\":x\",}\",\"b\":1}",
            "{1:2}",
            "{[]:1}",
            "{\"a\"}",
            "{\"a\":1,}",
        ] {
            assert!(json(text).members().is_none(), "{text}");
        }
        for text in ["[,]", "[1,]", "[1 [2]]", "[1:2]"] {
            assert!(json(text).elements().is_none(), "{text}");
        }
    }

    #[test]
    fn nesting_of_any_depth_is_skipped_on_a_small_stack() {
        let deep = 1 << 20;
        let text = format!(r#"{{"a":{}{},"b":true}}"#, "[".repeat(deep), "]".repeat(deep));
        let is_found = move || json(&text).get("b").is_some_and(|b| b.is("true"));
        assert!(std::thread::Builder::new().stack_size(64 * 1024).spawn(is_found).unwrap().join().unwrap());
    }
}
