//! What strangers get on the inbound port of a real daemon.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{Computer, need, pair, promised, run, run_with, say, wait_until};

/// When a silent connection is greeted, and when it is closed.
const GREETED: Duration = Duration::from_secs(2);
const CLOSED: Duration = Duration::from_secs(10);
/// What needs no deadline to end does so within this time.
const AT_ONCE: Duration = Duration::from_secs(5);
const GREETING: &str = "this port is open; you come from 127.0.0.1:";

/// Everything until the other side closes.
fn read_all(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
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
    promised("what came later than it should", Duration::from_secs(3), || {
        let start = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", anna.port())).unwrap();
        let port = stream.local_addr().unwrap().port();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut first = [0; 256];
        let length = stream.read(&mut first).unwrap();
        let greeted = start.elapsed();
        assert!(greeted > Duration::from_millis(1500), "greeted after {greeted:?}");
        assert_eq!(String::from_utf8_lossy(&first[..length]), format!("{GREETING}{port}\r\n"));
        assert_dark(&String::from_utf8_lossy(&first[..length]), &anna);
        assert_eq!(read_all(&mut stream), "");
        let closed = start.elapsed();
        greeted.saturating_sub(GREETED).max(closed.saturating_sub(CLOSED))
    });
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
        promised("greeting and end", AT_ONCE, || {
            let start = Instant::now();
            let mut stream = TcpStream::connect(("127.0.0.1", anna.port())).unwrap();
            stream.write_all(typed).unwrap();
            let said = read_all(&mut stream);
            let took = start.elapsed();
            assert!(said.contains(GREETING), "{said:?} for {:?}", typed.escape_ascii().to_string());
            assert_dark(&said, &anna);
            took
        });
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

/// Says this for as long as it is listened to; gives back how much was taken, and for how long.
fn talk(port: u16, beginning: &[u8], record: &[u8]) -> (usize, Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let start = Instant::now();
    let (mut sent, mut next) = (0, beginning);
    loop {
        match stream.write(next) {
            Ok(length) => {
                sent += length;
                next = if length == next.len() { record } else { &next[length..] };
                assert!(sent < 64 << 20, "it listens without end");
            }
            Err(error) => {
                let is_closed = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(is_closed, "it does not listen and does not close, after {sent} bytes");
                return (sent, start.elapsed());
            }
        }
    }
}

/// What is buffered of one handshake message before anybody has proved anything.
const MOST_BEFORE_PROOF: usize = 64 << 10;
/// Beyond that: what is read of the rest before the end, and what the kernels at both ends hold.
const IN_THE_WIRE: usize = 8 << 20;

#[test]
fn who_talks_for_more_than_64_kib_before_he_proved_who_he_is_is_cut_off() {
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    // Records of TLS with parts of one ClientHello, which says that it is longer than it may be.
    let hello = |length: usize| {
        let body =
            [&[1][..], &u32::try_from(length).unwrap().to_be_bytes()[1..], &[3, 3], &[7; 4000]].concat();
        [&[0x16, 3, 1][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat()
    };
    let record = [&[0x16, 3, 1][..], &4000_u16.to_be_bytes(), &[7; 4000]].concat();
    for length in [MOST_BEFORE_PROOF, 1 << 20, (1 << 24) - 1] {
        // Before the deadline would end it.
        promised("the end", AT_ONCE, || {
            let (sent, took) = talk(anna.port(), &hello(length), &record);
            say(&format!("a ClientHello of {length} bytes: cut off after {sent} bytes were sent, {took:?}"));
            assert!(sent < MOST_BEFORE_PROOF + IN_THE_WIRE, "{sent} bytes of {length}");
            took
        });
    }
    assert!(anna.linked("bert"), "it broke a friend's link");
}

/// Bytes in one certificate: more than an argument may have is not possible.
const BULK: usize = 100_000;

#[test]
fn a_certificate_chain_of_more_than_64_kib_is_cut_off() {
    if !need("openssl") {
        return;
    }
    let anna = Computer::started("annas-computer");
    let folder = anna.folder("stranger");
    let [key, certificate, bulky, chain] =
        ["key.pem", "one.pem", "bulky.pem", "chain.pem"].map(|name| folder.join(name));
    let make = |certificate: &Path, comment: usize| {
        let comment = format!("nsComment={}", "a".repeat(comment));
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "30", "-subj", "/CN=stranger"])
            .args(["-addext", &comment, "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(certificate))
        .ok();
        std::fs::read_to_string(certificate).unwrap()
    };
    // The last one made is the one that has the key.
    let (bulky, one) = (make(&bulky, BULK), make(&certificate, 1));
    let client = |certificates: &str| {
        std::fs::write(&chain, certificates).unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-ign_eof", "-connect", &anna.address(), "-alpn", "kith/1"]);
        command.arg("-key").arg(&key).arg("-cert").arg(&certificate).arg("-cert_chain").arg(&chain);
        run_with(&mut command, b"")
    };
    // Both are refused. Of the short one the end was heard and its certificate looked at.
    let short = client(&one);
    short.says(&["alert"]).never_says("write:errno");
    assert_ne!(short.code, 0, "{short}");
    // The long one does not fit into the wire: it is cut off while it is still being sent, and not by the deadline.
    let copies = (MOST_BEFORE_PROOF + IN_THE_WIRE) / BULK + 1;
    promised("the end", AT_ONCE, || {
        let long = client(&bulky.repeat(copies));
        long.says(&["write:errno"]);
        assert_ne!(long.code, 0, "{long}");
        long.took
    });
}

fn open_files(of: &Computer) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", of.pid())).unwrap().count()
}

/// The daemon may have so many files open from now on.
fn limit_files(of: &Computer, most: usize) {
    let (pid, limit) = (of.pid().to_string(), format!("--nofile={most}:"));
    run(Command::new("prlimit").args(["--pid", &pid, &limit])).ok();
}

#[test]
fn a_daemon_without_file_descriptors_goes_on_accepting_and_lets_a_friend_in() {
    if !cfg!(target_os = "linux") || !need("prlimit") {
        return;
    }
    /// Silent connections that are held, and more than there are descriptors for.
    const SILENT: usize = 60;
    let anna = Computer::started("anna");
    // He can't be dialled: he has to come in by the port that is under siege.
    let bert = Computer::new("bert", "[network]\noutbound-only = true\n");
    bert.start();
    pair(&anna, &bert);
    bert.stop();
    wait_until("anna to miss him", Duration::from_secs(40), || !anna.linked("bert"));
    limit_files(&anna, open_files(&anna) + 10);
    let siege_is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Who is thrown out comes again.
            let mut silent = VecDeque::new();
            while !siege_is_over.load(Ordering::Relaxed) {
                silent.extend(TcpStream::connect(("127.0.0.1", anna.port())));
                if silent.len() >= SILENT {
                    silent.pop_front();
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        let besieged = std::panic::catch_unwind(AssertUnwindSafe(|| {
            wait_until("the descriptors to be used up", Duration::from_secs(20), || {
                anna.log().contains("no resources to accept a connection")
            });
            bert.start();
            let took = wait_until("the friend to be in", Duration::from_secs(30), || bert.linked("anna"));
            say(&format!("with no descriptors left the friend was in after {took:?}"));
            // And it goes on: more come after him and are served.
            let failures = anna.log().matches("no resources to accept a connection").count();
            wait_until("more to come", Duration::from_secs(20), || {
                anna.log().matches("no resources to accept a connection").count() > failures
            });
            assert!(bert.linked("anna"), "the siege broke the friend's link");
        }));
        siege_is_over.store(true, Ordering::Relaxed);
        besieged.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    limit_files(&anna, 4096);
    assert!(anna.linked("bert"));
    assert_eq!(anna.status()["listener"]["state"], "listening");
    let mut stream = TcpStream::connect(("127.0.0.1", anna.port())).unwrap();
    stream.write_all(b"hello\r\n").unwrap();
    assert!(read_all(&mut stream).starts_with(GREETING));
}
