//! What two computers say to each other: one authenticated byte stream carries many exchanges.
//!
//! A [`Link`] multiplexes a TLS stream with yamux; every yamux stream carries one HTTP/1.1 exchange, and both ends
//! open and serve them, whoever dialled. [`Hello`] and [`Report`] are the two messages of the protocol itself; the
//! archive store is restic's REST protocol, which this crate only carries.
//!
//! It does not dial, does not authenticate, knows no friends and touches no disk: it is handed a stream whose other
//! end has been proved.

mod body;
mod dial_back;
mod dial_in;
mod hello;
mod installed;
mod link;
mod metered;
mod mux;
pub mod paths;

pub use body::{
    Body, BodyError, announced, boxed, bytes_body, collect, collect_into, empty_body, json_body,
    with_least_progress,
};
pub use dial_back::{
    DIAL_BACK_CAPABILITY, DIAL_BACK_LIMIT, DialBackAnswer, DialBackOrder, DialBackOutcome, DialBackRefusal,
    DialBackRequest, DialBackResult, LEAST_DIAL_BACK_PORT, MOST_DIAL_BACK_ADDRESSES,
};
pub use dial_in::{DIAL_IN_LIMIT, DialInKeys};
pub use hello::{
    Hello, HelloAnswer, HelloVerdict, MESSAGE_LIMIT, MOST_SENTENCE_BYTES, Report, Spoken, VersionRange,
    WIRE_VERSION, WireError,
};
pub use installed::{Installed, VISIT_CAPABILITY};
pub use kith_identity::{DeviceId, DialBackNonce};
pub use link::{Link, LinkError, LinkLimits, Serve, ServeFuture, Side, Traffic};
pub use mux::ByteStream;
