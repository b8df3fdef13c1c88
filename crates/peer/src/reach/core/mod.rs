//! How two friends who can't dial each other meet. Pure: what happened and `now` in, commands out; no clock, no randomness, no socket.
//!
//! Of a pair, the *caller* is the computer with the lower device id. It runs the call: it offers, decides when to punch, and at which
//! carrier to meet. The *callee* rings if it wants to be called, and follows. So no two calls ever cross.

mod callee;
mod caller;
mod pair;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use kith_identity::PairTag;
use kith_wire::DeviceId;

pub(crate) use self::pair::{Draw, Pair};
use super::signal::{CallId, Said};

/// Most carriers that one call goes through at once.
pub(crate) const MOST_CARRIERS: usize = 8;
/// Most carriers that are tried when the friend is with none of those.
const MOST_OTHERS: usize = 56;
/// Most carriers that are asked at once from where a port is seen.
pub(crate) const MOST_OBSERVERS: usize = 2;
/// How long finding out from where the own port is seen may hold up the offer or its answer.
pub(crate) const OBSERVE_PATIENCE: Duration = Duration::from_millis(1500);
/// When an offer or a ring that nobody answers is sent again, after the first time.
pub(crate) const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// How long the answer may take.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(6);
/// Most rounds of punching, each from another port.
pub(crate) const ROUNDS: u8 = 3;
/// How long both hold their sockets in one round.
pub(crate) const PUNCH_HOLD: Duration = Duration::from_secs(4);
/// After this time the callee punches although no word to begin has come.
pub(crate) const GO_PATIENCE: Duration = Duration::from_secs(1);
/// Most that the caller waits for half a round trip, whatever was measured.
pub(crate) const MOST_HALF_TRIP: Duration = Duration::from_secs(1);
/// After this time without a punched connection a relayed one is made beside.
pub(crate) const RELAY_AFTER: Duration = Duration::from_millis(700);
/// For how long after the first answer others may still say that their carrier relays.
pub(crate) const RELAY_GRACE: Duration = Duration::from_millis(1500);
/// Most times that the two try to meet at a carrier in one call.
pub(crate) const MOST_LEGS: usize = 4;
/// How long meeting at a carrier may take.
pub(crate) const LEG_PATIENCE: Duration = Duration::from_secs(5);
/// When the word where to meet is sent once more.
pub(crate) const RELAY_AGAIN: Duration = Duration::from_secs(1);
/// How long a callee who hears nothing any more waits.
pub(crate) const CALLEE_PATIENCE: Duration = Duration::from_secs(12);
/// How long a call may last.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(45);
/// Most reasons that a call keeps.
const MOST_FAULTS: usize = 12;

/// Somebody who is connected and passes signals on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carrier {
    pub(crate) id: DeviceId,
    /// He relays for us.
    pub(crate) relays: bool,
    /// He can be asked from where a port of ours is seen.
    pub(crate) observes: bool,
    /// A connection of ours got to him, so a new one does; others have dialled us, and an address of theirs is known.
    pub(crate) is_sure: bool,
    /// The last time, what he relays in a day was used up. His day may have begun anew.
    pub(crate) is_spent: bool,
}

/// Puts those first who carry already, so that another order of the others changes nothing; gives back those who are too many.
fn choose(carriers: &mut Vec<Carrier>, now: &[Carrier]) -> Vec<Carrier> {
    carriers.sort_by_key(|carrier| now.iter().all(|it| it.id != carrier.id));
    let mut others = carriers.split_off(carriers.len().min(MOST_CARRIERS));
    others.truncate(MOST_OTHERS);
    others
}

/// By whom a signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) id: DeviceId,
    /// The friend is not with him, but with another hub, which handed it on: that one can join the two.
    pub(crate) is_beyond: bool,
}

/// From which port a round of punching goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The one we listen on.
    Listen,
    /// One of the configured ranges that was not used before.
    Fresh,
}

/// What connected the two the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worked {
    /// Punching from this port.
    Punch(Port),
    /// This carrier's relay.
    Relay(DeviceId),
}

/// What a call may do, as of its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Through whom, best first: [`MOST_CARRIERS`] at once, the others where the friend is with none of them.
    pub(crate) carriers: Vec<Carrier>,
    /// Whether this computer may punch: it listens, and its connections go out directly.
    pub(crate) punch: bool,
    /// Whether a relayed connection is wanted: there is none yet.
    pub(crate) relay: bool,
    pub(crate) worked: Option<Worked>,
}

