//! Sets of scopes, one on each line.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use tower_bearer::{
    Scopes, SmartScope,
    scope::{Interaction, describe},
};

fuzz_target!(|text: &str| {
    let parsed: Vec<_> = text.split('\n').take(3).map(|line| (line, line.parse::<Scopes>())).collect();
    for (line, scopes) in &parsed {
        let is_valid = line.chars().all(|c| c == ' ' || c.is_ascii_graphic() && c != '"' && c != '\\');
        assert_eq!(scopes.is_ok(), is_valid, "{line}");
    }
    let sets: Vec<_> = parsed.into_iter().filter_map(|(line, scopes)| Some((line, scopes.ok()?))).collect();
    for (line, scopes) in &sets {
        check_one(line, scopes);
    }
    for (_, granted) in &sets {
        for (_, needed) in &sets {
            check_two(granted, needed);
            for (_, third) in &sets {
                assert!(!granted.covers(needed) || !needed.covers(third) || granted.covers(third));
            }
        }
    }
});

fn check_one(line: &str, scopes: &Scopes) {
    let words: BTreeSet<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
    assert_eq!(scopes.iter().collect::<BTreeSet<_>>(), words);
    assert_eq!((scopes.len(), scopes.is_empty()), (words.len(), words.is_empty()));
    let written = scopes.to_string();
    let again: Scopes = written.parse().unwrap();
    assert_eq!((&again, again.to_string()), (scopes, written.clone()));
    let json = serde_json::to_string(scopes).unwrap();
    assert_eq!(&serde_json::from_str::<Scopes>(&json).unwrap(), scopes);
    let list = serde_json::to_string(&scopes.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(&serde_json::from_str::<Scopes>(&list).unwrap(), scopes);
    for scope in scopes.iter() {
        let _ = describe(scope);
        assert_eq!(scope.parse::<SmartScope>().is_ok(), scopes.smart().any(|smart| smart.as_str() == scope));
    }
    for scope in scopes.smart() {
        let canonical = scope.canonical();
        assert_eq!(canonical.canonical(), canonical);
        assert!(canonical.covers(scope) && scope.covers(&canonical));
        assert_eq!(canonical.as_str().parse::<SmartScope>().unwrap(), canonical);
        assert!(scope.interactions().count() > 0 && !scope.describe().is_empty());
        for interaction in Interaction::ALL {
            let allows = scope.query().is_none() && scope.interactions().any(|one| one == interaction);
            let resource = scope.resource().unwrap_or("Patient");
            assert_eq!(scope.allows(scope.level(), resource, interaction), allows);
        }
    }
}

fn check_two(granted: &Scopes, needed: &Scopes) {
    let missing = needed.missing_from(granted);
    assert_eq!(granted.covers(needed), missing.is_empty());
    assert!(missing.iter().all(|scope| needed.contains(scope) && !granted.contains(scope)));
    let both: Scopes = format!("{granted} {needed}").parse().unwrap();
    assert!(both.covers(granted) && both.covers(needed));
    // A scope that is not of SMART is covered by the same text alone.
    let smart: BTreeSet<_> = needed.smart().map(SmartScope::as_str).collect();
    for scope in needed.iter().filter(|scope| !smart.contains(scope)) {
        assert_eq!(missing.contains(scope), !granted.contains(scope));
    }
}
