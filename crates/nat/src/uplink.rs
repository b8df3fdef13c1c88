//! Where a mapping is asked for.

use std::fmt;
use std::net::IpAddr;

use crate::Family;

/// One way out of the local network: an address of ours and the gateway that it leads through. Every mapping belongs to one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uplink {
    /// Index of the interface; the scope of link-local addresses.
    pub index: u32,
    /// Name of the interface, for people.
    pub interface: String,
    /// The gateway's address in our network, of the same family as `local`. `local` itself where there is none: see
    /// [`Uplink::is_direct`].
    pub gateway: IpAddr,
    /// The address of ours that is to be reachable: requests are sent from it, for routers map only for who asks.
    pub local: IpAddr,
}

impl Uplink {
    /// A public address of ours on a way out without a router.
    pub(crate) fn direct(index: u32, interface: &str, local: IpAddr) -> Self {
        Self { index, interface: interface.to_owned(), gateway: local, local }
    }

    /// Whether no router is in between: a line that this computer dials itself, a tunnel that ends here, a hosting company's
    /// network card. `local` is public then, and nobody is asked for anything.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.gateway == self.local
    }

    /// The family of addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.local)
    }
}

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_direct() {
            return write!(f, "{} ({})", self.local, self.interface);
        }
        write!(f, "{} by {} ({})", self.local, self.gateway, self.interface)
    }
}
