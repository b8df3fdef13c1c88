//! `kith hub`: a service of its own by which many computers find and reach each other.
//!
//! It is a [`Rendezvous`](kith_hub::Rendezvous) with many links: computers dial it, say hello, register, and ask. What it is told it keeps in
//! memory; who was let in by a token is all that it keeps on its disk, so that a hub that is started anew is whole again when its computers
//! have come back.
//!
//! - [`core`]: who is there; how messages get to them; what they are told.
//! - [`seats`]: pure bookkeeping of the connections; [`service`]: what one connection is answered.
//! - [`admitted`]: tokens that were used. [`invite`]: making one.
//! - [`peers`]: other hubs: links to them, what they are asked and answer, which of them are alive, who is to use which.
//! - [`metrics`]: the hub in numbers. [`mod@ports`]: what it has open.
//!
//! It knows no friends, keeps no backups, and reads nothing of what it hands over or relays.

mod admitted;
mod answer;
mod core;
mod invite;
mod metrics;
mod peers;
mod ports;
mod rules;
mod run;
mod seats;
mod service;
#[cfg(test)]
mod tests;

pub(crate) use self::invite::token_line;
pub(crate) use self::ports::ports;
pub(crate) use self::run::run;
