//! Reaching a friend where dialling alone doesn't: what is needed for connections that both ends make at the same time, and for those that
//! a carrier joins; and who decides about it all.
//!
//! [`Reach`] registers with carriers, lets friends find this computer and finds them, and makes and answers calls. [`observe()`] learns from
//! where a port of ours is seen, [`punch()`] makes connections from that port while the friend does the same, a leg is our half of a
//! relayed connection, and [`secure`] proves over any of them who is there.

mod carriers;
mod core;
mod host;
mod leg;
mod meeting;
mod observe;
mod port;
mod punch;
mod records;
mod secure;
mod shell;
mod signal;
mod standing;

pub use carriers::HubMemory;
pub use host::{FriendMemory, Invited, OpenInvite, PunchPorts, ReachHost, ReachMemory, Sought, WhatWorked};
pub use leg::LegError;
pub use meeting::{MOST_HANDSHAKES, Meeting};
pub use observe::{Observation, ObserveError, observe};
pub use port::{PortError, PunchPort};
pub use punch::{
    CameBy, MOST_TARGETS, Met, PunchError, PunchOutcome, PunchPlan, PunchSender, PunchTable, Punched,
    Punching, punch,
};
pub use records::{SeenRecord, Whereabouts};
pub use secure::{Part, Recognises, Role, SecureError, Secured, secure};
pub use shell::Reach;
#[doc(hidden)]
pub use signal::read_signal;
pub use standing::{HubRole, HubStanding};
