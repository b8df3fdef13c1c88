//! `kith doctor` and `kith explain` where no daemon runs, and lines of several commands: the program itself.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn kith(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kith"));
    command.arg("--home").arg(home).args(arguments).env_remove("KITH_HOME").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_daemon_that_does_not_run_is_a_verdict_and_exit_code_4() {
    let home = tempfile::tempdir().unwrap();
    let plain = kith(home.path(), &["doctor", "bert"]);
    assert_eq!(plain.status.code(), Some(4));
    let shown = text(&plain.stdout);
    assert!(shown.starts_with("Kith does not run on this computer.\n\nWhat to do:\n"), "{shown}");

    let json = kith(home.path(), &["doctor", "--json"]);
    assert_eq!(json.status.code(), Some(4));
    let diagnosis: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(diagnosis["verdict"]["code"], "service-down");
    assert!(diagnosis["verdict"]["next_step"].as_str().unwrap().contains("start"), "{diagnosis:#}");
    assert_eq!(diagnosis["checks"][0]["outcome"], "failed");
}

#[test]
fn who_holds_a_local_port_meanwhile_is_named() {
    let home = tempfile::tempdir().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    std::fs::write(home.path().join("kith.toml"), format!("[control]\napp-port = {port}\n")).unwrap();
    let shown = text(&kith(home.path(), &["doctor"]).stdout);
    let process = std::process::id();
    let line = shown.lines().find(|line| line.contains(&format!("port {port}, for the app, is held by")));
    assert!(line.is_some_and(|_| shown.contains(&format!("(process {process})"))), "{shown}");
}

#[test]
fn codes_are_explained_without_a_daemon() {
    let home = tempfile::tempdir().unwrap();
    let explained = kith(home.path(), &["explain", "carrier-nat"]);
    assert_eq!(explained.status.code(), Some(0));
    assert!(text(&explained.stdout).contains("Many homes share one address"), "{explained:?}");
    let all = text(&kith(home.path(), &["explain"]).stdout);
    for code in kith_doctor::Code::ALL {
        assert!(all.contains(code.title()), "{code}");
    }
    let unknown = kith(home.path(), &["explain", "carier-nat"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("did you mean carrier-nat?"), "{unknown:?}");
}

#[test]
fn a_line_of_several_commands_is_read_whole_before_any_is_done() {
    let home = tempfile::tempdir().unwrap();
    let done = kith(home.path(), &["explain", "works,", "explain", "offline"]);
    let shown = text(&done.stdout);
    assert!(shown.contains("works: ") && shown.contains("offline: "), "{shown}");
    let wrong = kith(home.path(), &["explain", "works,", "pause", "soon"]);
    assert_eq!((wrong.status.code(), text(&wrong.stdout)), (Some(2), String::new()));
    // Without a daemon the first fails, and the rest is not tried.
    assert_eq!(kith(home.path(), &["ra,", "restart"]).status.code(), Some(4));
}

#[test]
fn the_manual_page_and_the_completions_know_the_doctor() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["man"][..], &["completions", "bash"]] {
        let shown = text(&kith(home.path(), arguments).stdout);
        assert!(shown.contains("doctor") && shown.contains("explain"), "{arguments:?}");
    }
}
