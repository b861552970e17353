//! Text that must not be shown and that is wiped from memory.

use std::fmt;

use zeroize::Zeroizing;

/// Secret text, such as a password or a token. It is wiped from memory when it is dropped, and `Debug` does not show it.
///
/// ```
/// use tower_bearer::SecretString;
///
/// let secret = SecretString::from("s3cret");
/// assert_eq!(secret.expose(), "s3cret");
/// assert_eq!(format!("{secret:?}"), "SecretString([redacted])");
/// ```
#[derive(Clone)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Returns the text. Keep it out of logs and out of copies that are not wiped.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretString {
    /// Takes the string as it is: no copy is made, and its whole buffer is wiped later.
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretString {
    /// Copies the text. The original is not wiped.
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString([redacted])")
    }
}
