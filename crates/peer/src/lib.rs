//! Finds friends and holds one link to each.
//!
//! [`Peers`] dials the known addresses of every friend, races them, proves the other end before a winner is declared,
//! resolves simultaneous dials to one link, and dials again when a link ends or the network changes. [`join`] is the
//! pairing, [`probe`] the telnet test, [`ask_dial_back`] asks a friend whether we can be reached from where he is.
//!
//! It does not listen (connections that were accepted and authenticated are handed to [`Peers::accept`]), stores
//! nothing, and knows neither backups nor the vault: what a friend asks for is answered by the [`Host`].

mod book;
mod dial;
mod dial_back;
mod dialer;
mod friend;
#[doc(hidden)]
pub mod greeting;
mod guests;
mod host;
pub mod join;
mod outbound;
mod peers;
mod prefer;
mod probe;
mod race;
mod runs;
mod session;
mod socket;
mod visit;

pub use book::{AddressBook, is_internal};
pub use dial::DialError;
pub use dial_back::{AskDialBackError, Asker, ask_dial_back, ask_dial_back_from, is_outside};
pub use host::{Caller, Connection, Host, PathKind, PeerState, Standing};
pub use outbound::{Allowed, Destination, Mapped, Outbound, OutboundRules, Proxy, ProxyKind};
pub use peers::{MOST_FRIENDS, Peers};
pub use probe::{MOST_PROBE_KEYS, Probe, ProbeResult, probe};
pub use race::Attempt;
pub use socket::widen;
pub use visit::{Visit, visit};
