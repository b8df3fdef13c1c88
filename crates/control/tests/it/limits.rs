//! Bounds: what an impolite caller gets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use kith_control::view::ListenerState;
use tokio::net::TcpStream;

use crate::harness::{Ask, start, start_with};
use crate::stand_in;

#[tokio::test]
async fn a_json_body_of_more_than_a_mebibyte_is_too_large() {
    let running = start().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    let ask = Ask::new("POST", running.api(), "/v1/sets").token(&running.token()).json(&large);
    ask.send().await.assert_refused(413);
    running.stop().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let running = start().await;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", running.api())).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").unwrap();
    // Virtual time from here on: ten seconds pass at once while everything is idle. The one who waits has no part in it: his own
    // bound would pass at once, too, while the end is still on its way to him.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (told, closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || told.send(stream.read_to_end(&mut Vec::new())));
    let closed = closed.await.unwrap();
    let took = begun.elapsed();
    tokio::time::resume();
    let is_open =
        closed.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!is_open && took < Duration::from_secs(60), "{took:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_head_with_too_many_lines_is_refused() {
    let running = start().await;
    let mut ask = Ask::get(running.api(), "/v1/status").token(&running.token());
    for number in 0..200 {
        ask = ask.header(&format!("X-{number}"), "x");
    }
    assert_eq!(ask.send().await.status, 431);
    running.stop().await;
}

#[tokio::test]
async fn many_silent_connections_leave_the_socket_usable() {
    let running = start().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(("127.0.0.1", running.api())).await.unwrap());
    }
    assert_eq!(running.client().await.status().await.unwrap().listener.state, ListenerState::Listening);
    drop(silent);
    assert_eq!(Ask::get(running.api(), "/v1/status").token(&running.token()).send().await.status, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_second_daemon_on_the_same_socket_is_refused_and_leaves_the_first_alone() {
    use kith_control::{ControlConfig, ControlError, ControlServer};
    let first = start_with(stand_in::empty()).await;
    let config = ControlConfig::new(0, 0, first.socket.clone());
    let second = ControlServer::start(config, first.backend.clone()).await;
    assert!(matches!(second, Err(ControlError::SocketInUse { .. })));
    assert_eq!(first.client().await.status().await.unwrap().name, "study");
    first.stop().await;
}

#[tokio::test]
async fn a_socket_left_by_a_dead_daemon_is_replaced_but_a_file_is_not() {
    use kith_control::{Client, ControlConfig, ControlError, ControlServer};
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let backend = std::sync::Arc::new(stand_in::StandIn::new(stand_in::empty()));
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let server =
        ControlServer::start(ControlConfig::new(0, 0, socket.clone()), backend.clone()).await.unwrap();
    Client::connect(&socket).await.unwrap();
    server.shutdown(Duration::from_secs(1)).await;
    assert!(!socket.exists());
    std::fs::write(&socket, "precious").unwrap();
    let refused = ControlServer::start(ControlConfig::new(0, 0, socket.clone()), backend).await;
    assert!(matches!(refused, Err(ControlError::Socket { .. })));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn a_change_that_has_begun_goes_on_when_its_caller_goes_away() {
    let running = start().await;
    let client = running.client().await;
    let request = kith_control::JoinRequest { invite: "kith-slow".to_owned(), quota_bytes: None, own: false };
    tokio::select! {
        result = client.join(&request) => panic!("{:?}", result.map(drop)),
        () = running.backend.reached.notified() => {}
    }
    drop(client);
    running.backend.gate.notify_one();
    tokio::time::timeout(Duration::from_secs(60), running.backend.passed.notified()).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_request_that_hangs_does_not_hold_up_the_end_of_the_daemon() {
    let running = start().await;
    let client = running.client().await;
    let request = kith_control::JoinRequest { invite: "kith-slow".to_owned(), quota_bytes: None, own: false };
    let asking = tokio::spawn(async move { client.join(&request).await });
    running.backend.reached.notified().await;
    // Virtual time: what it waits for is counted, not how long a busy computer takes.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    running.server.shutdown(Duration::from_millis(100)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    tokio::time::resume();
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test]
async fn the_socket_of_another_daemon_is_left_alone() {
    let running = start().await;
    let socket = running.socket.clone();
    std::fs::remove_file(&socket).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    running.server.shutdown(Duration::from_secs(1)).await;
    assert!(socket.exists());
    drop(other);
}
