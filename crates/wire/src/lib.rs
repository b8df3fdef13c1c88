//! What two computers say to each other: one authenticated byte stream carries many exchanges.
//!
//! A [`Link`] multiplexes a TLS stream with yamux; every yamux stream carries one HTTP/1.1 exchange, and both ends
//! open and serve them, whoever dialled. [`Hello`] and [`Report`] are the two messages of the protocol itself; the
//! archive store is restic's REST protocol, which this crate only carries.
//!
//! It does not dial, does not authenticate, knows no friends and touches no disk: it is handed a stream whose other
//! end has been proved.

mod body;
mod class;
mod condition;
mod dial_back;
mod dial_in;
mod hello;
mod hubs;
mod installed;
mod link;
mod metered;
mod mux;
pub mod paths;
mod record;
mod rendezvous;

pub use body::{
    Body, BodyError, announced, boxed, bytes_body, collect, collect_into, empty_body, json_body,
    with_least_progress,
};
pub use class::Class;
pub use condition::{Condition, LastBackup, Slept, Work};
pub use dial_back::{
    DIAL_BACK_CAPABILITY, DIAL_BACK_LIMIT, DialBackAnswer, DialBackOrder, DialBackOutcome, DialBackRefusal,
    DialBackRequest, DialBackResult, LEAST_DIAL_BACK_PORT, MOST_DIAL_BACK_ADDRESSES,
};
pub use dial_in::{DIAL_IN_LIMIT, DialInKeys};
pub use hello::{
    Hello, HelloAnswer, HelloVerdict, MESSAGE_LIMIT, MOST_SENTENCE_BYTES, Report, Spoken, VersionRange,
    WIRE_VERSION, WireError,
};
pub use hubs::{HUBS_LIMIT, HubHello, Vouch, Vouched};
pub use installed::{Installed, VISIT_CAPABILITY};
pub use kith_identity::{DeviceId, DialBackNonce, HubToken, PairTag, Sealed};
pub use link::{Link, LinkError, LinkLimits, Serve, ServeFuture, Side, Traffic};
pub use mux::ByteStream;
pub use record::{AddressRecord, RECORD_LIFE, RECORD_LIMIT, RecordError};
pub use rendezvous::{
    Delivered, Deposit, FOUND_LIMIT, Found, HUB_CAPABILITY, HubAddress, HubAdmission, HubInvite,
    MOST_PREFIXES, MOST_RECORDS, MOST_WATCHED, Moves, Observed, ParseHubError, Post, REGISTRATION_LIMIT,
    RELAY_CAPABILITY, RELAY_READY, RENDEZVOUS_CAPABILITY, RENDEZVOUS_LIMIT, Refused, Registered,
    Registration, RelayLeg, RelayRequest, RelayTerms, SEALED_POST_LIMIT, SEALED_RECORD_LIMIT, Search,
};
