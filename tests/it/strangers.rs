//! What strangers get on the inbound port of a real daemon.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{Computer, need, pair, run, run_with};

const GREETING: &str = "this port is open; you come from 127.0.0.1:";

/// Everything until the other side closes.
fn read_all(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("the connection was not closed; it said {:?}", String::from_utf8_lossy(&bytes))
        }
        // A reset is an end too.
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Nothing that a stranger gets says whose port this is, or what program it belongs to.
fn assert_dark(said: &str, computer: &Computer) {
    let id = computer.device_id();
    for secret in ["kith", computer.name(), &id[..7]] {
        assert!(!said.to_lowercase().contains(&secret.to_lowercase()), "{secret} in {said:?}");
    }
}

#[test]
fn a_silent_connection_is_greeted_after_two_seconds_and_closed_at_the_deadline() {
    let anna = Computer::started("annas-computer");
    let mut stream = TcpStream::connect(("127.0.0.1", anna.port())).unwrap();
    let port = stream.local_addr().unwrap().port();
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
    let mut first = [0; 256];
    let length = stream.read(&mut first).unwrap();
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_millis(1500) && waited < Duration::from_secs(5),
        "greeted after {waited:?}"
    );
    assert_eq!(String::from_utf8_lossy(&first[..length]), format!("{GREETING}{port}\r\n"));
    assert_dark(&String::from_utf8_lossy(&first[..length]), &anna);
    assert_eq!(read_all(&mut stream), "");
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(13), "closed only after {waited:?}");
}

#[test]
fn curl_and_a_browser_get_the_same_answer_at_once() {
    if !need("curl") {
        return;
    }
    let anna = Computer::started("annas-computer");
    let answer = run(Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--noproxy", "*"])
        .args(["--max-time", "10", &format!("http://{}/index.html", anna.address())]));
    answer.ok();
    assert!(answer.stdout.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.stdout.contains(&format!("\r\n\r\n{GREETING}")), "{answer}");
    assert_dark(&answer.stdout, &anna);
}

#[test]
fn telnet_shows_the_greeting() {
    if !need("telnet") {
        return;
    }
    let anna = Computer::started("annas-computer");
    let port = anna.port().to_string();
    let typed = run_with(Command::new("telnet").args(["127.0.0.1", &port]), b"hello?\r\n");
    typed.says(&["Connected to 127.0.0.1"]);
    // Telnet that has read the end of its input may leave before the answer: then somebody who waits sees it.
    let mut child = Command::new("telnet")
        .args(["127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    // It ends by itself: the port is closed at the deadline of the handshake.
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(said.contains(GREETING), "{said}");
    assert_dark(&said, &anna);
}

#[test]
fn a_person_who_types_gets_the_greeting_and_the_end() {
    let anna = Computer::started("annas-computer");
    for typed in [&b"hello\r\n"[..], b"GET / HTTP/1.0\r\n\r\n", b"\x00\x01\x02", b"SSH-2.0-OpenSSH_9\r\n"] {
        let start = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", anna.port())).unwrap();
        stream.write_all(typed).unwrap();
        let said = read_all(&mut stream);
        assert!(said.contains(GREETING), "{said:?} for {:?}", typed.escape_ascii().to_string());
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
        assert_dark(&said, &anna);
    }
}

#[test]
fn the_greeting_can_be_switched_off() {
    let anna = Computer::started("annas-computer");
    anna.kith(&["settings", "set", "listener.greeting", "false"]).ok();
    let mut stream = TcpStream::connect(("127.0.0.1", anna.port())).unwrap();
    stream.write_all(b"hello\r\n").unwrap();
    assert_eq!(read_all(&mut stream), "");
}

#[test]
fn openssl_without_a_friends_key_is_refused_in_the_handshake() {
    if !need("openssl") {
        return;
    }
    let (anna, bert) = (Computer::started("annas-computer"), Computer::started("bert"));
    pair(&anna, &bert);
    let client = |more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-ign_eof", "-connect", &anna.address(), "-alpn", "kith/1"]).args(more);
        run_with(&mut command, b"")
    };
    let without = client(&[]);
    assert_ne!(without.code, 0, "{without}");
    without.says(&["alert"]);
    client(&["-tls1_2"]).says(&["alert"]);
    without.never_says(anna.name()).never_says(&anna.device_id()[..7]);

    // A certificate of his own, valid in itself, is no better.
    let folder = anna.folder("stranger");
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "30", "-subj", "/CN=stranger"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate))
    .ok();
    let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    let stranger = client(&["-key", key, "-cert", certificate]);
    assert_ne!(stranger.code, 0, "{stranger}");
    stranger.says(&["alert"]);
    assert_eq!(anna.kith(&["friends", "--json"]).json().as_array().unwrap().len(), 1);
    assert!(anna.linked("bert"), "strangers broke a friend's link");
}

#[test]
fn a_computer_that_is_no_friend_learns_that_a_kith_answers_and_not_whose() {
    let (anna, carl) = (Computer::started("anna"), Computer::started("carl"));
    let port = anna.port().to_string();
    let probed = carl.kith(&["probe", "127.0.0.1", &port, "--json"]);
    let found: serde_json::Value = probed.stdout.parse().unwrap();
    // The port is known to be open, and whose it is stays unknown unless it is a friend's.
    assert_eq!(found["result"], "connected", "{probed}");
    assert_eq!(found["device_id"], serde_json::Value::Null, "{probed}");
    probed.never_says(&anna.device_id()).never_says("anna").ok();
    // Also to whoever knows whom to expect.
    let wanted = carl.kith(&["probe", "127.0.0.1", &port, "--expect", &anna.device_id()]);
    wanted.ended(1).says(&["another computer answers", "to its friends only"]);
    let closed = e2e::free_port();
    let refused = carl.kith(&["probe", "127.0.0.1", &closed.number().to_string()]);
    refused.ended(1).says(&["refused", "nothing listens"]);
    let unknown = carl.kith(&["probe", "no-such-host.invalid", "--json"]);
    assert_eq!(unknown.ended(1).stdout.parse::<serde_json::Value>().unwrap()["result"], "name-not-found");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            stream.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
        });
        let probed = carl.kith(&["probe", "127.0.0.1", &port.to_string()]);
        probed.ended(1).says(&["no Kith answers"]);
    });
}
