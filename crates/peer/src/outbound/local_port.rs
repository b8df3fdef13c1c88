//! Connections from a local port of a range.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections at a reserved port that wait to be accepted: nobody is expected there but one friend.
const BACKLOG: u32 = 16;

/// After so many ports that have a connection to the same place already, another reason is likelier: this computer may have no
/// address to connect from.
const MOST_COLLISIONS: usize = 64;

/// Connects from a port of the range, or from one that the system chooses if there is none; from this IP address, or one that the
/// system chooses. The socket is prepared before.
pub(crate) async fn connect(
    to: SocketAddr,
    from: Option<IpAddr>,
    ports: Option<&RangeInclusive<u16>>,
    prepare: impl Fn(&TcpSocket),
) -> io::Result<TcpStream> {
    let Some(ports) = ports else {
        let socket = open(to)?;
        prepare(&socket);
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        return socket.connect(to).await;
    };
    let from = from.unwrap_or_else(|| unspecified(to));
    let mut collisions = 0;
    for port in shuffled(ports) {
        let socket = open(to)?;
        prepare(&socket);
        // Else a port is lost for a minute after each connection; that the same two ends meet again is refused by connecting.
        socket.set_reuseaddr(true)?;
        match socket.bind(SocketAddr::new(from, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue,
            bound => bound?,
        }
        match socket.connect(to).await {
            // This port has a connection to the same place already.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
                    && collisions < MOST_COLLISIONS =>
            {
                collisions += 1;
            }
            connected => return connected,
        }
    }
    let (first, last) = (ports.start(), ports.end());
    Err(io::Error::other(format!(
        "every local port from {first} to {last} is in use; widen the setting network.outgoing-ports"
    )))
}

/// A socket at a local address that it shares with whoever lets it: a listener of this program, and connections to other places. If it
/// is closed before anybody says otherwise, the connection is reset: nothing keeps the same two ends from meeting again.
pub(crate) fn shared(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = open_alone(local)?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.set_zero_linger()?;
    socket.bind(local)?;
    Ok(socket)
}

/// Takes a local address that nobody has, and lets [`shared`] sockets have it too.
pub(crate) fn reserve(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = open_alone(local)?;
    // Before binding, either of the two would let it have what another one has who set it as well.
    socket.set_reuseaddr(false)?;
    socket.bind(local)?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.listen(BACKLOG)
}

/// Of one family alone, so that the two families' sockets can have the same port.
fn open_alone(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = open(local)?;
    if local.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    Ok(socket)
}

fn open(to: SocketAddr) -> io::Result<TcpSocket> {
    if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

const fn unspecified(to: SocketAddr) -> IpAddr {
    match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Every port of a range once, from a random one on: those before it have served more often.
fn shuffled(ports: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
    let (first, last) = (*ports.start(), *ports.end());
    let mut random = [0; 2];
    // Without random numbers the first port is as good as any.
    getrandom::fill(&mut random).unwrap_or_default();
    let count = u32::from(last.saturating_sub(first)) + 1;
    let from = u16::try_from(u32::from(u16::from_le_bytes(random)) % count).unwrap_or(0);
    let middle = first.saturating_add(from);
    (middle..=last).chain(first..middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_a_range_comes_once() {
        for range in [4000..=4000, 4000..=4009, 1..=u16::MAX] {
            let mut ports: Vec<u16> = shuffled(&range).collect();
            ports.sort_unstable();
            assert!(ports.into_iter().eq(range));
        }
    }
}
