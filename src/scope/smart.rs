//! A clinical scope of SMART App Launch.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::scope::{
    error::{InvalidScope, Problem, only_scope_characters},
    interaction::{Interaction, Interactions},
    level::Level,
};

/// A clinical scope of SMART App Launch 2.2, such as `patient/Observation.rs`.
///
/// Scopes of version 1 are parsed too: `.read` means `.rs`, `.write` means `.cud`, and `.*` means `.cruds`.
///
/// The resource type may be any ASCII letters, because the types depend on the version of FHIR. Scopes are case-sensitive
/// (RFC 6749 §3.3), so `patient/observation.rs` is a valid scope, but it does not apply to FHIR's `Observation`.
///
/// Two scopes are equal if their texts are equal. To compare what they mean, compare their [canonical](Self::canonical)
/// forms.
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
    /// `None` for all types.
    resource: Option<Box<str>>,
    interactions: Interactions,
    query: Option<Box<str>>,
}

impl SmartScope {
    /// Returns its level, which says whose data it gives access to.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the resource type, or `None` for all types (`*`).
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Returns an iterator over the interactions that it allows, in the order of `cruds`.
    pub fn interactions(&self) -> impl Iterator<Item = Interaction> {
        self.interactions.iter()
    }

    /// Returns the search parameters that restrict it, as they were written after the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Returns the scope as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether it allows an interaction with all resources of a type.
    ///
    /// A scope with a query allows it only with some resources, so this returns `false`.
    #[must_use]
    pub fn allows(&self, level: Level, resource: &str, interaction: Interaction) -> bool {
        self.level == level
            && self.resource().is_none_or(|own| own == resource)
            && self.query.is_none()
            && self.interactions.contains(interaction)
    }

    /// Returns whether it allows everything that `other` allows.
    ///
    /// A scope without a query covers the same scope with a query. A scope with a query only covers a scope with the same
    /// parameters, in any order, because only the server knows whether one query finds everything that another one finds.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.interactions_within(other).is_some_and(|own| own.contains_all(other.interactions))
    }

    /// Returns the interactions that it allows with the resources of `other`, if it applies to all of them.
    pub(super) fn interactions_within(&self, other: &Self) -> Option<Interactions> {
        let about = self.level == other.level
            && (self.resource.is_none() || self.resource == other.resource)
            && (self.query.is_none() || self.restrictions() == other.restrictions());
        about.then_some(self.interactions)
    }

    /// Returns whether the granted scopes together allow everything that this one allows.
    pub(super) fn is_covered_by<'a>(&self, granted: impl Iterator<Item = &'a Self>) -> bool {
        let sets = granted.filter_map(|scope| scope.interactions_within(self));
        sets.fold(Interactions::default(), Interactions::union).contains_all(self.interactions)
    }

    /// Returns the scope of version 2 with the same meaning.
    ///
    /// It has letters instead of words, and its query has sorted parameters without duplicates.
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

    /// Returns the parameters of the query. All of them must match, so order and repetition have no meaning.
    pub(super) fn restrictions(&self) -> BTreeSet<&str> {
        self.query().into_iter().flat_map(|query| query.split('&')).collect()
    }
}

impl FromStr for SmartScope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        only_scope_characters(text)?;
        let (level, rest) = text.split_once('/').ok_or(InvalidScope(Problem::Level))?;
        let level = Level::parse(level).ok_or(InvalidScope(Problem::Level))?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (resource, interactions) = rest.split_once('.').ok_or(InvalidScope(Problem::Interactions))?;
        let is_name = !resource.is_empty() && resource.bytes().all(|b| b.is_ascii_alphabetic());
        if !is_name && resource != "*" {
            return Err(InvalidScope(Problem::Resource));
        }
        let interactions = Interactions::parse(interactions).ok_or(InvalidScope(Problem::Interactions))?;
        let is_pair =
            |one: &str| one.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
        if query.is_some_and(|query| !query.split('&').all(is_pair)) {
            return Err(InvalidScope(Problem::Query));
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
