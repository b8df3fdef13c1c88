//! How the socket of a link behaves.

use std::time::Duration;

use tokio::net::TcpStream;

/// Unacknowledged data older than this ends the connection (RFC 5482).
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Unsent bytes that may wait in the kernel, so that small messages overtake bulk data.
#[cfg(target_os = "linux")]
const NOT_SENT_LOW_WATER: u32 = 256 * 1024;

/// Sets what a long-lived link needs. A system that lacks one of the options still gives a working connection.
pub(crate) fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    drop(socket.set_tcp_nodelay(true));
    #[cfg(target_os = "linux")]
    {
        drop(socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
        drop(socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER));
    }
}

/// Lets as much be on its way as a long line takes: the kernel's own bound for one connection is 4 MB in most systems, which
/// over a line of 40 ms is 0.65 Gbit/s. Only for a link: what strangers may fill stays small. Nothing is set aside by this; an
/// idle link needs no more memory than before, and what was not sent yet is bounded by another option.
///
/// Only the superuser (CAP_NET_ADMIN) may go beyond `net.core.wmem_max`; where neither leads to more than the kernel gives
/// by itself, it is left alone.
pub fn widen(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    linux::widen(stream);
    #[cfg(not(target_os = "linux"))]
    let _systems_own_bounds = stream;
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::OnceLock;

    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce};
    use tokio::net::TcpStream;

    /// What a link should be able to have on its way: 40 ms at 3 Gbit/s, 250 ms at 0.5 Gbit/s.
    const WIDE: usize = 16 << 20;

    /// The kernel's bounds for one direction.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Bounds {
        /// How far it goes by itself (`net.ipv4.tcp_wmem`, the third value).
        pub(super) by_itself: usize,
        /// How far anybody may ask it to go (`net.core.wmem_max`).
        pub(super) asked: usize,
    }

    /// What to do about one direction.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Step {
        /// What the kernel does by itself is enough, or the most there is.
        Leave,
        /// Set the buffer to this size.
        Set(usize),
    }

    impl Bounds {
        /// The kernel doubles what is set, for its own books, and counts so in what it does by itself, too.
        pub(super) fn step(self, may_force: bool) -> Step {
            let most = if may_force { WIDE } else { WIDE.min(self.asked) };
            if self.by_itself >= 2 * most { Step::Leave } else { Step::Set(most) }
        }
    }

    pub(super) fn widen(stream: &TcpStream) {
        static BOUNDS: OnceLock<Option<[Bounds; 2]>> = OnceLock::new();
        let Some([sending, receiving]) = *BOUNDS.get_or_init(read_bounds) else { return };
        let socket = socket2::SockRef::from(stream);
        if let Step::Set(most) = sending.step(true)
            && setsockopt(stream, SndBufForce, &most).is_err()
            && let Step::Set(most) = sending.step(false)
        {
            drop(socket.set_send_buffer_size(most));
        }
        if let Step::Set(most) = receiving.step(true)
            && setsockopt(stream, RcvBufForce, &most).is_err()
            && let Step::Set(most) = receiving.step(false)
        {
            drop(socket.set_recv_buffer_size(most));
        }
    }

    fn read_bounds() -> Option<[Bounds; 2]> {
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
            text.split_ascii_whitespace().next_back()?.parse().ok()
        };
        let bounds =
            |itself: &str, asked: &str| Some(Bounds { by_itself: read(itself)?, asked: read(asked)? });
        Some([bounds("ipv4/tcp_wmem", "core/wmem_max")?, bounds("ipv4/tcp_rmem", "core/rmem_max")?])
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_buffer_is_set_only_where_that_leads_further_than_the_kernel_goes_by_itself() {
            let debian = Bounds { by_itself: 4 << 20, asked: 212_992 };
            assert_eq!(debian.step(true), Step::Set(WIDE));
            assert_eq!(debian.step(false), Step::Leave);
            let newer = Bounds { by_itself: 4 << 20, asked: 4 << 20 };
            assert_eq!(newer.step(false), Step::Set(4 << 20));
            let tuned = Bounds { by_itself: 64 << 20, asked: 212_992 };
            assert_eq!((tuned.step(true), tuned.step(false)), (Step::Leave, Step::Leave));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_widened_socket_never_has_less_room_than_before() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let room = |stream: &TcpStream| {
            let socket = socket2::SockRef::from(stream);
            (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap())
        };
        let before = room(&stream);
        widen(&stream);
        let after = room(&stream);
        assert!(after.0 >= before.0 && after.1 >= before.1, "{before:?} {after:?}");
    }
}
