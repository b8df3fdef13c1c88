//! Documents name the tests that show what they claim: each of them is there, and is a test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A name of a test is a sentence: shorter names in code spans are functions, settings, columns.
const LEAST_UNDERSCORES: usize = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below a directory that end so, without what is built.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "corpus" {
                open.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

/// What stands in code spans.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    // Blocks of code are set off by three of them, which leaves their content outside.
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn is_name_of_a_test(span: &str) -> bool {
    span.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && span.bytes().filter(|byte| *byte == b'_').count() >= LEAST_UNDERSCORES
}

/// One file, not a short form for several.
fn is_a_source_file(span: &str) -> bool {
    span.ends_with(".rs") && span.contains('/') && !span.contains(['{', '*'])
}

/// Every test, with the file that it is in.
fn tests() -> BTreeMap<String, PathBuf> {
    let mut tests = BTreeMap::new();
    for file in ["crates", "tests"].iter().flat_map(|part| files(&root().join(part), ".rs")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((before, after)) = line.split_once("fn ") {
                let name = after.split(['(', '<']).next().unwrap();
                if is_test && ["", "async "].contains(&before) {
                    tests.insert(name.to_owned(), file.clone());
                }
                is_test = false;
            } else if let Some((name, rest)) = line.split_once(": \"") {
                // One line of the table of readers makes one test.
                if file.ends_with("tests/fuzz/tests/fuzz.rs") && rest.ends_with("\",") {
                    tests.insert(name.to_owned(), file.clone());
                }
            }
        }
    }
    tests
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let tests = tests();
    assert!(tests.len() > 800, "{} tests were found", tests.len());
    let documents = files(&root().join("docs"), ".md").into_iter().chain([root().join("README.md")]);
    let (mut named, mut missing) = (BTreeSet::new(), Vec::new());
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for span in spans(&text).filter(|span| is_name_of_a_test(span)) {
            named.insert(span.to_owned());
            if !tests.contains_key(span) {
                missing.push(format!("{}: {span}", document.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
    assert!(named.len() > 80, "only {} tests are named", named.len());
}

#[test]
fn every_source_file_that_a_document_names_is_there() {
    let root = root();
    let mut below = vec![root.clone(), root.join("crates"), root.join("tests"), root.join("crates/kith/src")];
    for krate in std::fs::read_dir(root.join("crates")).unwrap() {
        below.push(krate.unwrap().path());
    }
    let mut seen = 0;
    for document in files(&root.join("docs"), ".md").into_iter().chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&document).unwrap();
        for span in spans(&text).filter(|span| is_a_source_file(span)) {
            let path = span.trim_start_matches("../");
            // `listener/src/x.rs` or `listener/x.rs`: the second is short for it.
            let (first, rest) = path.split_once('/').unwrap();
            let short = root.join("crates").join(first).join("src").join(rest);
            let there = short.is_file() || below.iter().any(|place| place.join(path).is_file());
            assert!(there, "{}: there is no {span}", document.strip_prefix(&root).unwrap().display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} files are named");
}
