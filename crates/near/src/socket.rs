//! The socket of a place: shared with other programs, joined to the group, read at a bounded rate.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::trace;

use crate::dns::LONGEST_READ;
use crate::place::{Place, PlaceId};

/// Where everybody listens (RFC 6762, section 3).
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// It is how far a packet has come that shows that it did not come from elsewhere (RFC 6762, section 11).
const HOPS: u32 = 255;
/// What the system shall keep for us at most, bytes.
const SYSTEM_BUFFER: usize = 64 * 1024;
/// The window of time that packets are counted in.
const WINDOW: Duration = Duration::from_secs(1);
/// Most packets that are read in a window. Beyond, nothing is read until its end: the system drops what its buffer can't hold, and that
/// costs this program nothing.
const MOST_READ: u32 = 1024;

/// A packet that has come.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) place: PlaceId,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// An open socket. It is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Ear {
    socket: Arc<UdpSocket>,
    group: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Ear {
    /// Opens a socket at a place; what comes goes into the channel.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn open(place: &Place, heard: mpsc::Sender<Heard>) -> io::Result<Self> {
        let id = place.id;
        let (domain, bind, group): (_, SocketAddr, SocketAddr) = if id.v6 {
            let group = std::net::SocketAddrV6::new(GROUP_V6, PORT, 0, id.index);
            (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, PORT).into(), group.into())
        } else {
            (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, PORT).into(), (GROUP_V4, PORT).into())
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        // The system's own service listens there too.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_recv_buffer_size(SYSTEM_BUFFER)?;
        socket.set_nonblocking(true)?;
        if id.v6 {
            socket.set_only_v6(true)?;
            socket.set_multicast_if_v6(id.index)?;
            socket.set_multicast_hops_v6(HOPS)?;
        } else {
            let Some(IpAddr::V4(source)) = place.source() else {
                return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
            };
            socket.set_multicast_if_v4(&source)?;
            socket.set_multicast_ttl_v4(HOPS)?;
        }
        only_own_groups(&socket, id.v6)?;
        socket.bind(&bind.into())?;
        if id.v6 {
            socket.join_multicast_v6(&GROUP_V6, id.index)?;
        } else {
            socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(id.index))?;
        }
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let task = tokio::spawn(listen(socket.clone(), id, heard));
        Ok(Self { socket, group, _task: AbortOnDropHandle::new(task) })
    }

    /// Sends a packet to everybody there. What the system has no room for is lost, like what is lost on the way.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.try_send_to(packet, self.group).map(drop)
    }
}

/// Without, Linux gives a socket what came for the memberships of all others too.
#[cfg(target_os = "linux")]
fn only_own_groups(socket: &Socket, v6: bool) -> io::Result<()> {
    if v6 { socket.set_multicast_all_v6(false) } else { socket.set_multicast_all_v4(false) }
}

#[cfg(not(target_os = "linux"))]
fn only_own_groups(_socket: &Socket, _v6: bool) -> io::Result<()> {
    Ok(())
}

async fn listen(socket: Arc<UdpSocket>, place: PlaceId, heard: mpsc::Sender<Heard>) {
    let mut buffer = vec![0; LONGEST_READ + 1];
    let (mut window, mut read) = (Instant::now(), 0);
    loop {
        if window.elapsed() >= WINDOW {
            (window, read) = (Instant::now(), 0);
        }
        if read >= MOST_READ {
            sleep_until(window + WINDOW).await;
            continue;
        }
        read += 1;
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let bytes = &buffer[..length];
                if !crate::announcement::concerns_us(bytes) {
                    continue;
                }
                if heard.send(Heard { place, from, bytes: bytes.to_vec() }).await.is_err() {
                    return;
                }
            }
            Err(error) => trace!(%error, "an error while listening in the local network"),
        }
    }
}
