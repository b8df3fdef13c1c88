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
        let ways = outbound.ways(None, "friend.example:4242", NamedBy::Person).await.unwrap();
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
    let ways = outbound.ways(None, FRIEND, NamedBy::Person).await.unwrap();
    assert!(matches!(&ways[..], [way] if way.hop == gone), "{ways:?}");
    let said = outbound.connect(&ways[0]).await.unwrap_err().to_string();
    assert!(said.contains("the proxy 127.0.0.1:") && said.contains("can't be reached"), "{said}");
    assert!(!outbound.allows_directly(FRIEND.parse().unwrap()));
}

#[tokio::test]
async fn only_what_is_allowed_is_connected_to() {
    let outbound =
        Outbound::new(OutboundRules { allowed: Some(allowed_only("192.0.2.7")), ..OutboundRules::default() });
    assert_eq!(
        outbound.ways(None, FRIEND, NamedBy::Person).await.unwrap(),
        [Way::direct(FRIEND.parse().unwrap())]
    );
    let refused = outbound.ways(None, "192.0.2.8:4242", NamedBy::Person).await.unwrap_err();
    assert_eq!(refused, DialError::NotAllowed("192.0.2.8:4242".into()));
    assert!(outbound.allows_directly(FRIEND.parse().unwrap()));
    assert!(!outbound.allows_directly("192.0.2.8:4242".parse().unwrap()));
    outbound.set(OutboundRules::default());
    assert!(outbound.ways(None, "192.0.2.8:4242", NamedBy::Person).await.is_ok(), "a change counts at once");
}

