//! From which network somebody comes.

use std::net::IpAddr;

/// A network, as coarsely as addresses are given out to those who ask for many: /24 of IPv4, /48 of IPv6. Where room runs out, networks
/// share it and not device ids, which cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// Of IPv4.
    V4([u8; 3]),
    /// Of IPv6.
    V6([u8; 6]),
}

impl Network {
    /// That of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_of_one_network() {
        let same = |one: &str, other: &str| {
            let of = |ip: &str| Network::of(ip.parse().unwrap());
            of(one) == of(other)
        };
        assert!(same("203.0.113.1", "203.0.113.255") && !same("203.0.113.1", "203.0.112.1"));
        assert!(same("203.0.113.1", "::ffff:203.0.113.2"));
        assert!(same("2001:db8:5:1::1", "2001:db8:5:ffff::2") && !same("2001:db8:5::1", "2001:db8:6::1"));
    }
}
