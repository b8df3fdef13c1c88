//! By which interface goes what leaves for the Internet: the kernel is asked which route it would take.
//!
//! Its answer honours all tables and rules, as for a packet of this process. The address that it would send from tells less:
//! an interface without an address that fits borrows another's.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use super::message;
use crate::platform::FAR;
use crate::snapshot::{ByFamily, Interface};

/// Room for one answer.
const BUFFER_BYTES: usize = 4096;

/// The interfaces by which each family leaves.
pub(super) fn leaves_by(interfaces: &[Interface]) -> ByFamily<Option<u32>> {
    let by = |far: IpAddr| match output(far) {
        // The loopback, where a route refuses, is none of them.
        Ok(index) => index.filter(|index| interfaces.iter().any(|interface| interface.index == *index)),
        Err(error) => {
            tracing::debug!(%error, "the kernel can't be asked for the way to the Internet");
            None
        }
    };
    ByFamily { v4: by(FAR.v4), v6: by(FAR.v6) }
}

/// The index of the interface by which a packet would go; none without a route.
fn output(to: IpAddr) -> io::Result<Option<u32>> {
    let socket = open()?;
    // Address 0 is the kernel. It answers before the sending returns.
    sendto(socket.as_raw_fd(), &message::question(to), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => return Ok(message::output(&buffer[..length])),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_whoever_asks() {
        // 1 is the loopback, in every namespace.
        assert_eq!(output("127.0.0.1".parse().unwrap()).unwrap(), Some(1));
        // It is no interface of a snapshot.
        assert_eq!(leaves_by(&[]), ByFamily::default());
    }
}
