//! The dependency arrows between the crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use e2e::run;

/// Which crates of this workspace each crate may depend on. A crate that is not here may depend on none of them; the
/// composition root and the tests may depend on all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kith-identity", &[]),
    ("kith-wire", &["kith-identity"]),
    ("kith-listener", &["kith-identity"]),
    ("kith-network", &[]),
    ("kith-nat", &["kith-network"]),
    ("kith-peer", &["kith-identity", "kith-wire", "kith-network"]),
    ("kith-hub", &["kith-identity", "kith-wire"]),
    ("kith-near", &["kith-identity", "kith-network"]),
    ("kith-vault", &["kith-wire"]),
    ("kith-archive", &[]),
    ("kith-backup", &["kith-archive"]),
    ("kith-doctor", &[]),
    ("kith-control", &["kith-identity", "kith-wire", "kith-archive", "kith-backup", "kith-doctor"]),
];

/// Packages that only test: they may depend on all, and nothing on them.
const TESTS: &[&str] = &["e2e", "fuzz"];

/// Crates that never see each other: `kith` connects them.
const STRANGERS: &[&str] = &["kith-listener", "kith-peer", "kith-vault", "kith-archive"];

/// The local crates that each crate of the workspace depends on, for whatever purpose.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let metadata = run(&mut cargo).json();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |package: &serde_json::Value| package["name"].as_str().unwrap().to_owned();
    let local: BTreeSet<String> = packages.iter().map(name).collect();
    let dependencies = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap().iter().map(name);
        // Tests of a crate may use the crate itself.
        all.filter(|other| local.contains(other)).collect()
    };
    packages.iter().map(|package| (name(package), dependencies(package))).collect()
}

#[test]
fn crates_depend_on_each_other_only_as_the_design_allows() {
    let arrows = arrows();
    assert!(arrows.len() >= 10, "cargo metadata lists {arrows:?}");
    let mut wrong = Vec::new();
    for (from, to) in arrows.iter().filter(|(from, _)| *from != "kith" && !TESTS.contains(&from.as_str())) {
        let allowed = ALLOWED.iter().find(|(name, _)| name == from).map_or(&[][..], |(_, allowed)| allowed);
        wrong.extend(
            to.iter().filter(|to| !allowed.contains(&to.as_str())).map(|to| format!("{from} -> {to}")),
        );
    }
    assert!(wrong.is_empty(), "these arrows are not in the design: {}", wrong.join(", "));
}

#[test]
fn listener_peer_vault_and_archive_never_see_each_other() {
    let arrows = arrows();
    for from in STRANGERS {
        let mut seen = BTreeSet::new();
        let mut open = vec![(*from).to_owned()];
        while let Some(next) = open.pop() {
            for to in arrows.get(&next).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        for other in STRANGERS.iter().filter(|other| *other != from) {
            assert!(!seen.contains(*other), "{from} sees {other}, by way of {seen:?}");
        }
        assert!(!seen.contains("kith"), "{from} sees the composition root");
    }
}

#[test]
fn nothing_depends_on_the_program_but_the_program() {
    for (from, to) in arrows() {
        let tests = TESTS.contains(&from.as_str());
        assert!(tests || !to.contains("kith"), "{from} depends on the composition root");
        assert!(!TESTS.iter().any(|tests| to.contains(*tests)), "{from} depends on the tests");
    }
}

/// The product's files of the peer crate that have one of these words in them.
fn files_of_the_peer_crate_with(words: &[&str]) -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/peer/src");
    let mut directories = vec![source.clone()];
    let mut found = BTreeSet::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // Tests that are in a file of their own are only named here, perhaps above the product.
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            if !path.ends_with("tests.rs") && words.iter().any(|word| product.contains(word)) {
                found.insert(path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// Proxies, allowed destinations and local ports hold for whatever goes through there.
#[test]
fn one_place_of_the_peer_crate_makes_connections() {
    let making = files_of_the_peer_crate_with(&["TcpStream::connect", "TcpSocket::new", "Socket::new"]);
    assert_eq!(making, BTreeSet::from(["outbound/local_port.rs".to_owned()]));
}

/// A port that is to be seen from outside, as for a punch, is given out beside the question whether that is allowed; a fresh one is reserved, and
/// connects nowhere by that.
#[test]
fn sockets_with_a_port_of_ours_are_asked_for_where_the_settings_are() {
    let places = |word| files_of_the_peer_crate_with(&[word]).into_iter().collect::<Vec<_>>();
    assert_eq!(places("local_port::shared("), ["outbound/mod.rs"]);
    assert_eq!(places("local_port::reserve("), ["reach/port.rs"]);
    assert_eq!(places(".socket_at("), ["reach/observe.rs", "reach/punch.rs"]);
    assert_eq!(places(".allows_from_port("), ["reach/observe.rs", "reach/punch.rs"]);
}
