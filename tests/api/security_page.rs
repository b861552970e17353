//! The page on security names a test for each threat.

use std::{collections::BTreeSet, fs, path::Path};

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

/// Each package of the repository, also those outside the workspace.
#[test]
fn each_package_forbids_unsafe_code() {
    let mut packages = vec![root().to_owned(), root().join("benches"), root().join("fuzz")];
    for folder in ["crates", "examples"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        packages.extend(entries.filter(|path| path.join("Cargo.toml").exists()));
    }
    assert!(packages.len() > 6, "{packages:?}");
    for package in packages {
        let manifest: toml::Table = fs::read_to_string(package.join("Cargo.toml")).unwrap().parse().unwrap();
        let lints = manifest["lints"].as_table().unwrap();
        let is_inherited = lints.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        let own = |lints: Option<&toml::Value>| lints?.get("rust")?.get("unsafe_code")?.as_str().map(str::to_owned);
        let own = own(manifest.get("lints")).or_else(|| own(manifest.get("workspace")?.get("lints")));
        assert!(own.map_or(is_inherited, |level| level == "forbid"), "{}", package.display());
    }
}
