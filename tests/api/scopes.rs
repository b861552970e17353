//! Scopes: RFC 6749 §3.3 and SMART App Launch 2.2, "Scopes and Launch Context".

use serde_json::json;
use tower_bearer::{
    Scopes, SmartScope,
    scope::{Interaction, Level, describe},
};

const V2: &[&str] = &[
    "patient/*.rs",
    "patient/*.cruds",
    "patient/*.r",
    "patient/AllergyIntolerance.rs",
    "patient/AllergyIntolerance.cruds",
    "patient/AllergyIntolerance.cud",
    "patient/Observation.rs",
    "patient/Observation.cu",
    "patient/Observation.c",
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
    "patient/Patient.r",
    "patient/Condition.rs",
    "user/*.cruds",
    "user/Patient.rs",
    "user/Observation.rs",
    "user/Appointment.cruds",
    "system/*.rs",
    "system/*.cruds",
    "system/Observation.rs",
    "system/Encounter.cud",
];

/// Scopes of version 1, each with its form in version 2.
const V1: &[(&str, &str)] = &[
    ("patient/Observation.read", "patient/Observation.rs"),
    ("patient/Immunization.read", "patient/Immunization.rs"),
    ("patient/*.read", "patient/*.rs"),
    ("user/*.write", "user/*.cud"),
    ("patient/*.*", "patient/*.cruds"),
    ("system/Encounter.*", "system/Encounter.cruds"),
];

const NOT_CLINICAL: &[&str] = &[
    "launch",
    "launch/patient",
    "launch/encounter",
    "launch/relatedperson?role=friend",
    "openid",
    "fhirUser",
    "profile",
    "offline_access",
    "online_access",
];

/// Invalid scopes, each with a word from the error message.
const INVALID: &[(&str, &str)] = &[
    ("patient/Observation.sr", "order"),
    ("patient/Observation.dc", "order"),
    ("patient/Observation.", "letters"),
    ("patient/Observation", "dot"),
    ("patient/.rs", "type"),
    ("doctor/Observation.rs", "begins"),
    ("patient/Observation.rx", "letters"),
    ("patient/Observation.rr", "letters"),
    ("patient/Observation.READ", "letters"),
    ("Patient/Observation.rs", "begins"),
    ("patient/Obs-1.rs", "type"),
    ("patient/**.rs", "type"),
    ("patient/Observation.rs.rs", "letters"),
    ("patient/Observation.rs?", "param=value"),
    ("patient/Observation.rs?category", "param=value"),
    ("patient/Observation.rs?category=", "param=value"),
    ("patient/Observation.rs?=laboratory", "param=value"),
    ("patient/Observation.rs?a=1&", "param=value"),
    ("patient/Observation.rs ", "' '"),
    ("patient/Observation.rs?code=\"1\"", "'\"'"),
    ("patient/Observation.rs?code=\\", r"'\\'"),
    ("patient/Observation.rs?name=ä", "'ä'"),
    ("", "begins"),
];

