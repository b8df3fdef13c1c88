//! From where friends got in lately.

use std::collections::VecDeque;
use std::net::IpAddr;

use kith_identity::DeviceId;

use crate::limits::{MAX_FAMILIAR, MAX_FAMILIAR_PER_FRIEND};
use crate::places::{Address, Source};
use crate::waiting::Prefix;

/// The addresses from which friends got in last; some of each friend, so that no one's many addresses push out those of others.
#[derive(Debug, Default)]
pub(crate) struct Familiar {
    order: VecDeque<(DeviceId, Address)>,
}

impl Familiar {
    /// A friend got in from there.
    pub(crate) fn note(&mut self, friend: DeviceId, ip: IpAddr) {
        let here = (friend, Address::of(ip));
        self.order.retain(|known| *known != here);
        let of_his = |(who, _): &(DeviceId, Address)| *who == friend;
        let too_many = self.order.iter().filter(|known| of_his(known)).count() >= MAX_FAMILIAR_PER_FRIEND;
        if too_many && let Some(oldest) = self.order.iter().position(of_his) {
            self.order.remove(oldest);
        }
        if self.order.len() >= MAX_FAMILIAR {
            self.order.pop_front();
        }
        self.order.push_back(here);
    }

    /// Among whom a caller from there is counted.
    pub(crate) fn source(&self, ip: IpAddr) -> Source {
        let address = Address::of(ip);
        if self.order.iter().any(|(_, known)| *known == address) {
            Source::Familiar(address)
        } else {
            Source::Network(Prefix::of(ip))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn friend(n: usize) -> DeviceId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(id)
    }

    fn ip(n: usize) -> IpAddr {
        let [.., a, b] = n.to_be_bytes();
        [10, 1, a, b].into()
    }

    fn is_familiar(familiar: &Familiar, n: usize) -> bool {
        matches!(familiar.source(ip(n)), Source::Familiar(_))
    }

    #[test]
    fn an_address_is_familiar_and_its_neighbour_is_not() {
        let mut familiar = Familiar::default();
        assert_eq!(familiar.source(ip(1)), Source::Network(Prefix::of(ip(1))));
        familiar.note(friend(1), ip(1));
        assert!(is_familiar(&familiar, 1) && !is_familiar(&familiar, 2));
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        familiar.note(friend(1), v6("2001:db8:1:2::1"));
        assert_eq!(familiar.source(v6("2001:db8:1:2:ffff::1")), familiar.source(v6("2001:db8:1:2::1")));
        assert_eq!(familiar.source(v6("::ffff:10.1.0.1")), familiar.source(ip(1)));
    }

    #[test]
    fn a_friend_with_many_addresses_pushes_out_his_own_alone() {
        let mut familiar = Familiar::default();
        familiar.note(friend(0), ip(0));
        for n in 1..5000 {
            familiar.note(friend(1), ip(n));
            assert!(is_familiar(&familiar, n) && is_familiar(&familiar, 0));
        }
        assert!(!is_familiar(&familiar, 1));
        assert_eq!(familiar.order.len(), 1 + MAX_FAMILIAR_PER_FRIEND);
        for n in 0..2 * MAX_FAMILIAR {
            familiar.note(friend(n), ip(n));
            assert!(familiar.order.len() <= MAX_FAMILIAR);
        }
        assert!(!is_familiar(&familiar, 0) && is_familiar(&familiar, 2 * MAX_FAMILIAR - 1));
    }
}
