//! Which file may import which: no circle, and each layer only the layers below it.

use std::{collections::BTreeMap, fmt::Write};

use crate::import_graph::{Import, ImportGraph};

/// The layers, lowest first. A name stands for the whole folder, except for files of it that are named separately.
const LAYERS: &[&[&str]] = &[
    &["error", "clock", "futures", "held_answer", "inner_service", "per_core", "secret_string", "sync", "timer"],
    &["events", "other_origins"],
    &["challenge", "drain", "saved_head", "transport", "after_commit", "asking", "recursion", "runtime", "scope"],
    &["token", "origin", "rejection"],
    &["destination", "verify", "token_header"],
    &["verdict"],
    &["judged", "source", "replay", "cache/single_flight", "cache/backoff", "cache/budget"],
    &["extensions"],
    &["judge_body"],
    &["cache", "grant", "store"],
    &["pool"],
    &["layer_config"],
    &["admission"],
    &["future"],
    &["service"],
    &["layer"],
    &["judge_body/layer"],
    &["config"],
    &["testing"],
    &["conformance", "servers", "lib"],
];

/// The algorithms that are read and tested without tokens. Of the rest of the crate they may use `sync` and the alias
/// `BoxError`.
const KNOW_NO_TOKENS: &[&str] = &["replay/", "cache/single_flight"];

#[test]
fn no_file_imports_itself_through_others() {
    let graph = ImportGraph::of_this_crate();
    let circles = graph.circles().into_iter().fold(String::new(), |mut all, (circle, files)| {
        let circle: Vec<_> = circle.iter().map(|file| format!("{file}.rs")).collect();
        writeln!(all, "  {} (in a group of {files} files)", circle.join(" -> ")).unwrap();
        all
    });
    assert!(circles.is_empty(), "these files import each other; move what they share to a file below them:\n{circles}");
}

#[test]
fn no_file_imports_through_the_mod_rs_of_a_folder_that_it_is_in() {
    forbid("names a re-export instead of the file that has it", |file, import| import.is_through_own_folder(file));
}

#[test]
fn each_file_imports_only_layers_below_its_own() {
    assert!(ImportGraph::of_this_crate().files().count() > 30, "the source was found");
    forbid("is not in a layer above it", |file, import| {
        top(file) != top(&import.file) && layer(file) <= layer(&import.file)
    });
}

#[test]
fn single_flight_and_replay_know_nothing_of_tokens() {
    let is_meant = |file: &str| KNOW_NO_TOKENS.iter().any(|name| file.starts_with(name));
    for name in KNOW_NO_TOKENS {
        assert!(ImportGraph::of_this_crate().files().any(|(file, _)| file.starts_with(name)), "{name} is not there");
    }
    forbid("must know nothing of tokens", |file, import| {
        let is_allowed = top(file) == top(&import.file) || import.file == "sync" || import.path == "error::BoxError";
        is_meant(file) && !is_allowed
    });
}

#[test]
fn a_mod_rs_has_only_documentation_modules_and_imports() {
    for (file, source) in
        ImportGraph::of_this_crate().files().filter(|(file, _)| *file == "lib" || file.ends_with("/mod"))
    {
        let mut rest = &*source.tokens;
        while let Some(first) = rest.first() {
            let end = match first.as_str() {
                "#" => rest.iter().position(|token| token == "]"),
                "mod" | "use" | "pub" => rest.iter().position(|token| token == ";"),
                _ => None,
            };
            let item: Vec<_> = rest.iter().take(12).map(String::as_str).collect();
            let end = end.unwrap_or_else(|| panic!("src/{file}.rs has an item of its own: {}", item.join(" ")));
            let is_plain = first == "#" || rest[..end].iter().any(|token| token == "mod" || token == "use");
            assert!(is_plain, "src/{file}.rs has an item of its own: {}", item.join(" "));
            rest = &rest[end + 1..];
        }
    }
}

/// The checks above are worth as much as the reading of the source.
#[test]
fn imports_are_found_wherever_they_are_written() {
    let texts = BTreeMap::from(
        [
            ("lib", "mod a; mod b; mod c; pub use a::X;"),
            ("a/mod", "//! Uses crate::c.\nmod one; mod two;\npub use {one::X, two::Y};"),
            ("a/one", "use crate::{a::two::{self, Y as Z}, c as d};\nconst C: char = '\"'; // crate::b"),
            ("a/two", "fn f<'a>(x: &'a str) -> crate::b::B { super::one::X; \"crate::c\" }"),
            ("b", "use std::fmt;\n#[cfg(test)]\nmod tests { use crate::a; }\n#[cfg(test)] use crate::{a::X};\npub use crate::c::*;\n#[cfg(all(test, x))] mod d;"),
            ("b/d", "use crate::a::X;"),
            ("c", "const R: &str = r#\"use crate::b;\"#;"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned())),
    );
    let graph = ImportGraph::new(&texts);
    let imports: Vec<(&str, Vec<&str>)> = graph
        .files()
        .map(|(file, source)| (file, source.imports.iter().map(|import| import.path.as_str()).collect()))
        .collect();
    assert_eq!(
        imports,
        [
            ("a/mod", vec!["a::one::X", "a::two::Y"]),
            ("a/one", vec!["a::two", "a::two::Y", "c"]),
            ("a/two", vec!["a::one::X", "b::B"]),
            ("b", vec!["c"]),
            ("c", vec![]),
            ("lib", vec!["a::X"]),
        ]
    );
    assert_eq!(graph.circles(), [(vec!["a/one", "a/two", "a/one"], 2)]);
    let (_, b) = graph.files().find(|(file, _)| *file == "b").unwrap();
    assert!(!b.tokens.windows(2).any(|pair| pair == [";", ";"]), "the item under `cfg(test)` is left out whole");
}

/// Fails with each import that `is_wrong`, for the file that has it.
fn forbid(why: &str, is_wrong: impl Fn(&str, &Import) -> bool) {
    let graph = ImportGraph::of_this_crate();
    let imports = graph.files().flat_map(|(file, source)| source.imports.iter().map(move |import| (file, import)));
    let wrong: Vec<_> = imports
        .filter(|(file, import)| is_wrong(file, import))
        .map(|(file, import)| {
            format!("src/{file}.rs imports crate::{} of src/{}.rs, but {why}", import.path, import.file)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn top(file: &str) -> &str {
    file.split('/').next().unwrap()
}

fn layer(file: &str) -> usize {
    let find = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    find(file)
        .or_else(|| find(top(file)))
        .unwrap_or_else(|| panic!("src/{file}.rs is in no layer: add it to this test and to ARCHITECTURE.md"))
}
