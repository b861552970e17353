//! The page on security names a test for each threat.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Returns the text of all Rust files below a folder.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn each_test_that_the_page_names_exists() {
    let root = root();
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat"));
    let cells: Vec<&str> = rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap()).collect();
    assert!(cells.len() > 20, "{cells:?}");
    let without_test: Vec<_> = cells.iter().filter(|cell| !cell.contains('`')).collect();
    assert_eq!(
        without_test.len(),
        2,
        "each threat has a test, but the memory after use and a proxy of reqwest: {without_test:?}"
    );
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);
    sources(&root.join("crates"), &mut code);
    let named: BTreeSet<&str> = cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    for name in named {
        assert!(code.contains(&format!("fn {name}()")), "docs/security.md names the test {name}, which does not exist");
    }
}

/// Finds the manifests of all packages of the repository.
fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "Cargo.toml" {
            found.push(path);
        } else if entry.file_type().unwrap().is_dir() && name != "target" && name != ".git" && name != "node_modules" {
            manifests(&path, found);
        }
    }
}

/// Also those outside the workspace, but for one: the switch of the mutants reads the environment where it must not allocate.
#[test]
fn each_package_forbids_unsafe_code() {
    let mut found = Vec::new();
    manifests(root(), &mut found);
    assert!(found.len() > 10, "{found:?}");
    for path in found.into_iter().filter(|path| !path.ends_with(".ci/mutants/switch/Cargo.toml")) {
        let manifest: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let lints = manifest.get("lints");
        let is_inherited =
            lints.is_some_and(|lints| lints.get("workspace").and_then(toml::Value::as_bool) == Some(true));
        let workspace = manifest.get("workspace").and_then(|workspace| workspace.get("lints"));
        let own = |lints: Option<&toml::Value>| lints?.get("rust")?.get("unsafe_code")?.as_str().map(str::to_owned);
        let level = own(lints).or_else(|| own(workspace));
        assert!(level.map_or(is_inherited, |level| level == "forbid"), "{}", path.display());
    }
}
