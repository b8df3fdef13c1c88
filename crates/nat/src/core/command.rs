//! What goes in and out of the core, apart from the words that it shares with the whole crate.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use crate::{Family, Protocol, Protocols, Remembered, Request, Uplink};

/// What a [`Core`](super::Core) is made with.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The protocols that may be used at first.
    pub protocols: Protocols,
    /// Describes every mapping of this installation on the router's page, and tells its own from those of others:
    /// `Kith 3f9a2c71`. At most 64 printable ASCII characters.
    pub label: String,
    /// The same for every run of this installation: external ports, jitter and nonces follow from it.
    pub seed: u64,
    /// What the last run handed out with [`Command::Remember`].
    pub remembered: Vec<Remembered>,
}

/// Tells requests apart, and their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What the shell shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask a gateway, and hand the answer to [`Core::handle_answer`](super::Core::handle_answer).
    Ask {
        /// Comes back with the answer.
        id: AskId,
        /// Whom to ask, and from which address.
        uplink: Uplink,
        /// By which protocol.
        protocol: Protocol,
        /// What.
        request: Request,
    },
    /// Stop asking: the answer is not wanted any more, and ignored if it comes all the same.
    Cancel {
        /// Of the `Ask`.
        id: AskId,
    },
    /// Keep this for the next run, in place of what was kept before.
    Remember(Vec<Remembered>),
    /// [`Core::state`](super::Core::state) differs from before.
    Changed,
}

/// A friend dialled an external address of ours, or tried to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofReport {
    /// What was dialled.
    pub external: SocketAddr,
    /// The friend's name.
    pub by: String,
    /// When, by this computer's clock.
    pub at: SystemTime,
    /// What he met.
    pub outcome: ProofOutcome,
}

/// See [`ProofReport::outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofOutcome {
    /// The connection arrived at our listener.
    Arrived,
    /// The connection was refused (RST).
    Refused,
    /// Nothing answered.
    NoResponse,
    /// Something else, in a few words.
    Other(String),
}

/// How much was asked, per uplink, since the start: for tests and the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The uplinks that were asked, in the order of their first request; the oldest are forgotten beyond 32.
    pub uplinks: Vec<(Uplink, Counts)>,
}

impl Tally {
    /// Most uplinks that are counted.
    pub(super) const MOST: usize = 32;

    /// The counts of one uplink.
    #[must_use]
    pub fn of(&self, uplink: &Uplink) -> Counts {
        self.uplinks.iter().find(|(known, _)| known == uplink).map(|(_, counts)| *counts).unwrap_or_default()
    }

    pub(super) fn entry(&mut self, uplink: &Uplink) -> &mut Counts {
        let index = match self.uplinks.iter().position(|(known, _)| known == uplink) {
            Some(index) => index,
            None => {
                if self.uplinks.len() >= Self::MOST {
                    self.uplinks.remove(0);
                }
                self.uplinks.push((uplink.clone(), Counts::default()));
                self.uplinks.len() - 1
            }
        };
        &mut self.uplinks[index].1
    }
}

/// Requests to one uplink, by what they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Is the protocol spoken; what is the external address?
    pub discover: u64,
    /// A mapping to be made.
    pub map: u64,
    /// A lease to be renewed by its timer.
    pub renewal: u64,
    /// A mapping looked at on the regular beat: read back, or the same request repeated.
    pub check: u64,
    /// The same, because of an event: a hint, a change of the network, a failed dial, a check without an answer.
    pub look: u64,
    /// A port read back before it is mapped, or before its mapping is removed.
    pub read: u64,
    /// The whole table read.
    pub entries: u64,
    /// A mapping to be removed.
    pub unmap: u64,
}

/// Identifies a gateway: link-local addresses mean something on their interface only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GatewayKey {
    pub(super) index: u32,
    pub(super) address: IpAddr,
}

impl GatewayKey {
    pub(super) const fn of(uplink: &Uplink) -> Self {
        Self { index: uplink.index, address: uplink.gateway }
    }
}

/// Whether a protocol exists for a family of addresses.
pub(super) const fn spoken_over(protocol: Protocol, family: Family) -> bool {
    !matches!((protocol, family), (Protocol::NatPmp, Family::V6))
}
