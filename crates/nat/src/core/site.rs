//! What is known, held and under way at one uplink.

use std::net::{IpAddr, SocketAddr};

use super::address::is_public;
use super::command::GatewayKey;
use super::lease::{Lease, Rung};
use super::proof::{Failure, Seen};
use super::talker::{Known, Talker, Trouble};
use super::time::Tick;
use crate::{Entry, Family, Nonce, Proof, Protocol, Uplink};

/// Removals that wait at one uplink at most.
pub(super) const MOST_REMOVALS: usize = 16;
/// Ports that are known to belong to others, at most.
const MOST_TAKEN: usize = 4;
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
    /// When it was in trouble last.
    pub(super) troubled_at: Option<Tick>,
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
    /// The addresses that friends saw us come from, by links that go out here.
    pub(super) seen: Seen,
    /// Since when PCP says that it has no room, which it says as well if it has no public address.
    pub(super) no_room_since: Option<Tick>,
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
            troubled_at: None,
            again: false,
            pending: None,
            check_due: now,
            beats: 0,
            suspect: None,
            replace: None,
            replaced: false,
            external_since: now,
            seen: Seen::default(),
            no_room_since: None,
            uplink,
        }
    }

    pub(super) const fn family(&self) -> Family {
        self.uplink.family()
    }

    /// Whether no router is in the way: our own address is a public IPv4 one, or there is no router at all.
    pub(super) fn is_own(&self) -> bool {
        self.uplink.is_direct() || (self.family() == Family::V4 && is_public(self.uplink.local))
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

    /// Another computer has that external port. Of those that are tried in place of the listen port only the last are kept.
    pub(super) fn note_taken(&mut self, port: u16, entry: Option<&Entry>) {
        self.free(port);
        if self.taken.len() >= MOST_TAKEN {
            let wanted = self.attempt.as_ref().map(|attempt| attempt.internal_port);
            let oldest = self.taken.iter().position(|taken| Some(taken.port) != wanted);
            self.taken.remove(oldest.unwrap_or(0));
        }
        self.taken.push(Taken {
            port,
            holder: entry.map(|entry| entry.internal.ip()),
            label: entry.map(|entry| entry.label.clone()).unwrap_or_default(),
        });
    }

    /// No other computer has that external port, or nobody knows.
    pub(super) fn free(&mut self, port: u16) {
        self.taken.retain(|taken| taken.port != port);
    }
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
    pub(super) sight: Sight,
    /// When to read it back for the first time, apart from the regular checks.
    pub(super) look_at: Option<Tick>,
}

/// Whether the router's table was seen to hold a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It was not looked for since it was made.
    NotYet,
    /// It was not there when it was read back; the list of all entries is the second witness.
    Missing,
    Seen,
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
    /// Where it leads, if to a former address of ours.
    pub(super) former: Option<SocketAddr>,
    /// The mapping that is held is made anew in its own place: the router does not renew.
    pub(super) renews: bool,
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
    /// Where it leads, if to a former address of ours.
    pub(super) former: Option<SocketAddr>,
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

/// A check that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Discovery first: the external address or the way to the router may have changed.
    pub(super) discover: bool,
    /// Counts as the regular check of the gateway.
    pub(super) regular: bool,
}
