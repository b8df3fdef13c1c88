//! What the program around this crate gives for reaching friends by the help of others, and what it remembers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kith_identity::{DialInTag, PairKey};
use kith_wire::{DeviceId, HubAddress, HubInvite};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::carriers::HubMemory;
use super::core::{Port, Worked};
use super::punch::PunchTable;
use super::records::{SeenRecord, Whereabouts};
use super::standing::HubStanding;
use crate::host::Host;

/// The program around this crate. All must answer from memory.
pub trait ReachHost: Host {
    /// All friends with whom we share something that nobody else knows.
    fn pairs(&self) -> Vec<(DeviceId, PairKey)>;
    /// Where this computer is.
    fn whereabouts(&self) -> Whereabouts;
    /// From where connections may be made that others see.
    fn punch_ports(&self) -> PunchPorts;
    /// Where the listener hands out what was punched; none while there is no listener.
    fn punch_table(&self) -> Option<Arc<dyn PunchTable>>;
    /// Whether a tag was made with a key that this computer gave out, and is used for the first time, here or at the listener.
    fn recognises(&self, tag: &DialInTag) -> bool;
    /// The invites of ours that are open and name a hub.
    fn open_invites(&self) -> Vec<OpenInvite>;
    /// Whoever holds an invite of ours has come by a hub. The pairing is the program's.
    fn invited(&self, arrived: Invited);
    /// The hubs that the person chose, with what lets this computer in there.
    fn hubs(&self) -> Vec<HubInvite>;
    /// What the person calls a carrier: a friend by his name, a hub by its host.
    fn called(&self, carrier: &DeviceId) -> String {
        carrier.short()
    }
    /// This is how hubs stand now.
    fn hubs_changed(&self, hubs: Vec<HubStanding>) {
        let _by_nobody = hubs;
    }
    /// What a friend was heard of by way of carriers, or not.
    fn sought(&self, friend: &DeviceId, sought: Sought) {
        let _by_nobody = (friend, sought);
    }
    /// This is to be there when the program starts again.
    fn remember(&self, memory: ReachMemory);
}

/// An invite whose holder may come by a hub.
#[derive(Clone)]
pub struct OpenInvite {
    /// The id of the one-time key that he will show.
    pub one_time: DeviceId,
    /// What he and we have in common.
    pub pair: PairKey,
    /// When it opens nothing any more, Unix seconds.
    pub ends: u64,
}

impl fmt::Debug for OpenInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenInvite")
            .field("one_time", &self.one_time)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// A connection on which somebody has proved that he holds an invite.
#[derive(Debug)]
pub struct Invited {
    /// The id of its one-time key.
    pub one_time: DeviceId,
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// The other end of the TCP connection: the hub's.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
}

/// From where connections may be made that others see. Without any there is no punching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PunchPorts {
    /// What the listener has bound, one address for each family.
    pub listen: Vec<SocketAddr>,
    /// The ports of which others are taken.
    pub ranges: Vec<RangeInclusive<u16>>,
}

/// What is remembered when the program ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachMemory {
    /// The number of our newest record.
    #[serde(default)]
    pub sequence: u64,
    /// By friend.
    #[serde(default)]
    pub friends: BTreeMap<DeviceId, FriendMemory>,
    /// Of hubs.
    #[serde(default)]
    pub hubs: HubMemory,
}

/// What is remembered of one friend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FriendMemory {
    /// His newest record.
    #[serde(default)]
    pub record: Option<SeenRecord>,
    /// What connected us the last time.
    #[serde(default)]
    pub worked: Option<WhatWorked>,
    /// The hubs that the invite named by which we became friends; his record, once it is known, says more.
    #[serde(default)]
    pub hubs: Vec<HubAddress>,
}

/// What came of looking for a friend by way of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A signal of his came, sealed and new: his computer is on.
    Heard,
    /// None of those who are asked is connected with him, or he did not answer what was passed on.
    Silent,
}

/// What connected us the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhatWorked {
    /// Punching from the listen port.
    ListenPort,
    /// Punching from another one.
    OtherPort,
    /// The relay of this carrier.
    Relay(DeviceId),
}

impl From<WhatWorked> for Worked {
    fn from(worked: WhatWorked) -> Self {
        match worked {
            WhatWorked::ListenPort => Self::Punch(Port::Listen),
            WhatWorked::OtherPort => Self::Punch(Port::Fresh),
            WhatWorked::Relay(by) => Self::Relay(by),
        }
    }
}

impl From<Worked> for WhatWorked {
    fn from(worked: Worked) -> Self {
        match worked {
            Worked::Punch(Port::Listen) => Self::ListenPort,
            Worked::Punch(Port::Fresh) => Self::OtherPort,
            Worked::Relay(by) => Self::Relay(by),
        }
    }
}
