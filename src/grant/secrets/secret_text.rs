//! The text of a secret in bytes that a person or a program has saved: in a file, in an environment variable or in a pipe.

use std::str;

use zeroize::Zeroizing;

use crate::secret_string::SecretString;

const BOM: char = '\u{feff}';

/// Reads the secret: text without a byte order mark and without one line end at its end. Text in UTF-16 is decoded if it
/// begins with a byte order mark, as Windows programs write it.
///
/// # Errors
/// Says what was found, as the end of a sentence that begins with "it". It does not show the content.
pub(super) fn secret_text(bytes: &[u8]) -> Result<SecretString, String> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ if is_bare_utf16(bytes) => return Err("is UTF-16 without a byte order mark; save it as UTF-8".to_owned()),
        _ => {
            let text = str::from_utf8(bytes).map_err(|error| {
                format!("is not UTF-8 (the byte at position {}); save it as UTF-8", error.valid_up_to() + 1)
            })?;
            Zeroizing::new(text.to_owned())
        }
    };
    let secret = text.strip_prefix(BOM).unwrap_or(&text);
    let secret = secret.strip_suffix('\n').map_or(secret, |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    if let Some(position) = secret.chars().position(|c| c == '\0') {
        return Err(format!("has a NUL character (U+0000) at position {}; save it as plain text", position + 1));
    }
    Ok(secret.into())
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, String> {
    let broken = || "begins as UTF-16 and is not valid UTF-16; save it as UTF-8".to_owned();
    if !bytes.len().is_multiple_of(2) {
        return Err(broken());
    }
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    // The buffer has its full size at once: a buffer that grows leaves copies of its content behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for character in char::decode_utf16(units) {
        text.push(character.map_err(|_| broken())?);
    }
    Ok(text)
}

/// Returns whether every second byte is NUL and no other one, as in UTF-16 text of ASCII characters.
fn is_bare_utf16(bytes: &[u8]) -> bool {
    let is_half_zero = |zero: usize| bytes.iter().enumerate().all(|(index, byte)| (index % 2 == zero) == (*byte == 0));
    bytes.len() >= 4 && bytes.len().is_multiple_of(2) && (is_half_zero(0) || is_half_zero(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        secret_text(bytes).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn a_byte_order_mark_and_one_line_end_are_not_part_of_the_secret() {
        for (text, secret) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("s3cret\n\n", "s3cret\n"),
            (" s3cret ", " s3cret "),
            ("s3cret\r", "s3cret\r"),
            ("\u{feff}s3cret\r\n", "s3cret"),
            ("s\u{feff}3cret", "s\u{feff}3cret"),
            ("pässword\n", "pässword"),
        ] {
            assert_eq!(read(text.as_bytes()).as_deref(), Ok(secret), "{text:?}");
            let marked = format!("\u{feff}{}", text.trim_start_matches('\u{feff}'));
            for units in [u16::to_le_bytes, u16::to_be_bytes] {
                let utf16: Vec<u8> = marked.encode_utf16().flat_map(units).collect();
                assert_eq!(read(&utf16).as_deref(), Ok(secret), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_secret_is_named_and_not_shown() {
        for (bytes, found) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"\xef\xbb\xbf\r\n", "is empty"),
            (b"\xff\xfe", "is empty"),
            (b"s3cret\xff", "is not UTF-8 (the byte at position 7); save it as UTF-8"),
            (b"s3c\0ret", "has a NUL character (U+0000) at position 4; save it as plain text"),
            (b"s3cret\0", "has a NUL character (U+0000) at position 7; save it as plain text"),
            (b"s\x003\0c\0", "is UTF-16 without a byte order mark; save it as UTF-8"),
            (b"\0s\x003\0c", "is UTF-16 without a byte order mark; save it as UTF-8"),
            (b"\xff\xfes\0c", "begins as UTF-16 and is not valid UTF-16; save it as UTF-8"),
            (b"\xff\xfe\0\xd8", "begins as UTF-16 and is not valid UTF-16; save it as UTF-8"),
        ] {
            assert_eq!(read(bytes), Err(found.to_owned()), "{bytes:?}");
        }
    }
}
