//! What is known, held and under way at one uplink.

use std::net::IpAddr;
use std::time::Duration;

use super::address::is_public;
use super::command::{AskId, GatewayKey};
use super::lease::{Lease, Rung};
use super::proof::Failure;
use super::time::Tick;
use crate::{Answer, Entry, Family, Found, Nonce, Proof, Protocol, Uplink};

/// Removals that wait at one uplink at most.
pub(super) const MOST_REMOVALS: usize = 16;
/// Ports that are known to belong to others, at most.
const MOST_TAKEN: usize = 4;
/// Waits between discoveries of a protocol that is not spoken.
const ABSENT: [u64; 5] = [10, 30, 60, 120, 300];
/// The same, while it was spoken not long ago: the router may be starting.
const QUICK: Duration = Duration::from_secs(3);
/// How long that quick pace is kept.
pub(super) const QUICK_FOR: Duration = Duration::from_secs(300);
/// The pace after that, as long as a protocol counts as known there.
const KNOWN: Duration = Duration::from_secs(26);
/// How long a protocol counts as known after it was last heard.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// Waits after a refusal.
const REFUSED: [u64; 5] = [10, 30, 60, 300, 900];
/// Waits after every port was taken.
const EXHAUSTED: [u64; 5] = [60, 120, 240, 480, 900];
/// Wait while the router has no Internet address: first, and after two minutes of it.
const WAN_DOWN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];
const WAN_DOWN_QUICK: Duration = Duration::from_secs(120);

/// One uplink.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) uplink: Uplink,
    pub(super) key: GatewayKey,
    /// By [`Protocol`] as a number.
    pub(super) talkers: [Talker; 3],
    pub(super) held: Option<Held>,
    pub(super) attempt: Option<Attempt>,
    pub(super) removals: Vec<Removal>,
    pub(super) taken: Vec<Taken>,
    /// Where the last mapping was (internal, external): the place to try first.
    pub(super) place: Option<(u16, u16)>,
    /// By which protocol it was made.
    pub(super) last_holder: Option<Protocol>,
    /// The external address that the last mapping had.
    pub(super) last_ip: Option<IpAddr>,
    /// No mapping is made before, so that a router which grants and forgets is not asked all the time.
    pub(super) not_before: Tick,
    /// Until then, the protocol that the last run used goes first.
    pub(super) head_start: Option<(Protocol, Tick)>,
    /// The router's table is to be looked through for entries that were left behind.
    pub(super) unread: bool,
    pub(super) trouble: Option<Trouble>,
    /// There was news of the gateway while it was asked: if it does not answer, it is asked again at once.
    pub(super) again: bool,
    pub(super) pending: Option<Pending>,
    /// The next regular check, apart from what the gateway allows.
    pub(super) check_due: Tick,
    pub(super) beats: u32,
    /// A friend's dial failed; the router is being asked whether the mapping is there.
    pub(super) suspect: Option<Failure>,
    /// It is there: another protocol is tried in its place.
    pub(super) replace: Option<Failure>,
    /// That was done already.
    pub(super) replaced: bool,
    /// When the external address changed last.
    pub(super) external_since: Tick,
}

impl Site {
    pub(super) fn new(uplink: Uplink, now: Tick) -> Self {
        Self {
            key: GatewayKey::of(&uplink),
            talkers: Protocol::ALL.map(|protocol| Talker::new(protocol, now)),
            held: None,
            attempt: None,
            removals: Vec::new(),
            taken: Vec::new(),
            place: None,
            last_holder: None,
            last_ip: None,
            not_before: Tick::START,
            head_start: None,
            unread: true,
            trouble: None,
            again: false,
            pending: None,
            check_due: now,
            beats: 0,
            suspect: None,
            replace: None,
            replaced: false,
            external_since: now,
            uplink,
        }
    }

    pub(super) const fn family(&self) -> Family {
        self.uplink.family()
    }

    /// Whether our own address is a public IPv4 one: then no router is in the way.
    pub(super) fn is_own(&self) -> bool {
        self.family() == Family::V4 && is_public(self.uplink.local)
    }

    pub(super) const fn talker(&self, protocol: Protocol) -> &Talker {
        &self.talkers[protocol as usize]
    }

    pub(super) const fn talker_mut(&mut self, protocol: Protocol) -> &mut Talker {
        &mut self.talkers[protocol as usize]
    }

    /// The protocol that holds the mapping.
    pub(super) fn holder(&self) -> Option<Protocol> {
        self.held.as_ref().and_then(|held| held.protocol)
    }

    /// Whether the router's table can be read back by this protocol.
    pub(super) fn reads(&self, protocol: Protocol) -> bool {
        let talker = self.talker(protocol);
        protocol == Protocol::Upnp
            && self.family() == Family::V4
            && !talker.unreadable
            && matches!(&talker.known, Known::Found(found) if found.readable)
    }

