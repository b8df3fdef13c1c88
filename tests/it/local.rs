//! The local ports: the API and the app of a real daemon.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use e2e::{Computer, Outcome, UNPRIVILEGED, is_root, need, pair, run, say, wait_for};

/// One HTTP request by hand; the whole answer.
fn ask(port: u16, head: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_api_wants_its_token_and_the_right_host() {
    let anna = Computer::started("anna");
    let (api, _) = anna.control_ports();
    // It is written when the doors are open, so that it is never there in vain: the socket may answer a moment before.
    let (token, _) = wait_for("the token", Duration::from_secs(5), || {
        std::fs::read_to_string(anna.home().join("run/token")).ok()
    });
    let get = |host: &str, more: &str| ask(api, &format!("GET /v1/status HTTP/1.1\r\nHost: {host}{more}"));
    let ours = format!("127.0.0.1:{api}");
    let bearer = format!("\r\nAuthorization: Bearer {}", token.trim());
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(status(&get(&ours, "")), "401");
    assert_eq!(status(&get(&ours, "\r\nAuthorization: Bearer 0123456789abcdef")), "401");
    assert_eq!(status(&get("evil.example.org", &bearer)), "421");
    let answer = get(&ours, &bearer);
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains(&anna.device_id()), "{answer}");
    assert!(!get(&ours, "").contains(&anna.device_id()));
    let rights = |path: &str| anna.home().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(rights("run/token"), 0o600);
    for secret in ["phrase", "identity.key", "archive.key", "state.key"] {
        assert_eq!(rights(&format!("secrets/{secret}")), 0o600, "{secret}");
    }
    // The token dies with the daemon.
    anna.stop();
    anna.start();
    assert_eq!(status(&get(&ours, &bearer)), "401");
}

