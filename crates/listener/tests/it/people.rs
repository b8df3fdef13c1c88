//! Telnet, browsers, `openssl s_client`, and whoever says nothing.

use std::process::{Output, Stdio};
use std::time::Duration;

use kith_listener::ListenerConfig;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::*;

#[tokio::test]
async fn who_types_something_is_greeted_at_once_and_the_connection_closes() {
    let mut house = House::on_loopback();
    for typed in ["hello\r\n", "\r\n", "SSH-2.0-client\r\n", "\u{ff}\u{fb}"] {
        let mut stream = connect(house.address).await;
        stream.write_all(typed.as_bytes()).await.unwrap();
        assert_eq!(read_all(&mut stream).await, greeting_for(&stream), "{typed:?}");
    }
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn a_script_that_closes_its_half_without_a_word_is_greeted_at_once() {
    let house = House::on_loopback();
    let mut stream = connect(house.address).await;
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await, greeting_for(&stream));
}

#[tokio::test]
async fn silence_is_greeted_after_two_seconds_and_closed_at_the_deadline() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut stream = connect(house.address).await;
    house.has_taken_in_all().await;
    advance(1990).await;
    house.assert_says_nothing(&stream).await;
    advance(20).await;
    assert_eq!(read_line(&mut stream).await, greeting_for(&stream));
    advance(7970).await;
    house.assert_says_nothing(&stream).await;
    advance(40).await;
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn who_types_after_the_greeting_is_not_answered_twice() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut stream = connect(house.address).await;
    house.has_taken_in_all().await;
    advance(2010).await;
    read_line(&mut stream).await;
    stream.write_all(b"hello\r\n").await.unwrap();
    assert_eq!(read_all_or_reset(&mut stream).await, b"");
}

#[tokio::test]
async fn half_a_word_is_answered_after_two_seconds() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut stream = connect(house.address).await;
    stream.write_all(b"GE").await.unwrap();
    house.assert_says_nothing(&stream).await;
    advance(2010).await;
    assert_eq!(read_line(&mut stream).await, greeting_for(&stream));
}

#[tokio::test]
async fn with_the_greeting_off_nothing_is_said() {
    let _frozen = freeze_time();
    let mut house = House::open(&ListenerConfig { greeting: false, ..on_loopback() });
    let mut silent = connect(house.address).await;
    house.has_taken_in_all().await;
    advance(9990).await;
    house.assert_says_nothing(&silent).await;
    advance(20).await;
    assert_eq!(read_all(&mut silent).await, "");

    let mut stream = connect(house.address).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(read_all_or_reset(&mut stream).await, b"");
}

#[tokio::test]
async fn a_long_request_is_answered_completely_before_the_end() {
    let house = House::on_loopback();
    let mut stream = connect(house.address).await;
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n";
    stream.write_all(&[head.as_slice(), &[b'x'; 40_000]].concat()).await.unwrap();
    let expected = greeting_for(&stream);
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
}

async fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    // Its standard input stays open until it ends by itself.
    let _stdin = child.stdin.take();
    timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn curl_gets_a_page() {
    // A program may take seconds to say its first word: no time passes in which it would be greeted, or be too late.
    let _frozen = freeze_time();
    let house = House::on_loopback();
    let url = format!("http://{}/index.html", house.address);
    let output = run("curl", &["--silent", "--show-error", "--noproxy", "*", "--include", &url]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("this port is open; you come from 127.0.0.1:"), "{text}");

    let output = run("curl", &["--silent", "--show-error", "--noproxy", "*", "--head", &url]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `openssl s_client` has to say.
async fn s_client(house: &House, arguments: &[&str]) -> String {
    let address = house.address.to_string();
    let output = run("openssl", &[&["s_client", "-connect", &address], arguments].concat()).await;
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

#[tokio::test]
async fn openssl_without_our_protocol_is_refused_before_it_sees_a_certificate() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    for arguments in [&[][..], &["-alpn", "h2,http/1.1"]] {
        let text = s_client(&house, arguments).await;
        assert!(text.contains("no application protocol") && text.contains("alert number 120"), "{text}");
        assert!(text.contains("no peer certificate available"), "{text}");
    }
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn openssl_without_a_certificate_or_with_tls_12_is_refused() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let text = s_client(&house, &["-alpn", "kith/1"]).await;
    assert!(text.contains("alert certificate required"), "{text}");
    let text = s_client(&house, &["-alpn", "kith/1", "-tls1_2"]).await;
    assert!(text.contains("alert protocol version"), "{text}");
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn openssl_with_a_valid_certificate_of_a_stranger_is_refused_in_the_handshake() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (file("key.pem"), file("certificate.pem"));
    let made = run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ed25519",
            "-nodes",
            "-subj",
            "/CN=kith",
            "-days",
            "30",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ],
    )
    .await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = s_client(&house, &["-alpn", "kith/1", "-cert", &certificate, "-key", &key]).await;
    assert!(text.contains("alert certificate unknown"), "{text}");
    house.assert_nobody_was_let_in();
}
