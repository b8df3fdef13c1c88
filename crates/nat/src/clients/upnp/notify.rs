//! Listens for what UPnP devices announce of their own: a gateway that starts anew says so.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use kith_network::{InterfaceKind, Snapshot};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol as Transport, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::search::{GROUP_V4, GROUP_V6};
use super::ssdp::{self, News};
use crate::clients::allowance::{Allowance, Sender};
use crate::{Hint, Protocol};

/// Most interfaces that are listened on, each with a socket or two.
const MOST_INTERFACES: usize = 16;
/// After how long what could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// How long a socket that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// Gateways announce each of their parts in one burst: the same news from the same device is passed on once in this time. Short,
/// because a restart after it is news again.
const SAME_NEWS: Duration = Duration::from_millis(300);
/// Most news within [`SAME_NEWS`] that come from others than our gateways.
const MOST_OF_OTHERS: usize = 16;

/// Listens for the announcements of gateways until it is dropped.
#[derive(Debug)]
pub struct Notifies {
    snapshot: watch::Sender<Arc<Snapshot>>,
    _task: AbortOnDropHandle<()>,
}

impl Notifies {
    /// Starts listening for what will be named by [`Self::interfaces`]. Hints that find no room are dropped.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn start(hints: mpsc::Sender<Hint>) -> Self {
        let (snapshot, changes) = watch::channel(Arc::default());
        let task = tokio::spawn(Ears::new(hints, ssdp::PORT, changes.clone()).run(changes));
        Self { snapshot, _task: AbortOnDropHandle::new(task) }
    }

    /// Listens on the interfaces of this snapshot from now on.
    pub fn interfaces(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.send_replace(snapshot);
    }
}

/// A place to listen: an interface and a family. The group's address is bound instead of the wildcard, so that what is sent to
/// another program on this computer at the same port is not taken from it; in IPv6 that takes a socket for each interface, and in
/// IPv4 it tells which interface a datagram came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) index: u32,
    pub(super) v6: bool,
}

pub(super) struct Ears {
    hints: mpsc::Sender<Hint>,
    port: u16,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    listening: HashMap<Place, AbortOnDropHandle<()>>,
    warned: bool,
}

impl Ears {
    pub(super) fn new(
        hints: mpsc::Sender<Hint>,
        port: u16,
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self { hints, port, snapshots, listening: HashMap::new(), warned: false }
    }

    async fn run(mut self, mut changes: watch::Receiver<Arc<Snapshot>>) {
        loop {
            let snapshot = Arc::clone(&changes.borrow_and_update());
            let complete = self.listen(&snapshot);
            let retry = async {
                if complete {
                    std::future::pending::<()>().await;
                }
                sleep(RETRY).await;
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = retry => {}
            }
        }
    }

    /// Listens on what is wanted and not more; whether all could be opened.
    pub(super) fn listen(&mut self, snapshot: &Snapshot) -> bool {
        let wanted = places(snapshot);
        self.listening.retain(|place, task| wanted.contains(place) && !task.is_finished());
        let mut complete = true;
        for place in wanted {
            if self.listening.contains_key(&place) {
                continue;
            }
            match open(place, self.port) {
                Ok(socket) => {
                    let task = tokio::spawn(hear(socket, place, self.snapshots.clone(), self.hints.clone()));
                    self.listening.insert(place, AbortOnDropHandle::new(task));
                }
                Err(error) => {
                    complete = false;
                    if !std::mem::replace(&mut self.warned, true) {
                        tracing::warn!(
                            index = place.index, %error,
                            "announcements of UPnP devices can't be heard; a restarted router is noticed later"
                        );
                    }
                }
            }
        }
        complete
    }
}

/// Where to listen, given the network.
pub(super) fn places(snapshot: &Snapshot) -> Vec<Place> {
    let inhabited = snapshot.interfaces.iter().filter(|interface| interface.kind == InterfaceKind::Physical);
    inhabited
        .take(MOST_INTERFACES)
        .flat_map(|interface| {
            let has = |v6: bool| interface.addresses.iter().any(|address| address.ip.is_ipv6() == v6);
            [false, true]
                .into_iter()
                .filter(move |v6| has(*v6))
                .map(|v6| Place { index: interface.index, v6 })
        })
        .collect()
}

fn open(place: Place, port: u16) -> io::Result<UdpSocket> {
    let domain = if place.v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Transport::UDP))?;
    // Other programs listen for the same.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    if place.v6 {
        socket.set_only_v6(true)?;
        socket.bind(&SockAddr::from(SocketAddrV6::new(GROUP_V6, port, 0, place.index)))?;
        socket.join_multicast_v6(&GROUP_V6, place.index)?;
    } else {
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v4(false)?;
        let group = if cfg!(unix) { GROUP_V4 } else { Ipv4Addr::UNSPECIFIED };
        socket.bind(&SockAddr::from(SocketAddr::from((group, port))))?;
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(place.index))?;
    }
    UdpSocket::from_std(socket.into())
}

/// Passes on what is heard on one socket.
pub(super) async fn hear(
    socket: UdpSocket,
    place: Place,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    hints: mpsc::Sender<Hint>,
) {
    let mut buffer = [0; ssdp::LONGEST + 1];
    let mut allowance = Allowance::new(Instant::now());
    let mut last: Vec<(IpAddr, News, Sender, Instant)> = Vec::new();
    loop {
        if let Some(time) = allowance.quiet_until() {
            sleep_until(time).await;
        }
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            // The interface went away, for instance. The next snapshot, or the retry, opens it anew if it is still wanted.
            sleep(PAUSE).await;
            continue;
        };
        let (from, now) = (from.ip(), Instant::now());
        let sender = Sender::of(from, &snapshots.borrow());
        if !allowance.admits(sender, now) {
            continue;
        }
        let Some(notify) = ssdp::notify(&buffer[..length]).filter(|notify| notify.gateway) else { continue };
        last.retain(|(.., at)| now < *at + SAME_NEWS);
        let of_others = last.iter().filter(|(_, _, sender, _)| *sender == Sender::Other).count();
        if (sender == Sender::Other && of_others >= MOST_OF_OTHERS)
            || last.iter().any(|(ip, news, ..)| (*ip, *news) == (from, notify.news))
        {
            continue;
        }
        last.push((from, notify.news, sender, now));
        tracing::trace!(%from, index = place.index, news = ?notify.news, "a UPnP gateway announces itself");
        let hint = Hint::Announced { from, index: Some(place.index), protocol: Protocol::Upnp, epoch: None };
        if hints.try_send(hint).is_err() {
            tracing::trace!(%from, "a hint found no room");
        }
    }
}
