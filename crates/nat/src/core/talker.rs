//! What is known of one protocol at an uplink, and when it is worth asking again.

use std::time::Duration;

use super::command::AskId;
use super::time::Tick;
use crate::{Answer, Found, Protocol};

/// Waits between discoveries of a protocol that is not spoken.
const ABSENT: [u64; 5] = [10, 30, 60, 120, 300];
/// The same, while it was spoken not long ago: the router may be starting.
const QUICK: Duration = Duration::from_secs(3);
/// How long that quick pace is kept.
const QUICK_FOR: Duration = Duration::from_secs(300);
/// The pace after that, as long as a protocol counts as known there.
const KNOWN: Duration = Duration::from_secs(26);
/// How long a protocol counts as known after it was last heard.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// Waits after a refusal.
const REFUSED: [u64; 5] = [10, 30, 60, 300, 900];
/// Waits after every port was taken.
const EXHAUSTED: [u64; 5] = [60, 120, 240, 480, 900];
/// Wait while the router has no Internet address: first, and after two minutes of it.
const WAN_DOWN: [Duration; 2] = [QUICK, KNOWN];
const WAN_DOWN_QUICK: Duration = Duration::from_secs(120);

/// A protocol at an uplink.
#[derive(Clone, Debug)]
pub(super) struct Talker {
    pub(super) protocol: Protocol,
    /// The one request that is under way.
    pub(super) asked: Option<Asked>,
    /// When the last one was sent.
    pub(super) asked_at: Tick,
    pub(super) known: Known,
    /// What it said of itself when it was last found.
    spoken: Option<Found>,
    /// When it was last found.
    pub(super) found_at: Option<Tick>,
    /// When it last gave any answer.
    heard_at: Option<Tick>,
    /// To be discovered then in any case.
    pub(super) discover_at: Option<Tick>,
    /// To be discovered then if no mapping is held.
    pub(super) retry_at: Option<Tick>,
    absent: u32,
    pub(super) refused: Option<Refused>,
    refusals: usize,
    exhaustions: usize,
    wan_down: Option<Tick>,
    /// The router does not understand reading back, whatever its description says.
    pub(super) unreadable: bool,
}

impl Talker {
    pub(super) const fn new(protocol: Protocol, now: Tick) -> Self {
        Self {
            protocol,
            asked: None,
            asked_at: now,
            known: Known::Unknown,
            spoken: None,
            found_at: None,
            heard_at: None,
            discover_at: Some(now),
            retry_at: None,
            absent: 0,
            refused: None,
            refusals: 0,
            exhaustions: 0,
            wan_down: None,
            unreadable: false,
        }
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.asked.is_none()
    }

    pub(super) const fn is_found(&self) -> bool {
        matches!(self.known, Known::Found(_))
    }

    /// It gave an answer that can be understood.
    pub(super) const fn heard(&mut self, now: Tick) {
        self.heard_at = Some(now);
    }

    /// The protocol is spoken.
    pub(super) fn found(&mut self, found: Found, now: Tick) {
        self.absent = 0;
        self.found_at = Some(now);
        self.retry_at = None;
        if self.spoken.as_ref().is_some_and(|before| differs(before, &found)) {
            self.start_over(now);
        }
        self.spoken = Some(found.clone());
        self.known = Known::Found(found);
        if let Some(refused) = &mut self.refused
            && (now >= refused.until || refused.wan)
        {
            refused.ready = true;
        }
    }

    /// It is not spoken, or not now.
    pub(super) fn absent(&mut self, absence: Absence, now: Tick) {
        self.known = Known::Absent(absence);
        let quick = self.heard_at.is_some_and(|heard| now.since(heard) < QUICK_FOR);
        let known = self.heard_at.is_some_and(|heard| now.since(heard) < KNOWN_FOR);
        let wait = match (quick, known) {
            (true, _) => QUICK,
            (false, true) => KNOWN,
            (false, false) => step(&ABSENT, self.absent as usize),
        };
        self.absent = self.absent.saturating_add(1);
        self.retry_at = Some(paced(self.asked_at, now, wait));
    }

    /// No mapping is to be had by it for a while.
    pub(super) fn refuse(&mut self, why: String, now: Tick) {
        let wait = step(&REFUSED, self.refusals);
        self.refusals += 1;
        self.block(why, now + wait, false);
    }

    /// Every external port is taken.
    pub(super) fn exhaust(&mut self, why: String, now: Tick) {
        let wait = step(&EXHAUSTED, self.exhaustions);
        self.exhaustions += 1;
        self.block(why, now + wait, false);
    }

    /// The router has no address on the far side. Returns when to ask again.
    pub(super) fn wan_is_down(&mut self, now: Tick) -> Tick {
        let since = *self.wan_down.get_or_insert(now);
        let wait = if now.since(since) < WAN_DOWN_QUICK { WAN_DOWN[0] } else { WAN_DOWN[1] };
        let why = "the router says that it has no Internet address".to_owned();
        self.block(why, now + wait, true);
        now + wait
    }

