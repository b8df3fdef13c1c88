//! What every system has.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::PortHolder;

pub(super) fn port_holder(_port: u16) -> Option<PortHolder> {
    None
}

/// Neither limit exists everywhere; keepalive finds a dead peer, only later.
pub(crate) fn set_tcp_limits(_stream: &TcpStream, _user_timeout: Duration, _not_sent: u32) -> io::Result<()> {
    Ok(())
}
