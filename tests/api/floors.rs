//! Data flows one way: a file uses only modules on floors below its own, or its own siblings.

use std::{collections::BTreeMap, fs, path::Path};

/// The floors, lowest first. A module stands for its whole folder unless a file in it is named by itself.
const FLOORS: &[&[&str]] = &[
    &["error", "clock", "per_core"],
    &["challenge", "drain", "saved_head", "transport", "recursion", "scope"],
    &["token", "origin"],
    &["destination", "verify"],
    &["verdict"],
    &["source", "replay", "cache/flight", "cache/backoff", "cache/budget"],
    &["extensions"],
    &["cache", "grant"],
    &["context"],
    &["future"],
    &["service"],
    &["layer"],
    &["testing", "lib"],
];

#[test]
fn each_file_uses_only_floors_below_its_own() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&src, &src, &mut files);
    assert!(files.len() > 30, "the source was found");
    for (module, text) in &files {
        let own = floor(module);
        for used in uses(text) {
            let same_folder = module.split('/').next() == used.split('/').next();
            assert!(floor(&used) < own || same_folder, "src/{module}.rs is on floor {own} and uses crate::{used}");
        }
    }
}

#[test]
fn the_two_hard_algorithms_know_nothing_of_tokens() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&src, &src, &mut files);
    for (module, text) in files.iter().filter(|(name, _)| name.starts_with("replay/") || *name == "cache/flight") {
        for used in uses(text) {
            assert_eq!(used.split('/').next(), module.split('/').next(), "src/{module}.rs uses crate::{used}");
        }
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            files.insert(name.to_str().unwrap().replace('\\', "/"), fs::read_to_string(&path).unwrap());
        }
    }
}

/// The modules after each `crate::` in code, as paths: those in `use` trees and those written out.
fn uses(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        tree(&code[at + "crate::".len()..], "", &mut found);
    }
    found
}

/// The paths of one use tree, to the depth that floors are named in.
fn tree(text: &str, prefix: &str, found: &mut Vec<String>) {
    if let Some(inner) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut begin = 0;
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => return tree(inner[begin..at].trim(), prefix, found),
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    tree(inner[begin..at].trim(), prefix, found);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return;
    }
    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
    match text[name.len()..].strip_prefix("::") {
        Some(rest) if prefix.is_empty() => tree(rest, &path, found),
        _ => found.push(path),
    }
}

fn floor(module: &str) -> usize {
    let module = module.strip_suffix("/mod").unwrap_or(module);
    let top = module.split('/').next().unwrap();
    let find = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    find(module)
        .or_else(|| find(top))
        .unwrap_or_else(|| panic!("src/{module}.rs is on no floor: add it to this test and to ARCHITECTURE.md"))
}
