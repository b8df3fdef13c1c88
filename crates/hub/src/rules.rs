//! The bounds of what a carrier does.

use std::num::NonZeroU64;
use std::time::Duration;

/// How long what is kept for a computer outlives its connection.
pub const LINGER: Duration = Duration::from_secs(10 * 60);
/// The longest life of a record here, whatever its owner asks for.
pub const MOST_LIVES: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Records of different computers under one tag. Whoever came first stays: a forged record stands beside the true one.
pub const MOST_UNDER_A_TAG: usize = 4;
/// Computers that await messages under one tag.
pub const MOST_WATCHERS: usize = 4;
/// How long the name of a leg is worth something.
pub const LEG_LIFE: Duration = Duration::from_secs(15);
/// A relayed connection over which nothing goes for so long is over. Links say something four times as often.
pub const RELAY_IDLE: Duration = Duration::from_secs(2 * 60);
/// The volume of a computer is counted anew after this time of the carrier's own running; no clock has a say in it.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is kept, and what is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Computers for which anything is kept. One more is refused.
    pub most_users: usize,
    /// Bytes of all records. One more, and whoever has most of them loses one, of the network that has most where networks are told.
    pub most_record_bytes: usize,
    /// What is relayed; none: nothing.
    pub relay: Option<RelayRules>,
}

/// What is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayRules {
    /// Bytes in a second for all together; none: as many as there are.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Bytes in a second for one computer, in both directions and with whomever; none: as many as there are.
    pub user_bytes_per_second: Option<NonZeroU64>,
    /// Bytes in a day for one computer, likewise; none: as many as it wants.
    pub user_bytes_per_day: Option<NonZeroU64>,
    /// Sessions at once, those included that are only agreed.
    pub most_sessions: usize,
    /// Of these with one computer in them.
    pub most_user_sessions: usize,
}

impl Rules {
    /// What a computer does for its friends.
    #[must_use]
    pub fn of_friend() -> Self {
        Self { most_users: 4096, most_record_bytes: 32 << 20, relay: Some(RelayRules::of_friend()) }
    }

    /// What a hub does for whoever is registered with it.
    #[must_use]
    pub fn of_hub() -> Self {
        Self { most_users: 65_536, most_record_bytes: 256 << 20, relay: Some(RelayRules::of_hub()) }
    }
}

impl RelayRules {
    /// What a computer relays for its friends, if its owner sets no other bounds.
    #[must_use]
    pub fn of_friend() -> Self {
        Self {
            bytes_per_second: None,
            user_bytes_per_second: None,
            user_bytes_per_day: NonZeroU64::new(10_000_000_000),
            most_sessions: 128,
            // As many friends may have somebody who can be reached by a relay alone.
            most_user_sessions: 32,
        }
    }

    /// What a hub relays, if its owner sets no other bounds.
    #[must_use]
    pub fn of_hub() -> Self {
        Self { most_sessions: 2048, ..Self::of_friend() }
    }
}