#[tokio::test]
async fn what_a_proxy_is_asked_for_must_be_allowed_too() {
    let rules = OutboundRules {
        allowed: Some(allowed_only("192.0.2.7")),
        proxy: Some(Proxy { kind: ProxyKind::Socks5, address: "127.0.0.1:1080".into(), login: None }),
        ..OutboundRules::default()
    };
    let outbound = Outbound::new(rules);
    assert!(outbound.ways(None, FRIEND, NamedBy::Person).await.is_ok());
    // What a name stands for is known to the proxy alone.
    assert!(matches!(
        outbound.ways(None, "friend.example:4242", NamedBy::Person).await,
        Err(DialError::NotAllowed(_))
    ));
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
            .ways(Some(&device(friend)), address, NamedBy::Person)
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

#[test]
fn a_port_is_shown_only_where_nothing_stands_between_and_the_settings_allow_it() {
    let to: SocketAddr = FRIEND.parse().unwrap();
    let refused = |rules| Outbound::new(rules).allows_from_port(4242, to).err();
    assert_eq!(refused(OutboundRules::default()), None);
    assert_eq!(
        refused(OutboundRules { inbound: Inbound::Never, ..OutboundRules::default() }),
        Some(FixedPortRefusal::OutboundOnly)
    );
    let proxy = Proxy { kind: ProxyKind::Socks5, address: "127.0.0.1:1080".into(), login: None };
    assert_eq!(
        refused(OutboundRules { proxy: Some(proxy), ..OutboundRules::default() }),
        Some(FixedPortRefusal::Proxied)
    );
    let mapped = vec![(Mapped::Address(FRIEND.into()), "127.0.0.1:5001".to_owned())];
    assert_eq!(
        refused(OutboundRules { mapped, ..OutboundRules::default() }),
        Some(FixedPortRefusal::Mapped(to))
    );
    let ports = |ports| OutboundRules { ports: Some(ports), ..OutboundRules::default() };
    assert_eq!(refused(ports(4000..=5000)), None);
    let elsewhere = FixedPortRefusal::OutgoingPorts { port: 4242, ports: 1024..=4000 };
    assert_eq!(refused(ports(1024..=4000)), Some(elsewhere));
    let allowed = |ip| OutboundRules { allowed: Some(allowed_only(ip)), ..OutboundRules::default() };
    assert_eq!(refused(allowed("192.0.2.7")), None);
    assert_eq!(refused(allowed("192.0.2.8")), Some(FixedPortRefusal::NotAllowed(to)));
}

#[tokio::test]
async fn names_are_looked_up_as_they_are_to_be_and_plain_addresses_are_not() {
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (note, found) = (asked.clone(), [7, 8].map(|last| IpAddr::from([192, 0, 2, last])));
    let names = Names::new(move |host| {
        note.lock().unwrap().push(host.clone());
        let known = host == "friend.example";
        Box::pin(async move {
            if known { Ok(found.to_vec()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        })
    });
    let rules = OutboundRules { allowed: Some(allowed_only("192.0.2.7")), names, ..OutboundRules::default() };
    let outbound = Outbound::new(rules);
    let ways = outbound.ways(None, "friend.example:4242", NamedBy::Person).await.unwrap();
    assert_eq!(ways, [Way::direct(FRIEND.parse().unwrap())], "what a name stands for must be allowed too");
    assert_eq!(
        outbound.ways(None, FRIEND, NamedBy::Person).await.unwrap(),
        [Way::direct(FRIEND.parse().unwrap())]
    );
    let failed = outbound.ways(None, "localhost:4242", NamedBy::Person).await;
    assert!(matches!(&failed, Err(DialError::NameNotFound(why)) if why.contains("refused")), "{failed:?}");
    assert_eq!(*asked.lock().unwrap(), ["friend.example", "localhost"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_looked_up_for_too_long_is_given_up() {
    let names = Names::new(|_host| Box::pin(std::future::pending()));
    let outbound = Outbound::new(OutboundRules { names, ..OutboundRules::default() });
    let failed = outbound.ways(None, "friend.example:4242", NamedBy::Person).await;
    assert!(matches!(&failed, Err(DialError::NameNotFound(why)) if why.contains("within 5 s")), "{failed:?}");
}

#[tokio::test]
async fn a_name_that_somebody_else_told_leads_nowhere_on_this_computer() {
    let names = Names::new(|host| {
        let found: &[&str] = match &*host {
            "loopback.example" => &["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1"],
            "own.example" => &["192.0.2.1", "2001:db8::1"],
            "mixed.example" => &["192.0.2.1", "192.0.2.7"],
            _ => &["127.0.0.1"],
        };
        let found = found.iter().map(|ip| ip.parse().unwrap()).collect();
        Box::pin(std::future::ready(Ok(found)))
    });
    let outbound = Outbound::new(OutboundRules { names, ..OutboundRules::default() });
    let address = |ip: &str| kith_network::Address { ip: ip.parse().unwrap(), prefix: 24, temporary: false };
    let interface = kith_network::Interface {
        index: 2,
        name: "eth0".into(),
        kind: kith_network::InterfaceKind::Physical,
        addresses: vec![address("192.0.2.1"), address("2001:db8::1")],
    };
    let network = kith_network::Snapshot { interfaces: vec![interface], ..Default::default() };
    outbound.follow(&Network::played(network).0);
    let ways = async |address: &str, told| outbound.ways(None, address, told).await;
    for address in
        ["loopback.example:6379", "own.example:6379", "localhost.:22", "127.1:6379", "x.localhost:1"]
    {
        assert_eq!(ways(address, NamedBy::Others).await, Err(DialError::Myself), "{address}");
        assert!(ways(address, NamedBy::Person).await.is_ok(), "{address} may be what the person wants");
    }
    assert_eq!(
        ways("mixed.example:4242", NamedBy::Others).await,
        Ok(vec![Way::direct("192.0.2.7:4242".parse().unwrap())])
    );
    // A proxy looks names up itself.
    let proxied = http_proxy("127.0.0.1:3128".parse().unwrap(), None);
    assert_eq!(proxied.ways(None, "127.1:6379", NamedBy::Others).await, Err(DialError::Myself));
    assert!(proxied.ways(None, "friend.example:4242", NamedBy::Others).await.is_ok());
}
