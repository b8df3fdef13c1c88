//! SSDP, descriptions, SOAP and the HTTP under them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use kith_nat::clients::upnp::description::{self, Description, Kind};
use kith_nat::clients::upnp::reading::{self, Device, Place};
use kith_nat::clients::upnp::{soap, ssdp};
use kith_nat::{Answer, Uplink};
use quick_xml::escape::escape;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::outcome::{NOTHING, Outcome, judged, refused, taken};

const LONGEST_DATAGRAM: usize = 4096;
const LONGEST_VALUE: usize = 1024;
const LONGEST_TEXT: usize = 2048;

pub(super) fn reply(datagram: &[u8]) -> Outcome {
    let Some(reply) = ssdp::reply(datagram) else { return NOTHING };
    assert!(datagram.len() <= LONGEST_DATAGRAM && reply.location.len() <= LONGEST_VALUE, "{reply:?}");
    let written = format!("HTTP/1.1 200 OK\r\nLOCATION: {}\r\n\r\n", reply.location);
    // A carriage return within a value stays in it, and at its end it belongs to the line.
    if !reply.location.contains(['\r', '\n']) {
        let again = ssdp::reply(written.as_bytes());
        assert_eq!(
            again.map(|again| again.location).as_ref(),
            Some(&reply.location),
            "written and read again"
        );
    }
    let mut places = Vec::new();
    for uplink in homes() {
        for from in senders(uplink) {
            let place = reading::reply(datagram, uplink, from);
            if let Some(place) = &place {
                check_place(place, uplink, from);
            }
            places.push(place);
        }
    }
    taken(&(reply, places))
}

/// A place to dial is near, and never this computer.
fn check_place((address, path): &Place, uplink: &Uplink, from: IpAddr) {
    let ip = address.ip();
    let near = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local() || ip.is_unique_local() || same_half(ip.into(), uplink.local)
        }
    };
    assert!(ip == uplink.gateway || near, "{address} is dialled because {from} says so");
    assert!(
        ip != uplink.local && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified(),
        "{address} is dialled"
    );
    assert_eq!(ip.is_ipv4(), uplink.local.is_ipv4(), "{address} is of another family");
    check_target(*address, path);
}

/// The request line and the Host field that follow from it hold nothing but a path and an address.
fn check_target(address: SocketAddr, path: &str) {
    assert_ne!(address.port(), 0, "{address} is dialled");
    assert!(path.starts_with('/') && path.len() <= LONGEST_VALUE, "{path:?} is asked for");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?} is asked for");
}

fn same_half(one: IpAddr, other: IpAddr) -> bool {
    matches!((one, other), (IpAddr::V6(one), IpAddr::V6(other)) if one.octets()[..8] == other.octets()[..8])
}

fn homes() -> &'static [Uplink] {
    static HOMES: OnceLock<Vec<Uplink>> = OnceLock::new();
    HOMES.get_or_init(|| {
        let homes =
            [("192.168.1.1", "192.168.1.23"), ("11.0.113.1", "11.0.113.7"), ("fe80::1", "2001:db8:1:2::23")];
        let parse = |text: &str| text.parse().expect("the addresses above are addresses");
        homes
            .map(|(gateway, local)| Uplink {
                index: 3,
                interface: "eth0".to_owned(),
                gateway: parse(gateway),
                local: parse(local),
            })
            .to_vec()
    })
}

/// The gateway, a neighbour, and somebody who says to be this computer.
fn senders(uplink: &Uplink) -> [IpAddr; 3] {
    let neighbour = match uplink.local {
        IpAddr::V4(_) => IpAddr::from([192, 168, 1, 99]),
        IpAddr::V6(_) => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 99]),
    };
    [uplink.gateway, neighbour, uplink.local]
}

pub(super) fn notify(datagram: &[u8]) -> Outcome {
    let Some(notify) = ssdp::notify(datagram) else { return NOTHING };
    assert!(datagram.len() <= LONGEST_DATAGRAM, "{} bytes are news", datagram.len());
    taken(&notify)
}

pub(super) fn description(document: &[u8]) -> Outcome {
    let found = description::parse(document);
    let Ok(description) = &found else { return refused(&found) };
    assert!(description.services.len() <= 8, "{} services", description.services.len());
    let Description { base, maker, model, page, services } = description;
    let controls = services.iter().map(|service| &service.control);
    for text in [base, maker, model, page].into_iter().flatten().chain(controls) {
        assert!(!text.is_empty() && text.len() < LONGEST_TEXT && text.trim() == text, "{text:?}");
    }
    let written = written(description);
    assert_eq!(
        description::parse(written.as_bytes()).as_ref(),
        Ok(description),
        "written and read again: {written}"
    );
    let mut devices = Vec::new();
    for uplink in homes() {
        let scoped = match uplink.gateway {
            IpAddr::V4(ip) => SocketAddr::from((ip, 5000)),
            IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, 5000, 0, uplink.index).into(),
        };
        let device = reading::device(document, &(scoped, "/rootDesc.xml".to_owned()), uplink);
        let device = device.unwrap_or_else(|error| panic!("{error} the second time"));
        check_device(&device, scoped, uplink);
        devices.push(device);
    }
    taken(&(description, devices))
}

