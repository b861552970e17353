//! Where a secret is: the secrets of grants, and those of a program's own settings.

use std::{
    env,
    fmt::{self, Debug},
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    error::Error,
    grant::{Secret, read_file, read_variable},
    secret_string::SecretString,
};

/// The place of a secret: `{ file = "…" }` or `{ env = "…" }`. It is for the secrets of your own settings.
///
/// A secret that is written into the settings is an error. `Debug` shows the place.
///
/// ```
/// use serde::Deserialize;
/// use tower_bearer::config::{self, SecretPlace};
///
/// #[derive(Debug, Deserialize)]
/// struct Database {
///     password: SecretPlace,
/// }
///
/// let database: Database = config::read(toml::Deserializer::parse(r#"password = { file = "db-password" }"#)?)?;
/// let password = database.password.with_file_in("/run/secrets");
/// assert!(password.read().unwrap_err().to_string().starts_with("the file /run/secrets/db-password cannot be read"));
///
/// let written: Result<Database, _> = config::read(toml::Deserializer::parse(r#"password = "s3cret""#)?);
/// assert!(written.unwrap_err().to_string().starts_with("password: the secret itself must not be in the settings"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum SecretPlace {
    /// A file with this path.
    File(PathBuf),
    /// An environment variable with this name.
    Env(String),
}

/// Text in the settings, or the [place](SecretPlace) where it is: for what may be secret, such as a user name or a URL.
#[derive(Clone)]
pub enum TextOrPlace {
    /// The text, which is not empty.
    Text(String),
    /// The place of the text.
    Place(SecretPlace),
}

/// What stands for a secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    file: Option<PathBuf>,
    env: Option<String>,
}

const FORM: &str =
    r#"{ file = "…" } with the path of a file, or { env = "…" } with the name of an environment variable"#;

impl SecretPlace {
    /// Returns the secret, which is read when it is needed: for a [grant](crate::grant).
    #[must_use]
    pub fn secret(&self) -> Secret {
        match self {
            Self::File(path) => Secret::file(path),
            Self::Env(name) => Secret::env(name),
        }
    }

    /// Makes a relative path one in this folder.
    pub(super) fn move_to(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            *path = folder.join(&*path);
        }
    }

    /// Makes a relative path one in this folder. Without it, it is relative to the working folder of the process.
    #[must_use]
    pub fn with_file_in(mut self, folder: impl AsRef<Path>) -> Self {
        self.move_to(folder.as_ref());
        self
    }

    /// Reads the secret now, by the rules of [`Secret`]. It blocks the thread while a file is read. A pipe can be read only once.
    ///
    /// # Errors
    /// When the secret is missing or is not text. The error names the place and says what to do.
    pub fn read(&self) -> Result<SecretString, Error> {
        match self {
            Self::File(path) => read_file(path),
            Self::Env(name) => read_variable(name),
        }
    }

    /// Checks that the secret can be read now. A pipe is not opened, because it can be read only once.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::File(path) => {
                let found = fs::metadata(path);
                if found.as_ref().is_ok_and(fs::Metadata::is_dir) {
                    return Err(format!("{} is a folder; give the path of the file in it", path.display()));
                }
                let opened = found.and_then(|found| if found.is_file() { File::open(path).map(drop) } else { Ok(()) });
                let why = |error| format!("the file {} cannot be read ({error})", path.display());
                opened.map_err(|error| format!("{}; check the path and its permissions", why(error)))
            }
            Self::Env(name) if env::var_os(name).is_none_or(|value| value.is_empty()) => {
                Err(format!("the environment variable {name} is not set, or is empty; set it to the secret"))
            }
            Self::Env(_) => Ok(()),
        }
    }
}

impl TextOrPlace {
    /// Returns the text, or what is at its place.
    #[must_use]
    pub fn secret(&self) -> Secret {
        match self {
            Self::Text(text) => Secret::from(text),
            Self::Place(place) => place.secret(),
        }
    }
}

impl<'de> Deserialize<'de> for SecretPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretPlaceVisitor)
    }
}

impl<'de> Deserialize<'de> for TextOrPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrPlaceVisitor)
    }
}

struct SecretPlaceVisitor;

/// Numbers are secrets too: `password = 12345678`.
macro_rules! refused {
    ($($method:ident $type:ty),*) => {$(
        fn $method<E: de::Error>(self, _: $type) -> Result<SecretPlace, E> {
            Err(E::custom(format_args!("the secret itself must not be in the settings; give {FORM}")))
        }
    )*};
}

impl<'de> Visitor<'de> for SecretPlaceVisitor {
    type Value = SecretPlace;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORM)
    }

    refused!(visit_str &str, visit_i64 i64, visit_u64 u64, visit_i128 i128, visit_u128 u128, visit_f64 f64);

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<SecretPlace, A::Error> {
        match Table::deserialize(MapAccessDeserializer::new(entries))? {
            Table { file: Some(path), env: None } if !path.as_os_str().is_empty() => Ok(SecretPlace::File(path)),
            Table { file: None, env: Some(name) } if !name.is_empty() => Ok(SecretPlace::Env(name)),
            Table { file: Some(_), env: Some(_) } => {
                Err(<A::Error as de::Error>::custom("this has `file` and `env`; remove one of them"))
            }
            Table { file: None, env: None } => {
                Err(<A::Error as de::Error>::custom(format_args!("this is empty; give {FORM}")))
            }
            _ => Err(<A::Error as de::Error>::custom(format_args!("the name in this is empty; give {FORM}"))),
        }
    }
}

struct TextOrPlaceVisitor;

impl<'de> Visitor<'de> for TextOrPlaceVisitor {
    type Value = TextOrPlace;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text, {FORM}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TextOrPlace, E> {
        if text.is_empty() {
            return Err(E::custom(format_args!("this is empty; give text, {FORM}")));
        }
        Ok(TextOrPlace::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<TextOrPlace, A::Error> {
        SecretPlaceVisitor.visit_map(entries).map(TextOrPlace::Place)
    }
}

impl Debug for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret().fmt(f)
    }
}

impl Debug for TextOrPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret().fmt(f)
    }
}
