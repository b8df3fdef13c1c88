//! The client for the command line against the server.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kith_control::*;

use crate::harness::start;
use crate::stand_in;

#[tokio::test]
async fn every_call_makes_the_round_trip() {
    let running = start().await;
    let client = running.client().await;
    let status = client.status().await.unwrap();
    assert_eq!((status.name.as_str(), status.friends.len(), status.jobs.len()), ("study", 3, 7));
    assert_eq!(status.control.port, running.api());
    assert_eq!(client.friends().await.unwrap().len(), 3);
    assert_eq!(client.sets().await.unwrap().len(), 3);
    assert!(client.jobs().await.unwrap().len() > 7);
    assert_eq!(client.job(41).await.unwrap().progress.files_total, 48_211);
    assert_eq!(client.settings().await.unwrap()[1].key, "listener.port");
    assert_eq!(client.ports().await.unwrap()[2].local, "0.0.0.0:4242");

    let invite = InviteRequest { quota_bytes: Some(5), expires_seconds: None, own: true };
    assert!(client.invite(&invite).await.unwrap().invite.starts_with("kith-invite:"));
    let join = JoinRequest { invite: "kith-invite:x".to_owned(), quota_bytes: None, own: false };
    assert_eq!(client.join(&join).await.unwrap().failures.len(), 1);
    let change = FriendChange { name: Some("Anne / Ånne?".to_owned()), ..FriendChange::default() };
    let changed = client.change_friend("Anna", &change).await.unwrap();
    assert_eq!(changed.device_id, stand_in::device(1));
    client.remove_friend("Anne / Ånne?").await.unwrap();
    assert_eq!(client.friends().await.unwrap().len(), 2);
    let set = SetRequest {
        name: "a b/c".to_owned(),
        paths: vec!["/x".to_owned()],
        to: vec!["attic".to_owned()],
        alternate: Vec::new(),
        exclude: Vec::new(),
    };
    assert_eq!(client.add_set(&set).await.unwrap().to, ["attic"]);
    client.remove_set("a b/c").await.unwrap();
    assert_eq!(client.sets().await.unwrap().len(), 3);
    assert_eq!(client.start_backup(&BackupRequest::default()).await.unwrap().len(), 1);
    let check = CheckRequest { friend: "attic".to_owned(), read_data: true };
    assert_eq!(client.start_check(&check).await.unwrap().kind, view::JobKind::Check);
    assert_eq!(client.cancel_job(41).await.unwrap().id, 41);

    let query = SnapshotQuery { friend: Some("Ben’s workshop".to_owned()), set: None, as_of: None };
    assert_eq!(client.snapshots(&query).await.unwrap()[0].friend, "Ben’s workshop");
    let entries = client.list_entries("latest", Some("/a b/ü&x=1"), None, None).await.unwrap();
    assert_eq!(entries[0].path, "/a b/ü&x=1");
    assert_eq!(client.find("*.o?t", Some("attic"), None).await.unwrap().found[0].entry.size, 12);
    assert_eq!(client.change_setting("listener.port", "4300").await.unwrap().value, "4300");
    client.pause(3600).await.unwrap();
    client.resume().await.unwrap();
    client.reauthenticate().await.unwrap();
    client.restart().await.unwrap();
    let recover = RecoverRequest { words: "a b c".to_owned(), from: vec!["h:1".to_owned()] };
    assert_eq!(client.recover(&recover).await.unwrap().friends, ["Anna"]);
    assert_eq!(client.archive_access("attic").await.unwrap().master_key.len(), 128);
    running.stop().await;
}

#[tokio::test]
async fn failures_arrive_as_they_were_told() {
    let running = start().await;
    let client = running.client().await;
    let check = |result: Result<(), ClientError>, kind, words: &str| match result {
        Err(ClientError::Failure(failure)) => {
            assert_eq!(failure.kind, kind);
            assert!(failure.message.contains(words), "{failure}");
            failure.hint
        }
        other => panic!("{other:?}"),
    };
    check(client.job(7).await.map(drop), FailureKind::NotFound, "no job 7");
    let locked = client.change_setting("network.proxy", "").await.map(drop);
    check(locked, FailureKind::Refused, "fixed by the administrator");
    let join = JoinRequest { invite: "nonsense".to_owned(), quota_bytes: None, own: false };
    let hint = check(client.join(&join).await.map(drop), FailureKind::Invalid, "not an invite");
    assert_eq!(hint.as_deref(), Some("copy the whole line, from “kith” to its end"));
    let set =
        SetRequest { name: "Code".to_owned(), paths: vec![], to: vec![], alternate: vec![], exclude: vec![] };
    check(client.add_set(&set).await.map(drop), FailureKind::Conflict, "already");
    running.stop().await;
}

#[tokio::test]
async fn events_arrive_in_order_and_end_with_the_daemon() {
    let running = start().await;
    let mut events = running.client().await.events().await.unwrap();
    running.backend.tell(Event::Sets);
    let job = running.backend.state().jobs[1].clone();
    running.backend.tell(Event::Job { job: Box::new(job) });
    assert!(matches!(events.next().await, Some(Ok(Event::Sets))));
    assert!(matches!(events.next().await, Some(Ok(Event::Job { job })) if job.id == 41));
    running.stop().await;
    assert!(events.next().await.is_none_or(|event| event.is_err()));
}

