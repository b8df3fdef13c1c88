//! Finds computers in the local network, by multicast DNS (RFC 6762) and DNS-based service discovery (RFC 6763).
//!
//! [`Discovery`] announces this computer under tags that only its friends recognise and that change every hour, and tells when a friend's
//! announcement is heard, with the addresses to dial. While a person has opened it, it also announces a name, a device id and a secret
//! for pairing, and tells of others who do the same; [`Neighbours`] is the list of these.
//!
//! It sends nothing but multicast, opens no connection, and stores nothing. What it hears it hands on without believing it: who answers
//! at an address is proved by whoever dials it. Everything that strangers can make it keep is bounded.
//!
//! The sockets and the clock are in [`Discovery`]; the decisions are a plain state machine, and the format of packets is apart from both.

mod announcement;
mod bounds;
mod discovery;
mod dns;
mod engine;
mod finder;
mod neighbours;
mod place;
mod schedule;
mod socket;
mod tag;
mod wanted;

pub use announcement::{About, Announcement, Instance, Packet, read};
pub use discovery::{Discovery, Found};
pub use neighbours::{MOST_NEIGHBOURS, Neighbour, Neighbours};
pub use tag::LanTag;
pub use wanted::{Friend, Wanted};
