//! The parts of a `WWW-Authenticate` field line (RFC 9110 §5.6, §11.2).

/// A parameter: its name, and its unescaped value.
pub(super) type Param = (String, String);

/// Splits a field line at its commas, except in quoted strings (RFC 9110 §5.6.1, §5.6.4).
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(outside_quotes(|byte| byte == b','))
}

/// Returns a test for each byte of a text in turn: whether it `is` one of those looked for, and not in a quoted string.
fn outside_quotes(is: impl Fn(u8) -> bool) -> impl FnMut(&u8) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        is(byte) && !quoted
    }
}

/// Splits `token BWS "=" BWS value` into name and value (RFC 9110 §11.2). It does not check the value.
pub(super) fn split_param(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = split_token(text);
    let value = rest.trim_ascii_start().strip_prefix(b"=")?;
    (!name.is_empty()).then_some((name, value.trim_ascii_start()))
}

/// Reads the parameters of a text between two commas: one, or else several that are [separated by spaces](spaced_params).
pub(super) fn params(from: &[u8]) -> Vec<Param> {
    match leading_param(from) {
        Some((param, [])) => vec![param],
        _ => spaced_params(from),
    }
}

/// Reads parameters that are separated by spaces or semicolons. No grammar allows that, but some servers write it.
///
/// A parameter is dropped if its value is malformed, or if a word without a value follows it: the word may belong to it.
fn spaced_params(from: &[u8]) -> Vec<Param> {
    let mut params = Vec::new();
    let (mut last, mut rest) = (None, from);
    loop {
        rest = &rest[rest.iter().take_while(|byte| is_separator(**byte)).count()..];
        if rest.is_empty() {
            params.extend(last);
            return params;
        }
        if split_param(rest).is_some() {
            params.extend(last.take());
        }
        (last, rest) = match leading_param(rest) {
            Some((param, after)) if after.first().is_none_or(|byte| is_separator(*byte)) => (Some(param), after),
            _ => (None, after_word(rest)),
        };
    }
}

/// Reads the parameter at the start of a text. Returns it, and what follows it.
fn leading_param(from: &[u8]) -> Option<(Param, &[u8])> {
    let (name, value) = split_param(from)?;
    let (value, rest) = match split_token(value) {
        (token @ [_, ..], rest) => (text(token), rest),
        _ => unquote(value)?,
    };
    Some(((text(name), value), rest))
}

/// Unescapes the quoted-string (RFC 9110 §5.6.4) at the start of a text. Returns its value, and what follows it.
fn unquote(from: &[u8]) -> Option<(String, &[u8])> {
    let mut rest = from.strip_prefix(b"\"")?.iter();
    let mut unescaped = Vec::new();
    loop {
        let byte = match rest.next()? {
            b'"' => break,
            b'\\' => rest.next()?,
            byte => byte,
        };
        if byte.is_ascii_control() && *byte != b'\t' {
            return None;
        }
        unescaped.push(*byte);
    }
    Some((text(&unescaped), rest.as_slice()))
}

/// Returns what follows the word at the start of a text.
fn after_word(from: &[u8]) -> &[u8] {
    let end = from.iter().position(outside_quotes(is_separator));
    &from[end.unwrap_or(from.len())..]
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b';'
}

pub(super) fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| !is_tchar(byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// Returns whether a text is a token (RFC 9110 §5.6.2), as schemes are.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Returns whether a byte is a `tchar` (RFC 9110 §5.6.2).
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether a text is a `token68`: at least one character, then any number of `=` (RFC 9110 §11.2).
pub(super) fn is_token68(text: &[u8]) -> bool {
    let is_char = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    text.first().is_some_and(is_char) && text.iter().skip_while(|b| is_char(b)).all(|b| *b == b'=')
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
