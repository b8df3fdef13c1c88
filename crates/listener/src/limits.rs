//! The bounds on what strangers can cost, in one place.
//!
//! Worst case before authentication: [`MAX_WAITING`] connections of some hundred bytes each beside what the kernel holds for
//! them, [`MAX_STRANGERS`] and [`MAX_KNOWN`] handshakes, for each of which rustls buffers at most 64 KiB of a message, and the tables of
//! used tags, penalties and familiar addresses, which together stay below 2 MiB. Nothing is set aside because somebody says that it will come.

use std::time::Duration;

/// From accepting a connection to the end of its handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a connection may say nothing before it is greeted.
pub const GREETING_AFTER: Duration = Duration::from_secs(2);

/// Connections that have not begun a handshake. One more, and the one that has been silent for longest goes.
pub const MAX_WAITING: usize = 4096;

/// Silent connections from one address prefix (/24 for IPv4, /64 for IPv6). One more, and the oldest of them goes: whoever
/// comes from the same place as a flooder still gets in, because he speaks at once.
pub const MAX_SILENT_PER_PREFIX: usize = 128;

/// Handshakes of strangers at once. None of them waits for a place: who finds none is turned away.
pub const MAX_STRANGERS: usize = 64;

/// Handshakes at once of those who brought a tag that was recognised.
pub const MAX_KNOWN: usize = 64;

/// As many of them are kept for those from whose address a friend got in lately.
pub const KEPT_FOR_FAMILIAR: usize = 16;

/// So many wait for one of these places. One more, and the oldest of the network or address of which most wait is turned away.
pub const MAX_KNOWN_WAITING: usize = 64;

/// How many of those who brought a tag that was recognised are served at once, and how many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPlaces {
    /// Handshakes at once.
    pub at_once: usize,
    /// So many wait for one.
    pub waiting: usize,
    /// A handshake makes room after this time, while others wait.
    pub stale_after: Duration,
}

impl Default for KnownPlaces {
    /// [`MAX_KNOWN`], [`MAX_KNOWN_WAITING`] and [`STALE_KNOWN`]: for friends.
    fn default() -> Self {
        Self { at_once: MAX_KNOWN, waiting: MAX_KNOWN_WAITING, stale_after: STALE_KNOWN }
    }
}

impl KnownPlaces {
    /// For a hub, to which thousands come back at once when it was away: to turn one of them away costs more than to let it wait for a
    /// second. A connection that waits takes some kilobytes. Over a round trip of 150 ms so many places are 3,000 handshakes a second, more than
    /// a small computer can do; so they take longer than their round trip then, and nothing is won by breaking them off.
    pub const HUB: Self = Self { at_once: 512, waiting: 8192, stale_after: Duration::from_secs(3) };
}

/// Such a handshake makes room after this time, while others wait. An honest one takes a round trip, and the longest on Earth that isn't
/// by way of a satellite is 0.3 s.
pub const STALE_KNOWN: Duration = Duration::from_millis(500);

/// Addresses from which friends got in lately...
pub const MAX_FAMILIAR: usize = 1024;
/// ...and of one friend.
pub const MAX_FAMILIAR_PER_FRIEND: usize = 2;

/// A stranger's handshake this old makes room when places get scarce.
pub const STALE_HANDSHAKE: Duration = Duration::from_secs(2);

/// From this many strangers' handshakes on, some strangers are turned away at random...
pub const DROP_BEGINS_AT: usize = 16;
/// ...of a hundred this many, and more with each further one...
pub const DROP_PERCENT: usize = 30;
/// ...up to all of them from this many on.
pub const DROP_ALL_FROM: usize = MAX_STRANGERS;

/// How long it takes to forget one handshake that led to nothing.
pub const OFFENCE: Duration = Duration::from_secs(4);

/// As much as may be unforgotten of one prefix without a consequence: 32 handshakes. Beyond it, its strangers aren't served.
pub const TOLERATED: Duration = Duration::from_secs(128);

/// However much was done, strangers of the prefix are served again this long after the end of it.
pub const UNFORGIVEN: Duration = Duration::from_secs(60);

/// Prefixes of which offences are remembered. One more, and the one with the fewest is forgotten.
pub const MAX_PENALISED: usize = 4096;

/// Tags that were used and are remembered, so that they open nothing a second time.
pub const MAX_USED_TAGS: usize = 16_384;

/// The longest ClientHello that is waited for as a whole; of a longer one this much must be there.
pub const MAX_PEEKED: usize = 4096;

/// The longest greeting, its CRLF included. Dialers skip one line of at most this length.
pub const MAX_GREETING: usize = 256;

/// How long an answered or refused stranger may take to close, so that the answer isn't cut off by a reset.
pub const LINGER: Duration = Duration::from_secs(1);

/// How much of what such a stranger still sends is read.
pub const MAX_DRAINED: usize = 64 * 1024;

/// Dial-backs that are waited for at once.
pub const MAX_EXPECTED: usize = 16;

/// Arrivals of one dial-back that wait to be heard of; one for each family of addresses is what was asked for.
pub const MAX_UNTOLD_ARRIVALS: usize = 4;

/// Connections of friends' punches that are waited for at once.
pub const MAX_AWAITED: usize = 64;

/// Whoever comes from the IP address of an awaited punch by another port than expected, and has said nothing for this time, is that punch: every
/// other caller speaks as soon as the connection stands.
pub const SILENT_PUNCH: Duration = Duration::from_millis(250);

/// How many silent connections are given up when the process has no file descriptors left.
pub const EVICTED_ON_EXHAUSTION: usize = 16;
