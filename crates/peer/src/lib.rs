//! Finds friends and holds one link to each.
//!
//! [`Peers`] dials the known addresses of every friend, races them, proves the other end before a winner is declared,
//! resolves simultaneous dials to one link, and dials again when a link ends or the network changes. [`join`] is the
//! pairing, [`probe`] the telnet test, [`ask_dial_back`] asks a friend whether we can be reached from where he is, [`reach`] has what
//! it takes where dialling alone doesn't lead to a friend.
//!
//! It does not listen (connections that were accepted and authenticated are handed to [`Peers::accept`]), stores
//! nothing, and knows neither backups nor the vault: what a friend asks for is answered by the [`Host`].

mod attempts;
mod book;
mod calls;
mod carriers;
#[cfg(test)]
mod chance;
mod dial;
mod dial_back;
mod dialer;
mod examine;
mod friend;
#[doc(hidden)]
pub mod greeting;
mod guests;
mod host;
pub mod join;
pub mod meet;
mod outbound;
mod peers;
mod prefer;
mod probe;
mod race;
pub mod reach;
mod runs;
mod service;
mod session;
mod socket;
mod visit;
mod way;

pub use book::{AddressBook, is_internal, is_local_name};
pub use calls::{Calls, Dialed};
pub use carriers::{Carrier, CarrierKind};
pub use dial::{DialError, ProxyFault};
pub use dial_back::{AskDialBackError, Asker, ask_dial_back, ask_dial_back_from, is_outside};
pub use examine::{Answer, Examined, examine};
pub use host::{Caller, Connection, Host, PeerState, Standing};
pub use outbound::{
    Allowed, Destination, FixedPortRefusal, Inbound, Mapped, Names, Outbound, OutboundRules, Proxy,
    ProxyKind, SocketPurpose, SocketUse,
};
pub use peers::{MOST_FRIENDS, MOST_HUBS, Peers, WeakPeers};
pub use probe::{MOST_PROBE_KEYS, Probe, ProbeResult, probe};
pub use race::Attempt;
pub use socket::widen;
pub use visit::{Visit, visit};
pub use way::{CandidateKind, PathChange, PathKind, Way};
