//! What is known of a gateway as a whole, whichever address of ours asks it.

use std::time::Duration;

use super::command::GatewayKey;
use super::epoch::EpochTrack;
use super::lease::Rung;
use super::time::Tick;
use crate::Protocol;

/// From one turn of regular checks to the next at the same gateway. A mapping that vanished silently is noticed within it.
pub(super) const BEAT: Duration = Duration::from_secs(26);
/// Looks that may follow each other quickly.
const BURST: u8 = 3;
/// How closely.
const LOOK_SPACING: Duration = Duration::from_secs(1);
/// How long until another look may be had once the burst is used up.
const LOOK_REFILL: Duration = Duration::from_secs(5);

/// A router.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) key: GatewayKey,
    pub(super) epochs: [EpochTrack; 3],
    /// What it takes for a lease (UPnP).
    pub(super) rung: Rung,
    /// Mappings in a row that it granted and its table never showed.
    pub(super) unseen: u8,
    retrial: Retrial,
    /// It maps only to the same port (UPnP 724).
    pub(super) same_port: bool,
    /// When the last turn of regular checks was: every mapping there is looked at in it.
    pub(super) checked: Option<Tick>,
    looks: Looks,
}

/// Whether a lease is tried again at a router that took none in the last run: once in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retrial {
    None,
    Due,
    Done,
}

/// Looks because of events: at most a few at once, then one in a while, whoever shouts.
#[derive(Clone, Copy, Debug)]
struct Looks {
    left: u8,
    refilled: Tick,
    last: Option<Tick>,
    /// Somebody asked for one.
    wanted: Option<Look>,
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// To be looked for in any case, by [`Protocol`] as a number.
    pub(super) protocols: [bool; 3],
    /// Because of something that was seen here, not only because somebody in the network says so.
    pub(super) seen_here: bool,
}

impl Gateway {
    pub(super) fn new(key: GatewayKey, now: Tick) -> Self {
        Self {
            key,
            epochs: [EpochTrack::default(); 3],
            rung: Rung::default(),
            unseen: 0,
            retrial: Retrial::None,
            same_port: false,
            checked: None,
            looks: Looks { left: BURST, refilled: now, last: None, wanted: None },
        }
    }

    /// Which lease to ask for.
    pub(super) const fn next_rung(&mut self) -> Rung {
        match self.retrial {
            Retrial::Due => {
                self.retrial = Retrial::Done;
                Rung::Limited
            }
            Retrial::None | Retrial::Done => self.rung,
        }
    }

    /// In the last run it took permanent mappings only.
    pub(super) fn took_no_lease(&mut self) {
        self.rung = Rung::Permanent;
        if self.retrial == Retrial::None {
            self.retrial = Retrial::Due;
        }
    }

    /// It granted that lease. One of limited time it may drop all the same, if it did so before: that is to be seen.
    pub(super) fn took(&mut self, rung: Rung) {
        if (self.rung, rung) != (Rung::Permanent, Rung::Limited) {
            self.rung = rung;
        }
    }

    /// Asks for a look, soon: at the protocol that was announced, or at everything there.
    pub(super) fn want_look(&mut self, protocol: Option<Protocol>) {
        let wanted = self.looks.wanted.get_or_insert_default();
        match protocol {
            Some(protocol) => wanted.protocols[protocol as usize] = true,
            None => wanted.seen_here = true,
        }
    }

    /// When the look may be had that was asked for.
    pub(super) fn look_at(&self) -> Option<Tick> {
        self.looks.wanted?;
        let spaced = self.looks.last.map_or(Tick::START, |last| last + LOOK_SPACING);
        let filled = if self.looks.left > 0 { Tick::START } else { self.looks.refilled + LOOK_REFILL };
        Some(spaced.max(filled))
    }

    /// Takes the look.
    pub(super) fn take_look(&mut self, now: Tick) -> Look {
        let looks = &mut self.looks;
        let refills = now.since(looks.refilled).as_secs() / LOOK_REFILL.as_secs();
        if refills > 0 {
            looks.left = BURST.min(looks.left.saturating_add(u8::try_from(refills).unwrap_or(BURST)));
            looks.refilled = now;
        }
        if looks.left == BURST {
            looks.refilled = now;
        }
        looks.left = looks.left.saturating_sub(1);
        looks.last = Some(now);
        looks.wanted.take().unwrap_or_default()
    }

    /// The earliest moment of the next turn of regular checks.
    pub(super) fn next_check(&self) -> Tick {
        self.checked.map_or(Tick::START, |checked| checked + BEAT)
    }
}