/// Services and page are on the host of the description, and its name can be shown.
fn check_device(device: &Device, location: SocketAddr, uplink: &Uplink) {
    if let Some(model) = &device.model {
        check_words(model, 64);
        assert!(!model.is_empty(), "a model without letters");
    }
    if let Some(page) = &device.page {
        let host = match uplink.gateway {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let rest = page.strip_prefix("http://").or_else(|| page.strip_prefix("https://")).unwrap_or_default();
        let rest = rest.strip_prefix(&host).unwrap_or_default();
        assert!(rest.starts_with(['/', ':']) && page.len() <= 200, "{page:?} is the page of {host}");
        assert!(
            page.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>".contains(&byte)),
            "{page:?} is a page"
        );
    }
    assert!(device.services.len() <= 8, "{} services", device.services.len());
    for guesses in &device.services {
        assert!((1..=2).contains(&guesses.len()), "{} guesses", guesses.len());
        for (kind, (address, path)) in guesses {
            assert_eq!(*kind == Kind::Firewall, uplink.local.is_ipv6(), "{kind:?} for {uplink}");
            let mut expected = location;
            expected.set_port(address.port());
            assert_eq!(*address, expected, "a service on another host");
            check_target(*address, path);
        }
    }
}

/// A description that says this.
fn written(description: &Description) -> String {
    let element = |name: &str, text: &Option<String>| {
        text.as_ref().map_or_else(String::new, |text| format!("<{name}>{}</{name}>", escape(text.as_str())))
    };
    let mut services = String::new();
    for service in &description.services {
        let (kind, control) = (service.kind.urn(), escape(service.control.as_str()));
        let service =
            format!("<service><serviceType>{kind}</serviceType><controlURL>{control}</controlURL></service>");
        services.push_str(&service);
    }
    format!(
        "<root>{}<device>{}{}{}<serviceList>{services}</serviceList></device></root>",
        element("URLBase", &description.base),
        element("manufacturer", &description.maker),
        element("modelName", &description.model),
        element("presentationURL", &description.page),
    )
}

/// Words of a router that are shown to a person.
fn check_words(words: &str, most: usize) {
    assert!(words.chars().count() <= most, "{} characters: {words:?}", words.chars().count());
    let unseen = |c: char| {
        c.is_control() || ('\u{200b}'..='\u{200f}').contains(&c) || ('\u{2028}'..='\u{202e}').contains(&c)
    };
    assert!(!words.contains(unseen) && words.trim() == words && !words.contains("  "), "{words:?}");
}

pub(super) fn soap(document: &[u8]) -> Outcome {
    let response = soap::response(document);
    let handed_on = reading::handed_on(document);
    match &response {
        Ok(soap::Response::Done(arguments)) => {
            assert!(arguments.values.len() <= 32, "{} arguments", arguments.values.len());
            assert!(arguments.values.iter().all(|(_, value)| value.len() <= LONGEST_TEXT), "a long argument");
            let handed_on = handed_on.ok().flatten().unwrap_or_default();
            let visible = |text: &str| text.replace(char::is_control, " ").trim().to_owned();
            let values =
                arguments.values.iter().map(|(name, value)| (name.clone(), visible(value))).collect();
            let expected = soap::Arguments { name: arguments.name.clone(), values };
            let again = soap::response(handed_on.as_bytes());
            assert_eq!(again, Ok(soap::Response::Done(expected)), "handed on: {handed_on}");
        }
        Ok(soap::Response::Fault { words, .. }) => check_words(words, 120),
        Err(_) => {}
    }
    judged(response.is_ok(), &response)
}

/// The response as it comes from a socket, whole or in pieces: that makes no difference.
pub(super) fn response(bytes: &[u8]) -> Outcome {
    let whole = exchanged(bytes, usize::MAX);
    match &whole {
        Ok((status, body)) => assert!(body.len() <= bytes.len() && *status >= 100, "{status}"),
        Err(Answer::Closed) => {}
        Err(Answer::Nonsense(why)) => assert!(why.len() <= 200, "{why:?}"),
        Err(other) => panic!("{other:?} from a stream that ends"),
    }
    let pieces = exchanged(bytes, 1 + bytes.len() / 7);
    assert_eq!(pieces.is_ok(), whole.is_ok(), "in pieces {pieces:?}, else {whole:?}");
    if pieces.is_ok() {
        assert_eq!(pieces, whole, "in pieces and whole");
    }
    match &whole {
        Ok((status, body)) => taken(&(status, body.len())),
        // Here the words are the form.
        Err(error) => refused(&format_args!("{}", format!("{error:?}").replace('"', "'"))),
    }
}

fn exchanged(bytes: &[u8], piece: usize) -> Result<(u16, Vec<u8>), Answer> {
    thread_local! {
        static RUNTIME: Runtime =
            Builder::new_current_thread().build().expect("a runtime without clock and sockets needs nothing");
    }
    let stream = Played { bytes: bytes.to_vec(), at: 0, piece, asked: false };
    RUNTIME.with(|runtime| {
        let exchange: Pin<Box<dyn Future<Output = _>>> = Box::pin(reading::response(stream));
        runtime.block_on(exchange).map(|(status, body)| (status, body.to_vec()))
    })
}

/// A stream that takes everything, and once something came brings its bytes in pieces of that length and ends.
struct Played {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    asked: bool,
}

impl AsyncRead for Played {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            // No device answers before it is asked. Whoever writes wakes nobody: look again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.piece.min(buffer.remaining()).min(self.bytes.len() - self.at);
        let end = self.at + length;
        buffer.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Played {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
