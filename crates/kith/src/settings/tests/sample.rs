//! The annotated sample file, against the real parser.

use super::*;

fn sample() -> String {
    std::fs::read_to_string(repository().join("config/kith.toml")).unwrap()
}

/// The sample with every `# key = value` line in force.
fn uncommented() -> String {
    let is_key = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    };
    let line = |line: &str| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line).to_owned();
    sample().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_is_valid_and_changes_nothing() {
    assert_eq!(settings(&sample()), Settings::default());
}

#[test]
fn the_sample_shows_every_key_with_its_default() {
    let loaded = World::with(&uncommented()).load();
    assert_eq!(loaded.settings(), &Settings::default());
    for entry in loaded.list() {
        if entry.key == "set" {
            assert!(sample().contains("#     [[set]]"));
            continue;
        }
        assert!(matches!(entry.origin, Origin::File { .. }), "{} is missing in the sample", entry.key);
        assert_eq!(entry.value, entry.default, "{}", entry.key);
    }
}

#[test]
fn the_examples_in_the_sample_are_valid() {
    let example = |line: &str| line.strip_prefix("#     ").unwrap_or(line).to_owned();
    let text: Vec<String> = sample().lines().map(example).collect();
    let (sets, mapped) = (
        text.iter().position(|l| l == "[[set]]"),
        text.iter().position(|l| l.contains("firewall.example.org")),
    );
    let settings = settings(&text[sets.unwrap()..].join("\n"));
    assert_eq!(settings.sets[0].name().as_str(), "documents");
    let settings = super::settings(&format!("[network.mapped]\n{}\n", text[mapped.unwrap()]));
    assert_eq!(settings.network.mapped.len(), 1);
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_types() {
    let mut seen = std::collections::BTreeSet::new();
    for key in &schema::KEYS {
        assert!(seen.insert(key.name), "{} is listed twice", key.name);
    }
    assert_eq!(World::new().load().settings(), &Settings::default());
}