    /// The protocol whose attempt is under way.
    pub(super) fn attempting(&self) -> Option<Protocol> {
        self.attempt.as_ref().map(|attempt| attempt.protocol)
    }

    /// Another computer has that external port.
    pub(super) fn note_taken(&mut self, port: u16, entry: Option<&Entry>) {
        self.taken.retain(|taken| taken.port != port);
        if self.taken.len() >= MOST_TAKEN {
            self.taken.remove(0);
        }
        self.taken.push(Taken {
            port,
            holder: entry.map(|entry| entry.internal.ip()),
            label: entry.map(|entry| entry.label.clone()).unwrap_or_default(),
        });
    }
}

/// A protocol at an uplink.
#[derive(Clone, Debug)]
pub(super) struct Talker {
    pub(super) protocol: Protocol,
    /// The one request that is under way.
    pub(super) asked: Option<Asked>,
    pub(super) known: Known,
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
    const fn new(protocol: Protocol, now: Tick) -> Self {
        Self {
            protocol,
            asked: None,
            known: Known::Unknown,
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
        self.retry_at = Some(now + wait);
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
        let why = "the router has no Internet address at the moment".to_owned();
        self.block(why, now + wait, true);
        now + wait
    }

    pub(super) const fn wan_is_up(&mut self) {
        self.wan_down = None;
    }

    fn block(&mut self, why: String, until: Tick, wan: bool) {
        self.refused = Some(Refused { why, until, ready: false, wan });
        self.retry_at = Some(until);
    }

    /// A mapping was made.
    pub(super) fn granted(&mut self) {
        self.refused = None;
        self.refusals = 0;
        self.exhaustions = 0;
        self.wan_down = None;
    }

    /// Something changed: what was refused or absent may be different now.
    pub(super) fn look_again(&mut self, now: Tick) {
        self.absent = 0;
        self.refusals = 0;
        self.exhaustions = 0;
        self.unreadable = false;
        if let Some(refused) = &mut self.refused {
            refused.until = now;
        }
        self.discover_at = Some(now);
    }
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

/// A mapping.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// None: no router is in the way.
    pub(super) protocol: Option<Protocol>,
    pub(super) internal_port: u16,
    pub(super) external_port: u16,
    pub(super) external_ip: Option<IpAddr>,
    pub(super) nonce: Nonce,
    pub(super) pinhole: Option<u16>,
    pub(super) rung: Rung,
    pub(super) lease: Lease,
    pub(super) proof: Proof,
    pub(super) blocked: bool,
    /// Not yet checked since it was made.
    pub(super) unchecked: bool,
}

/// A mapping in the making.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) protocol: Protocol,
    pub(super) internal_port: u16,
    pub(super) nonce: Nonce,
    pub(super) ports: Vec<u16>,
    pub(super) index: usize,
    pub(super) stage: Stage,
    pub(super) rung: Rung,
    /// Rungs tried.
    pub(super) rungs: u8,
    /// Our own entry was removed already.
    pub(super) cleared: bool,
    /// The entry that was read back is ours to replace.
    pub(super) ours: bool,
}

impl Attempt {
    /// The external port that is being tried; 0 is none.
    pub(super) fn port(&self) -> u16 {
        self.ports.get(self.index).copied().unwrap_or(0)
    }
}

/// Steps of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Look,
    Clear,
    Map,
}

/// A mapping that is to be removed.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    pub(super) id: u32,
    pub(super) protocol: Protocol,
    pub(super) internal_port: u16,
    pub(super) external_port: u16,
    pub(super) external_ip: Option<IpAddr>,
    pub(super) nonce: Nonce,
    pub(super) pinhole: Option<u16>,
    pub(super) permanent: bool,
    /// Somebody else may have the port by now: read back first, where that is possible.
    pub(super) verify: bool,
    /// Perhaps it is needed again: only once another mapping is held, or none is wanted.
    pub(super) later: bool,
    pub(super) tries: u8,
    pub(super) due: Tick,
}

/// An external port that belongs to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Taken {
    pub(crate) port: u16,
    pub(crate) holder: Option<IpAddr>,
    pub(crate) label: String,
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

    /// Once more without an answer.
    pub(super) fn again(known: Option<Self>, now: Tick) -> Self {
        match known {
            None => Self { since: now, count: 1, next: now + Self::FIRST },
            Some(trouble) => {
                let quick = now.since(trouble.since) < QUICK_FOR;
                let wait = if quick { QUICK } else { KNOWN };
                Self { count: trouble.count.saturating_add(1), next: now + wait, ..trouble }
            }
        }
    }

    /// Whether the router may be restarting, or may be another one.
    pub(super) const fn is_serious(&self) -> bool {
        self.count >= 2
    }
}

/// A check that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Discovery first: the external address or the way to the router may have changed.
    pub(super) discover: bool,
    /// Counts as the regular check of the gateway.
    pub(super) regular: bool,
}
