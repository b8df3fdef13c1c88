//! How the socket of a link behaves.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::platform::set_tcp_limits;

/// Sent data may stay unacknowledged for this long.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that wait in the kernel without having been sent.
const NOT_SENT: u32 = 256 * 1024;
/// An idle link is probed after this time, this often, this many times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Sets what a link needs: no delay of small messages, an end within 30 s when the other side is gone, short queues in the
/// kernel, keepalive.
///
/// # Errors
/// If the system refuses an option; the connection still works.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    set_tcp_limits(stream, USER_TIMEOUT, NOT_SENT)
}