#[test]
fn the_app_is_an_empty_shell_until_it_is_opened() {
    let anna = Computer::started("anna");
    let (api, app) = anna.control_ports();
    let page = ask(app, &format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{app}"));
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("default-src 'none'"), "{page}");
    assert!(!page.contains(&anna.device_id()) && !page.contains("set-cookie"), "{page}");
    let none = ask(api, &format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{api}"));
    assert!(!none.contains("<html"), "the API serves a page: {none}");
    let opened = anna.kith(&["open", "--print"]);
    let address = opened.ok();
    assert!(address.starts_with(&format!("http://127.0.0.1:{app}/#")), "{address}");
    assert_ne!(anna.kith(&["open", "--print"]).ok(), address, "a code was given out twice");
}

#[test]
fn settings_come_from_the_environment_too_and_say_so() {
    let anna = Computer::new("anna", "");
    let other = e2e::free_port();
    let number = other.number().to_string();
    anna.start_with(&[("KITH_CONTROL__APP_PORT", number.as_str()), ("KITH_NAME", "from outside")]);
    let status = anna.status();
    assert_eq!(status["control"]["app_port"], other.number());
    assert_eq!(status["name"], "from outside");
    let hidden = anna.kith(&["settings", "set", "name", "from-the-file"]);
    hidden.says(&["KITH_NAME", "stronger"]).ok();
    assert_eq!(anna.status()["name"], "from outside");
}

/// What a user without any rights gets.
fn as_stranger(command: &[&OsStr]) -> Outcome {
    let mut stranger = Command::new("setpriv");
    stranger.args([
        format!("--reuid={UNPRIVILEGED}"),
        format!("--regid={UNPRIVILEGED}"),
        "--clear-groups".into(),
    ]);
    run(stranger.arg("--").args(command).env_remove("KITH_HOME").current_dir("/"))
}

#[test]
fn another_user_of_this_computer_gets_nothing_from_files_socket_and_ports() {
    if !is_root() {
        say("skipped: only the superuser can become somebody else");
        return;
    }
    if !need("setpriv") || !need("curl") {
        return;
    }
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let source = anna.folder("source");
    std::fs::write(source.join("letter"), b"for nobody else").unwrap();
    anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
    anna.kith(&["backup"]).ok();
    // The worst case: somebody made both homes himself and left them open. What Kith puts there is closed on its own.
    for computer in [&anna, &bert] {
        for open in [computer.home().parent().unwrap().to_owned(), computer.home()] {
            std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let mut looked = 0;
    for (computer, below) in [
        (&anna, "secrets"),
        (&anna, "secrets/phrase"),
        (&anna, "secrets/archive.key"),
        (&anna, "state.db"),
        (&anna, "state.db-wal"),
        (&anna, "run"),
        (&anna, "run/token"),
        (&anna, "run/ports.json"),
        (&anna, "logs/kith.log"),
        (&bert, "vault"),
        (&bert, "vault/.kith-vault"),
    ] {
        let path = computer.home().join(below);
        assert!(path.exists(), "{}", path.display());
        let reader = if path.is_dir() { "ls" } else { "cat" };
        let seen = as_stranger(&[reader.as_ref(), path.as_ref()]);
        assert_ne!(seen.code, 0, "{seen}");
        seen.says(&["permission denied"]);
        looked += 1;
    }
    assert_eq!(looked, 11);
    // Even if a link leads past the home, every file is its owner's.
    for path in
        ["secrets/phrase", "secrets/identity.key", "run/token", "state.db", "state.db-wal", "logs/kith.log"]
    {
        let mode = anna.home().join(path).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path}");
    }
    for path in ["secrets", "run", "logs", "vault"] {
        let mode = anna.home().join(path).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path}");
    }
    // The command line, by the stranger: neither the socket nor the secrets are for him.
    let program = anna.home().parent().unwrap().join("kith-for-all");
    std::fs::copy(e2e::kith_binary(), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = anna.home();
    for args in [
        &["status"][..],
        &["id"],
        &["friends"],
        &["recovery", "show", "--yes", "--words"],
        &["open", "--print"],
        &["snapshots"],
    ] {
        let start: [&OsStr; 3] = [program.as_ref(), "--home".as_ref(), home.as_ref()];
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        let asked = as_stranger(&[&start[..], &args].concat());
        assert!([1, 4].contains(&asked.code), "{asked}");
        asked.never_says(&anna.device_id());
        asked.never_says("bert");
    }
    // The ports answer him as they answer everybody: not without the token.
    let (api, app) = anna.control_ports();
    for (port, target, status) in [
        (api, "/v1/status", "401"),
        (api, "/v1/friends/bert/archive", "401"),
        (api, "/", "401"),
        (app, "/v1/status", "401"),
        (app, "/fragments/friends", "401"),
        (app, "/events", "401"),
    ] {
        let url = format!("http://127.0.0.1:{port}{target}");
        let mut curl =
            vec!["curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", "-H", "Authorization: Bearer AAAA"];
        curl.push(&url);
        let asked = as_stranger(&curl.iter().map(OsStr::new).collect::<Vec<_>>());
        assert!(asked.ok().ends_with(status), "{asked}");
        asked.never_says(&anna.device_id());
        asked.never_says("bert");
    }
}

/// Names that act on a terminal, a page or the reading order, as bytes of file names.
fn hostile_names() -> Vec<Vec<u8>> {
    let long = "W".repeat(255);
    let names: [&[u8]; 9] = [
        b"\x1b[2J\x1b]0;owned\x07",
        b"two\nlines\r\nand one",
        "invoice\u{202e}gpj.exe".as_bytes(),
        "\u{2066}isolated\u{2069}\u{200f}".as_bytes(),
        b"<img src=x onerror=alert(1)>",
        b"not utf-8 \xff\xfe\x9b31m",
        "c1 \u{9b}31m".as_bytes(),
        b"tab\tand\x7fdelete",
        long.as_bytes(),
    ];
    names.map(<[u8]>::to_vec).to_vec()
}

/// Nothing that was said acts on a terminal or on the order of reading.
#[track_caller]
fn assert_harmless(what: &str, text: &str) {
    for (number, line) in text.lines().enumerate() {
        let harmful = |character: char| {
            character.is_control()
                || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
        };
        assert!(!line.contains(harmful), "{what}, line {number}: {line:?}");
        assert!(!line.contains("and one") || line.contains("two"), "{what} breaks a name into lines: {text}");
    }
}

#[test]
fn hostile_names_are_shown_and_not_obeyed_by_every_command_and_the_log() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    // A name of a friend comes over the wire.
    bert.kith(&["settings", "set", "name", "bert\u{202e}\u{1b}[31m<b>"]);
    let top = anna.folder("source");
    let source = top.join(OsStr::from_bytes(b"folder \x1b[7m\ninverse \xe2\x80\xae"));
    std::fs::create_dir(&source).unwrap();
    for name in hostile_names() {
        std::fs::write(source.join(OsStr::from_bytes(&name)), &name).unwrap();
    }
    // What can't be read is named in the report: a socket's file is nothing that can be stored.
    let _socket =
        std::os::unix::net::UnixListener::bind(top.join(OsStr::from_bytes(b"s\x1b[2J\n\xe2\x80\xae")))
            .unwrap();
    anna.kith(&["set", "add", "docs", top.to_str().unwrap(), "--to", "bert"]).ok();
    let target = anna.folder("target").join("in \u{1b}[2J\u{202e}");
    let target = target.to_str().unwrap();
    let source = source.to_str().unwrap();
    let mut said = Vec::new();
    for args in [
        &["set", "list"][..],
        &["set", "add", "odd\u{1b}[2J\u{202e}", source, "--to", "bert"],
        &["set", "add", "more", source, "--to", "nobody \u{1b}[2J\u{202e}"],
        &["set", "list"],
        &["backup"],
        &["snapshots"],
        &["ls", "latest"],
        &["ls", "latest", source],
        &["ls", "latest", "/no/such\u{1b}[2J\u{202e}"],
        &["find", "*"],
        &["restore", "latest", "--target", target],
        &["restore", "latest", "--target", target],
        &["restore", "latest", "/no/such\u{1b}[2J", "--target", target],
        &["restore", "\u{1b}[2J\u{202e}", "--target", target],
        &["check", "bert"],
        &["check", "nobody\u{1b}[2J\u{202e}"],
        &["friends"],
        &["friend", "rename", "bert", "b\u{1b}[2J\u{202e}"],
        &["friend", "address", "bert", "host\u{1b}[2J:1"],
        &["friends"],
        &["probe", "no such\u{1b}[2J\u{202e}"],
        &["settings", "get"],
        &["settings", "set", "name", "a\u{1b}[2J\u{202e}"],
        &["settings", "get", "no.such\u{1b}[2J"],
        &["status"],
        &["ports"],
        &["logs"],
    ] {
        let outcome = anna.kith(args);
        assert_harmless(&format!("{:?}", &args[..args.len().min(2)]), &outcome.stdout);
        assert_harmless(&format!("{:?} (errors)", &args[..args.len().min(2)]), &outcome.stderr);
        said.push(outcome);
    }
    let listed = &said[7];
    for shown in ["\\u{1b}[2J", "two\\nlines", "\\u{202e}gpj.exe", "<img src=x"] {
        assert!(listed.ok().contains(shown), "{shown} is not shown: {listed}");
    }
    said[10].ok();
    for computer in [&anna, &bert] {
        let log = std::fs::read(computer.home().join("logs/kith.log")).unwrap();
        assert_harmless("the log", &String::from_utf8_lossy(&log));
    }
}
