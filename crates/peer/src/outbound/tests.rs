use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const FRIEND: &str = "192.0.2.7:4242";

fn device(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 32])
}

fn http_proxy(address: SocketAddr, login: Option<(&str, &str)>) -> Outbound {
    proxied(ProxyKind::HttpConnect, address, login)
}

fn proxied(kind: ProxyKind, address: SocketAddr, login: Option<(&str, &str)>) -> Outbound {
    let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
    let proxy = Some(Proxy { kind, address: address.to_string(), login });
    Outbound::new(OutboundRules { proxy, ..OutboundRules::default() })
}

fn allowed_only(ip: &str) -> Allowed {
    let ip: IpAddr = ip.parse().unwrap();
    Allowed::new(move |to| to.ip == Some(ip))
}

/// Reads what comes, says this, and gives back what was read.
async fn answer_once(listener: TcpListener, say: &[u8]) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = vec![0; 4096];
    let length = stream.read(&mut heard).await.unwrap();
    stream.write_all(say).await.unwrap();
    // Until the other end has read it.
    drop(stream.read_u8().await);
    String::from_utf8_lossy(&heard[..length]).into_owned()
}

/// What becomes of asking a proxy that says this, and what it heard.
async fn ask(kind: ProxyKind, login: Option<(&str, &str)>, say: &[u8]) -> (Result<(), DialError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outbound = proxied(kind, listener.local_addr().unwrap(), login);
    let asking = async {
        let ways = outbound.ways(None, "friend.example:4242").await.unwrap();
        assert!(ways.iter().all(Way::is_proxied));
        outbound.connect(&ways[0]).await.map(drop)
    };
    tokio::join!(asking, answer_once(listener, say))
}

fn said(result: Result<(), DialError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn an_http_proxy_is_asked_by_name_and_with_its_password() {
    let (asked, heard) = ask(ProxyKind::HttpConnect, Some(("anna", "p:w")), b"HTTP/1.1 200 OK\r\n\r\n").await;
    asked.unwrap();
    assert!(heard.starts_with("CONNECT friend.example:4242 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains("proxy-authorization: Basic YW5uYTpwOnc=\r\n"), "{heard}");
    assert!(heard.contains("host: friend.example:4242\r\n"), "{heard}");
}

#[tokio::test]
async fn what_an_http_proxy_refuses_is_said_with_the_reason() {
    for (answer, expected) in [
        ("407 Proxy Authentication Required", "wants a user name and a password"),
        ("403 Forbidden", "does not allow connections to it (403 Forbidden)"),
        ("502 Bad Gateway", "can't reach it (502 Bad Gateway)"),
        ("418 I'm a teapot", "refused: 418 I'm a teapot"),
    ] {
        let say = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        let (asked, _) = ask(ProxyKind::HttpConnect, None, say.as_bytes()).await;
        let said = said(asked);
        assert!(said.contains(expected), "{said}");
    }
    let login = Some(("anna", "wrong"));
    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let (asked, _) = ask(ProxyKind::HttpConnect, login, refusal).await;
    assert!(said(asked).contains("refused the user name and password"));
}

#[tokio::test]
async fn a_proxy_of_the_other_kind_is_named() {
    let (asked, _) = ask(ProxyKind::HttpConnect, None, b"\x05\x00").await;
    assert!(said(asked).contains("is it a SOCKS proxy?"));
    let (asked, _) = ask(ProxyKind::Socks5, None, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(said(asked).contains("is it an HTTP proxy?"));
}

#[tokio::test]
async fn a_socks_proxy_that_wants_a_password_is_named() {
    let (asked, heard) = ask(ProxyKind::Socks5, None, b"\x05\xff").await;
    assert!(said(asked).contains("wants a user name and a password"));
    assert_eq!(heard.as_bytes(), b"\x05\x01\x00");
}

#[tokio::test]
async fn without_the_proxy_there_is_no_connection_and_no_other_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let outbound = http_proxy(gone, None);
    let ways = outbound.ways(None, FRIEND).await.unwrap();
    assert!(matches!(&ways[..], [way] if way.hop == gone), "{ways:?}");
    let said = outbound.connect(&ways[0]).await.unwrap_err().to_string();
    assert!(said.contains("the proxy 127.0.0.1:") && said.contains("can't be reached"), "{said}");
    assert!(!outbound.allows_directly(FRIEND.parse().unwrap()));
}

#[tokio::test]
async fn only_what_is_allowed_is_connected_to() {
    let outbound =
        Outbound::new(OutboundRules { allowed: Some(allowed_only("192.0.2.7")), ..OutboundRules::default() });
    assert_eq!(outbound.ways(None, FRIEND).await.unwrap(), [Way::direct(FRIEND.parse().unwrap())]);
    let refused = outbound.ways(None, "192.0.2.8:4242").await.unwrap_err();
    assert_eq!(refused, DialError::NotAllowed("192.0.2.8:4242".into()));
    assert!(outbound.allows_directly(FRIEND.parse().unwrap()));
    assert!(!outbound.allows_directly("192.0.2.8:4242".parse().unwrap()));
    outbound.set(OutboundRules::default());
    assert!(outbound.ways(None, "192.0.2.8:4242").await.is_ok(), "a change counts at once");
}

#[tokio::test]
async fn what_a_proxy_is_asked_for_must_be_allowed_too() {
    let rules = OutboundRules {
        allowed: Some(allowed_only("192.0.2.7")),
        proxy: Some(Proxy { kind: ProxyKind::Socks5, address: "127.0.0.1:1080".into(), login: None }),
        ..OutboundRules::default()
    };
    let outbound = Outbound::new(rules);
    assert!(outbound.ways(None, FRIEND).await.is_ok());
    // What a name stands for is known to the proxy alone.
    assert!(matches!(outbound.ways(None, "friend.example:4242").await, Err(DialError::NotAllowed(_))));
}

#[tokio::test]
async fn a_port_of_the_firewall_stands_for_a_friend_or_for_an_address() {
    let mapped = vec![
        (Mapped::Friend(device(1)), "127.0.0.1:5001".to_owned()),
        (Mapped::Address("Bert.example:4242".to_owned()), "127.0.0.1:5002".to_owned()),
    ];
    let outbound = Outbound::new(OutboundRules {
        mapped,
        allowed: Some(allowed_only("192.0.2.8")),
        ..OutboundRules::default()
    });
    let hop = async |friend: u8, address: &str| {
        outbound
            .ways(Some(&device(friend)), address)
            .await
            .map(|ways| (ways[0].hop.port(), ways[0].is_proxied()))
    };
    assert_eq!(hop(1, FRIEND).await, Ok((5001, true)));
    assert_eq!(hop(2, "bert.example:4242").await, Ok((5002, true)));
    assert_eq!(hop(2, "192.0.2.8:4242").await, Ok((4242, false)));
    assert!(matches!(hop(2, FRIEND).await, Err(DialError::NotAllowed(_))));
}

#[tokio::test]
async fn connections_come_from_the_ports_they_are_confined_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    // Some may be taken by others at the moment.
    let ports = 20_100..=20_103;
    let outbound = Outbound::new(OutboundRules { ports: Some(ports.clone()), ..OutboundRules::default() });
    let mut held = Vec::new();
    let full = loop {
        match outbound.connect(&Way::direct(to)).await {
            Ok(stream) => {
                assert!(ports.contains(&stream.local_addr().unwrap().port()));
                held.push(stream);
            }
            Err(error) => break error.to_string(),
        }
        assert!(held.len() <= 4);
    };
    assert!(full.contains("every local port from 20100 to 20103 is in use"), "{full}");
    assert!(!held.is_empty());
}
