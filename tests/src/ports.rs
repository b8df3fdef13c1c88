//! Ports that nobody else has.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that systems give to outgoing connections, so that none of those takes one between two starts of a
/// daemon.
const FIRST: u16 = 11_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A TCP port of this computer that is this test's alone while the value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // The UDP port of the same number tells other tests, in this process or another, that the TCP port is taken.
    _reservation: Option<UdpSocket>,
}

impl Port {
    /// A port of a computer that the test has for itself.
    pub(crate) const fn fixed(number: u16) -> Self {
        Self { number, _reservation: None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }
}

/// Reserves a port on which nobody listens.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> Port {
    let seed = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = FIRST + seed.wrapping_mul(37).wrapping_add(step) % COUNT;
        let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
        let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        // Without IPv6 there is nothing to collide with.
        let free6 = TcpListener::bind((Ipv6Addr::LOCALHOST, number))
            .map_or_else(|error| error.kind() != std::io::ErrorKind::AddrInUse, |_| true);
        if free && free6 {
            return Port { number, _reservation: Some(reservation) };
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
