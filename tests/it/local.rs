//! The local ports: the API and the app of a real daemon.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::Computer;

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
    let token = std::fs::read_to_string(anna.home().join("run/token")).unwrap();
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
