//! What is known of a gateway as a whole, whichever address of ours asks it.

use std::time::Duration;

use super::command::GatewayKey;
use super::epoch::EpochTrack;
use super::lease::Rung;
use super::time::Tick;
use crate::Protocol;

/// From one regular check to the next at the same gateway. A mapping that vanished silently is noticed within it.
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
    /// It maps only to the same port (UPnP 724).
    pub(super) same_port: bool,
    /// When the last regular check was sent.
    pub(super) checked: Option<Tick>,
    looks: Looks,
}

/// Looks because of events: at most a few at once, then one in a while, whoever shouts.
#[derive(Clone, Copy, Debug)]
struct Looks {
    left: u8,
    refilled: Tick,
    last: Option<Tick>,
    /// Somebody asked for one, and these protocols are to be looked for in any case.
    wanted: Option<[bool; 3]>,
}

impl Gateway {
    pub(super) fn new(key: GatewayKey, now: Tick) -> Self {
        Self {
            key,
            epochs: [EpochTrack::default(); 3],
            rung: Rung::default(),
            same_port: false,
            checked: None,
            looks: Looks { left: BURST, refilled: now, last: None, wanted: None },
        }
    }

    /// Asks for a look, soon, at everything there and at this protocol in particular.
    pub(super) fn want_look(&mut self, protocol: Option<Protocol>) {
        let wanted = self.looks.wanted.get_or_insert_default();
        if let Some(protocol) = protocol {
            wanted[protocol as usize] = true;
        }
    }

    /// When the look may be had that was asked for.
    pub(super) fn look_at(&self) -> Option<Tick> {
        self.looks.wanted?;
        let spaced = self.looks.last.map_or(Tick::START, |last| last + LOOK_SPACING);
        let filled = if self.looks.left > 0 { Tick::START } else { self.looks.refilled + LOOK_REFILL };
        Some(spaced.max(filled))
    }

    /// Takes the look: the protocols to be looked for in any case.
    pub(super) fn take_look(&mut self, now: Tick) -> [bool; 3] {
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

    /// The earliest moment of the next regular check.
    pub(super) fn next_check(&self) -> Tick {
        self.checked.map_or(Tick::START, |checked| checked + BEAT)
    }
}
