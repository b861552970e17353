//! A set of scopes.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::scope::{
    error::{InvalidScope, only_scope_characters},
    interaction::Interaction,
    level::Level,
    smart::SmartScope,
};

/// A set of scopes (RFC 6749 §3.3). Scopes are case-sensitive, and their order has no meaning.
///
/// It is parsed from space-delimited text. The text may be empty and may have several spaces in a row, because some servers
/// send that. `Display` and [`iter`](Self::iter) keep the order of the text. Serde also deserializes an array of strings.
///
/// ```
/// use tower_bearer::Scopes;
///
/// let granted: Scopes = "openid patient/Observation.r patient/Observation.s".parse()?;
/// let needed: Scopes = "patient/Observation.read patient/Condition.rs".parse()?;
/// assert_eq!(needed.missing_from(&granted).to_string(), "patient/Condition.rs");
/// # Ok::<(), tower_bearer::scope::InvalidScope>(())
/// ```
#[derive(Clone, Debug, Default, Eq)]
pub struct Scopes(Vec<Scope>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Smart(SmartScope),
    /// A scope whose meaning its issuer defines. Only the same text covers it.
    Other(Box<str>),
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        only_scope_characters(text)?;
        Ok(text.parse().map_or_else(|_| Self::Other(text.into()), Self::Smart))
    }
}

impl Scope {
    fn as_str(&self) -> &str {
        match self {
            Self::Smart(scope) => scope.as_str(),
            Self::Other(text) => text,
        }
    }
}

impl Scopes {
    /// Returns whether the set contains exactly this text.
    ///
    /// [`covers`](Self::covers) also considers what SMART scopes include.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|own| own == scope)
    }

    /// Returns whether this set allows everything that `needed` allows.
    ///
    /// It understands SMART scopes: several of them can cover one scope together.
    #[must_use]
    pub fn covers(&self, needed: &Self) -> bool {
        needed.0.iter().all(|scope| self.covers_one(scope))
    }

    /// Returns the scopes of this set that `granted` does not cover.
    #[must_use]
    pub fn missing_from(&self, granted: &Self) -> Self {
        Self(self.0.iter().filter(|scope| !granted.covers_one(scope)).cloned().collect())
    }

    fn covers_one(&self, needed: &Scope) -> bool {
        match needed {
            Scope::Smart(needed) => needed.is_covered_by(self.smart()),
            Scope::Other(text) => self.contains(text),
        }
    }

    /// Returns whether a SMART scope of the set allows an interaction with all resources of a type.
    ///
    /// See [`SmartScope::allows`].
    #[must_use]
    pub fn allows(&self, level: Level, resource: &str, interaction: Interaction) -> bool {
        self.smart().any(|scope| scope.allows(level, resource, interaction))
    }

    /// Returns an iterator over the scopes, each as it was written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Scope::as_str)
    }

    /// Returns an iterator over the clinical SMART scopes of the set.
    pub fn smart(&self) -> impl Iterator<Item = &SmartScope> {
        self.0.iter().filter_map(|scope| match scope {
            Scope::Smart(scope) => Some(scope),
            Scope::Other(_) => None,
        })
    }

    /// Returns the number of scopes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Scopes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().collect::<BTreeSet<_>>() == other.iter().collect()
    }
}

impl FromStr for Scopes {
    type Err = InvalidScope;

    /// Parses space-delimited text. It takes linear time, because a server can send a long text.
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let mut seen = HashSet::new();
        let each = text.split(' ').filter(|one| !one.is_empty() && seen.insert(*one));
        each.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            One(String),
            Several(Vec<String>),
        }

        let text = match Text::deserialize(from)? {
            Text::One(text) => text,
            Text::Several(all) => all.join(" "),
        };
        text.parse().map_err(D::Error::custom)
    }
}
