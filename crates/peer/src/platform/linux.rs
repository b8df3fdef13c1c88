//! Network changes from netlink (rtnetlink(7)).

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use tokio::net::UnixDatagram;

/// Multicast groups of rtnetlink: link, IPv4 address, IPv4 route, IPv6 address, IPv6 route.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// A change comes as a burst of messages: this long without another one ends it.
const BURST: Duration = Duration::from_millis(250);

/// Tells when addresses, links or routes changed.
pub struct NetworkWatch {
    /// A netlink socket. It is read like any datagram socket, and tokio's type for those of the Unix domain looks at
    /// nothing but the descriptor; tokio's general type can't be had without unsafe code.
    socket: UnixDatagram,
}

impl NetworkWatch {
    /// Starts watching.
    ///
    /// # Errors
    /// If the system gives no netlink socket.
    pub fn start() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self { socket: UnixDatagram::from_std(fd.into())? })
    }

    /// Waits for the next change, and for the burst of messages that makes it up.
    ///
    /// # Errors
    /// If the socket fails for good. An overflow counts as a change.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.message().await?;
        while let Ok(more) = tokio::time::timeout(BURST, self.message()).await {
            more?;
        }
        Ok(())
    }

    async fn message(&self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        match self.socket.recv(&mut buffer).await {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watching_starts_without_rights() {
        assert!(NetworkWatch::start().is_ok());
    }
}
