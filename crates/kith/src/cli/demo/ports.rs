//! Free ports for the demo's computers.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

/// Far from Kith's own ports, and below the range from which systems take ports for outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// The ports of one computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) listener: u16,
    pub(super) control: u16,
    pub(super) app: u16,
}

/// Ports for `N` computers, all different and free at this moment. The search begins at a place that depends on the
/// process, so that demos at the same time don't look at the same ones.
pub(super) fn free<const N: usize>() -> io::Result<[Ports; N]> {
    let begin = std::process::id().wrapping_mul(61);
    let mut held = Vec::new();
    let mut free = (0..u32::from(COUNT)).filter_map(|step| {
        let offset = u16::try_from(begin.wrapping_add(step) % u32::from(COUNT)).unwrap_or(0);
        let port = FIRST + offset;
        // Held until all are found.
        held.push(bind(port).ok()?);
        Some(port)
    });
    let mut next = || {
        free.next().ok_or_else(|| {
            let last = FIRST + (COUNT - 1);
            io::Error::new(io::ErrorKind::AddrInUse, format!("no port from {FIRST} to {last} is free"))
        })
    };
    let mut ports = [Ports { listener: 0, control: 0, app: 0 }; N];
    for ports in &mut ports {
        *ports = Ports { listener: next()?, control: next()?, app: next()? };
    }
    Ok(ports)
}

/// Binds a port on the loopback addresses that this computer has.
fn bind(port: u16) -> io::Result<(TcpListener, Option<TcpListener>)> {
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Ok(six) => Ok((four, Some(six))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_no_such_address) => Ok((four, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: two at the same time would be in each other's way, as the search holds what it finds.
    #[test]
    fn the_ports_of_three_computers_are_free_and_all_different_and_one_that_is_taken_is_passed_over() {
        let found = free::<3>().unwrap();
        let mut all: Vec<u16> = found.iter().flat_map(|p| [p.listener, p.control, p.app]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9);
        assert!(all.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));

        let [first] = free::<1>().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.listener)).unwrap();
        let [second] = free::<1>().unwrap();
        assert!(![second.listener, second.control, second.app].contains(&first.listener));
        drop(taken);
    }
}
