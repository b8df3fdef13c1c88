//! News that make a look at a router worth while before its time.

use std::net::IpAddr;

use crate::{Epoch, Protocol};

/// Something on the local network says that a router changed. Never believed, only looked into: anybody there can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A multicast of PCP (`ANNOUNCE`, RFC 6887, section 14.1), NAT-PMP (address change, RFC 6886, section 3.2.1) or UPnP
    /// (SSDP `ssdp:alive` or `ssdp:byebye` of a gateway device).
    Announced {
        /// Who sent it.
        from: IpAddr,
        /// Index of the interface it came by, where that is known.
        index: Option<u32>,
        /// By which protocol.
        protocol: Protocol,
        /// The router's clock for mappings, where the message holds it. For the log: a clock that anybody can send decides nothing.
        epoch: Option<Epoch>,
    },
    /// Something else makes the mappings doubtful: a friend's link died, a dial from outside failed.
    Doubt {
        /// A few words for the log.
        why: String,
    },
}

/// Most hints that wait to be looked into. More are dropped: one is as good as a hundred.
pub(crate) const MOST_HINTS: usize = 16;
