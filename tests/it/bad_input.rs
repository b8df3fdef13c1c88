//! Bad input and bad luck: each is named, with what to do next.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{
    Computer, Isolation, UNPRIVILEGED, is_root, need, need_mounts, pair, pair_with, run_with, wait_until,
};

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn folder_with(computer: &Computer, bytes: u64) -> String {
    let folder = computer.folder("source");
    e2e::write_random(&folder, 11, bytes, 4 << 20);
    folder.to_str().unwrap().to_owned()
}

#[test]
fn an_unknown_settings_key_is_named_with_its_line_and_the_key_that_was_meant() {
    let anna = Computer::new("anna", "[vault]\ndefault-quotta = \"5GB\"\n");
    let refused = anna.failing_daemon();
    refused.ended(1).says(&["kith.toml", "default-quotta", "vault.default-quota", "kith settings get"]);
    let unset = anna.kith(&["settings", "set", "listener.prot", "4300"]);
    assert!([1, 2].contains(&unset.code), "{unset}");
    unset.says(&["listener.prot", "listener.port"]);
    std::fs::write(anna.home().join("kith.toml"), "this is = = no TOML\n").unwrap();
    anna.failing_daemon().ended(1).says(&["kith.toml", "not valid TOML"]);
    let text = anna.settings_text("").replace("[control]", "[control]\napp-port = 99999");
    std::fs::write(anna.home().join("kith.toml"), text).unwrap();
    anna.failing_daemon().ended(1).says(&["kith.toml"]);
}

#[test]
fn ports_below_1024_are_refused_with_the_reason() {
    let anna = Computer::new("anna", "");
    let text = anna.settings_text("").replacen(&format!("port = {}", anna.port()), "port = 80", 1);
    std::fs::write(anna.home().join("kith.toml"), text).unwrap();
    anna.failing_daemon().ended(1).says(&["listener.port", "80", "1024"]);
    std::fs::write(anna.home().join("kith.toml"), anna.settings_text("")).unwrap();
    anna.start();
    let refused = anna.kith(&["settings", "set", "listener.port", "80"]);
    assert!([1, 2].contains(&refused.code), "{refused}");
    refused.says(&["listener.port", "1024"]);
    assert_eq!(anna.status()["listener"]["port"], anna.port());
}

#[test]
fn a_busy_port_names_its_holder_and_proposes_a_free_one() {
    let anna = Computer::new("anna", "");
    let _holder = TcpListener::bind(("127.0.0.1", anna.port())).unwrap();
    anna.start();
    let listener = anna.status()["listener"].clone();
    assert_eq!(listener["state"], "error");
    assert_eq!(listener["port"], anna.port());
    let error = listener["error"].as_str().unwrap();
    assert!(error.contains(&format!("port {} ", anna.port())) && error.contains("in use by"), "{error}");
    assert!(error.contains(&std::process::id().to_string()), "the holder is not named: {error}");
    let numbers = error.split(|letter: char| !letter.is_ascii_digit()).filter_map(|text| text.parse().ok());
    let proposed: Vec<u16> = numbers.filter(|port| (1024..6000).contains(port)).collect();
    assert!(
        proposed.iter().any(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()),
        "no free port from 1024 to 5999 is proposed: {error}"
    );
    anna.kith(&["status"]).says(&["in use by"]).ok();
    assert!(anna.log().contains("in use by"), "{}", anna.log());
}

#[test]
fn another_users_home_is_not_read() {
    if is_root() && !need("setpriv") {
        return;
    }
    let anna = Computer::new("anna", "");
    let mut command;
    if is_root() {
        // Root's home, seen by somebody else.
        let visitor = Computer::new("visitor", "").run_by(UNPRIVILEGED);
        e2e::make_readable_by_all(anna.home().parent().unwrap());
        chmod(&anna.home(), 0o700);
        command = visitor.command(&[]);
        let home = anna.home();
        let args = command.get_args().map(std::ffi::OsStr::to_owned).collect::<Vec<_>>();
        let mut again = std::process::Command::new(command.get_program());
        // The same call with the other home.
        again.args(args.iter().take_while(|arg| *arg != "--home")).arg("--home").arg(&home);
        for call in [&["id"][..], &["daemon"], &["recovery", "show", "--words"]] {
            let mut call_again = std::process::Command::new(again.get_program());
            call_again.args(again.get_args()).args(call);
            let refused = run_with(&mut call_again, b"");
            refused.ended(1).says(&[home.to_str().unwrap(), "user", "--home"]);
        }
    } else {
        chmod(&anna.home(), 0o000);
        command = anna.command(&["daemon"]);
        run_with(&mut command, b"").ended(1).says(&["home", "--home"]);
        chmod(&anna.home(), 0o700);
    }
}

