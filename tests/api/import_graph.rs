//! Which file of the source imports which, read from the `use` statements and the inline paths.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
};

/// The files, by their path from `src` without the extension: `lib`, `cache/mod`, `cache/state`.
pub(crate) struct ImportGraph(BTreeMap<String, SourceFile>);

pub(crate) struct SourceFile {
    /// Everything but comments, literals and what is compiled for tests only.
    pub(crate) tokens: Vec<String>,
    pub(crate) imports: BTreeSet<Import>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// As it is written, from the root of the crate: `cache::state::State`.
    pub(crate) path: String,
    /// The file that the path leads to. A re-export leads to the `mod.rs` that has it.
    pub(crate) file: String,
}

impl ImportGraph {
    pub(crate) fn of_this_crate() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut texts = BTreeMap::new();
        read(&src, &src, &mut texts);
        Self::new(&texts)
    }

    pub(crate) fn new(texts: &BTreeMap<String, String>) -> Self {
        let file = |(name, text): (&String, &String)| {
            let tokens = without_tests(&tokens(text));
            let module = module(name);
            let paths = paths(&tokens).into_iter().filter_map(|path| absolute(&path, &module, texts));
            let imports = paths.map(|path| Import { file: file_of(&path, texts), path: path.join("::") });
            let imports = imports.filter(|import| import.file != *name).collect();
            (name.clone(), SourceFile { tokens, imports })
        };
        let mut files: BTreeMap<_, _> = texts.iter().map(file).collect();
        let for_tests: Vec<_> = files.keys().filter(|name| is_for_tests(name, &files, texts)).cloned().collect();
        files.retain(|name, _| !for_tests.contains(name));
        Self(files)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &SourceFile)> {
        self.0.iter().map(|(name, file)| (name.as_str(), file))
    }

    /// The circles: for each group of files that reach each other, the shortest way round, and how many files it has.
    /// Imports through the `mod.rs` of a folder that the file is in are left out: they would join all files of the folder.
    pub(crate) fn circles(&self) -> Vec<(Vec<&str>, usize)> {
        let reached: BTreeMap<_, _> = self.0.keys().map(|file| (file.as_str(), self.reached_from(file))).collect();
        let mut circles = Vec::new();
        let mut seen = BTreeSet::new();
        for (file, others) in &reached {
            let group: Vec<_> = others.keys().filter(|other| reached[**other].contains_key(file)).collect();
            if !group.is_empty() && seen.insert(*file) {
                seen.extend(group.iter().copied());
                let ways = group.iter().map(|member| way(member, &reached[**member]));
                circles.push((ways.min_by_key(Vec::len).unwrap(), group.len()));
            }
        }
        circles
    }

    /// The files that a file reaches, each with the one that imports it on the shortest way.
    fn reached_from<'a>(&'a self, start: &'a str) -> BTreeMap<&'a str, &'a str> {
        let mut reached = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(file) = queue.pop_front() {
            for import in self.0[file].imports.iter().filter(|import| !import.is_through_own_folder(file)) {
                if !reached.contains_key(&*import.file) {
                    reached.insert(&*import.file, file);
                    queue.push_back(&import.file);
                }
            }
        }
        reached
    }
}

impl Import {
    /// Whether it goes through the `mod.rs` of a folder that the importing file is in, or through `lib.rs`.
    pub(crate) fn is_through_own_folder(&self, importer: &str) -> bool {
        self.file == "lib" || self.file.strip_suffix("mod").is_some_and(|folder| importer.starts_with(folder))
    }
}

/// The way from a file round to itself.
fn way<'a>(file: &'a str, reached: &BTreeMap<&'a str, &'a str>) -> Vec<&'a str> {
    let mut way = vec![file, reached[file]];
    while way[way.len() - 1] != file {
        way.push(reached[way[way.len() - 1]]);
    }
    way.reverse();
    way
}

fn read(root: &Path, folder: &Path, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, texts);
        } else {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            texts.insert(name.to_str().unwrap().replace('\\', "/"), fs::read_to_string(&path).unwrap());
        }
    }
}