#[tokio::test]
async fn who_listens_too_slowly_is_told_to_fetch_everything_anew() {
    let running = start().await;
    let mut events = running.client().await.events().await.unwrap();
    let job = running.backend.state().jobs[1].clone();
    // In one go: the server has no chance to read in between, and 64 are kept.
    for _ in 0..200 {
        running.backend.tell(Event::Job { job: Box::new(job.clone()) });
    }
    assert!(matches!(events.next().await, Some(Ok(Event::Status))));
    assert!(matches!(events.next().await, Some(Ok(Event::Friends))));
    assert!(matches!(events.next().await, Some(Ok(Event::Sets))));
    assert!(matches!(events.next().await, Some(Ok(Event::Job { .. }))));
    running.stop().await;
}

fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(path).body(body).unwrap()
}

#[tokio::test]
async fn the_store_is_handed_through_with_path_query_and_body() {
    let running = start().await;
    let client = running.client().await;
    let path = "/0123/data/?create=true&x=%2F..";
    let answer = client.store("Ben’s workshop", request(Method::POST, path, "pack")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let asked = answer.headers()["asked"].as_bytes();
    assert_eq!(asked, format!("Ben’s workshop: POST {path}").as_bytes());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "pack");

    let missing = client.store("Anna", request(Method::GET, "/0123/missing", "")).await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(missing.into_body().collect().await.unwrap().to_bytes(), "no such object");
    let offline = client.store("Anna", request(Method::GET, "/0123/offline", "")).await;
    assert!(matches!(offline, Err(ClientError::Failure(failure)) if failure.kind == FailureKind::Offline));
    running.stop().await;
}

#[tokio::test]
async fn the_store_streams_both_ways_at_once_without_limit_on_size() {
    let running = start().await;
    let client = running.client().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = futures::stream::unfold(receiver, async |mut receiver| {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, BodyError>(Frame::data(bytes)), receiver))
    });
    let body = StreamBody::new(frames).boxed_unsync();
    let ask = Request::builder().method(Method::POST).uri("/0123/data/00").body(body).unwrap();
    let mut answer = client.store("Anna", ask).await.unwrap().into_body();
    let piece = Bytes::from(vec![7; 256 * 1024]);
    let mut received = 0;
    // Every piece comes back before the next one is sent: nothing waits for an end.
    for sent in 1..=64 {
        sender.send(piece.clone()).await.unwrap();
        while received < sent * piece.len() {
            received += answer.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
    }
    drop(sender);
    assert!(answer.frame().await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn without_a_daemon_the_error_names_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let missing = Client::connect(&socket).await.err().unwrap();
    assert!(matches!(&missing, ClientError::DaemonNotRunning { path } if *path == socket), "{missing}");
    // A socket that a killed daemon left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let stale = Client::connect(&socket).await.err().unwrap();
    assert!(matches!(stale, ClientError::DaemonNotRunning { .. }), "{stale}");
}

#[tokio::test]
async fn other_programs_may_use_the_port_with_the_token() {
    let running = start().await;
    let client = Client::tcp(running.api(), &format!("{}\n", running.token())).await.unwrap();
    assert_eq!(client.friends().await.unwrap().len(), 3);
    let refused = client.archive_access("Anna").await.err().unwrap();
    assert!(
        matches!(&refused, ClientError::Failure(failure) if failure.kind == FailureKind::Refused),
        "{refused}"
    );
    let stranger = Client::tcp(running.api(), "wrong").await.unwrap();
    assert!(matches!(stranger.status().await, Err(ClientError::Failure(_))));
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_does_not_answer_is_named_with_what_a_firewall_must_allow() {
    // Bound but not listening: nobody else gets the port, and nobody answers on it.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = Client::tcp(port, "x").await.err().unwrap();
    assert!(matches!(error, ClientError::PortUnreachable { .. }));
    let shown = error.to_string();
    assert!(shown.contains(&format!("allow TCP port {port} from localhost to localhost")), "{shown}");
}

#[tokio::test]
async fn another_program_on_the_port_is_told_apart() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for reply in ["HTTP/1.1 200 OK\r\nServer: other\r\nContent-Length: 2\r\n\r\n{}", "220 mail ready\r\n"] {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = other.local_addr().unwrap().port();
        let answering = async {
            loop {
                let (mut stream, _) = other.accept().await.unwrap();
                let mut buffer = [0; 1024];
                if stream.read(&mut buffer).await.unwrap() > 0 {
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
            }
        };
        let asking = async { Client::tcp(port, "x").await.unwrap().status().await };
        let error = tokio::select! { result = asking => result.err().unwrap(), () = answering => panic!("the server ended first") };
        assert!(matches!(error, ClientError::OtherProgram { port: found } if found == port), "{error}");
    }
}

#[tokio::test]
async fn homes_that_lie_deep_are_reached() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let socket = deep.join("control.sock");
    let backend = std::sync::Arc::new(stand_in::StandIn::new(stand_in::empty()));
    let server = ControlServer::start(ControlConfig::new(0, 0, socket.clone()), backend).await.unwrap();
    assert_eq!(Client::connect(&socket).await.unwrap().status().await.unwrap().name, "study");
    drop(server);
    assert!(!socket.exists());
}