#[test]
fn expired_mistyped_own_and_foreign_invites_are_told_apart() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    let short = anna.kith(&["invite", "--expires", "1s"]).ok().to_owned();
    let made = Instant::now();
    let good = anna.kith(&["invite"]).ok().to_owned();

    anna.kith_with(&["join"], &good).ended(2).says(&["made on this very computer", "hint", "send it"]);

    bert.kith_with(&["join"], "").ended(2).says(&["no invite was given", "hint"]);
    bert.kith_with(&["join"], "hello\n").ended(2).says(&["not an invite", "kith://join/", "hint"]);
    let cut = &good[..good.len() - 4];
    bert.kith_with(&["join"], cut).ended(2).says(&["mistyped or cut off", "hint", "whole line"]);
    let at = good.len() / 2;
    let letter = if &good[at..=at] == "a" { "b" } else { "a" };
    let typo = format!("{}{letter}{}", &good[..at], &good[at + 1..]);
    bert.kith_with(&["join"], &typo).ended(2).says(&["mistyped or cut off", "hint"]);

    wait_until("the invite to expire", Duration::from_secs(5), || {
        made.elapsed() > Duration::from_millis(1100)
    });
    let late = bert.kith_with(&["join"], &short);
    late.ended(2).says(&["the invite expired on", "hint", "new one", "clocks"]);
    anna.kith(&["invite", "--expires", "500d"]).ended(2).says(&["365 days", "hint"]);
    // The invite of a computer that was erased meanwhile: whoever listens there now does not know it.
    let carl = Computer::new("carl", "");
    std::fs::write(carl.home().join("kith.toml"), anna.settings_text("")).unwrap();
    anna.stop();
    carl.start();
    let other = bert.kith_with(&["join"], &good);
    other.ended(1).says(&[&anna.address(), "reply line"]);
    assert_eq!(bert.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 0);
}

