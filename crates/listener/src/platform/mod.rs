//! What depends on the operating system: who holds a port, and which socket options there are.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

pub(crate) use system::set_tcp_limits;

/// The program that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    /// Its process id.
    pub pid: u32,
    /// Its name, made safe to print.
    pub program: String,
}

/// Who listens on the TCP port, where the system tells: on Linux, and of other people's programs only to root. Reads many
/// files: not for async threads.
#[must_use]
pub fn port_holder(port: u16) -> Option<PortHolder> {
    system::port_holder(port)
}
