//! The `Authorization: Basic` header (RFC 6749 §2.3.1).

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::error::Error;

/// Makes the header. If `encoded` is true, the id and the secret are form-encoded first.
pub(super) fn basic_header(id: &str, secret: &str, encoded: bool) -> Result<HeaderValue, Error> {
    let user_pass = user_pass(id, secret, encoded);
    let mut line = Zeroizing::new(String::with_capacity(6 + user_pass.len().div_ceil(3) * 4));
    line.push_str("Basic ");
    BASE64_STANDARD.encode_string(&*user_pass, &mut line);
    let bytes = Bytes::from_owner(Zeroizing::new(std::mem::take(&mut *line).into_bytes()));
    let mut header = HeaderValue::from_maybe_shared(bytes)
        .map_err(|_| Error::config("the client id and secret cannot be put in a header: use `ClientAuth::post`"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Form-encodes a text, with `%20` for a space. All servers that decode forms decode that, and some of them do not decode `+`
/// in a header.
fn form_encoded(text: &str) -> impl Iterator<Item = &str> {
    byte_serialize(text.as_bytes()).map(|part| if part == "+" { "%20" } else { part })
}

/// Returns whether encoding changes a text, so that servers which decode and servers which do not read different ones.
pub(super) fn is_changed_by_encoding(text: &str) -> bool {
    !form_encoded(text).eq([text])
}

fn user_pass(id: &str, secret: &str, encoded: bool) -> Zeroizing<String> {
    let mut pair = Zeroizing::new(String::with_capacity(3 * (id.len() + secret.len()) + 1));
    if encoded {
        pair.extend(form_encoded(id).chain([":"]).chain(form_encoded(secret)));
    } else {
        pair.extend([id, ":", secret]);
    }
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_section_2_3_1_encodes_before_basic() {
        let (id, secret) = ("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=");
        let pair = user_pass(id, secret, true);
        assert_eq!(*pair, "1PpG%2FQ%201:z%2FtZ9VwFZqApmIQ%2BZH1I5pLk%2FuB4ud%3AX2%2F8bL%2BwfFTt1rFw%3D");
        assert_eq!(*user_pass(id, secret, false), format!("{id}:{secret}"));
        assert!(is_changed_by_encoding(id) && is_changed_by_encoding(secret) && !is_changed_by_encoding("aZ09-._*"));
        assert_eq!(*user_pass("a b", "c  d+", true), "a%20b:c%20%20d%2B");
        let header = basic_header(id, secret, true).unwrap();
        assert!(header.is_sensitive());
        assert_eq!(header.as_bytes(), format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())).as_bytes());
    }
}
