//! Who gets through the TCP ports, and what every answer carries.

use crate::harness::{Answer, Ask, start};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

fn assert_protected(answer: &Answer) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name} of {answer:?}");
    }
    let cors = answer.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
    assert!(cors.is_none(), "{cors:?}");
    assert!(answer.header("set-cookie").is_none());
}

#[tokio::test]
async fn every_answer_carries_the_protecting_headers_and_none_allows_another_origin() {
    let running = start().await;
    let (api, app) = (running.api(), running.app());
    for ask in [
        Ask::get(api, "/v1/status").token(&running.token()),
        Ask::get(api, "/v1/status"),
        Ask::get(api, "/v1/status").host(Some("evil.example")),
        Ask::get(api, "/nothing").token(&running.token()),
        Ask::new("PUT", api, "/v1/status").token(&running.token()),
        Ask::new("OPTIONS", api, "/v1/sets").header("Origin", "https://evil.example"),
        Ask::get(app, "/"),
        Ask::get(app, "/app.css"),
        Ask::get(app, "/main.js"),
        Ask::get(app, "/fragments/friends"),
        Ask::get(app, "/fragments/friends").token(&running.session().await),
    ] {
        assert_protected(&ask.send().await);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_name_that_was_rebound_to_the_loopback_address_is_misdirected() {
    let running = start().await;
    let (api, app, token) = (running.api(), running.app(), running.token());
    for (port, target) in [(api, "/v1/status"), (app, "/"), (app, "/app.css"), (app, "/v1/status")] {
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            format!("127.0.0.1:{}", port ^ 1),
            format!("127.0.0.1.evil.example:{port}"),
            format!("localhost.evil.example:{port}"),
            format!("127.0.0.2:{port}"),
        ] {
            Ask::get(port, target).host(Some(&host)).token(&token).send().await.assert_refused(421);
        }
        Ask::get(port, target).host(None).token(&token).send().await.assert_refused(421);
        let twice = Ask::get(port, target).header("Host", "evil.example").token(&token);
        twice.send().await.assert_refused(421);
        // An absolute target outranks the header.
        let absolute = format!("http://evil.example:{port}{target}");
        Ask::get(port, &absolute).token(&token).send().await.assert_refused(421);
    }
    running.stop().await;
}

#[tokio::test]
async fn the_three_names_of_the_loopback_address_are_served() {
    let running = start().await;
    let port = running.api();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")] {
        let answer = Ask::get(port, "/v1/status").host(Some(&host)).token(&running.token()).send().await;
        assert_eq!(answer.status, 200, "{host}");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_ipv6_loopback_address_is_served_on_the_same_port_number() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = start().await;
    if running.server.bound().ipv6 {
        for port in [running.api(), running.app()] {
            let mut stream = tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
            let ask = format!("GET /nothing HTTP/1.1\r\nHost: [::1]:{port}\r\nConnection: close\r\n\r\n");
            stream.write_all(ask.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn requests_of_other_web_pages_are_refused_even_with_a_token() {
    let running = start().await;
    let (api, token) = (running.api(), running.token());
    for origin in [
        "https://evil.example".to_owned(),
        "null".to_owned(),
        format!("http://localhost:{api}"),
        format!("https://127.0.0.1:{api}"),
        format!("http://127.0.0.1:{}", running.app()),
        format!("http://127.0.0.1:{api}.evil.example"),
        format!("http://127.0.0.1:{api}/"),
    ] {
        for method in ["GET", "POST"] {
            let ask = Ask::new(method, api, "/v1/sets").token(&token).header("Origin", &origin).json("{}");
            ask.send().await.assert_refused(403);
        }
    }
    for site in ["cross-site", "same-site"] {
        let ask = Ask::new("POST", api, "/v1/ra").token(&token).header("Sec-Fetch-Site", site).json("{}");
        ask.send().await.assert_refused(403);
    }
    assert_eq!(running.backend.calls(), Vec::<String>::new());
    let own = format!("http://127.0.0.1:{api}");
    let ask = Ask::new("POST", api, "/v1/ra").token(&token).header("Origin", &own).json("{}");
    assert_eq!(ask.send().await.status, 204);
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_answered_without_the_right_token() {
    let running = start().await;
    let (api, app) = (running.api(), running.app());
    let (token, session) = (running.token(), running.session().await);
    for target in ["/v1/status", "/v1/openapi.json", "/v1/events", "/nothing", "/"] {
        let refused = Ask::get(api, target).send().await;
        refused.assert_refused(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        for wrong in ["", "x", "Bearer", &session, &token[1..], &format!("{token}=")] {
            Ask::get(api, target).token(wrong).send().await.assert_refused(401);
        }
        let twice = Ask::get(api, target).token(&token).token(&token);
        twice.send().await.assert_refused(401);
    }
    for target in ["/v1/status", "/fragments/friends", "/events", "/nothing", "/session"] {
        Ask::get(app, target).send().await.assert_refused(401);
        // The API's token is for the API's port, the page's for the page's.
        Ask::get(app, target).token(&token).send().await.assert_refused(401);
    }
    assert_eq!(Ask::get(app, "/v1/status").token(&session).send().await.status, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_token_dies_with_the_daemon() {
    let first = start().await;
    let (token, session) = (first.token(), first.session().await);
    first.stop().await;
    let second = start().await;
    Ask::get(second.api(), "/v1/status").token(&token).send().await.assert_refused(401);
    Ask::get(second.app(), "/v1/status").token(&session).send().await.assert_refused(401);
    second.stop().await;
}

#[tokio::test]
async fn writes_are_json_or_nothing() {
    let running = start().await;
    let (api, token) = (running.api(), running.token());
    for target in ["/v1/invites", "/v1/ra", "/v1/restart", "/v1/sets"] {
        Ask::new("POST", api, target).token(&token).body("{}").send().await.assert_refused(415);
        for media in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
        {
            let ask = Ask::new("POST", api, target).token(&token).header("Content-Type", media).body("{}");
            ask.send().await.assert_refused(415);
        }
    }
    assert_eq!(running.backend.calls(), Vec::<String>::new());
    let ask = Ask::new("POST", api, "/v1/ra")
        .token(&token)
        .header("Content-Type", "application/json; charset=utf-8");
    assert_eq!(ask.send().await.status, 204);
    running.stop().await;
}

#[tokio::test]
async fn what_gives_access_to_secrets_is_refused_over_tcp_even_with_a_token() {
    let running = start().await;
    let session = running.session().await;
    let asks = |port, token: &str| {
        [
            Ask::get(port, "/v1/friends/Anna/archive").token(token),
            Ask::get(port, "/v1/friends/Anna/store/abc/config").token(token),
            Ask::new("POST", port, "/v1/friends/Anna/store/abc/data/00").token(token).body("x"),
            Ask::new("DELETE", port, "/v1/friends/Anna/store/abc/locks/00").token(token),
            Ask::new("POST", port, "/v1/recover").token(token).json("{\"words\":\"a\",\"from\":[]}"),
            Ask::new("POST", port, "/v1/app-codes").token(token).json("{}"),
        ]
    };
    for ask in asks(running.api(), &running.token()).into_iter().chain(asks(running.app(), &session)) {
        ask.send().await.assert_refused(403);
    }
    assert_eq!(running.backend.calls(), Vec::<String>::new());
    running.stop().await;
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_as_json() {
    let running = start().await;
    let session = running.session().await;
    for (port, token) in [(running.api(), running.token()), (running.app(), session)] {
        Ask::get(port, "/v1/nothing").token(&token).send().await.assert_refused(404);
        Ask::new("PUT", port, "/v1/status").token(&token).json("{}").send().await.assert_refused(405);
        Ask::get(port, "/v1/jobs/seven").token(&token).send().await.assert_refused(400);
        Ask::get(port, "/v1/jobs/7").token(&token).send().await.assert_refused(404);
        Ask::get(port, "/v1/find").token(&token).send().await.assert_refused(400);
        Ask::get(port, "/v1/snapshots?colour=red").token(&token).send().await.assert_refused(400);
        Ask::get(port, "/v1/sets/%ff").token(&token).send().await.assert_refused(405);
        Ask::new("DELETE", port, "/v1/sets/%ff").token(&token).send().await.assert_refused(400);
        let bad = Ask::new("POST", port, "/v1/sets").token(&token).json("{\"name\":1}").send().await;
        bad.assert_refused(400);
        assert!(
            bad.json()["message"].as_str().unwrap().contains("name")
                || bad.json()["message"].as_str().unwrap().contains("string")
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn the_app_is_never_on_the_api_port() {
    let running = start().await;
    for target in ["/", "/index.html", "/app.css", "/main.js", "/session", "/events", "/fragments/friends"] {
        for token in ["", &running.token()] {
            let answer = Ask::get(running.api(), target).token(token).send().await;
            answer.assert_refused(if token.is_empty() { 401 } else { 404 });
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn who_asks_before_everything_is_in_its_place_is_answered_afterwards() {
    use kith_control::{Client, ControlConfig, ControlServer};
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let backend = std::sync::Arc::new(crate::stand_in::StandIn::new(crate::stand_in::empty()));
    let server = ControlServer::bind(ControlConfig::new(0, 0, socket.clone()), backend).await.unwrap();
    let asking = tokio::spawn(async move { Client::connect(&socket).await.unwrap().status().await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!asking.is_finished());
    server.open();
    assert!(asking.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_port_in_use_is_replaced_and_told() {
    use kith_control::{ControlConfig, ControlServer};
    let first = start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = ControlConfig::new(first.api(), first.app(), folder.path().join("s"));
    let second = ControlServer::start(config, first.backend.clone()).await.unwrap();
    let bound = second.bound();
    assert!(bound.moved());
    assert_eq!((bound.wanted_api_port, bound.wanted_app_port), (first.api(), first.app()));
    assert!(![first.api(), first.app()].contains(&bound.api_port));
    assert!(![first.api(), first.app(), bound.api_port].contains(&bound.app_port));
    // The status tells the truth whatever the backend believes.
    let status =
        kith_control::Client::connect(&folder.path().join("s")).await.unwrap().status().await.unwrap();
    assert_eq!((status.control.port, status.control.app_port), (bound.api_port, bound.app_port));
    assert!(!first.server.bound().moved());
    drop(second);
    first.stop().await;
}
