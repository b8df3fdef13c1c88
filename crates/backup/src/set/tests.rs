//! Tests of sets: what is taken and what is refused, with each sentence.

use super::*;

fn set(name: &str, paths: &[&str], to: &[&str], exclude: &[&str]) -> Result<BackupSet, SetError> {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    BackupSet::new(name, paths.iter().map(PathBuf::from).collect(), texts(to), texts(exclude))
}

fn refusal(name: &str, paths: &[&str], to: &[&str], exclude: &[&str]) -> String {
    set(name, paths, to, exclude).unwrap_err().to_string()
}

#[test]
fn paths_become_normal() {
    let set =
        set("docs", &["/home//anna/./docs/", "/etc", "/home/anna/docs-old"], &["Bert"], &["*.tmp"]).unwrap();
    let paths: Vec<_> = set.paths().iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/home/anna/docs", "/etc", "/home/anna/docs-old"]);
    assert_eq!(
        (set.name().as_str(), set.destinations(), set.excludes()),
        ("docs", &["Bert".to_owned()][..], &["*.tmp".to_owned()][..])
    );
}

#[test]
fn each_refusal_names_the_set_and_the_part() {
    let name = |problem: &str, name: &str| {
        format!("the set name {name:?} can't be used: {problem}; allowed are 1 to 64 printable characters")
    };
    assert_eq!(refusal("", &["/a"], &[], &[]), name("it is empty", ""));
    assert_eq!(refusal(" a", &["/a"], &[], &[]), name("it begins or ends with a space", " a"));
    let unprintable = "it contains characters that can't be printed";
    assert_eq!(refusal("a\u{1b}[31m", &["/a"], &[], &[]), name(unprintable, "a\u{1b}[31m"));
    assert_eq!(refusal("a\u{202e}b", &["/a"], &[], &[]), name(unprintable, "a\u{202e}b"));
    let long = "ü".repeat(65);
    assert_eq!(refusal(&long, &["/a"], &[], &[]), name("it has more than 64 characters", &long));
    assert!(set(&"ü".repeat(64), &["/a"], &[], &[]).is_ok());
    assert_eq!(refusal("a", &[], &[], &[]), "the set \"a\" has no paths; name at least one folder or file");
    let relative =
        "the set \"a\" names the path \"b\", which is not absolute; write it from the root, as in /home/anna";
    assert_eq!(refusal("a", &["b"], &[], &[]), relative);
    let parent = "the set \"a\" names the path \"/b/..\" with \"..\" in it; write the path without it";
    assert_eq!(refusal("a", &["/b/.."], &[], &[]), parent);
    assert_eq!(refusal("a", &["/b"], &[""], &[]), "the set \"a\" has an empty destination: \"\"");
    assert_eq!(
        refusal("a", &["/b"], &["x", "y", "x"], &[]),
        "the set \"a\" has a repeated destination: \"x\""
    );
    assert_eq!(refusal("a", &["/b"], &[], &["*", "*"]), "the set \"a\" has a repeated exclusion: \"*\"");
    let many = BackupSet::new("a", vec![PathBuf::from("/b"); 1001], Vec::new(), Vec::new()).unwrap_err();
    assert_eq!(many.to_string(), "the set \"a\" has 1001 paths, more than the 1000 allowed");
}

#[test]
fn overlapping_paths_are_named_wherever_they_stand() {
    let overlap = |paths: &[&str], outer: &str, inner: &str| {
        let expected = format!(
            "the set \"a\" names {inner:?}, which {outer:?} already contains; leave out one of the two"
        );
        assert_eq!(refusal("a", paths, &[], &[]), expected);
    };
    overlap(&["/home/anna/docs", "/etc", "/home"], "/home", "/home/anna/docs");
    overlap(&["/a", "/a-b", "/a/b"], "/a", "/a/b");
    overlap(&["/a/", "/b", "/a"], "/a", "/a");
    overlap(&["/x", "/"], "/", "/x");
    assert!(set("a", &["/a", "/a-b", "/a b", "/ab"], &[], &[]).is_ok());
}

#[test]
fn names_of_sets_are_unique_also_in_another_case() {
    let docs = set("docs", &["/a"], &[], &[]).unwrap();
    let shouted = set("DOCS", &["/b"], &[], &[]).unwrap();
    let other = set("other", &["/a"], &[], &[]).unwrap();
    assert_eq!(check_sets(&[docs.clone(), other]), Ok(()));
    let twice = check_sets(&[docs, shouted]).unwrap_err();
    assert_eq!(twice.to_string(), "there are two sets named \"DOCS\"; every set needs a name of its own");
}

#[test]
fn a_set_survives_being_written_and_is_checked_when_read() {
    let set = set("docs", &["/home/anna"], &["Bert"], &["*.tmp"]).unwrap();
    let text = serde_json::to_string(&set).unwrap();
    assert_eq!(text, r#"{"name":"docs","paths":["/home/anna"],"to":["Bert"],"exclude":["*.tmp"]}"#);
    assert_eq!(serde_json::from_str::<BackupSet>(&text).unwrap(), set);
    let read = |text: &str| serde_json::from_str::<BackupSet>(text).unwrap_err().to_string();
    assert!(read(r#"{"name":"docs"}"#).starts_with("the set \"docs\" has no paths"));
    assert!(read(r#"{"name":"docs","paths":["/a"],"colour":1}"#).starts_with("unknown field `colour`"));
}

#[test]
fn alternates_are_others_than_the_destinations() {
    let set = |to: &[&str]| {
        let to = to.iter().map(|to| (*to).to_owned()).collect();
        BackupSet::new("documents", vec!["/home/anna".into()], to, Vec::new()).unwrap()
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = set(&["Bert"]).with_alternates(named(&["Carla", "Dora"])).unwrap();
    assert_eq!(both.alternates(), ["Carla", "Dora"]);
    assert_eq!(both.friends().collect::<Vec<_>>(), ["Bert", "Carla", "Dora"]);
    let text = serde_json::to_string(&both).unwrap();
    assert_eq!(serde_json::from_str::<BackupSet>(&text).unwrap(), both);
    assert!(!serde_json::to_string(&set(&["Bert"])).unwrap().contains("alternate"), "older programs read it");
    let refused = |to: &[&str], alternates: &[&str]| {
        set(to).with_alternates(named(alternates)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&["Bert"], &["Carla", "bert"]),
        "the set \"documents\" names \"bert\" as a destination and as an alternate; leave out one of the two"
    );
    assert!(refused(&[], &["Carla"]).contains("no destination"));
    assert!(refused(&["Bert"], &["Carla", "Carla"]).contains("a repeated alternate"));
    assert!(refused(&["Bert"], &[" "]).contains("an empty alternate"));
}
