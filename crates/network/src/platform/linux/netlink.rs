//! The kernel's news of links, addresses, routes and rules (rtnetlink(7)).

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use tokio::net::UnixDatagram;
use tokio::time::{Instant, timeout_at};

use super::message;
use crate::burst::Burst;

/// Multicast groups, `linux/rtnetlink.h`: link; IPv4 address, route, rule; IPv6 address, route, rule.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18;
/// A change comes as a burst of messages: this long without another one ends it,
const QUIET: Duration = Duration::from_millis(50);
/// and no burst is waited for longer than this: what comes later is told later.
const LONGEST: Duration = Duration::from_millis(250);
/// Room for one datagram. What is cut off is judged by its beginning.
const BUFFER_BYTES: usize = 16 * 1024;

/// A netlink socket.
pub(crate) struct KernelNews {
    /// It is read like any datagram socket, and tokio's type for those of the Unix domain looks at nothing but the
    /// descriptor; tokio's general type can't be had without unsafe code.
    socket: UnixDatagram,
    buffer: Vec<u8>,
    /// What came of a burst that is not over.
    pending: Burst,
    /// When that burst is over at the latest.
    deadline: Option<Instant>,
}

impl KernelNews {
    /// Starts listening; none where the system has no such thing.
    pub(crate) fn open() -> io::Result<Option<Self>> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        let socket = UnixDatagram::from_std(fd.into())?;
        Ok(Some(Self { socket, buffer: vec![0; BUFFER_BYTES], pending: Burst::default(), deadline: None }))
    }

    /// Waits for the next change, and a moment for the messages that belong to it. Dropping it loses nothing: the next call
    /// goes on.
    ///
    /// # Errors
    /// If the socket fails for good. An overflow is a change.
    pub(crate) async fn burst(&mut self) -> io::Result<Burst> {
        while self.pending.is_empty() {
            self.message().await?;
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + LONGEST);
        while let Ok(message) = timeout_at(deadline.min(Instant::now() + QUIET), self.message()).await {
            message?;
            if Instant::now() >= deadline {
                break;
            }
        }
        self.deadline = None;
        Ok(std::mem::take(&mut self.pending))
    }

    async fn message(&mut self) -> io::Result<()> {
        match self.socket.recv(&mut self.buffer).await {
            Ok(length) => message::read(&self.buffer[..length], &mut self.pending),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => self.pending.everything(),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watching_starts_without_rights() {
        assert!(KernelNews::open().unwrap().is_some());
    }
}
