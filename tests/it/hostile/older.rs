//! A friend who shows an older state, or leaves out what is new.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::hostile::{Answer, Asked};
use e2e::{Outcome, run};
use http::StatusCode;

use super::{World, instead, missing, objects};

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}

/// Restores the newest snapshot there seems to be, and requires that no byte of it is wrong.
fn restored(world: &World, source: &Path, what: &str) -> (Outcome, BTreeSet<PathBuf>) {
    let target = world.anna.folder("restored");
    let outcome = world.anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]);
    let missing = missing(source, &target.join(world.source.strip_prefix("/").unwrap()), what);
    std::fs::remove_dir_all(&target).unwrap();
    (outcome, missing)
}

#[test]
fn an_older_copy_of_the_archive_is_named_and_brings_no_wrong_byte() {
    let world = World::new();
    let archive = world.archive();
    let (older, newer) = (archive.with_extension("older"), archive.with_extension("newer"));
    let older_source = world.anna.folder("older").join("source");
    copy(&world.source, &older_source);
    // Away from where the friend's daemon looks for archives of this owner.
    let aside = world.bert.folder("aside");
    copy(&archive, &aside.join(older.file_name().unwrap()));
    std::fs::write(world.source.join("letter"), "what was written after the copy was made").unwrap();
    world.anna.kith(&["backup"]).ok();
    let list = world.anna.kith(&["snapshots", "--json"]).json();
    let newest = list.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    world.bert.stop();
    std::fs::rename(&archive, aside.join(newer.file_name().unwrap())).unwrap();
    copy(&aside.join(older.file_name().unwrap()), &archive);
    world.bert.start();
    world.liar.forget();
    world.liar.cut();
    world.liar.wait_linked(&world.anna, &world.bert);

    // It is said by name, and nothing older comes in the place of the latest.
    for args in [&["snapshots"][..], &["ls", "latest"], &["check", "bert"]] {
        world.anna.kith(args).ended(1).says(&["bert", &newest[..8]]);
    }
    let (refused, _) = restored(&world, &older_source, "rolled back");
    refused.ended(1).says(&["bert", &newest[..8]]);
    // The next backup does not rely on what is not there any more.
    world.anna.kith(&["backup"]);
    let (restored, missing) = restored(&world, &world.source, "rolled back and backed up again");
    restored.ok();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_list_without_the_newest_snapshot_is_named_and_nothing_older_is_restored_for_it() {
    let world = World::new();
    let archive = world.archive();
    let age = |name: &String| archive.join("snapshots").join(name).metadata().unwrap().modified().unwrap();
    let names = objects(&archive, "snapshots");
    let oldest = names.iter().min_by_key(|name| age(name)).unwrap();
    let newest = names.iter().max_by_key(|name| age(name)).unwrap();
    let list = Answer::new(StatusCode::OK, format!("[{{\"name\":\"{oldest}\",\"size\":400}}]"));
    world.liar.does(instead(|asked: &Asked| asked.lists("snapshots"), list));
    let (refused, missing) = restored(&world, &world.source, "the newest snapshot left out");
    refused.ended(1).says(&["bert", &newest[..8]]);
    assert_eq!(missing, super::entries(&world.source), "something was restored");
}
