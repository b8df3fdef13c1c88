//! Answers to searches, and announcements.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lab::IgdVersion;

use super::{Request, Shared, Ssdp};

/// Where searches are sent.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const PORT: u16 = 1900;
/// Between two looks whether to end.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// The socket for searches to the group and to the router itself.
pub(super) fn socket(lan: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    socket.join_multicast_v4(&GROUP, &lan).unwrap();
    socket
}

/// Answers searches until the router ends.
pub(super) fn serve(shared: &Shared, search: &UdpSocket, other: &UdpSocket) {
    let mut buffer = [0; 2048];
    while !shared.ended() {
        if !readable(search) {
            continue;
        }
        let Ok((length, from)) = search.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        answer(shared, search, other, from, &text);
    }
}

/// Waits a short time for something to read.
pub(super) fn readable(socket: &impl AsFd) -> bool {
    let mut wait = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let pause = PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO);
    poll(&mut wait, pause).is_ok_and(|ready| ready > 0)
}

fn answer(shared: &Shared, search: &UdpSocket, other: &UdpSocket, from: SocketAddr, text: &str) {
    if !text.starts_with("M-SEARCH") {
        return;
    }
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let target = header("ST").unwrap_or_default();
    shared.state().note(Request {
        at: Instant::now(),
        from,
        what: "M-SEARCH".to_owned(),
        arguments: vec![
            ("ST".to_owned(), target.clone()),
            ("HOST".to_owned(), header("HOST").unwrap_or_default()),
        ],
        error: None,
    });
    let ssdp = shared.state().script.ssdp.clone();
    let version = shared.state().script.version;
    if ssdp == Ssdp::Silent || !is_ours(&target, version) {
        return;
    }
    let target = if target == "ssdp:all" { device(version).to_owned() } else { target };
    let response = format!(
        "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {target}\r\nUSN: uuid:00000000-0000-4000-8000-00000000fa4e::{target}\r\nEXT:\r\nSERVER: Lab/1 UPnP/1.1 Fake/1\r\nLOCATION: {}\r\n\r\n",
        shared.location()
    );
    let socket = if ssdp == Ssdp::OtherPort { other } else { search };
    // Who searched may be gone.
    drop(socket.send_to(response.as_bytes(), from));
}

const fn device(version: IgdVersion) -> &'static str {
    match version {
        IgdVersion::One => "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
        IgdVersion::Two => "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    }
}

fn is_ours(target: &str, version: IgdVersion) -> bool {
    let newest = if version == IgdVersion::One { 1 } else { 2 };
    let device =
        |version: u8| target == format!("urn:schemas-upnp-org:device:InternetGatewayDevice:{version}");
    let service = |version: u8| target == format!("urn:schemas-upnp-org:service:WANIPConnection:{version}");
    matches!(target, "ssdp:all" | "upnp:rootdevice")
        || (1..=newest).any(|version| device(version) || service(version))
}

/// Sends an announcement to the group. To be called in the router's namespace.
pub(super) fn announce(shared: &Shared, sub_type: &str) {
    let version = shared.state().script.version;
    let device = device(version);
    let text = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}:{PORT}\r\nCACHE-CONTROL: max-age=120\r\nLOCATION: {}\r\nSERVER: Lab/1 UPnP/1.1 Fake/1\r\nNT: {device}\r\nUSN: uuid:00000000-0000-4000-8000-00000000fa4e::{device}\r\nNTS: {sub_type}\r\n\r\n",
        shared.location()
    );
    let socket = UdpSocket::bind((shared.address, 0)).unwrap();
    socket.send_to(text.as_bytes(), (GROUP, PORT)).unwrap();
}
