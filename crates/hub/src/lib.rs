//! What a carrier does for those who can't reach each other: keeps their records, hands over their messages, joins their connections.
//!
//! A [`Rendezvous`] is the service: every computer runs one for its friends, a hub one for many. It is told who is connected, answers their
//! requests, hands messages over by its [`Courier`], and takes the connections that it promised to join.
//! What it keeps it keeps in memory, and not for long; whoever was carried for tells it anew.
//!
//! What it does *not* do: it listens nowhere and dials nobody, doesn't know who is a friend, and reads nothing of what it carries. Records
//! and messages are sealed, and what it relays is TLS between two others.
//!
//! Architecture invariants: everything that anybody can make it keep has a bound, in all and for each; nobody's records, messages or
//! sessions push out another's, unless his network has less of them than the other's; no relayed byte is counted for one alone.

mod accounts;
mod allowance;
mod copy;
mod fair;
mod mailboxes;
mod network;
mod pace;
mod records;
mod relay;
mod rendezvous;
mod rules;
mod service;
mod sessions;
mod status;
mod users;

pub use accounts::Counted;
pub use network::Network;
pub use rendezvous::{Courier, Rendezvous};
pub use rules::{
    LEG_LIFE, LINGER, MOST_LIVES, MOST_UNDER_A_TAG, MOST_WATCHERS, RELAY_IDLE, RelayRules, Rules,
};
pub use status::{JoinedLeg, Relayed, RelayedFor, Status};
