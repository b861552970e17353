//! The secrets of a request, which must not come back in an error.

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::{grant::exchange::form::Form, secret_string::SecretString};

/// How often a text may be escaped. A server chooses the text, so there is a limit.
const MAX_ESCAPES: u32 = 8;

/// The secrets of a request.
pub(crate) struct SentSecrets {
    pub(crate) form: Form,
    /// The client secret, if it was sent in a header.
    pub(crate) client_secret: Option<SecretString>,
    pub(crate) authorization: Option<HeaderValue>,
    /// The values of extra headers.
    pub(crate) extra: Vec<SecretString>,
}

impl SentSecrets {
    /// Returns whether a server's text repeats one of the secrets, in any encoding that URLs and forms have.
    pub(crate) fn are_repeated_in(&self, text: &str) -> bool {
        let text = plain(text);
        let header = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        let encoded = header.and_then(|value| value.strip_prefix("Basic ")).map(SecretString::from);
        let mut secrets =
            self.form.secrets().chain(self.client_secret.clone()).chain(encoded).chain(self.extra.clone());
        secrets.any(|secret| !secret.expose().is_empty() && contains(&text, &plain(secret.expose())))
    }
}

/// Removes what encodings add: escapes, also of escapes, `+` for a space, and the case, which a host does not keep.
fn plain(text: &str) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(text.as_bytes().to_vec());
    for _ in 0..MAX_ESCAPES {
        if !unescape(&mut plain) {
            break;
        }
    }
    for byte in plain.iter_mut() {
        *byte = if *byte == b'+' { b' ' } else { byte.to_ascii_lowercase() };
    }
    plain
}

/// Decodes `%20` and the like in place. Returns whether there was any.
fn unescape(text: &mut Vec<u8>) -> bool {
    let (mut read, mut written) = (0, 0);
    while read < text.len() {
        let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let escaped = digit(read + 1).zip(digit(read + 2)).filter(|_| text[read] == b'%');
        let (byte, length) = match escaped {
            Some((high, low)) => (u8::try_from(16 * high + low).unwrap_or_default(), 3),
            None => (text[read], 1),
        };
        text[written] = byte;
        (read, written) = (read + length, written + 1);
    }
    let is_changed = written < text.len();
    text.truncate(written);
    is_changed
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeats(text: &str) -> bool {
        let mut form = Form::new();
        form.append("password", "P@ss w\u{f6}rd!~+%41/x");
        form.append("scope", "harmless");
        let (client_secret, extra) = (Some("s3cret".into()), vec!["subscr1ption".into()]);
        SentSecrets { form, client_secret, authorization: None, extra }.are_repeated_in(text)
    }

    #[test]
    fn a_secret_is_found_in_every_encoding() {
        for text in [
            "P@ss w\u{f6}rd!~+%41/x",
            "P%40ss+w%C3%B6rd%21%7E%2B%2541%2Fx",
            "P%40ss%20w%c3%b6rd!~%2b%2541/x",
            "p%2540ss%2520w%25C3%25B6rd!~%252B%252541%252Fx",
            "/login/s3cret/x",
            "key=Subscr1ption",
            "https://S3CRET.evil.test/",
            "%73%33%63%72%65%74",
        ] {
            assert!(repeats(text), "{text}");
        }
        for text in ["", "/login", "harmless", "%", "%4", "%zz", "s3cre"] {
            assert!(!repeats(text), "{text}");
        }
    }
}
