//! Keeps one TCP port of this computer reachable through the routers in front of it.
//!
//! A level-triggered reconciler: what is wanted (one port, see [`Wanted`]) against what the gateways are known to hold, looked
//! at again at every answer, every hint and every timer. The decisions are in [`core`], a state machine without clock, sockets or
//! randomness; the protocols, PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD (v1 and v2), in [`clients`]; a thin
//! asynchronous shell connects the two and gives out a [`Nat`] handle with a watch of the [`State`].
//!
//! What it does *not* do: it opens no listening TCP port, dials nobody outside of the local network, knows no friends. A
//! friend's dial back from outside is told to it with [`Nat::proof`]. It writes no file: what must outlive
//! the process is handed to a [`Memory`].

pub mod clients;
pub mod core;
mod describe;
mod exchange;
mod hint;
mod memory;
mod nat;
mod protocol;
mod state;
mod uplink;
mod wanted;

pub use core::{ProofOutcome, ProofReport};
pub use exchange::{
    Answer, Entry, Epoch, Found, Grant, Lifetime, MapRequest, Nonce, Refusal, RefusalKind, Request,
    UnmapRequest,
};
pub use hint::Hint;
pub use memory::{Memory, Remembered};
pub use nat::{Nat, NatConfig};
pub use protocol::{Family, Protocol, Protocols};
pub use state::{GatewayState, Mapping, MappingState, Proof, State};
pub use uplink::Uplink;
pub use wanted::Wanted;
