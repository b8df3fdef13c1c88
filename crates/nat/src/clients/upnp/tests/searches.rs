use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kith_network::{Address, Interface, InterfaceKind, Snapshot};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::super::Upnp;
use super::super::http::Transport;
use super::super::search::{self, Places, Search};
use super::fake::{Fake, IP1, Say, description, done, fault, router};
use crate::{Answer, Request, Uplink};

const HERE: &str = "127.0.0.1";

fn silent_places(socket: &UdpSocket) -> Places {
    Places { gateway: socket.local_addr().unwrap(), group: socket.local_addr().unwrap() }
}

fn uplink() -> Uplink {
    let ip: IpAddr = HERE.parse().unwrap();
    Uplink { index: 1, interface: "lo".to_owned(), gateway: ip, local: ip }
}

/// Answers the searches that come with these locations, each from its own socket.
async fn answer_from(socket: &UdpSocket, answers: &[(&str, String)]) {
    let (_, to) = socket.recv_from(&mut [0; 2048]).await.unwrap();
    for (from, location) in answers {
        let from = UdpSocket::bind((*from, 0)).await.unwrap();
        let reply = format!("HTTP/1.1 200 OK\r\nST: {IP1}\r\nLOCATION: {location}\r\n\r\n");
        from.send_to(reply.as_bytes(), to).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_gateway_is_asked_first_and_everybody_again_and_again() {
    let gateway = UdpSocket::bind((HERE, 0)).await.unwrap();
    let group = UdpSocket::bind((HERE, 0)).await.unwrap();
    let places = Places { gateway: gateway.local_addr().unwrap(), group: group.local_addr().unwrap() };
    let begin = Instant::now();
    let listen = async |socket: &UdpSocket| {
        let mut heard: Vec<(u128, usize)> = Vec::new();
        loop {
            let mut buffer = [0; 2048];
            socket.recv_from(&mut buffer).await.unwrap();
            assert!(buffer.starts_with(b"M-SEARCH * HTTP/1.1\r\n"));
            let at = begin.elapsed().as_millis();
            match heard.last_mut() {
                Some((last, count)) if at - *last < 20 => *count += 1,
                _ => heard.push((at, 1)),
            }
            if heard.len() == 3 && heard[2].1 == 5 {
                return heard;
            }
        }
    };
    let mut search = Search::start(&uplink(), Arc::default(), places).unwrap();
    let (found, at_gateway, at_group) = tokio::join!(search.next(), listen(&gateway), listen(&group));
    assert_eq!(found, None);
    assert!(begin.elapsed() >= Duration::from_millis(3500) && begin.elapsed() < Duration::from_secs(4));
    let check = |heard: &[(u128, usize)], expected: [u128; 3]| {
        for ((at, count), expected) in heard.iter().zip(expected) {
            assert!(at.abs_diff(expected) <= 20 && *count == 5, "{heard:?}");
        }
    };
    check(&at_gateway, [0, 500, 1500]);
    check(&at_group, [150, 500, 1500]);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_silence() {
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let answer = Upnp::default().ask_at(&uplink(), Request::Discover, silent_places(&socket)).await;
    assert_eq!(answer, Answer::Silent);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_gone_is_silence() {
    let gone = Uplink { local: "192.0.2.1".parse().unwrap(), ..uplink() };
    let upnp = Upnp::default();
    assert_eq!(upnp.ask(&gone, Request::Discover).await, Answer::Silent);
}

#[tokio::test(start_paused = true)]
async fn a_reply_from_any_port_counts() {
    let fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let upnp = Upnp::default();
    let answers = [(HERE, format!("http://{}/rootDesc.xml", fake.http))];
    let uplink = uplink();
    let asking = upnp.ask_at(&uplink, Request::Discover, silent_places(&socket));
    let (answer, ()) = tokio::join!(asking, answer_from(&socket, &answers));
    assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_makes_no_mappings_is_passed_over() {
    let fake = Fake::with_locations(
        HERE,
        |http| ["tv", "hang", "igd"].map(|path| format!("http://{http}/{path}.xml")).to_vec(),
        |asked| match (asked.path.as_str(), asked.action.as_str()) {
            ("/tv.xml", _) => description(&[("urn:schemas-upnp-org:service:AVTransport:1", "/av")]).into(),
            ("/hang.xml", _) => Say::ThenHang(vec![]),
            (_, "") => description(&[(IP1, "/ctl")]).into(),
            _ => done(asked, &[("NewExternalIPAddress", "11.0.113.5")]),
        },
    );
    let fake = fake.await;
    let begin = Instant::now();
    let answer = fake.ask(&Upnp::default(), Request::Discover).await;
    assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
    assert!(begin.elapsed() < Duration::from_secs(1), "a hanging device holds nobody up");
}

#[tokio::test(start_paused = true)]
async fn only_devices_that_make_no_mappings_are_no_gateway() {
    let fake = Fake::start(HERE, |_| description(&[]).into()).await;
    let answer = fake.ask(&Upnp::default(), Request::Discover).await;
    let expected = "the device has no service that makes mappings".to_owned();
    assert_eq!(answer, Answer::Nonsense(expected));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_refuses_stands_back_behind_one_that_does_not() {
    let fake = Fake::with_locations(
        HERE,
        |http| ["no", "yes"].map(|path| format!("http://{http}/{path}.xml")).to_vec(),
        |asked| match (asked.path.as_str(), asked.action.as_str()) {
            ("/no.xml", _) => description(&[(IP1, "/no")]).into(),
            ("/yes.xml", _) => description(&[(IP1, "/yes")]).into(),
            ("/yes", _) => done(asked, &[("NewExternalIPAddress", "11.0.113.5")]),
            _ => fault(606, ""),
        },
    );
    let answer = fake.await.ask(&Upnp::default(), Request::Discover).await;
    assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_known_device_is_found_again_although_nobody_answers_the_search() {
    let fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let upnp = fake.found().await;
    let silent = UdpSocket::bind((HERE, 0)).await.unwrap();
    let begin = Instant::now();
    let answer = upnp.ask_at(&fake.uplink(), Request::Discover, silent_places(&silent)).await;
    assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
    assert!(begin.elapsed() < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_moved_to_another_port_is_found_there() {
    let mut old = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let upnp = old.found().await;
    let uplink = old.uplink();
    old.stop().await;
    let new = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let answer = upnp.ask_at(&uplink, Request::Discover, new.places()).await;
    assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
    assert_eq!(new.actions(), ["", "GetExternalIPAddress"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_places_is_cut_off_and_the_gateway_still_heard() {
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let near = Uplink { gateway: "127.0.0.1".parse().unwrap(), local: HERE.parse().unwrap(), ..uplink() };
    let mut search = Search::start(&near, Arc::default(), silent_places(&socket)).unwrap();
    let mut answers: Vec<_> = (0..60).map(|n| ("127.0.0.9", format!("http://192.168.1.{n}:80/"))).collect();
    answers.extend((0..60).map(|n| ("127.0.0.9", format!("http://127.0.0.9:{}/", 1000 + n))));
    answers.extend((0..60).map(|n| ("127.0.0.1", format!("http://127.0.0.1:{}/", 1000 + n))));
    let collect = async {
        let mut found = Vec::new();
        while let Some((endpoint, _)) = search.next().await {
            found.push(endpoint.address);
        }
        found
    };
    let (found, ()) = tokio::join!(collect, answer_from(&socket, &answers));
    let gateway = |address: &SocketAddr| address.ip() == near.gateway;
    assert!(found.len() <= 8 && found.iter().filter(|found| gateway(found)).count() >= 4, "{found:?}");
    assert!(found.iter().all(gateway), "loopback and far places are not believed: {found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_who_names_the_gateway_takes_no_place_from_it() {
    let fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let mut answers: Vec<_> = (1..=8).map(|port| ("127.0.0.9", format!("http://{HERE}:{port}/"))).collect();
    answers.push((HERE, format!("http://{}/rootDesc.xml", fake.http)));
    let (upnp, uplink) = (Upnp::default(), uplink());
    let asking = upnp.ask_at(&uplink, Request::Discover, silent_places(&socket));
    let (answer, ()) = tokio::join!(asking, answer_from(&socket, &answers));
    assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_became_this_computers_own_is_asked_no_more() {
    let fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let upnp = fake.found().await;
    let here = Address { ip: HERE.parse().unwrap(), prefix: 24, temporary: false };
    let kind = InterfaceKind::Physical;
    let interface = Interface { index: 7, name: "eth7".to_owned(), kind, addresses: vec![here] };
    upnp.interfaces(Arc::new(Snapshot { interfaces: vec![interface], ..Snapshot::default() }));
    assert_eq!(fake.ask(&upnp, Request::ReadBack { external_port: 1 }).await, Answer::Closed);
    assert_eq!(fake.ask(&upnp, Request::Discover).await, Answer::Silent);
    assert!(fake.asked().is_empty(), "{:?}", fake.asked());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn all_sockets_keep_to_the_interface_of_the_uplink() {
    use socket2::SockRef;

    let searching = search::socket(&uplink()).unwrap();
    assert_eq!(SockRef::from(&searching).device().unwrap().as_deref(), Some(&b"lo"[..]));
    let transport = Transport::new(&uplink(), Duration::from_secs(1));
    let asking = transport.socket("127.0.0.1:80".parse().unwrap()).unwrap();
    assert_eq!(SockRef::from(&asking).device().unwrap().as_deref(), Some(&b"lo"[..]));
}
