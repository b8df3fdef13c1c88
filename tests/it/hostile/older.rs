//! A friend who shows an older state, or leaves out what is new.

use std::path::Path;
use std::process::Command;

use e2e::hostile::{Answer, Asked};
use e2e::run;
use http::StatusCode;

use super::{World, instead, missing, objects};

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}

/// Restores the newest snapshot there seems to be, and requires that no byte of it is wrong.
fn restore_of(world: &World, source: &Path, what: &str) -> e2e::Outcome {
    let target = world.anna.folder("restored");
    let outcome = world.anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]);
    missing(source, &target.join(world.source.strip_prefix("/").unwrap()), what);
    std::fs::remove_dir_all(&target).unwrap();
    outcome
}

#[test]
fn an_older_copy_of_the_archive_brings_no_wrong_byte_and_loses_nothing_that_is_stored_later() {
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
    world.bert.stop();
    std::fs::rename(&archive, aside.join(newer.file_name().unwrap())).unwrap();
    copy(&aside.join(older.file_name().unwrap()), &archive);
    world.bert.start();
    world.liar.forget();
    world.liar.cut();
    world.liar.wait_linked(&world.anna, &world.bert);

    restore_of(&world, &older_source, "rolled back");
    // The next backup does not rely on what is not there any more.
    world.anna.kith(&["backup"]);
    world.anna.kith(&["check", "bert", "--read-data"]);
    restore_of(&world, &world.source, "rolled back and backed up again");
}

#[test]
fn a_list_without_the_newest_snapshot_brings_no_wrong_byte() {
    let world = World::new();
    let archive = world.archive();
    let age = |name: &String| archive.join("snapshots").join(name).metadata().unwrap().modified().unwrap();
    let names = objects(&archive, "snapshots");
    let oldest = names.iter().min_by_key(|name| age(name)).unwrap();
    let list = Answer::new(StatusCode::OK, format!("[{{\"name\":\"{oldest}\",\"size\":400}}]"));
    world.liar.does(instead(|asked: &Asked| asked.lists("snapshots"), list));
    restore_of(&world, &world.source, "the newest snapshot left out");
}