impl Terms {
    /// The port of a round: first what worked, then the others.
    fn port(&self, round: u8) -> Port {
        let fresh_first = self.worked == Some(Worked::Punch(Port::Fresh));
        match (round, fresh_first) {
            (0, false) | (1, true) => Port::Listen,
            _ => Port::Fresh,
        }
    }

    /// Whom to ask from where a port is seen: those who have not failed to say, the surest first.
    fn observers(&self, failed: &[DeviceId]) -> Vec<DeviceId> {
        let mut observing: Vec<&Carrier> = self.carriers.iter().filter(|carrier| carrier.observes).collect();
        observing.sort_by_key(|carrier| (failed.contains(&carrier.id), !carrier.is_sure));
        observing.into_iter().take(MOST_OBSERVERS).map(|carrier| carrier.id).collect()
    }

    fn has(&self, id: &DeviceId) -> bool {
        self.carriers.iter().any(|carrier| carrier.id == *id)
    }

    fn relays(&self, id: &DeviceId) -> bool {
        self.carriers.iter().any(|carrier| carrier.id == *id && carrier.relays)
    }
}

/// What happened to what was commanded, and beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// From where the port of a round is seen; empty if nobody could say.
    Observed { round: u8, endpoints: Vec<SocketAddr> },
    /// A carrier says that the friend is not with him.
    Undelivered { via: DeviceId },
    /// A round led to a connection whose other end was proved.
    Punched { round: u8 },
    /// A round is over without one.
    PunchFailed { round: u8, why: String },
    /// A relayed connection stands, and its other end was proved.
    LegUp { attempt: usize },
    /// It could not be had.
    LegFailed { attempt: usize, why: String },
    /// There is a direct link now, by whatever way.
    Linked,
    /// These carry from now on.
    Carriers(Vec<Carrier>),
}

/// What is to be done. Results come back as [`Input`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A call begins; what an earlier one with this friend still does is to be dropped.
    Begin(CallId),
    /// Find out from where a port is seen: the first of these carriers who says it is believed.
    Observe { round: u8, port: Port, via: Vec<DeviceId> },
    /// Send a signal.
    Post { via: DeviceId, call: CallId, said: Said },
    /// Punch, from the port that was observed in this round, in the place of earlier rounds.
    Punch { round: u8, targets: Vec<SocketAddr> },
    /// Meet the friend at a carrier.
    Leg { attempt: usize, via: DeviceId, session: PairTag },
    /// Nothing came of meeting there.
    DropLeg { attempt: usize },
    /// The call is over; a relayed connection stays.
    Over(Outcome),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By a punched connection.
    Punched(Port),
    /// By one that this carrier relays.
    Relayed(DeviceId),
    /// There was a direct link all of a sudden.
    Linked,
    /// Without a connection.
    Failed(Vec<Fault>),
}

/// One reason why a call did not come to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody is connected who could carry.
    NoCarrier,
    /// The friend is with none of the carriers.
    Away,
    /// He said nothing.
    Silent,
    /// Nobody could say from where our port is seen.
    Unobserved,
    /// One of the two can't punch.
    NoPunching,
    /// A round of punching.
    Punch { round: u8, why: String },
    /// No common carrier relays.
    NoRelay,
    /// A carrier did not join the two.
    Leg { via: DeviceId, why: String },
    /// The friend ended the call.
    Ended(String),
    /// It took too long.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCarrier => f.write_str("no common friend and no hub is connected who could pass on a call"),
            Self::Away => {
                f.write_str("none of the friends and hubs that are connected here is connected with this computer")
            }
            Self::Silent => f.write_str("the call was passed on, and it did not answer"),
            Self::Unobserved => f.write_str(
                "punching is not possible: nobody could say under which address and port this computer is seen",
            ),
            Self::NoPunching => {
                f.write_str("punching is not possible: one of the two can't make direct connections")
            }
            Self::Punch { round, why } => write!(f, "punching, try {}: {why}", round + 1),
            Self::NoRelay => f.write_str("none who is connected with both computers relays for both"),
            Self::Leg { via, why } => write!(f, "the relay of {}: {why}", via.short()),
            Self::Ended(why) => write!(f, "the other computer ended the call: {why}"),
            Self::TooLong => f.write_str("the call took too long"),
        }
    }
}

/// Reasons in one sentence.
pub(crate) fn sentence(faults: &[Fault]) -> String {
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    told.join("; ")
}

/// Keeps a reason, unless there are enough or it is known.
fn blame(faults: &mut Vec<Fault>, fault: Fault) {
    if faults.len() < MOST_FAULTS && !faults.contains(&fault) {
        faults.push(fault);
    }
}
