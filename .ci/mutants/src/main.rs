//! Rewrites a copy of the sources so that every mutant is in it, behind a switch: `a == b` becomes
//! `(if ::tower_bearer_switch::on(17) { (a) != (b) } else { a == b })`.
//!
//! `tower-bearer-mutants MUTANTS FROM TO`: MUTANTS is a JSON file, the list of `cargo mutants --list --json` with an `id` in each
//! entry; FROM is the tree; TO is its copy, in which the files that MUTANTS names are replaced. Prints JSON: where each mutant is in
//! the new text, by which the errors of the compiler are attributed, and which mutants have no switch, and why.

mod place;

use place::{Edit, Kind, Placer};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path};
use syn::visit::Visit as _;

#[derive(Deserialize)]
struct Listed {
    id: u32,
    file: String,
    genre: String,
    replacement: String,
    span: Lines,
}

#[derive(Deserialize)]
struct Lines {
    start: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

/// One mutant, as the placer sees it.
#[derive(Debug)]
struct Mutant {
    id: u32,
    genre: String,
    replacement: String,
}

/// Bytes of a new file that exist because of a mutant.
#[derive(Serialize)]
struct Region {
    id: u32,
    file: String,
    start: usize,
    end: usize,
}

#[derive(Serialize)]
struct Outcome {
    regions: Vec<Region>,
    unplaced: BTreeMap<u32, &'static str>,
}

fn main() {
    let [mutants, from, to] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("three arguments");
    let mutants: Vec<Listed> =
        serde_json::from_str(&fs::read_to_string(mutants).expect("MUTANTS")).expect("MUTANTS is JSON");
    let mut files = BTreeMap::<String, BTreeMap<Position, Vec<Mutant>>>::new();
    for mutant in mutants {
        let at = files.entry(mutant.file).or_default().entry(mutant.span.start).or_default();
        at.push(Mutant { id: mutant.id, genre: mutant.genre, replacement: mutant.replacement });
    }
    let mut outcome = Outcome { regions: Vec::new(), unplaced: BTreeMap::new() };
    for (file, mutants) in files {
        let text = fs::read_to_string(Path::new(&from).join(&file)).expect("a file of the list exists");
        let syntax = syn::parse_file(&text).expect("a file of the list is Rust");
        let mut placer = Placer::new(&text, mutants);
        placer.visit_file(&syntax);
        let (edits, unplaced) = placer.finish();
        let (text, regions) = apply(&text, edits);
        outcome.unplaced.extend(unplaced);
        outcome.regions.extend(regions.into_iter().map(|(id, start, end)| Region {
            id,
            file: file.clone(),
            start,
            end,
        }));
        fs::write(Path::new(&to).join(&file), text).expect("the copy can be written");
    }
    println!("{}", serde_json::to_string(&outcome).expect("it can be written"));
}

/// Returns the new text, and for each edit that belongs to a mutant, where it is.
fn apply(text: &str, mut edits: Vec<Edit>) -> (String, Vec<(u32, usize, usize)>) {
    // What ends at a place comes before what begins there. The outer one begins first and ends last: its number is the lower one.
    edits.sort_by_key(|edit| match edit.kind {
        Kind::Close => (edit.at, 0, -edit.number),
        Kind::Open => (edit.at, 1, edit.number),
    });
    let (mut new, mut regions, mut copied) = (String::new(), Vec::new(), 0);
    for edit in edits {
        new.push_str(&text[copied.min(edit.at)..edit.at]);
        copied = edit.at + edit.removed;
        let start = new.len();
        new.push_str(&edit.text);
        if let Some(id) = edit.id {
            regions.push((id, start, new.len()));
        }
    }
    new.push_str(&text[copied..]);
    (new, regions)
}
