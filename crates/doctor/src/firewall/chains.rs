//! Chains of rules, whoever wrote them: what becomes of a packet.
//!
//! Where it is not known whether a rule matches, both is followed: what comes of it is the set of what may become of the packet. Only
//! where nothing is left in it but a drop or a refusal is the packet said to be stopped.

use super::Access;
use super::packet::{Packet, Stage, Truth, Way};

/// Deepest chain of jumps that is followed; the kernel itself allows 16 (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 32;

/// Where a packet meets rules, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    Ingress,
    Prerouting,
    Input,
    Output,
    Postrouting,
    Egress,
}

impl Hook {
    /// By its name in any case; none: no packet from or to the computer itself comes by.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "ingress" => Self::Ingress,
            "prerouting" => Self::Prerouting,
            "input" => Self::Input,
            "output" => Self::Output,
            "postrouting" => Self::Postrouting,
            "egress" => Self::Egress,
            _ => return None,
        })
    }

    const fn way(self) -> Way {
        match self {
            Self::Ingress | Self::Prerouting | Self::Input => Way::In,
            Self::Output | Self::Postrouting | Self::Egress => Way::Out,
        }
    }
}

/// A chain at which packets come by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) hook: Hook,
    pub(super) priority: i64,
    /// What becomes of packets of which no rule said anything.
    pub(super) policy: Action,
    /// Whether this packet comes by.
    pub(super) applies: Truth,
    /// Whether only the first packet of a connection comes by.
    pub(super) first_only: bool,
}

/// Chains as they are for one packet. Only those that the packet comes by are asked for what is in them, and each of them once: many
/// jumps to one chain take no longer than one.
pub(super) trait Chains {
    /// How many there are.
    fn count(&self) -> usize;
    /// The chains at which packets come by.
    fn base(&self, chain: usize) -> Option<Base>;
    /// What its rules do.
    fn steps(&self, chain: usize) -> Vec<Step>;
}

/// What a rule does with the packet if it matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) matches: Truth,
    pub(super) action: Action,
    /// Which rule of the chain it is of.
    pub(super) rule: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    Drop,
    Reject,
    Return,
    /// To this chain and back.
    Jump(usize),
    /// To this chain, and not back to this one.
    Goto(usize),
    /// It goes on with another destination.
    Redirect,
    /// Nobody knows what becomes of it.
    Unknown,
}

/// Where a packet ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) access: Access,
    pub(super) chain: usize,
    /// None: the policy of the chain.
    pub(super) rule: Option<usize>,
}

/// What becomes of a packet at all chains together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Certainly stopped.
    pub(super) stopped: Option<End>,
    /// Perhaps stopped.
    pub(super) unsure: bool,
    /// Perhaps it goes elsewhere, and what follows is about another packet.
    pub(super) redirected: bool,
}

/// What may become of a packet in one chain.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    accepted: bool,
    unknown: bool,
    redirected: bool,
    falls_through: bool,
    stopped: Option<End>,
}

impl Fate {
    fn may(&mut self, other: Self) {
        self.accepted |= other.accepted;
        self.unknown |= other.unknown;
        self.redirected |= other.redirected;
        self.stopped = self.stopped.or(other.stopped);
    }

    fn stop(&mut self, access: Access, chain: usize, rule: Option<usize>) {
        self.stopped = self.stopped.or(Some(End { access, chain, rule }));
    }
}

/// What becomes of a packet at these chains.
pub(super) fn follow(chains: &dyn Chains, packet: &Packet) -> Outcome {
    let mut bases: Vec<(usize, Base)> = (0..chains.count())
        .filter_map(|at| Some((at, chains.base(at)?)))
        .filter(|(_, base)| base.hook.way() == packet.way && base.applies != Truth::No)
        .filter(|(_, base)| !base.first_only || packet.stage == Stage::New)
        .collect();
    bases.sort_by_key(|(_, base)| (base.hook, base.priority));
    let mut walk = Walk { chains, known: vec![Known::No; chains.count()] };
    let mut outcome = Outcome::default();
    for (at, base) in bases {
        let mut fate = walk.fate(at, 0);
        if fate.falls_through {
            match base.policy {
                Action::Accept => fate.accepted = true,
                Action::Drop => fate.stop(Access::Dropped, at, None),
                Action::Reject => fate.stop(Access::Rejected, at, None),
                _ => fate.unknown = true,
            }
        }
        let certain = !fate.accepted
            && !fate.unknown
            && !fate.redirected
            && base.applies == Truth::Yes
            && !outcome.redirected;
        if certain && fate.stopped.is_some() {
            outcome.stopped = fate.stopped;
            return outcome;
        }
        outcome.unsure |= fate.stopped.is_some() || fate.unknown;
        outcome.redirected |= fate.redirected;
    }
    outcome
}

#[derive(Clone, Copy)]
enum Known {
    No,
    /// The packet is in it: it would come back to where it was.
    Within,
    Fate(Fate),
}

struct Walk<'a> {
    chains: &'a dyn Chains,
    known: Vec<Known>,
}

impl Walk<'_> {
    fn fate(&mut self, at: usize, depth: usize) -> Fate {
        let lost = Fate { unknown: true, falls_through: true, ..Fate::default() };
        match self.known.get(at) {
            Some(Known::Fate(fate)) => return *fate,
            Some(Known::No) if depth <= DEEPEST => {}
            _ => return lost,
        }
        self.known[at] = Known::Within;
        let fate = self.steps(at, depth);
        self.known[at] = Known::Fate(fate);
        fate
    }

    fn steps(&mut self, at: usize, depth: usize) -> Fate {
        let mut fate = Fate::default();
        for step in self.chains.steps(at) {
            let certain = match step.matches {
                Truth::No => continue,
                Truth::Yes => true,
                Truth::Unknown => false,
            };
            let mut goes_on = false;
            match step.action {
                Action::Accept => fate.accepted = true,
                Action::Drop => fate.stop(Access::Dropped, at, Some(step.rule)),
                Action::Reject => fate.stop(Access::Rejected, at, Some(step.rule)),
                Action::Return => fate.falls_through = true,
                Action::Redirect => fate.redirected = true,
                Action::Unknown => fate.unknown = true,
                Action::Jump(to) => {
                    let there = self.fate(to, depth + 1);
                    fate.may(there);
                    goes_on = there.falls_through;
                }
                Action::Goto(to) => {
                    let there = self.fate(to, depth + 1);
                    fate.may(there);
                    fate.falls_through |= there.falls_through;
                }
            }
            if certain && !goes_on {
                return fate;
            }
        }
        fate.falls_through = true;
        fate
    }
}
