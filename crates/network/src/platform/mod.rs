//! What depends on the operating system: routes, kinds of devices, the kernel's messages, clocks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::snapshot::ByFamily;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "compiled here only to be tested"))]
mod portable;

/// What stands for the Internet when the system is asked for its way there: the addresses of a root name server
/// (a.root-servers.net). They are public for decades, in nobody's home, and none that a VPN has a route of its own for, unlike
/// the resolvers that computers are told to use. Nothing is sent there.
const FAR: ByFamily<IpAddr> = ByFamily {
    v4: IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    v6: IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
};

#[cfg(target_os = "linux")]
pub(crate) use linux::{KernelNews, clocks, take};
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{KernelNews, clocks, take};
