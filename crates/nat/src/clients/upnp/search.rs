//! The search for gateway devices.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kith_network::Snapshot;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, sleep_until};

use super::endpoint::{Endpoint, Rank};
use super::ssdp;
use crate::clients::sockets::{keep_to, scoped};
use crate::{Family, Uplink};

/// Where the devices of IPv4 listen.
pub(super) const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// Where the devices of IPv6 listen on a link.
pub(super) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);

/// When the gateway alone is asked: the answer to that comes through a firewall that lets in only replies (of the multicast it
/// would not know that they are), and again, for datagrams get lost.
const UNICAST: [u64; 3] = [0, 500, 1500];
/// When everybody is asked, milliseconds after the beginning.
const MULTICAST: [u64; 3] = [150, 500, 1500];
/// How long replies are awaited in all.
const WAIT: Duration = Duration::from_millis(3500);
/// Most routers on the way of a multicast (UPnP Device Architecture 1.1, section 1.3.3, says 2).
const HOPS: u32 = 2;
/// Most candidates of each rank that are given out: what others say takes no place from the gateway.
const fn most_candidates(rank: Rank) -> usize {
    match rank {
        Rank::Gateway => 6,
        Rank::ByGateway => 2,
        Rank::Other => 4,
    }
}
/// Most datagrams that are read in one search as fast as they come, and the pause between them from then on.
const MOST_DATAGRAMS: usize = 512;
const IN_FLOOD: Duration = Duration::from_millis(5);

/// Where a search is sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// The gateway.
    pub(super) gateway: SocketAddr,
    /// Everybody.
    pub(super) group: SocketAddr,
}

impl Places {
    /// Of an uplink.
    pub(super) fn of(uplink: &Uplink) -> Self {
        let group = match uplink.family() {
            Family::V4 => IpAddr::V4(GROUP_V4),
            Family::V6 => IpAddr::V6(GROUP_V6),
        };
        let place = |ip| scoped(ip, ssdp::PORT, uplink.index);
        Self { gateway: place(uplink.gateway), group: place(group) }
    }
}

/// A search that goes on.
#[derive(Debug)]
pub(super) struct Search {
    socket: UdpSocket,
    uplink: Uplink,
    snapshot: Arc<Snapshot>,
    /// What is still to be sent: when, where.
    plan: VecDeque<(Instant, SocketAddr)>,
    end: Instant,
    known: Vec<(Endpoint, Rank)>,
    datagrams: usize,
}

impl Search {
    /// Begins, in the network as `snapshot` shows it.
    pub(super) fn start(uplink: &Uplink, snapshot: Arc<Snapshot>, places: Places) -> io::Result<Self> {
        let now = Instant::now();
        let at = |times: [u64; 3], place| times.map(|after| (now + Duration::from_millis(after), place));
        let mut plan: Vec<_> =
            at(UNICAST, places.gateway).into_iter().chain(at(MULTICAST, places.group)).collect();
        plan.sort_by_key(|(when, _)| *when);
        Ok(Self {
            socket: socket(uplink)?,
            uplink: uplink.clone(),
            snapshot,
            plan: plan.into(),
            end: now + WAIT,
            known: Vec::new(),
            datagrams: 0,
        })
    }

    /// The next candidate; `None`: there are no more. Can be dropped and called again.
    pub(super) async fn next(&mut self) -> Option<(Endpoint, Rank)> {
        let mut buffer = [0; ssdp::LONGEST + 1];
        loop {
            let next = self.plan.front().map_or(self.end, |(when, _)| *when);
            tokio::select! {
                // Sending goes first, or a flood would hold it up.
                biased;
                () = sleep_until(next) => match self.plan.pop_front() {
                    Some((_, place)) => self.send(place).await,
                    None => return None,
                },
                received = self.socket.recv_from(&mut buffer) => {
                    self.datagrams += 1;
                    if self.datagrams > MOST_DATAGRAMS {
                        sleep(IN_FLOOD).await;
                    }
                    // An error is what ICMP said about something sent before.
                    if let Ok((length, from)) = received
                        && let Some(found) = self.judge(&buffer[..length], from.ip())
                    {
                        return Some(found);
                    }
                }
            }
        }
    }

    async fn send(&self, place: SocketAddr) {
        let targets = if place.is_ipv4() { ssdp::TARGETS_V4 } else { ssdp::TARGETS_V6 };
        for target in targets {
            if let Err(error) = self.socket.send_to(ssdp::search(place, target).as_bytes(), place).await {
                tracing::debug!(%place, %error, "a search can't be sent");
            }
        }
    }

    /// The candidate in a datagram, if it is a new one and may be believed.
    fn judge(&mut self, datagram: &[u8], from: IpAddr) -> Option<(Endpoint, Rank)> {
        let reply = ssdp::reply(datagram)?;
        let Some((endpoint, rank)) =
            Endpoint::of_location(&reply.location, &self.uplink, &self.snapshot, from)
        else {
            tracing::trace!(%from, location = ?reply.location, "a place that is not believed");
            return None;
        };
        // Some gateways answer with odd types. Anybody else has to say that he is one.
        if !reply.gateway && rank == Rank::Other {
            return None;
        }
        if self.known.iter().any(|(known, _)| *known == endpoint) {
            return None;
        }
        if self.known.iter().filter(|(_, known)| *known == rank).count() >= most_candidates(rank) {
            return None;
        }
        self.known.push((endpoint.clone(), rank));
        Some((endpoint, rank))
    }
}

pub(super) fn socket(uplink: &Uplink) -> io::Result<UdpSocket> {
    let local = scoped(uplink.local, 0, uplink.index);
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    keep_to(&socket, &uplink.interface);
    match uplink.local {
        IpAddr::V4(ip) => {
            socket.set_multicast_if_v4(&ip)?;
            socket.set_multicast_ttl_v4(HOPS)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_if_v6(uplink.index)?;
            socket.set_multicast_hops_v6(HOPS)?;
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(local))?;
    UdpSocket::from_std(socket.into())
}
