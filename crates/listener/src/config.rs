//! Where to listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bind::BindError;
use crate::limits::KnownPlaces;

/// The port of Kith.
pub const DEFAULT_PORT: u16 = 4242;

/// The first port that needs no privilege.
const FIRST_PLAIN_PORT: u16 = 1024;

/// Where to listen, and how to treat people who look in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The port, the same on all addresses. 0 lets the system choose a free one (for tests).
    pub port: u16,
    /// The addresses; `::` means IPv6 only, as `0.0.0.0` stands for IPv4.
    pub bind: Vec<IpAddr>,
    /// Whether who says nothing or speaks no TLS gets the one-line greeting. Without it the connection is closed in silence.
    pub greeting: bool,
    /// Whether a port below 1024 is taken. For hubs, where 443 gets through firewalls that nothing else does.
    pub allow_privileged: bool,
    /// How many of those who are recognised are served at once. Counts for the start only.
    pub known: KnownPlaces,
}

impl Default for ListenerConfig {
    /// Port 4242 on all addresses, with the greeting.
    fn default() -> Self {
        Self {
            port: DEFAULT_PORT,
            bind: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            greeting: true,
            allow_privileged: false,
            known: KnownPlaces::default(),
        }
    }
}

impl ListenerConfig {
    /// The addresses to bind, each once.
    ///
    /// # Errors
    /// If there is none, or the port is one that Kith doesn't take.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, BindError> {
        if (1..FIRST_PLAIN_PORT).contains(&self.port) && !self.allow_privileged {
            return Err(BindError::Privileged { port: self.port });
        }
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for ip in &self.bind {
            let address = SocketAddr::new(ip.to_canonical(), self.port);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(BindError::NoAddress) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(port: u16, bind: &[&str]) -> ListenerConfig {
        let bind = bind.iter().map(|ip| ip.parse().unwrap()).collect();
        ListenerConfig { port, bind, ..ListenerConfig::default() }
    }

    #[test]
    fn by_default_port_4242_is_bound_on_all_addresses_of_both_families() {
        let addresses = ListenerConfig::default().addresses().unwrap();
        assert_eq!(addresses, ["0.0.0.0:4242".parse().unwrap(), "[::]:4242".parse().unwrap()]);
    }

    #[test]
    fn a_port_below_1024_is_refused_with_the_reason_unless_allowed() {
        for port in [1, 80, 1023] {
            let error = config(port, &["0.0.0.0"]).addresses().unwrap_err().to_string();
            assert!(error.starts_with(&format!("port {port} is below 1024")), "{error}");
            assert!(error.contains("choose a port from 1024 to 65535"), "{error}");
        }
        assert!(config(1024, &["0.0.0.0"]).addresses().is_ok());
        let hub = ListenerConfig { allow_privileged: true, ..config(443, &["0.0.0.0"]) };
        assert!(hub.addresses().is_ok());
    }

    #[test]
    fn an_address_named_twice_is_bound_once_and_none_at_all_is_an_error() {
        let twice = config(4242, &["127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1"]);
        assert_eq!(twice.addresses().unwrap(), ["127.0.0.1:4242".parse().unwrap()]);
        assert!(config(4242, &[]).addresses().is_err());
    }
}
