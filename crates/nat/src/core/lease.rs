//! How long mappings are asked for, how long they last, when they are renewed.

use std::time::Duration;

use super::chance::Chance;
use super::time::Tick;
use crate::{Family, Lifetime, Protocol};

/// Asked of UPnP: 7200 is more than some routers take.
const UPNP_SECONDS: u32 = 3600;
/// Asked of PCP and NAT-PMP (RFC 6886, section 3.3, recommends it).
const PCP_SECONDS: u32 = 7200;
/// The longest lease of IGD v2, for routers that refuse both shorter and permanent ones.
const WEEK_SECONDS: u32 = 604_800;
/// A longer grant is counted as this one.
const LONGEST: Duration = Duration::from_secs(WEEK_SECONDS as u64);
/// A shorter grant is counted as this one: what is shorter can't be kept alive with requests that are [`CLOSEST`] apart.
const SHORTEST: Duration = Duration::from_secs(8);
/// Requests for the same mapping by timer are at least this far apart (RFC 6887, section 11.2.1).
pub(super) const CLOSEST: Duration = Duration::from_secs(4);
/// Renewals by timer of one lease.
pub(super) const RENEWALS: usize = 3;

/// What is asked of a UPnP router about time. Climbed when it refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rung {
    /// A lease of limited time.
    #[default]
    Limited,
    /// A mapping for ever.
    Permanent,
    /// The longest lease there is.
    Week,
}

impl Rung {
    /// How many there are.
    pub(super) const COUNT: u8 = 3;

    /// The next to try when this one is refused.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Limited => Self::Permanent,
            Self::Permanent => Self::Week,
            Self::Week => Self::Limited,
        }
    }
}

/// What to ask for.
pub(super) const fn requested(protocol: Protocol, family: Family, rung: Rung) -> Lifetime {
    match (protocol, family, rung) {
        (Protocol::Pcp | Protocol::NatPmp, _, _) => Lifetime::Seconds(PCP_SECONDS),
        (Protocol::Upnp, Family::V6, _) | (Protocol::Upnp, Family::V4, Rung::Limited) => {
            Lifetime::Seconds(UPNP_SECONDS)
        }
        (Protocol::Upnp, Family::V4, Rung::Permanent) => Lifetime::Permanent,
        (Protocol::Upnp, Family::V4, Rung::Week) => Lifetime::Seconds(WEEK_SECONDS),
    }
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    begun: Tick,
    /// As granted; none: permanent.
    length: Option<Duration>,
    /// When to renew, as long as nobody else did.
    points: [Tick; RENEWALS],
    used: usize,
    asked: Tick,
}

impl Lease {
    pub(super) fn new(lifetime: Lifetime, now: Tick, chance: &mut Chance) -> Self {
        match lifetime {
            Lifetime::Permanent => Self::permanent(now),
            Lifetime::Seconds(seconds) => {
                Self::limited(Duration::from_secs(u64::from(seconds)), now, now, chance)
            }
        }
    }

    /// Lasts until it is removed.
    pub(super) const fn permanent(now: Tick) -> Self {
        Self { begun: now, length: None, points: [Tick::NEVER; RENEWALS], used: RENEWALS, asked: now }
    }

    fn limited(length: Duration, begun: Tick, asked: Tick, chance: &mut Chance) -> Self {
        let counted = length.clamp(SHORTEST, LONGEST);
        // RFC 6887, section 11.2.1: first between 1/2 and 5/8, then 3/4, then 7/8.
        let span = u64::try_from((counted / 8).as_millis()).unwrap_or(u64::MAX).max(1);
        let first = counted / 2 + Duration::from_millis(chance.below(span));
        let points = [begun + first, begun + counted / 4 * 3, begun + counted / 8 * 7];
        Self { begun, length: Some(length.min(LONGEST)), points, used: 0, asked }
    }

    /// As granted; none: permanent.
    pub(super) const fn length(&self) -> Option<Duration> {
        self.length
    }

    /// When the router forgets it, if nothing is done.
    pub(super) fn ends(&self) -> Option<Tick> {
        self.length.map(|length| self.begun + length.max(SHORTEST))
    }

    /// When to renew it; none: not any more.
    pub(super) fn renewal(&self) -> Option<Tick> {
        let point = *self.points.get(self.used)?;
        let at = point.max(self.asked + CLOSEST);
        self.ends().is_some_and(|ends| at < ends).then_some(at)
    }

    /// A renewal is asked for.
    pub(super) const fn asked(&mut self, now: Tick) {
        self.used += 1;
        self.asked = now;
    }

    /// The router shows less time left than this lease has: then that counts.
    pub(super) fn shows(&mut self, left: Duration, now: Tick, chance: &mut Chance) {
        const GRACE: Duration = Duration::from_secs(5);
        let shorter = self.ends().is_none_or(|ends| now + left + GRACE < ends);
        if shorter && !left.is_zero() {
            let length = now.since(self.begun) + left;
            let (used, asked) = (self.used, self.asked);
            let was_permanent = self.length.is_none();
            *self = Self::limited(length, self.begun, asked, chance);
            self.used = if was_permanent { 0 } else { used };
        }
    }
}