    /// Since when the router has no address on the far side.
    pub(super) const fn wan_down_since(&self) -> Option<Tick> {
        self.wan_down
    }

    pub(super) const fn wan_is_up(&mut self) {
        self.wan_down = None;
    }

    fn block(&mut self, why: String, until: Tick, wan: bool) {
        self.refused = Some(Refused { why, until, ready: false, wan });
        self.retry_at = Some(until);
    }

    /// The router says that a mapping was made. That alone shortens no wait: some say it and do nothing.
    pub(super) fn granted(&mut self) {
        self.refused = None;
        self.wan_down = None;
    }

    /// What it granted is there, as far as can be known.
    pub(super) const fn works(&mut self) {
        self.refusals = 0;
        self.exhaustions = 0;
    }

    /// Whether it is left alone for a while: it refused, or did not answer.
    pub(super) const fn is_waiting(&self) -> bool {
        self.retry_at.is_some() || self.refused.is_some() || self.absent > 0
    }

    /// Something changed: what was refused or absent may be different now.
    pub(super) fn look_again(&mut self, now: Tick) {
        self.absent = 0;
        self.start_over(now);
        self.discover_at = Some(now);
    }

    /// Somebody says that there is news, and anybody in the network can say so: worth a discovery. Only what that finds can change
    /// what was refused.
    pub(super) const fn announced(&mut self, now: Tick) {
        self.absent = 0;
        self.discover_at = Some(now);
    }

    /// It may be another router, or one that began anew: what this one refused counts no more.
    fn start_over(&mut self, now: Tick) {
        self.refusals = 0;
        self.exhaustions = 0;
        self.unreadable = false;
        if let Some(refused) = &mut self.refused {
            refused.until = now;
        }
    }
}

/// Whether a router is another one than before, began a new table, or got another address on the far side.
fn differs(before: &Found, found: &Found) -> bool {
    fn changed<T: PartialEq>(before: Option<&T>, now: Option<&T>) -> bool {
        before.zip(now).is_some_and(|(before, now)| before != now)
    }
    changed(before.external_ip.as_ref(), found.external_ip.as_ref())
        || changed(before.model.as_ref(), found.model.as_ref())
        || before.epoch.zip(found.epoch).is_some_and(|(before, now)| now < before)
}

/// When to ask again: so long after it was asked last, for silence takes its time too.
fn paced(asked: Tick, now: Tick, wait: Duration) -> Tick {
    const LEAST: Duration = Duration::from_millis(500);
    (asked + wait).max(now + LEAST)
}

fn step(ladder: &[u64], index: usize) -> Duration {
    Duration::from_secs(ladder.get(index).or_else(|| ladder.last()).copied().unwrap_or(60))
}

/// What is known of a protocol at an uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Unknown,
    Found(Found),
    Absent(Absence),
}

/// Why a protocol counts as not spoken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Absence {
    Silent,
    Closed,
    Nonsense,
    /// Something is there that speaks another protocol or version.
    Unsupported,
    Refused(String),
}

impl Absence {
    /// What an answer says about a protocol being there; none: it is.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        match answer {
            Answer::Silent => Some(Self::Silent),
            Answer::Closed => Some(Self::Closed),
            Answer::Nonsense(_) => Some(Self::Nonsense),
            _ => None,
        }
    }
}

/// A protocol that makes no mapping for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) why: String,
    pub(super) until: Tick,
    /// The time is over and the protocol was found again.
    pub(super) ready: bool,
    /// Because the far side is down.
    pub(super) wan: bool,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) id: AskId,
    pub(super) purpose: Purpose,
    pub(super) at: Tick,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Discover,
    /// Of the attempt under way: read the port back before it is mapped.
    Look,
    /// Of the attempt under way: remove our own old entry.
    Clear,
    /// Of the attempt under way.
    Map,
    Renew,
    Check,
    /// Read back before a removal.
    Verify(u32),
    Unmap(u32),
    Entries,
}

/// The gateway does not answer about the mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) since: Tick,
    pub(super) count: u32,
    pub(super) next: Tick,
}

impl Trouble {
    const FIRST: Duration = Duration::from_secs(2);
    /// So often without an answer, and the router may be restarting, or be another one.
    const SERIOUS: u32 = 2;

    /// Once more without an answer.
    pub(super) fn again(known: Option<Self>, asked: Tick, now: Tick) -> Self {
        match known {
            None => Self { since: asked, count: 1, next: paced(asked, now, Self::FIRST) },
            Some(trouble) => {
                let quick = now.since(trouble.since) < QUICK_FOR;
                let wait = if quick { QUICK } else { KNOWN };
                Self { count: trouble.count.saturating_add(1), next: paced(asked, now, wait), ..trouble }
            }
        }
    }

    /// Nothing listens where the router was asked before.
    pub(super) fn moved(self) -> Self {
        Self { count: self.count.max(Self::SERIOUS), ..self }
    }

    /// Whether the router may be restarting, or may be another one.
    pub(super) const fn is_serious(&self) -> bool {
        self.count >= Self::SERIOUS
    }
}
