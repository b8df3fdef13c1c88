//! Asking one question over UDP, for PCP and NAT-PMP: sent again until the answer comes, within bounded time and work.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, trace};

use super::sockets::{keep_to, scoped};
use crate::{Answer, Lifetime, Refusal, RefusalKind, Uplink};

/// Where routers listen for PCP (RFC 6887, section 19.1) and NAT-PMP (RFC 6886, section 3.8).
pub(super) const ROUTER_PORT: u16 = 5351;

/// The longest datagram of PCP, bytes (RFC 6887, section 7). Those of NAT-PMP have 16 at most.
pub(super) const LONGEST_DATAGRAM: usize = 1100;

/// How long the first answer is waited for; doubled each time. The schedule of RFC 6886, section 3.1. RFC 6887, section 8.1.1,
/// begins with 3 s, for servers that may be far away in a provider's network; ours is one hop away, and with 3 s one lost packet
/// would cost more than a router's whole reboot may.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Until when an answer is waited for, all in all: sent at 0, 250, 750, 1750 and 3750 ms.
const PATIENCE: Duration = Duration::from_secs(4);

/// Most datagrams that a socket may bring which are not the answer, per time it was sent. After that the socket is closed, so
/// that the flood meets a closed port, and the question is sent from a new one when its time comes.
const MOST_IGNORED: usize = 64;

/// The longest lifetime that is asked for, and believed. RFC 6887, section 8.5, wants such a bound, against absurd values.
const LONGEST_LIFETIME: u32 = 24 * 60 * 60;

/// See [`unfit`].
const FIRST_PORT: u16 = 1024;

/// The way to a router.
#[derive(Clone, Debug)]
pub(super) struct Path {
    local: SocketAddr,
    server: SocketAddr,
    /// Name of the interface to keep to.
    device: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoReply {
    Silent,
    Closed,
}

impl From<NoReply> for Answer {
    fn from(why: NoReply) -> Self {
        match why {
            NoReply::Silent => Self::Silent,
            NoReply::Closed => Self::Closed,
        }
    }
}

/// What a socket brought.
enum Heard<T> {
    Answer(T),
    /// ICMP says that nothing listens there.
    Closed,
    /// More than is listened to.
    Flood,
}

impl Path {
    pub(super) fn between(local: SocketAddr, server: SocketAddr) -> Self {
        Self { local, server, device: None }
    }

    /// To the gateway's port for both protocols.
    pub(super) fn of(uplink: &Uplink) -> Self {
        Self {
            local: scoped(uplink.local, 0, uplink.index),
            server: scoped(uplink.gateway, ROUTER_PORT, uplink.index),
            device: Some(uplink.interface.clone()),
        }
    }

    pub(super) fn local(&self) -> IpAddr {
        self.local.ip().to_canonical()
    }

    pub(super) fn server(&self) -> IpAddr {
        self.server.ip().to_canonical()
    }

    /// Sends `question` until `read` makes an answer of a datagram that came back from exactly where it was sent to.
    pub(super) async fn ask<T>(
        &self,
        question: &[u8],
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, NoReply> {
        let began = Instant::now();
        let (end, mut again, mut wait) = (began + PATIENCE, began, FIRST_WAIT);
        // A socket of this question's own: a late answer to an earlier one, or a late ICMP error, meets another port.
        let mut socket = None;
        loop {
            again = end.min(again + wait);
            wait *= 2;
            if socket.is_none() {
                socket = self.open().inspect_err(|error| debug!(%error, path = ?self, "no UDP socket")).ok();
            }
            if let Some(open) = &socket {
                match timeout_at(again, exchange(open, question, &mut read)).await {
                    Ok(Ok(Heard::Answer(answer))) => return Ok(answer),
                    Ok(Ok(Heard::Closed)) => return Err(NoReply::Closed),
                    Ok(Ok(Heard::Flood)) => {
                        debug!(server = %self.server, "more datagrams than are listened to");
                        socket = None;
                    }
                    Ok(Err(error)) => {
                        // The interface or its address may be on the way: until the time is up, that is no reason to end.
                        debug!(%error, server = %self.server, "a question can't be sent");
                        socket = None;
                    }
                    Err(_) => {}
                }
            }
            sleep_until(again).await;
            if again == end {
                return Err(NoReply::Silent);
            }
        }
    }

    fn open(&self) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(self.server), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if let Some(device) = &self.device {
            keep_to(&socket, device);
        }
        socket.bind(&self.local.into())?;
        // Connected: the system lets only datagrams of this very address and port in, and tells of ICMP errors.
        socket.connect(&self.server.into())?;
        UdpSocket::from_std(socket.into())
    }
}

/// Sends the question and listens until something is decided.
async fn exchange<T>(
    socket: &UdpSocket,
    question: &[u8],
    read: &mut impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Heard<T>> {
    match socket.send(question).await {
        Ok(_) => {}
        // The error of the time before, which was reported late.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Heard::Closed),
        Err(error) => return Err(error),
    }
    // One byte more, so that a longer datagram is seen to be longer.
    let mut buffer = [0; LONGEST_DATAGRAM + 1];
    for _ in 0..MOST_IGNORED {
        match socket.recv(&mut buffer).await {
            Ok(length) => match read(&buffer[..length]) {
                Some(answer) => return Ok(Heard::Answer(answer)),
                None => trace!(length, "a datagram that is not the answer"),
            },
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Heard::Closed),
            // Another ICMP error, as "host unreachable": the router may be on its way up.
            Err(error) => trace!(%error, "an error while waiting for an answer"),
        }
    }
    Ok(Heard::Flood)
}

/// The lifetime to ask for, in seconds. Neither protocol knows "for ever": the longest stands for it. Never 0, which deletes.
pub(super) fn to_ask(lifetime: Lifetime) -> u32 {
    match lifetime {
        Lifetime::Seconds(seconds) => seconds.clamp(1, LONGEST_LIFETIME),
        Lifetime::Permanent => LONGEST_LIFETIME,
    }
}

/// The lifetime that a router granted. `None` for 0: there is no mapping.
pub(super) fn granted(seconds: u32) -> Option<Lifetime> {
    (seconds > 0).then(|| Lifetime::Seconds(seconds.min(LONGEST_LIFETIME)))
}

/// What a router says is its address on the far side, if it can be one at all.
pub(super) fn far_side(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    let never =
        ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    (!never).then_some(ip)
}

/// What is never sent, because the protocol has no words for it.
pub(super) fn not_spoken(words: &str) -> Answer {
    Answer::Refused(Refusal { kind: RefusalKind::Unsupported, code: 0, words: words.to_owned() })
}

/// The answer in place of a mapping that must not be asked for.
///
/// Internal port 0 stands for all ports in both protocols. Ports below 1024 are outside of what `miniupnpd`, the daemon of most
/// free router systems, maps by its usual rules, and version 2.3.1 of it never ends its search for a port that they allow (tried):
/// the router would speak no protocol any more until it is restarted. By UPnP it refuses such ports as it should.
pub(super) fn unfit(internal_port: u16) -> Option<Answer> {
    let words = match internal_port {
        0 => return Some(every_port()),
        1..FIRST_PORT => format!("ports below {FIRST_PORT} are asked for by UPnP only"),
        FIRST_PORT.. => return None,
    };
    Some(Answer::Refused(Refusal { kind: RefusalKind::Other, code: 0, words }))
}

/// Port 0 stands for all ports also where mappings are removed.
pub(super) fn every_port() -> Answer {
    let words = "port 0 would stand for all ports".to_owned();
    Answer::Refused(Refusal { kind: RefusalKind::Other, code: 0, words })
}
