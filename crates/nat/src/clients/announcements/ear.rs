//! The socket of one family of addresses: bound, joined, read at a bounded rate, made anew when the network changes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kith_network::Snapshot;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, trace, warn};

use super::{Place, places, read};
use crate::clients::allowance::{Allowance, Sender};
use crate::clients::udp::LONGEST_DATAGRAM;
use crate::{Family, Hint};

/// All computers of the network.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// All nodes of the link.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// When a port that is taken, or an interface that could not be joined, is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// What the system shall keep for us at most, bytes: a few dozen datagrams, so that after a flood old ones are not waded through.
const SYSTEM_BUFFER: usize = 16 * 1024;

/// Listens in one family of addresses.
pub(super) struct Ear {
    family: Family,
    port: u16,
    hints: mpsc::Sender<Hint>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Whether it was said that it can't listen: once is enough.
    warned: bool,
}

/// How listening with one socket ended.
enum End {
    /// The network is another.
    Changed,
    /// It is time to try again.
    Retry,
    /// Nobody wants news any more.
    Over,
}

impl Ear {
    pub(super) fn new(
        family: Family,
        port: u16,
        hints: mpsc::Sender<Hint>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self { family, port, hints, snapshots, warned: false }
    }

    /// Until the other ends of its channels are gone.
    pub(super) async fn listen(mut self) {
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            let places = places(&snapshot, self.family);
            // A new socket for a changed network: memberships of interfaces that went away and came back are not to be trusted.
            let end = match self.open() {
                Ok(socket) => {
                    let joined = self.join(&socket, &places);
                    self.hear(&socket, &places, joined).await
                }
                Err(error) => {
                    self.cannot_listen(&error);
                    sleep(RETRY).await;
                    if self.hints.is_closed() { End::Over } else { End::Retry }
                }
            };
            if let End::Over = end {
                return;
            }
        }
    }

    fn open(&self) -> io::Result<UdpSocket> {
        let (domain, address): (_, SocketAddr) = match self.family {
            Family::V4 => (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, self.port).into()),
            Family::V6 => (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, self.port).into()),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
            .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
        // Other programs listen for the same news: the port is to be shared (RFC 6886, section 3.2.1).
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if self.family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        socket.set_recv_buffer_size(SYSTEM_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    }

    fn cannot_listen(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::Unsupported {
            debug!(%error, family = ?self.family, "no such addresses here, no routers' news by them");
        } else if !self.warned {
            self.warned = true;
            warn!(
                %error, port = self.port, family = ?self.family,
                "can't listen for routers' news: a restarted router is noticed later"
            );
        }
    }

    /// Whether all were joined.
    fn join(&self, socket: &UdpSocket, places: &[Place]) -> bool {
        let socket = socket2::SockRef::from(socket);
        let mut all = true;
        for (index, _) in places {
            let joined = match self.family {
                Family::V4 => socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(*index)),
                Family::V6 => socket.join_multicast_v6(&GROUP_V6, *index),
            };
            if let Err(error) = joined {
                debug!(%error, index, family = ?self.family, "can't join the group of routers' news");
                all = false;
            }
        }
        all
    }

    /// Reads until the network changes.
    async fn hear(&mut self, socket: &UdpSocket, places: &[Place], joined: bool) -> End {
        let retry = Instant::now() + RETRY;
        let mut buffer = [0; LONGEST_DATAGRAM + 1];
        let mut allowance = Allowance::new(Instant::now());
        loop {
            let quiet = allowance.quiet_until();
            tokio::select! {
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return End::Over;
                    }
                    if super::places(&self.snapshots.borrow_and_update(), self.family) != places {
                        return End::Changed;
                    }
                }
                () = sleep_until(retry), if !joined => return End::Retry,
                () = self.hints.closed() => return End::Over,
                received = receive(socket, &mut buffer, quiet) => {
                    let sender = received.as_ref().map_or(Sender::Other, |(_, from)| {
                        Sender::of(from.ip(), &self.snapshots.borrow())
                    });
                    let admitted = allowance.admits(sender, Instant::now());
                    match received {
                        Ok((length, from)) if admitted => self.tell(from, &buffer[..length]),
                        Ok(_) => {}
                        Err(error) => trace!(%error, "an error while listening for routers' news"),
                    }
                }
            }
        }
    }

    fn tell(&self, from: SocketAddr, datagram: &[u8]) {
        match read(from, &self.snapshots.borrow(), datagram) {
            Some(hint) => {
                trace!(%from, ?hint, "routers' news");
                if self.hints.try_send(hint).is_err() {
                    trace!(%from, "no room for routers' news");
                }
            }
            None => trace!(%from, length = datagram.len(), "a datagram that is no router's news"),
        }
    }
}

/// The next datagram, not before a time.
async fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    not_before: Option<Instant>,
) -> io::Result<(usize, SocketAddr)> {
    if let Some(time) = not_before {
        sleep_until(time).await;
    }
    socket.recv_from(buffer).await
}
