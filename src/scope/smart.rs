//! One clinical scope of SMART App Launch.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::scope::{
    error::{InvalidScope, Why, only_scope_characters},
    interaction::{Interaction, Interactions},
    level::Level,
};

/// A clinical scope of SMART App Launch 2.2, such as `patient/Observation.rs`; those of version 1 mean what they are in
/// version 2: `.read` is `.rs`, `.write` is `.cud`, `.*` is `.cruds`.
///
/// The name of the resource is any ASCII letters: which types there are depends on the version of FHIR. As all of a scope
/// (RFC 6749 §3.3) it is case-sensitive, so `patient/observation.rs` is a scope, and not on FHIR's `Observation`.
///
/// Two are equal when their texts are. Whether they mean the same, their [canonical](Self::canonical) forms say.
///
/// ```
/// use tower_bearer::SmartScope;
///
/// let scope: SmartScope = "patient/Observation.read".parse()?;
/// assert!(scope.covers(&"patient/Observation.r?category=vital-signs".parse()?));
/// assert_eq!(scope.canonical().to_string(), "patient/Observation.rs");
/// assert_eq!(scope.describe(), "read and search Observation of the patient in context");
/// # Ok::<(), tower_bearer::scope::InvalidScope>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SmartScope {
    text: Box<str>,
    level: Level,
    /// `None` for all.
    resource: Option<Box<str>>,
    interactions: Interactions,
    query: Option<Box<str>>,
}

impl SmartScope {
    /// Whose data it is about.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// The type of resource; `None` for all (`*`).
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// What may be done, in the order of `cruds`.
    pub fn interactions(&self) -> impl Iterator<Item = Interaction> {
        self.interactions.iter()
    }

    /// The search parameters that restrict it, as written after the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it allows this with every such resource. One with a query does not: it allows it with some.
    #[must_use]
    pub fn allows(&self, level: Level, resource: &str, interaction: Interaction) -> bool {
        self.level == level
            && self.resource().is_none_or(|own| own == resource)
            && self.query.is_none()
            && self.interactions.contains(interaction)
    }

    /// Whether it allows everything that `other` does.
    ///
    /// A scope without a query covers the same with one. A query covers only itself, its parameters in any order: whether it
    /// finds all that another one does, only the server knows.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.interactions_within(other).is_some_and(|own| own.contains_all(other.interactions))
    }

    /// What it lets be done with the resources that `other` is about, if it is about all of these.
    pub(super) fn interactions_within(&self, other: &Self) -> Option<Interactions> {
        let about = self.level == other.level
            && (self.resource.is_none() || self.resource == other.resource)
            && (self.query.is_none() || self.restrictions() == other.restrictions());
        about.then_some(self.interactions)
    }

    /// Whether the scopes allow together everything that this one does.
    pub(super) fn is_covered_by<'a>(&self, granted: impl Iterator<Item = &'a Self>) -> bool {
        let sets = granted.filter_map(|scope| scope.interactions_within(self));
        sets.fold(Interactions::default(), Interactions::union).contains_all(self.interactions)
    }

    /// The scope of version 2 that means the same: letters for words, and the parameters of a query in order, each once.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let restrictions = Vec::from_iter(self.restrictions()).join("&");
        let query = self.query.as_ref().map(|_| restrictions.into_boxed_str());
        let text = format!(
            "{}/{}.{}{}{}",
            self.level.as_str(),
            self.resource().unwrap_or("*"),
            self.interactions().map(Interaction::letter).collect::<String>(),
            if query.is_some() { "?" } else { "" },
            query.as_deref().unwrap_or_default(),
        );
        Self { text: text.into(), query, ..self.clone() }
    }

    /// The parameters of the query. All must hold, so neither order nor repetition matters.
    pub(super) fn restrictions(&self) -> BTreeSet<&str> {
        self.query().into_iter().flat_map(|query| query.split('&')).collect()
    }
}

impl FromStr for SmartScope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        only_scope_characters(text)?;
        let (level, rest) = text.split_once('/').ok_or(InvalidScope(Why::Level))?;
        let level = Level::parse(level).ok_or(InvalidScope(Why::Level))?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (resource, interactions) = rest.split_once('.').ok_or(InvalidScope(Why::Interactions))?;
        let is_name = !resource.is_empty() && resource.bytes().all(|b| b.is_ascii_alphabetic());
        if !is_name && resource != "*" {
            return Err(InvalidScope(Why::Resource));
        }
        let interactions = Interactions::parse(interactions).ok_or(InvalidScope(Why::Interactions))?;
        let is_pair =
            |one: &str| one.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
        if query.is_some_and(|query| !query.split('&').all(is_pair)) {
            return Err(InvalidScope(Why::Query));
        }
        Ok(Self {
            text: text.into(),
            level,
            resource: is_name.then(|| resource.into()),
            interactions,
            query: query.map(Into::into),
        })
    }
}

impl TryFrom<String> for SmartScope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<SmartScope> for String {
    fn from(scope: SmartScope) -> Self {
        scope.text.into()
    }
}

impl fmt::Display for SmartScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
