//! By which interface goes what leaves for the Internet, from the address that the system would send from. Where that interface
//! has no address that fits, the system takes another's, and this is mistaken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::platform::FAR;
use crate::snapshot::{ByFamily, Interface};

/// The discard port, RFC 863.
const PORT: u16 = 9;

/// The interfaces by which each family leaves.
pub(crate) fn leaves_by(interfaces: &[Interface]) -> ByFamily<Option<u32>> {
    let by = |unspecified: IpAddr, far: IpAddr| {
        // Without a way there connecting fails, which is an answer too.
        let source = source(unspecified, SocketAddr::new(far, PORT)).ok()?;
        holder(interfaces, source)
    };
    ByFamily { v4: by(Ipv4Addr::UNSPECIFIED.into(), FAR.v4), v6: by(Ipv6Addr::UNSPECIFIED.into(), FAR.v6) }
}

/// The address that would be sent from. To connect a UDP socket sends nothing: the system only chooses the route, by all of
/// its rules and tables, and the address that belongs to it.
fn source(unspecified: IpAddr, far: SocketAddr) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((unspecified, 0))?;
    socket.connect(far)?;
    socket.local_addr()
}

/// The interface that has an address. The first, where several share one.
fn holder(interfaces: &[Interface], source: SocketAddr) -> Option<u32> {
    if let SocketAddr::V6(source) = source
        && source.scope_id() != 0
    {
        let known = interfaces.iter().find(|interface| interface.index == source.scope_id());
        return known.map(|interface| interface.index);
    }
    let has = |interface: &&Interface| interface.addresses.iter().any(|address| address.ip == source.ip());
    interfaces.iter().find(has).map(|interface| interface.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Address, InterfaceKind};

    fn interface(index: u32, addresses: &[&str]) -> Interface {
        let address = |ip: &&str| Address { ip: ip.parse().unwrap(), prefix: 24, temporary: false };
        let addresses = addresses.iter().map(address).collect();
        Interface { index, name: format!("eth{index}"), kind: InterfaceKind::Physical, addresses }
    }

    #[test]
    fn an_address_leads_to_its_interface_and_a_scope_to_its_own() {
        let interfaces =
            [interface(2, &["192.168.1.23", "fe80::1"]), interface(3, &["fe80::1", "2001:db8::3"])];
        let check = |source: &str, expected: Option<u32>| {
            assert_eq!(holder(&interfaces, source.parse().unwrap()), expected, "{source}");
        };
        check("192.168.1.23:4000", Some(2));
        check("[2001:db8::3]:4000", Some(3));
        check("[fe80::1%3]:4000", Some(3));
        check("[fe80::1%4]:4000", None);
        check("10.0.0.1:4000", None);
        check("0.0.0.0:4000", None);
    }

    #[test]
    fn the_system_tells_the_address_that_it_would_send_from() {
        let loopback = |ip: &str| SocketAddr::new(ip.parse().unwrap(), PORT);
        let asked = source(Ipv4Addr::UNSPECIFIED.into(), loopback("127.0.0.1")).unwrap();
        assert_eq!(asked.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