/// The module that a file has, from the root of the crate.
fn module(file: &str) -> Vec<String> {
    let file = if file == "lib" { "" } else { file.strip_suffix("/mod").unwrap_or(file) };
    file.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The file that has a module, if there is one.
fn file_with(module: &[String], texts: &BTreeMap<String, String>) -> Option<String> {
    let path = module.join("/");
    let names = if path.is_empty() { vec!["lib".to_owned()] } else { vec![format!("{path}/mod"), path] };
    names.into_iter().find(|name| texts.contains_key(name))
}

/// Whether the module of a file is declared for tests only.
fn is_for_tests(name: &str, files: &BTreeMap<String, SourceFile>, texts: &BTreeMap<String, String>) -> bool {
    let module = module(name);
    let Some((child, parent)) = module.split_last() else { return false };
    let parent = &files[&file_with(parent, texts).expect("each module has a parent")];
    !parent.tokens.windows(2).any(|pair| pair[0] == "mod" && pair[1] == *child)
}

/// The file of the innermost module on a path.
fn file_of(path: &[String], texts: &BTreeMap<String, String>) -> String {
    (0..=path.len()).rev().find_map(|len| file_with(&path[..len], texts)).expect("the root is a file")
}

/// A path from the root of the crate, or `None` for a path into another crate.
fn absolute(path: &[String], module: &[String], texts: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let rest = match path[0].as_str() {
        "crate" => {
            base.clear();
            &path[1..]
        }
        "self" => &path[1..],
        "super" => {
            let up = path.iter().take_while(|segment| *segment == "super").count();
            base.truncate(base.len() - up);
            &path[up..]
        }
        child => {
            let is_child = file_with(&[module, &[child.to_owned()]].concat(), texts).is_some();
            if is_child { path } else { return None }
        }
    };
    Some([&base, rest].concat())
}

/// The paths in `use` statements, and those written out elsewhere that begin at the crate or at a parent.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "use" => {
                at += 1;
                use_tree(tokens, &mut at, &[], &mut found);
            }
            "crate" | "super" if tokens.get(at + 1).is_some_and(|next| next == "::") => {
                let mut path = vec![tokens[at].clone()];
                while tokens[at + 1] == "::" && is_name(&tokens[at + 2]) {
                    at += 2;
                    path.push(tokens[at].clone());
                }
                found.push(path);
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}

/// The paths of one `use` tree.
fn use_tree(tokens: &[String], at: &mut usize, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    loop {
        match tokens[*at].as_str() {
            "{" => {
                while tokens[*at] != "}" {
                    *at += 1;
                    if tokens[*at] != "}" {
                        use_tree(tokens, at, &path, found);
                    }
                }
                *at += 1;
                return;
            }
            "," | "}" | ";" => break,
            "as" => *at += 1,
            "self" if !path.is_empty() => {}
            name if is_name(name) => path.push(name.to_owned()),
            _ => {}
        }
        *at += 1;
    }
    if !path.is_empty() {
        found.push(path);
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names and punctuation. Comments, literals and lifetimes are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            string(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#\"") || rest.starts_with("br#\"") {
            let hashes = rest.chars().skip_while(|c| *c != '#' && *c != '"').take_while(|c| *c == '#').count();
            let begin = rest.find('"').unwrap() + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            begin + rest[begin..].find(&end).unwrap() + end.len()
        } else if first == '\'' {
            quote(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..len].to_owned());
            len
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    tokens
}

/// The length of a string literal.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    end.unwrap().0 + 1
}

/// The length of a character literal, or of a lifetime.
fn quote(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next().unwrap();
    let (next, second) = chars.next().unwrap();
    if first == '\\' {
        return next + second.len_utf8() + text[next + second.len_utf8()..].find('\'').unwrap() + 1;
    }
    if second == '\'' { next + 1 } else { text[1..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap() + 1 }
}

/// Without the items under `#[cfg(test)]` and `#[cfg(all(test, ..))]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARKS: [&str; 2] = ["#[cfg(test)", "#[cfg(all(test,"];
    let mut kept = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let begin = rest.iter().take(8).map(String::as_str).collect::<String>();
        if !MARKS.iter().any(|mark| begin.starts_with(mark)) {
            kept.push(rest[0].clone());
            rest = &rest[1..];
            continue;
        }
        let mut depth = 0_usize;
        let end = rest.iter().position(|token| {
            depth = if token == "{" { depth + 1 } else { depth };
            let is_end = (depth == 1 && token == "}") || (depth == 0 && token == ";");
            depth = if token == "}" { depth - 1 } else { depth };
            is_end
        });
        rest = &rest[end.expect("an item ends") + 1..];
        // That of a `use` with braces.
        rest = rest.strip_prefix(&[String::from(";")]).unwrap_or(rest);
    }
    kept
}