pub(crate) fn smart(text: &str) -> SmartScope {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn scopes(text: &str) -> Scopes {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_clinical_scopes_of_the_specification_are_understood_and_kept_as_written() {
    for text in V2 {
        assert_eq!(smart(text).to_string(), *text);
        assert_eq!(smart(text).canonical(), smart(text));
    }
    for (text, v2) in V1 {
        assert_eq!(smart(text).to_string(), *text);
        assert_eq!(smart(text).canonical(), smart(v2));
        assert!(smart(text).covers(&smart(v2)) && smart(v2).covers(&smart(text)), "{text}");
    }
}

#[test]
fn text_that_is_not_a_clinical_scope_is_refused_with_the_reason() {
    for (text, reason) in INVALID {
        let error = text.parse::<SmartScope>().expect_err(text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    for text in NOT_CLINICAL {
        text.parse::<SmartScope>().expect_err(text);
        assert_eq!(scopes(text).smart().count(), 0);
        assert_eq!(scopes(text).to_string(), *text);
    }
}

#[test]
fn the_parts_of_a_scope_can_be_asked_for() {
    let scope = smart("patient/Observation.cu?category=a&status=b");
    assert_eq!((scope.level(), scope.resource()), (Level::Patient, Some("Observation")));
    assert_eq!(scope.interactions().collect::<Vec<_>>(), [Interaction::Create, Interaction::Update]);
    assert_eq!(scope.query(), Some("category=a&status=b"));
    assert_eq!((smart("system/*.*").resource(), smart("system/*.*").query()), (None, None));
}

#[test]
fn no_level_includes_another() {
    let levels = ["patient/*.cruds", "user/*.cruds", "system/*.cruds"].map(smart);
    for (one, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        assert!(!levels[one].covers(&levels[other]));
    }
}

#[test]
fn resources_are_case_sensitive() {
    assert!(!smart("patient/observation.rs").covers(&smart("patient/Observation.rs")));
    assert!(!smart("patient/observation.rs").allows(Level::Patient, "Observation", Interaction::Read));
}

#[test]
fn a_query_covers_only_itself() {
    let (plain, restricted) = (smart("patient/Observation.rs"), smart("patient/Observation.rs?category=a&status=b"));
    assert!(plain.covers(&restricted) && !restricted.covers(&plain));
    assert!(restricted.covers(&smart("patient/Observation.r?status=b&category=a")));
    for other in ["category=a", "category=a&status=c", "category=a&status=b&code=c", "category=A&status=b"] {
        assert!(!restricted.covers(&smart(&format!("patient/Observation.rs?{other}"))), "{other}");
    }
    assert!(!restricted.allows(Level::Patient, "Observation", Interaction::Read));
    assert_eq!(smart("patient/*.read?b=2&a=1&b=2").canonical().to_string(), "patient/*.rs?a=1&b=2");
}

#[test]
fn what_is_granted_covers_what_is_needed_across_versions_and_pieces() {
    for (granted, needed) in [
        ("patient/*.read", "patient/Observation.rs"),
        ("patient/Observation.r patient/Observation.s", "patient/Observation.rs"),
        ("patient/Observation.r patient/*.s", "patient/Observation.read"),
        ("patient/*.write patient/*.read", "patient/*.*"),
        ("patient/*.r patient/Observation.s?category=a", "patient/Observation.rs?category=a"),
        ("openid launch/patient", "launch/patient"),
        ("openid", ""),
    ] {
        assert!(scopes(granted).covers(&scopes(needed)), "{needed} within {granted}");
    }
    for (granted, needed) in [
        ("patient/Observation.rs patient/Condition.rs", "patient/*.rs"),
        ("patient/Observation.r user/Observation.s", "patient/Observation.rs"),
        ("patient/Observation.r patient/Observation.s?category=a", "patient/Observation.rs"),
        ("launch", "launch/patient"),
        ("OpenID", "openid"),
        ("", "openid"),
    ] {
        assert!(!scopes(granted).covers(&scopes(needed)), "{needed} is not within {granted}");
    }
}

#[test]
fn what_is_missing_is_named_as_it_was_asked_for() {
    let needed = scopes("openid patient/Observation.read patient/Condition.cruds launch");
    let granted = scopes("launch patient/*.rs");
    assert_eq!(needed.missing_from(&granted).to_string(), "openid patient/Condition.cruds");
    assert!(needed.missing_from(&needed).is_empty());
}

#[test]
fn scopes_are_a_set_in_the_order_of_their_text() {
    let set = scopes("b  a a ");
    assert_eq!((set.to_string(), set.len()), ("b a".to_owned(), 2));
    assert_eq!(set, scopes("a b"));
    assert_ne!(set, scopes("A b"));
    assert_ne!(set, scopes("a b c"));
    assert!(set.contains("a") && !set.contains("a b"));
    assert!(scopes("").is_empty());
    for bad in ["a\tb", "a\nb", "a \"b\"", "a\\", "ä", "a\u{7f}"] {
        bad.parse::<Scopes>().expect_err(bad);
    }
}

#[test]
fn scopes_are_a_string_in_json_and_read_from_an_array_too() {
    let set = scopes("openid patient/*.rs");
    assert_eq!(serde_json::to_value(&set).unwrap(), json!("openid patient/*.rs"));
    for json in [json!("openid patient/*.rs"), json!(["patient/*.rs", "openid"]), json!(["openid patient/*.rs"])] {
        assert_eq!(serde_json::from_value::<Scopes>(json).unwrap(), set);
    }
    for json in [json!(7), json!(["openid", 7]), json!("a\"b"), json!(null)] {
        serde_json::from_value::<Scopes>(json).unwrap_err();
    }
    let one = smart("patient/*.read");
    assert_eq!(serde_json::to_value(&one).unwrap(), json!("patient/*.read"));
    assert_eq!(serde_json::from_value::<SmartScope>(json!("patient/*.read")).unwrap(), one);
    serde_json::from_value::<SmartScope>(json!("openid")).unwrap_err();
}

#[test]
fn a_scope_is_described_in_words() {
    for (scope, words) in [
        ("patient/Observation.read", "read and search Observation of the patient in context"),
        ("patient/Patient.r", "read Patient of the patient in context"),
        ("user/*.*", "create, read, update, delete and search all resources that the user may access"),
        ("system/Encounter.cu", "create and update Encounter that the client may access without a user"),
        (
            "patient/Observation.s?category=lab&status=final",
            "search Observation of the patient in context, where category is lab and status is final",
        ),
        ("launch/encounter", "know the encounter in context"),
        ("launch/relatedperson?role=friend", "know the relatedperson in context, where role is friend"),
    ] {
        assert_eq!(describe(scope).as_deref(), Some(words));
    }
    for scope in V2.iter().chain(NOT_CLINICAL) {
        assert!(describe(scope).is_some(), "{scope}");
    }
    for scope in INVALID.iter().map(|(scope, _)| *scope).chain(["house", "launch/", "launch/7", "launch/a b"]) {
        assert_eq!(describe(scope), None, "{scope}");
    }
}
