//! What a carrier shows of itself.

use std::net::SocketAddr;

use kith_identity::DeviceId;

use crate::rules::RelayRules;

/// What is kept and was done, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Computers for which something is kept.
    pub users: usize,
    /// Of these, how many are connected.
    pub connected: usize,
    /// Records that lie here.
    pub records: usize,
    /// What they take, in bytes.
    pub record_bytes: usize,
    /// Tags under which messages are awaited.
    pub watched: usize,
    /// Messages that were handed over since the start.
    pub handed_over: u64,
    /// Requests that were refused since the start.
    pub refused: u64,
    /// What is relayed.
    pub relay: Relayed,
}

/// What is relayed, in all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relayed {
    /// Within which bounds; none: nothing is relayed.
    pub rules: Option<RelayRules>,
    /// Sessions that are agreed or joined.
    pub sessions: usize,
    /// Bytes since the start.
    pub bytes: u64,
    /// Sessions that ended since the start because those of another network had fewer.
    pub gave_way: u64,
    /// Accounts of those with least used that were forgotten since the start, because there were too many.
    pub accounts_dropped: u64,
}

/// What is relayed for one computer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayedFor {
    /// Which.
    pub who: DeviceId,
    /// Its sessions.
    pub sessions: usize,
    /// Bytes that were counted for it today, with whomever.
    pub bytes_today: u64,
}

/// One of two connections that are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedLeg {
    /// Whose it is.
    pub who: DeviceId,
    /// With whom it is joined.
    pub with: DeviceId,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}
