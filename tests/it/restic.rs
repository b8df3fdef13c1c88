//! Stock restic opens what Kith wrote, and Kith what stock restic wrote.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{Computer, Outcome, Tree, assert_same, need, pair, run, run_with, wait_until, write_tree};
use sha2::{Digest, Sha256};

/// Runs stock restic on a repository, without touching the caches and settings of whoever runs the tests.
fn restic(repository: &Path, password: &str, args: &[&str]) -> Outcome {
    let mut command = Command::new("restic");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC");
    command.arg("--no-cache").arg("--repo").arg(repository).args(args);
    command.env("RESTIC_PASSWORD", password);
    run_with(&mut command, b"")
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}

fn below(target: &Path, source: &Path) -> PathBuf {
    target.join(source.strip_prefix("/").unwrap())
}

/// A tree of everything that restic 0.14 can keep and restore: it has no place for targets of links that are not UTF-8,
/// and takes the right to write from a folder before it sets its extended attributes.
fn write_restics_tree(root: &Path) {
    write_tree(root, Tree::default());
    std::fs::remove_file(root.join("links/to a name that is not utf-8")).unwrap();
    let closed = root.join("empty folder");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    // It has none where the file system knows none.
    drop(xattr::remove(&closed, "user.kith.folder"));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn stock_restic_reads_a_copy_of_the_friends_directory_with_the_exported_key() {
    if !need("restic") {
        return;
    }
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_restics_tree(&source);
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    std::fs::write(source.join("added later"), b"second snapshot").unwrap();
    anna.kith(&["backup"]).ok();

    // Also without any daemon: the friend's disk is carried over in a bag.
    let archive = bert.archive_of(&anna);
    anna.stop();
    bert.stop();
    let key = anna.folder("out").join("key");
    let exported = anna.kith(&["recovery", "restic-key", "bert", "--out", key.to_str().unwrap()]);
    let password = exported.ok().to_owned();
    assert_eq!(password.lines().count(), 1, "the password stands alone on standard output: {exported}");
    assert!(password.len() >= 26, "{password}");
    let name = hex_sha256(&std::fs::read(&key).unwrap());
    exported.says(&[&format!("keys/{name}")]);
    let again = anna.kith(&["recovery", "restic-key", "bert", "--out", key.to_str().unwrap()]);
    again.ended(1).says(&["can't be written", "does not exist yet"]);

    let copied = anna.folder("copies").join(archive.file_name().unwrap());
    copy(&archive, &copied);
    std::fs::create_dir(copied.join("keys")).unwrap();
    std::fs::copy(&key, copied.join("keys").join(name)).unwrap();
    let snapshots = restic(&copied, &password, &["snapshots", "--json"]).json();
    let snapshots = snapshots.as_array().unwrap();
    assert_eq!(snapshots.len(), 2);
    assert_eq!(snapshots[0]["hostname"], "anna");
    assert_eq!(snapshots[0]["paths"][0], source.to_str().unwrap());
    restic(&copied, &password, &["check", "--read-data"]).says(&["no errors were found"]).ok();
    let target = anna.folder("by restic");
    restic(&copied, &password, &["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    // restic 0.14 writes no holes unless asked, so the plain comparison of what it restores comes first.
    run(Command::new("diff")
        .arg("-r")
        .arg("--no-dereference")
        .args([source.join("folder 1"), below(&target, &source).join("folder 1")]))
    .ok();
    let differences = e2e::differences(&source, &below(&target, &source));
    let differences: Vec<&String> = differences.iter().filter(|line| !line.starts_with("sparse\n")).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(
        std::fs::read(source.join("sparse")).unwrap(),
        std::fs::read(below(&target, &source).join("sparse")).unwrap()
    );
    restic(&copied, "another password", &["snapshots"]).says(&["wrong password"]).ended(1);
}

#[test]
fn a_copied_archive_of_this_computer_is_restored_without_friend_daemon_or_password() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    write_tree(&source, Tree { largest: 1 << 20, ..Tree::default() });
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    let archive = bert.archive_of(&anna);
    anna.stop();
    bert.stop();
    let copied = anna.folder("usb stick").join(archive.file_name().unwrap());
    copy(&archive, &copied);
    let target = anna.folder("restored");
    let (stick, to) = (copied.to_str().unwrap(), target.to_str().unwrap());
    let restored = anna.kith(&["restore", "latest", "--repository", stick, "--target", to]);
    restored.never_says("older").ok();
    assert_same(&source, &below(&target, &source));

    // An older copy is used, and said to be one.
    let older = anna.folder("older").join(archive.file_name().unwrap());
    copy(&archive, &older);
    anna.start();
    bert.start();
    wait_until("the link", Duration::from_secs(20), || anna.linked("bert"));
    anna.kith(&["backup"]).ok();
    let newest = anna.job("bert")["snapshot"].as_str().unwrap()[..8].to_owned();
    let again = anna.folder("restored again");
    let (stick_then, to_again) = (older.to_str().unwrap(), again.to_str().unwrap());
    let restored = anna.kith(&["restore", "latest", "--repository", stick_then, "--target", to_again]);
    restored.says(&["this copy is older", &newest]).ok();
    assert_same(&source, &below(&again, &source));

    // The name of the directory says which key it is.
    let renamed = anna.folder("renamed");
    copy(&archive, &renamed.join("backup-of-anna"));
    let renamed = renamed.join("backup-of-anna");
    let refused =
        anna.kith(&["restore", "latest", "--repository", renamed.to_str().unwrap(), "--target", to]);
    refused.ended(1).says(&["has no keys", "as it was called at the friend", "restic-key"]);
    // Another computer's key does not fit, and nothing of it is restored.
    let other = bert.folder("other");
    let refused =
        bert.kith(&["restore", "latest", "--repository", stick, "--target", other.to_str().unwrap()]);
    refused.ended(1);
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
}

#[test]
fn a_repository_that_stock_restic_wrote_is_restored_by_its_password() {
    if !need("restic") {
        return;
    }
    let anna = Computer::new("anna", "");
    let source = anna.folder("source");
    write_restics_tree(&source);
    let repository = anna.folder("repository");
    let password = "correct horse battery staple";
    restic(&repository, password, &["init"]).ok();
    restic(&repository, password, &["backup", source.to_str().unwrap()]).ok();
    let target = anna.folder("restored");
    let (from, to) = (repository.to_str().unwrap(), target.to_str().unwrap());
    let args = ["restore", "latest", "--repository", from, "--target", to];
    anna.kith_with(&args, "wrong password\n").ended(1).says(&["password", "standard input"]);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
    anna.kith_with(&args, &format!("{password}\n")).ok();
    assert_same(&source, &below(&target, &source));

    let nowhere = anna.folder("no repository");
    let refused = anna.kith_with(
        &["restore", "latest", "--repository", nowhere.to_str().unwrap(), "--target", to],
        password,
    );
    refused.ended(1).says(&["no restic repository", "hint", "config"]);
}
