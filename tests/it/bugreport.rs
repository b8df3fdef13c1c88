//! The support bundle: what is in it, and above all what is not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use e2e::{Computer, UNPRIVILEGED, is_root, make_readable_by_all, need, pair, run_with, wait_until};

/// No word of Kith has these letters in a row: where they are, something private is.
const MARK: &str = "zq";

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// Everything secret in a home, in every spelling in which it might get into a text.
fn secrets_of(computer: &Computer) -> Vec<String> {
    let mut secrets = Vec::new();
    for entry in std::fs::read_dir(computer.home().join("secrets")).unwrap() {
        let entry = entry.unwrap();
        let content = std::fs::read(entry.path()).unwrap();
        if entry.file_name() == "phrase" {
            continue;
        }
        assert_eq!(content.len(), 32, "{:?}", entry.file_name());
        secrets.push(HEXLOWER.encode(&content));
        secrets.push(BASE64_NOPAD.encode(&content));
        secrets.push(BASE64.encode(&content));
        secrets.push(BASE64URL_NOPAD.encode(&content));
        secrets.push(BASE32_NOPAD.encode(&content));
        secrets.push(format!("{content:?}").trim_matches(['[', ']']).to_owned());
    }
    assert_eq!(secrets.len(), 5 * 6, "five keys");
    let words = computer.kith(&["recovery", "show", "--words", "--yes"]).ok().to_owned();
    let words: Vec<&str> = words.split(' ').collect();
    assert_eq!(words.len(), 24);
    // Two in a row may stand in any sentence; three of them never do by chance.
    secrets.extend(words.windows(3).map(|three| three.join(" ")));
    secrets
}

#[track_caller]
fn has_nothing_private(report: &str, private: &[String]) {
    let lower = report.to_lowercase();
    if let Some(line) = lower.lines().find(|line| line.contains(MARK)) {
        panic!("a name got into the report: {line}");
    }
    for text in private {
        assert!(!text.trim().is_empty());
        let found = lower.lines().find(|line| line.contains(&text.to_lowercase()));
        assert!(found.is_none(), "{text:?} is in the report: {found:?}");
    }
}

#[test]
fn a_report_of_a_real_home_names_nobody_and_holds_no_secret() {
    if is_root() && !need("setpriv") {
        return;
    }
    let anna = Computer::new("zqAnna's attic", "");
    let anna = if is_root() { anna.run_by(UNPRIVILEGED) } else { anna };
    // More than the daemon says of itself.
    anna.start_with(&[("KITH_LOG", "debug")]);
    let bert = Computer::started("Bert ZQ, the old friend's");
    let words = pair(&anna, &bert);
    let invite = anna.kith(&["invite"]).ok().to_owned();

    let source = anna.folder("zqpapers of mine");
    std::fs::write(source.join("zq letter to the bank, and others.txt"), b"open").unwrap();
    std::fs::write(source.join("closed zq: Permission denied.txt"), b"closed").unwrap();
    make_readable_by_all(&source);
    std::fs::set_permissions(
        source.join("closed zq: Permission denied.txt"),
        std::fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    let path = source.to_str().unwrap();
    anna.kith(&["set", "add", "taxes zq 2025", path, "--to", bert.name(), "--exclude", "*.zqold"]).ok();
    anna.kith(&["backup"]).ended(3);

    // Calls that fail: to a named host, and of a stranger.
    anna.kith(&["friend", "address", bert.name(), "nas-zq.zqhome.invalid:4711"]).ok();
    let devices = [anna.device_id(), bert.device_id()];
    let vault_log = std::fs::read_to_string(bert.home().join("logs/kith.log")).unwrap();
    let bert_report = bert.kith(&["bugreport"]).ok().to_owned();
    bert.stop();
    anna.kith(&["backup"]).ended(1);
    wait_until("a failed dial", Duration::from_secs(20), || {
        anna.friend(bert.name())["last_error"].is_string()
    });
    assert!(anna.friend(bert.name()).to_string().contains("zqhome"), "{}", anna.friend(bert.name()));

    let mut private = secrets_of(&anna);
    private.extend(secrets_of(&bert));
    private.push(std::fs::read_to_string(anna.home().join("run/token")).unwrap().trim().to_owned());
    private.push(invite.clone());
    private.extend(invite.split(['/', '-', '.', '?', '#']).filter(|part| part.len() > 12).map(str::to_owned));
    private.push("kith://".to_owned());
    private.push(words);
    for id in &devices {
        private.push(id.clone());
        private.extend(id.split('-').map(str::to_owned));
    }
    private.push(anna.home().parent().unwrap().to_str().unwrap().to_owned());
    private.push(bert.home().parent().unwrap().to_str().unwrap().to_owned());
    let snapshots = bert.home().join("vault").join(&devices[0]);
    for archive in std::fs::read_dir(snapshots).unwrap() {
        let name = archive.unwrap().file_name().into_string().unwrap();
        if name.len() >= 16 {
            private.push(name);
        }
    }
    // The names are there to be found: otherwise this would show nothing.
    let log = std::fs::read_to_string(anna.home().join("logs/kith.log")).unwrap();
    for name in [bert.name(), "taxes zq 2025", "zqpapers", "closed zq", &devices[1][..7]] {
        assert!(log.contains(name), "{name} is not in the log");
    }
    assert!(vault_log.contains(anna.name()), "{vault_log}");

    let report = anna.kith(&["bugreport", "--lines", "20000"]);
    let text = report.ok();
    has_nothing_private(text, &private);
    has_nothing_private(&bert_report, &private);
    report.says(&[
        "KITH REPORT 1",
        "== daemon",
        "this-device",
        "friend-1: device-",
        "connected: no",
        "backup of set-1 with friend-1: complete-with-omissions",
        "skipped: 1",
        "no permission to read it",
        "== ports",
        "listener.port: ",
        "format of the vault: 2",
        "job complete, but files were left out",
        "linked remote=127.0.0.1:",
    ]);
    assert!(text.contains(&anna.port().to_string()), "a port is harmless, and needed");
    assert!(bert_report.contains("packs: "), "{bert_report}");
    assert!(bert_report.contains("of 1 owners"), "{bert_report}");

    // Without the daemon, less is known, and as little is told.
    anna.stop();
    let report = anna.kith(&["bugreport"]);
    has_nothing_private(report.ok(), &private);
    report.says(&[
        "no daemon runs in this home",
        "format of state.db: 2",
        "listener.port: ",
        "== log",
        "job begins job=",
    ]);
}

#[test]
fn a_report_is_previewed_and_written_only_when_that_is_said() {
    let anna = Computer::started("anna");
    let folder = anna.folder("reports");
    let preview = run_with(anna.command(&["bugreport"]).current_dir(&folder), b"");
    preview.says(&["KITH REPORT 1", "nothing was written", "kith bugreport --yes"]).ok();
    let aside = folder.join("report.txt");
    anna.kith(&["bugreport", "--out", aside.to_str().unwrap()]).says(&["nothing was written"]).ok();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "a preview wrote something");

    let written = run_with(anna.command(&["bugreport", "--yes"]).current_dir(&folder), b"");
    written.says(&["Read it before you send it", "replaced"]).never_says("KITH REPORT 1");
    let name = written.ok();
    let file = folder.join(name);
    assert!(name.starts_with("kith-report-") && name.ends_with("Z.txt"), "{name}");
    assert_eq!(mode(&file), 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("KITH REPORT 1\n") && text.contains("== log"), "{text}");

    let short = anna.kith(&["bugreport", "--lines", "2"]);
    short.says(&["the last 2 lines"]).ok();
}

