//! Compares scopes with a slow model that enumerates everything that a scope allows.

use std::collections::BTreeSet;

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest},
    sample::select,
};
use tower_bearer::{
    Scopes, SmartScope,
    scope::{Interaction, Level},
};

use crate::scopes::{scopes, smart};

/// A scope in its parts, and its text.
#[derive(Clone, Debug)]
struct WrittenScope {
    level: Level,
    resource: &'static str,
    letters: String,
    query: Option<&'static str>,
    text: String,
}

/// One interaction with one record. The resource `Unnamed` stands for all resources that no scope names.
type Permission = (Level, &'static str, char, Record);

/// Whether the queries `x=1` and `y=2` find the record.
type Record = (bool, bool);

const LEVELS: [Level; 3] = [Level::Patient, Level::User, Level::System];
const RESOURCES: [&str; 3] = ["Observation", "Condition", "Unnamed"];
const RECORDS: [Record; 4] = [(false, false), (true, false), (false, true), (true, true)];

impl WrittenScope {
    /// Enumerates everything that the scope allows.
    fn permissions(&self) -> impl Iterator<Item = Permission> {
        let resources = RESOURCES.into_iter().filter(|one| ["*", *one].contains(&self.resource));
        resources.flat_map(move |resource| {
            let records = RECORDS.into_iter().filter(|&(x, y)| match self.query {
                None => true,
                Some("x=1") => x,
                Some("y=2") => y,
                Some(other) => panic!("no record knows {other}"),
            });
            records
                .flat_map(move |record| self.letters.chars().map(move |letter| (self.level, resource, letter, record)))
        })
    }
}

fn written() -> impl Strategy<Value = WrittenScope> {
    let letters = vec(any::<bool>(), 5)
        .prop_map(|kept| "cruds".chars().zip(kept).filter_map(|(letter, kept)| kept.then_some(letter)).collect())
        .prop_filter("at least one", |letters: &String| !letters.is_empty());
    let query = select(&[None, None, Some("x=1"), Some("y=2")][..]);
    (select(&LEVELS[..]), select(&["*", "Observation", "Condition"][..]), letters, query, any::<bool>()).prop_map(
        |(level, resource, letters, query, in_v1)| {
            let ending = match letters.as_str() {
                "rs" if in_v1 => "read",
                "cud" if in_v1 => "write",
                "cruds" if in_v1 => "*",
                letters => letters,
            };
            let text = format!("{}/{resource}.{ending}", level.as_str());
            let text = query.map_or(text.clone(), |query| format!("{text}?{query}"));
            WrittenScope { level, resource, letters, query, text }
        },
    )
}

fn several() -> impl Strategy<Value = Vec<WrittenScope>> {
    vec(written(), 0..6)
}

fn joined(all: &[WrittenScope]) -> Scopes {
    scopes(&all.iter().map(|one| one.text.as_str()).collect::<Vec<_>>().join(" "))
}

fn permissions(all: &[WrittenScope]) -> BTreeSet<Permission> {
    all.iter().flat_map(WrittenScope::permissions).collect()
}

proptest! {
    #[test]
    fn a_printed_scope_is_read_as_the_same(one in written(), all in several()) {
        prop_assert_eq!(smart(&one.text).to_string(), one.text);
        let set = joined(&all);
        prop_assert_eq!(scopes(&set.to_string()), set);
    }

    #[test]
    fn any_scope_tokens_are_printed_as_they_were_read(tokens in vec("[!#-\\[\\]-~]{1,12}", 0..5)) {
        let tokens: Vec<_> = tokens.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        prop_assert_eq!(scopes(&tokens.join(" ")).to_string(), tokens.join(" "));
    }

    #[test]
    fn the_parser_does_not_panic_on_any_text(text in ".*") {
        let _ = text.parse::<Scopes>();
        if let Ok(scope) = text.parse::<SmartScope>() {
            prop_assert_eq!(scope.as_str(), text);
        }
    }

    #[test]
    fn allows_matches_the_model(all in several()) {
        let (set, permissions) = (joined(&all), permissions(&all));
        for (level, resource) in LEVELS.into_iter().flat_map(|level| RESOURCES.map(|resource| (level, resource))) {
            for interaction in Interaction::ALL {
                // Only a scope without a query allows access to a record that no query finds.
                let counted = permissions.contains(&(level, resource, interaction.letter(), (false, false)));
                prop_assert_eq!(set.allows(level, resource, interaction), counted);
            }
        }
    }

    #[test]
    fn inclusion_matches_the_model(granted in several(), needed in several()) {
        let (have, want) = (permissions(&granted), permissions(&needed));
        prop_assert_eq!(joined(&granted).covers(&joined(&needed)), want.is_subset(&have));
        let missing = joined(&needed).missing_from(&joined(&granted));
        for one in &needed {
            prop_assert_eq!(missing.contains(&one.text), !one.permissions().all(|permission| have.contains(&permission)));
        }
        if let [one, ..] = needed.as_slice() {
            for other in &granted {
                let within = one.permissions().collect::<BTreeSet<_>>().is_subset(&other.permissions().collect());
                prop_assert_eq!(smart(&other.text).covers(&smart(&one.text)), within);
            }
        }
    }

    #[test]
    fn scopes_mean_the_same_when_their_canonical_forms_are_equal(one in written(), other in written()) {
        let same = one.permissions().collect::<BTreeSet<_>>() == other.permissions().collect();
        let (one, other) = (smart(&one.text), smart(&other.text));
        prop_assert_eq!(one.canonical() == other.canonical(), same);
        prop_assert!(one.covers(&one.canonical()) && one.canonical().covers(&one));
    }
}
