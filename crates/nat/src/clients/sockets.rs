//! What the sockets towards routers have in common, whatever is spoken over them.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

#[cfg(target_os = "linux")]
use socket2::Socket;

/// A socket address; one that means something else on every link gets its scope.
pub(super) fn scoped(ip: IpAddr, port: u16, index: u32) -> SocketAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() || ip.is_multicast() => {
            SocketAddrV6::new(ip, port, 0, index).into()
        }
        ip => SocketAddr::new(ip, port),
    }
}

/// Keeps a socket to an interface: two routers at two interfaces may have the same address. Where that is not allowed or not
/// known, the source address must do.
#[cfg(target_os = "linux")]
pub(super) fn keep_to(socket: &Socket, interface: &str) {
    if let Err(error) = socket.bind_device(Some(interface.as_bytes())) {
        tracing::debug!(%error, interface, "a socket can't be kept to an interface");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn keep_to(_socket: &socket2::Socket, _interface: &str) {}
