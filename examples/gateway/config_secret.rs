//! Secrets of the gateway itself in a `--config` file: the place of each, never the secret.

use std::{
    env,
    fmt::{self, Formatter},
    fs, io,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tower_bearer::SecretString;

const FORM: &str =
    r#"{ file = "…" } with the path of a file, or { env = "…" } with the name of an environment variable"#;

/// Where a secret is.
#[derive(Clone)]
pub enum SecretPlace {
    File(PathBuf),
    Env(String),
}

/// Text that may hold a secret, or the place where it is.
pub enum TextOrPlace {
    Text(String),
    Place(SecretPlace),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    file: Option<PathBuf>,
    env: Option<String>,
}

impl SecretPlace {
    /// Makes a relative path one in this folder.
    pub fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Env(name) => Self::Env(name),
        }
    }

    /// Reads the secret, without the line end at its end.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub fn read(&self) -> Result<SecretString, String> {
        let text = match self {
            Self::File(path) => fs::read_to_string(path).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => {
                    format!("the file {} is not text in UTF-8; write the secret as text", path.display())
                }
                _ => {
                    format!("the file {} cannot be read ({error}); check the path and its permissions", path.display())
                }
            })?,
            Self::Env(name) => env::var(name).unwrap_or_default(),
        };
        let secret = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        match self {
            _ if !secret.is_empty() => Ok(secret.into()),
            Self::File(path) => Err(format!("the file {} is empty; write the secret into it", path.display())),
            Self::Env(name) => {
                Err(format!("the environment variable {name} is not set, or is empty; set it to the secret"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for SecretPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlaceVisitor)
    }
}

impl<'de> Deserialize<'de> for TextOrPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct PlaceVisitor;

impl<'de> Visitor<'de> for PlaceVisitor {
    type Value = SecretPlace;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(FORM)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretPlace, E> {
        Err(E::custom(format_args!("the secret itself must not be in the settings; give {FORM}")))
    }

    /// Digits alone are a number.
    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretPlace, E> {
        self.visit_str("")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<SecretPlace, A::Error> {
        match Table::deserialize(MapAccessDeserializer::new(entries))? {
            Table { file: Some(path), env: None } if !path.as_os_str().is_empty() => Ok(SecretPlace::File(path)),
            Table { file: None, env: Some(name) } if !name.is_empty() => Ok(SecretPlace::Env(name)),
            Table { file: Some(_), env: Some(_) } => {
                Err(A::Error::custom("this has `file` and `env`; remove one of them"))
            }
            _ => Err(A::Error::custom(format_args!("this is empty; give {FORM}"))),
        }
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = TextOrPlace;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "text, {FORM}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TextOrPlace, E> {
        Ok(TextOrPlace::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<TextOrPlace, A::Error> {
        PlaceVisitor.visit_map(entries).map(TextOrPlace::Place)
    }
}