#[test]
fn a_report_never_replaces_a_file_and_follows_no_link() {
    let anna = Computer::started("anna");
    let folder = anna.folder("reports");
    let (kept, link) = (folder.join("kept.txt"), folder.join("link.txt"));
    std::fs::write(&kept, "mine").unwrap();
    std::os::unix::fs::symlink(folder.join("elsewhere"), &link).unwrap();
    for out in [&kept, &link] {
        let refused = anna.kith(&["bugreport", "--yes", "--out", out.to_str().unwrap()]);
        refused.ended(1).says(&["exists already", "--out"]);
    }
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "mine");
    assert!(!folder.join("elsewhere").exists());
    let nowhere = folder.join("no such folder/report.txt");
    anna.kith(&["bugreport", "--yes", "--out", nowhere.to_str().unwrap()])
        .ended(1)
        .says(&["can't be written"]);
    // Whatever the umask of the shell lets others do.
    let open = folder.join("open.txt");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(e2e::kith_binary())
        .arg("--home")
        .arg(anna.home());
    run_with(shell.args(["bugreport", "--yes", "--out"]).arg(&open), b"").ok();
    assert_eq!(mode(&open), 0o600);
}

#[test]
fn on_a_terminal_the_report_is_shown_first_and_written_after_a_yes() {
    if !need("script") {
        return;
    }
    let anna = Computer::started("anna");
    let folder = anna.folder("reports");
    let ask = |out: &Path, answer: &str| {
        let call = format!(
            "'{}' --home '{}' bugreport --lines 1 --out '{}'",
            e2e::kith_binary().display(),
            anna.home().display(),
            out.display()
        );
        run_with(Command::new("script").args(["-q", "-e", "-c", &call, "/dev/null"]), answer.as_bytes())
    };
    let (refused, written) = (folder.join("refused.txt"), folder.join("written.txt"));
    ask(&refused, "no\n").says(&["KITH REPORT 1", "Type yes", "nothing was written"]).ok();
    assert!(!refused.exists());
    ask(&written, "yes\n").says(&["KITH REPORT 1", "Type yes", "Read it before you send it"]).ok();
    assert_eq!(mode(&written), 0o600);
}

#[test]
fn a_home_that_is_not_as_it_should_be_is_reported_all_the_same() {
    let anna = Computer::started("anna");
    anna.stop();
    std::fs::set_permissions(anna.home().join("state.db"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(anna.home().join("kith.toml"), "nmae = \"zqanna\"\n").unwrap();
    let log = anna.home().join("logs/kith.log");
    let before = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, format!("{before}thread 'zq' panicked\nat zq, the file\n")).unwrap();
    let report = anna.kith(&["bugreport"]);
    report.says(&[
        "they can't be read",
        "state.db has mode 644; it should have 600 or less",
        "a line that does not begin as those of kith do",
    ]);
    has_nothing_private(report.ok(), &[]);
    let nobody = Computer::blank("nobody");
    nobody.kith(&["bugreport"]).ended(1).says(&["there is no kith home"]);
}