#[test]
fn a_missing_folder_is_no_empty_folder() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let nowhere = anna.home().join("nowhere");
    let refused = anna.kith(&["set", "add", "docs", nowhere.to_str().unwrap(), "--to", "bert"]);
    refused.ended(1).says(&["nowhere", "does not exist", "hint"]);
    let source = folder_with(&anna, 100_000);
    let refused = anna.kith(&["set", "add", "docs", &source, "--to", "nobody"]);
    refused.ended(1).says(&["nobody", "bert", "hint"]);
    // A link alone is no backup of the folder that it leads to.
    let link = anna.home().join("link");
    std::os::unix::fs::symlink(&source, &link).unwrap();
    for link in [link.clone(), link.join("")] {
        let refused = anna.kith(&["set", "add", "docs", link.to_str().unwrap(), "--to", "bert"]);
        refused.ended(2).says(&["symbolic link", &format!("name {source} itself"), "hint"]);
    }
    anna.kith(&["backup"]).ended(1).says(&["no backup set", "kith set add"]);
    anna.kith(&["set", "add", "docs", &source, "--to", "bert"]).ok();
    anna.kith(&["backup", "dogs"]).ended(1).says(&["dogs", "docs", "hint"]);
    anna.kith(&["backup"]).ok();
    // A disk that is not mounted must not look like one that was emptied.
    std::fs::rename(&source, format!("{source}-away")).unwrap();
    anna.kith(&["backup"]).ended(1).says(&[&source, "not there", "mounted", "nothing was changed"]);
    // Nor one that was moved to another disk, with a link in its place.
    std::os::unix::fs::symlink(format!("{source}-away"), &source).unwrap();
    anna.kith(&["backup"]).ended(1).says(&[&source, "symbolic link", &format!("name {source}-away itself")]);
    assert_eq!(anna.kith(&["snapshots", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn unreadable_files_are_listed_and_the_exit_code_is_three() {
    if is_root() && !need("setpriv") {
        return;
    }
    let anna = Computer::new("anna", "");
    let anna = if is_root() { anna.run_by(UNPRIVILEGED) } else { anna };
    anna.start();
    let bert = Computer::started("bert");
    pair(&anna, &bert);
    let source = anna.folder("source");
    std::fs::write(source.join("open"), b"everybody may read this").unwrap();
    std::fs::write(source.join("closed"), b"nobody may read this").unwrap();
    std::fs::create_dir(source.join("closed folder")).unwrap();
    std::fs::write(source.join("closed folder/inside"), b"or see this").unwrap();
    e2e::make_readable_by_all(&source);
    chmod(&source.join("closed"), 0o000);
    chmod(&source.join("closed folder"), 0o000);
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    let backup = anna.kith(&["backup"]);
    backup.ended(3).says(&[
        "2 files are NOT in this snapshot",
        "source/closed:",
        "closed folder",
        "permission",
    ]);
    backup.never_says("source/open:");
    let job = anna.job("bert");
    assert_eq!(job["state"], "complete-with-omissions");
    assert_eq!(job["skipped_count"], 2);
    // What could be read is there.
    let target = anna.folder("restored");
    if is_root() {
        std::os::unix::fs::chown(&target, Some(UNPRIVILEGED), None).unwrap();
    }
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    let restored = target.join(source.strip_prefix("/").unwrap());
    assert_eq!(std::fs::read(restored.join("open")).unwrap(), b"everybody may read this");
    assert!(!restored.join("closed").exists());
    chmod(&source.join("closed"), 0o644);
    chmod(&source.join("closed folder"), 0o755);
    anna.kith(&["backup"]).ended(0);
}

#[test]
fn a_full_disk_at_the_friend_is_named_and_harms_nothing() {
    if !need_mounts() {
        return;
    }
    let anna = Computer::started("anna");
    let bert = Computer::new("bert", "[vault]\nkeep-free = \"0B\"\n");
    std::fs::create_dir(bert.home().join("vault")).unwrap();
    let bert_vault = Isolation::tmpfs(&bert.home().join("vault"), 24);
    let bert = bert.isolated(bert_vault);
    bert.start();
    pair(&anna, &bert);
    let small = anna.folder("small");
    e2e::write_random(&small, 5, 1 << 20, 1 << 20);
    anna.kith(&["set", "add", "small", small.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup", "small"]).ok();
    let source = folder_with(&anna, 60 << 20);
    anna.kith(&["set", "add", "large", &source, "--to", "bert"]).ok();
    anna.kith(&["backup", "large"]).ended(1).says(&[
        "disk at bert is full",
        "nothing stored is lost",
        "room",
    ]);
    // What was stored before is as it was.
    assert_eq!(anna.kith(&["snapshots", "--json"]).json().as_array().unwrap().len(), 1);
    anna.kith(&["check", "bert", "--read-data"]).ok();
    let target = anna.folder("restored");
    anna.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
    e2e::assert_same(&small, &target.join(small.strip_prefix("/").unwrap()));
}

#[test]
fn a_used_up_quota_is_named_and_a_larger_one_helps_at_once() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair_with(&bert, &anna, &["--quota", "20MB"]);
    let source = folder_with(&anna, 60 << 20);
    anna.kith(&["set", "add", "docs", &source, "--to", "bert"]).ok();
    let refused = anna.kith(&["backup"]);
    refused.ended(1).says(&["bert has no more room", "kith friend quota", "--exclude"]);
    assert!(bert.friend("anna")["stored_here_bytes"].as_u64().unwrap() <= 20_000_000);
    bert.kith(&["friend", "quota", "anna", "100MB"]).ok();
    anna.kith(&["backup"]).ok();
    let sent = anna.job("bert")["progress"]["bytes_sent"].as_u64().unwrap();
    assert!(sent < 60_000_000, "{sent} bytes: what was there already was sent again");
}

#[test]
fn a_friend_who_is_offline_is_named_with_the_reason() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = folder_with(&anna, 100_000);
    anna.kith(&["set", "add", "docs", &source, "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    bert.stop();
    wait_until("the end of the link", Duration::from_secs(30), || !anna.linked("bert"));
    std::thread::scope(|scope| {
        let calls: [&[&str]; 5] = [
            &["backup"],
            &["snapshots", "--from", "bert"],
            &["ls", "latest"],
            &["restore", "latest", "--target", "/nonexistent/target"],
            &["check", "bert"],
        ];
        for call in calls {
            let anna = &anna;
            scope.spawn(move || {
                let refused = anna.kith(call);
                refused.ended(1).says(&["bert is not connected", "refused", "kith friends"]);
                // Backup and check wait for each other.
                assert!(refused.took < Duration::from_secs(30), "{refused}");
            });
        }
    });
    anna.kith(&["friends"]).says(&["not connected", "refused"]).ok();
}

#[test]
fn a_paused_computer_and_a_paused_friend_say_so() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = folder_with(&anna, 100_000);
    anna.kith(&["set", "add", "docs", &source, "--to", "bert"]).ok();
    anna.kith(&["pause", "1h"]).ok();
    anna.kith(&["backup"]).ended(1).says(&["paused until", "kith resume"]);
    anna.kith(&["resume"]).ok();
    bert.kith(&["friend", "pause", "anna"]).ok();
    let refused = anna.kith(&["backup"]);
    refused.ended(1).says(&["bert"]);
    bert.kith(&["friend", "resume", "anna"]).ok();
    anna.kith(&["backup"]).ok();
}

#[test]
fn a_read_only_target_is_named() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = folder_with(&anna, 100_000);
    anna.kith(&["set", "add", "docs", &source, "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    let target = anna.folder("target");
    let args = ["restore", "latest", "--target", target.to_str().unwrap()];
    if need_mounts() {
        let refused = run_with(&mut anna.isolated_command(&Isolation::read_only(&target), &args), b"");
        refused.ended(1).says(&[target.to_str().unwrap(), "read-only", "hint", "--target"]);
    }
    if !is_root() {
        chmod(&target, 0o555);
        anna.kith(&args).ended(1).says(&["no permission", "hint", "--target"]);
        chmod(&target, 0o755);
    }
    let file = target.join("file");
    std::fs::write(&file, b"a file").unwrap();
    let refused = anna.kith(&["restore", "latest", "--target", file.to_str().unwrap()]);
    refused.ended(1).says(&[file.to_str().unwrap(), "hint"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"a file");
}

#[test]
fn existing_files_are_kept_unless_overwriting_is_asked_for() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    std::fs::write(source.join("same"), b"unchanged").unwrap();
    std::fs::write(source.join("edited"), b"as it was backed up").unwrap();
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    std::fs::write(source.join("edited"), b"newer work").unwrap();
    std::fs::write(source.join("new"), b"made later").unwrap();
    // Onto the files themselves, which is what people do first.
    let kept = anna.kith(&["restore", "latest", "--target", "/"]);
    kept.says(&["existing files were kept", "--overwrite changed"]).ok();
    assert_eq!(std::fs::read(source.join("edited")).unwrap(), b"newer work");
    let before = source.join("same").metadata().unwrap().modified().unwrap();
    anna.kith(&["restore", "latest", "--target", "/", "--overwrite", "changed"]).ok();
    assert_eq!(std::fs::read(source.join("edited")).unwrap(), b"as it was backed up");
    assert_eq!(std::fs::read(source.join("new")).unwrap(), b"made later", "a restore removed a file");
    assert_eq!(source.join("same").metadata().unwrap().modified().unwrap(), before);
    std::fs::write(source.join("edited"), b"newer work again").unwrap();
    anna.kith(&["restore", "latest", "--target", "/", "--overwrite", "always"]).ok();
    assert_eq!(std::fs::read(source.join("edited")).unwrap(), b"as it was backed up");
}
