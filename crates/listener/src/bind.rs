//! Taking the port, or saying who has it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::config::DEFAULT_PORT;
use crate::platform::{PortHolder, port_holder};

/// Finished TCP connections that wait for the accept loop.
const BACKLOG: i32 = 4096;
/// Where a free port is proposed: below the ports that systems hand out to outgoing connections, and within what
/// many firewalls let out.
const PROPOSED: std::ops::RangeInclusive<u16> = 1024..=5999;
/// The local API and the app: free at the moment, perhaps, but spoken for.
const SPOKEN_FOR: [u16; 3] = [DEFAULT_PORT, 4243, 4244];
/// How many ports are tried for a proposal.
const PROPOSALS_TRIED: usize = 64;
/// How often a common port for several addresses is looked for when the system chooses it.
const CHOICES_TRIED: usize = 16;

/// The port could not be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// A port below 1024.
    #[error(
        "port {port} is below 1024: such ports are kept for the system's own services, and many firewalls treat them \
         differently; choose a port from 1024 to 65535 (Kith's own is 4242)"
    )]
    Privileged {
        /// The port asked for.
        port: u16,
    },
    /// Another program has the port.
    #[error("port {port} on {ip} is in use by {}{}", name_holder(.holder.as_ref()), name_proposal(.free.as_ref()))]
    Busy {
        /// The address asked for.
        ip: IpAddr,
        /// The port asked for.
        port: u16,
        /// Who has it, where the system tells.
        holder: Option<PortHolder>,
        /// A free port. It is never taken without being asked for: a port forwarding set up by hand would lead nowhere.
        free: Option<u16>,
    },
    /// This computer doesn't have the address.
    #[error("cannot listen on {address}: this computer has no such address")]
    NoSuchAddress {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The system forbids it.
    #[error("cannot listen on {address}: the system doesn't permit it")]
    Forbidden {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The list of addresses is empty.
    #[error("there is no address to listen on: name at least one, such as 0.0.0.0")]
    NoAddress,
    /// The listener was shut down.
    #[error("the listener has been shut down")]
    Closed,
    /// Anything else.
    #[error("cannot listen on {address}")]
    Other {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn name_holder(holder: Option<&PortHolder>) -> String {
    match holder {
        Some(PortHolder { pid, program }) => format!("{program} (process {pid})"),
        None => "another program".to_owned(),
    }
}

fn name_proposal(free: Option<&u16>) -> String {
    free.map(|port| format!("; port {port} is free")).unwrap_or_default()
}

/// What went wrong at which address. Finding out who has the port reads many files, so it is a second step.
#[derive(Debug)]
pub(crate) struct BindFailure {
    address: SocketAddr,
    wanted: Vec<SocketAddr>,
    source: io::Error,
}

impl BindFailure {
    /// Where it failed.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Blocks for some milliseconds.
    pub(crate) fn explain(self) -> BindError {
        let Self { address, wanted, source } = self;
        match errno(&source) {
            Errno::EADDRINUSE => BindError::Busy {
                ip: address.ip(),
                port: address.port(),
                holder: port_holder(address.port()),
                free: propose(address.port(), &wanted),
            },
            Errno::EADDRNOTAVAIL => BindError::NoSuchAddress { address },
            Errno::EACCES | Errno::EPERM => BindError::Forbidden { address },
            _ => BindError::Other { address, source },
        }
    }
}

/// How a new socket stands to those this listener already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Nobody else may have the port. SO_REUSEPORT is set after binding only: a second daemon fails, whereas punching sockets
    /// that set it before can share the port.
    Exclusive,
    /// This listener holds the port at an overlapping address, and will let go of that one.
    WithOurselves,
}

/// Binds all addresses or none. Port 0 becomes one port that is free on all of them.
pub(crate) fn bind_all(addresses: &[SocketAddr], sharing: Sharing) -> Result<Vec<TcpListener>, BindFailure> {
    let chosen_by_system = addresses.iter().any(|address| address.port() == 0);
    let mut tries = if chosen_by_system { CHOICES_TRIED } else { 1 };
    loop {
        match bind_once(addresses, sharing) {
            Err(failure) if tries > 1 && errno(&failure.source) == Errno::EADDRINUSE => tries -= 1,
            result => return result,
        }
    }
}

fn bind_once(addresses: &[SocketAddr], sharing: Sharing) -> Result<Vec<TcpListener>, BindFailure> {
    let mut bound: Vec<TcpListener> = Vec::new();
    let mut missing = None;
    let mut port = None;
    for &wanted in addresses {
        let address = SocketAddr::new(wanted.ip(), port.unwrap_or_else(|| wanted.port()));
        let fail = |source| BindFailure { address, wanted: addresses.to_vec(), source };
        match bind_one(address, sharing) {
            Ok(listener) => {
                port = Some(listener.local_addr().map_err(fail)?.port());
                bound.push(listener);
            }
            Err(source) if is_family_missing(address, &source) => {
                tracing::info!(%address, "this system has no such network: listening without it");
                missing = Some(fail(source));
            }
            Err(source) => return Err(fail(source)),
        }
    }
    match missing {
        Some(failure) if bound.is_empty() => Err(failure),
        _ => Ok(bound),
    }
}

fn bind_one(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Old connections in TIME_WAIT must not keep a restarted daemon from its port. Two listening sockets are not
    // allowed by it.
    socket.set_reuse_address(true)?;
    if sharing == Sharing::WithOurselves {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Whether "all addresses of this family" failed because the system lacks the family.
fn is_family_missing(address: SocketAddr, error: &io::Error) -> bool {
    address.ip().is_unspecified()
        && matches!(errno(error), Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EPROTONOSUPPORT)
}

/// Another port than this one that is free now at all of these addresses; only the port of an address is passed over. Blocks for a moment.
#[must_use]
pub fn propose(port: u16, addresses: &[SocketAddr]) -> Option<u16> {
    candidates(port).take(PROPOSALS_TRIED).find(|port| is_free(addresses, *port))
}

fn is_free(addresses: &[SocketAddr], port: u16) -> bool {
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
    bind_all(&addresses, Sharing::Exclusive).is_ok()
}

/// The ports to propose instead of `busy`, nearest above first.
fn candidates(busy: u16) -> impl Iterator<Item = u16> {
    let after = busy.saturating_add(1).max(*PROPOSED.start());
    (after..=*PROPOSED.end())
        .chain(*PROPOSED.start()..after.min(*PROPOSED.end() + 1))
        .filter(move |port| *port != busy && !SPOKEN_FOR.contains(port))
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::new("127.0.0.1".parse().unwrap(), port)
    }

    #[test]
    fn proposals_stay_below_6000_begin_above_the_busy_port_and_leave_out_what_is_spoken_for() {
        let first = |busy, count| candidates(busy).take(count).collect::<Vec<_>>();
        assert_eq!(first(4242, 3), [4245, 4246, 4247]);
        assert_eq!(first(5998, 3), [5999, 1024, 1025]);
        assert_eq!(first(60_000, 2), [1024, 1025]);
        assert_eq!(first(65_535, 2), [1024, 1025]);
        assert_eq!(first(80, 2), [1024, 1025]);
        assert!(candidates(4242).all(|port| PROPOSED.contains(&port) && !SPOKEN_FOR.contains(&port)));
        assert_eq!(candidates(4242).count(), 5999 - 1024 + 1 - 3);
    }

    #[test]
    fn a_busy_port_is_reported_with_its_holder_and_a_free_port_that_can_be_bound() {
        let taken = bind_all(&[local(0)], Sharing::Exclusive).unwrap();
        let port = taken[0].local_addr().unwrap().port();
        let error = bind_all(&[local(port)], Sharing::Exclusive).unwrap_err().explain();
        let text = error.to_string();
        let BindError::Busy { port: reported, holder, free, .. } = error else { panic!("{text}") };
        assert_eq!(reported, port);
        let free = free.unwrap();
        assert!(PROPOSED.contains(&free), "{text}");
        assert!(text.ends_with(&format!("; port {free} is free")), "{text}");
        assert!(bind_all(&[local(free)], Sharing::Exclusive).is_ok());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(holder.unwrap().pid, std::process::id());
            assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
        }
        #[cfg(not(target_os = "linux"))]
        assert_eq!(holder, None);
    }

    #[test]
    fn a_busy_port_whose_holder_is_unknown_still_makes_a_sentence() {
        let error = BindError::Busy { ip: local(0).ip(), port: 4242, holder: None, free: None };
        assert_eq!(error.to_string(), "port 4242 on 127.0.0.1 is in use by another program");
    }

    #[test]
    fn a_second_listener_fails_while_a_punching_socket_can_share_the_port() {
        let taken = bind_all(&[local(0)], Sharing::Exclusive).unwrap();
        let address = taken[0].local_addr().unwrap();
        assert!(bind_one(address, Sharing::Exclusive).is_err());

        let punch = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        punch.set_reuse_address(true).unwrap();
        punch.set_reuse_port(true).unwrap();
        punch.bind(&address.into()).unwrap();
    }

    #[test]
    fn a_listener_that_changes_its_addresses_can_share_the_port_with_itself() {
        let taken = bind_all(&[local(0)], Sharing::Exclusive).unwrap();
        let address = taken[0].local_addr().unwrap();
        assert!(bind_all(&[address], Sharing::WithOurselves).is_ok());
    }

    #[test]
    fn both_families_get_the_same_port_when_the_system_chooses_it() {
        let addresses = [local(0), "[::1]:0".parse().unwrap()];
        let bound = bind_all(&addresses, Sharing::Exclusive).unwrap();
        let ports: Vec<u16> = bound.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
    }

    #[test]
    fn an_address_of_another_computer_is_named() {
        let elsewhere: SocketAddr = "203.0.113.1:0".parse().unwrap();
        let error = bind_all(&[elsewhere], Sharing::Exclusive).unwrap_err().explain();
        assert_eq!(error.to_string(), "cannot listen on 203.0.113.1:0: this computer has no such address");
    }

    #[test]
    fn a_system_without_ipv6_is_listened_on_by_ipv4() {
        let all_v6: SocketAddr = "[::]:4242".parse().unwrap();
        let one_v6: SocketAddr = "[2001:db8::1]:4242".parse().unwrap();
        let missing = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        assert!(is_family_missing(all_v6, &missing(Errno::EAFNOSUPPORT)));
        assert!(is_family_missing(all_v6, &missing(Errno::EADDRNOTAVAIL)));
        assert!(!is_family_missing(all_v6, &missing(Errno::EADDRINUSE)));
        assert!(!is_family_missing(one_v6, &missing(Errno::EADDRNOTAVAIL)));
    }
}
