//! Pairings that come about at a hub, where neither computer can be dialled: who invited waits there, and who was invited knocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kith_identity::{Identity, Invite, OneTimeKey, PairKey, PairTag, TagUse};
use kith_wire::{DeviceId, HubAddress, Post, RelayRequest};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::actor::{Actor, unix};
use super::asking::{self, AskError};
use super::calling::{connected, random_tag};
use super::meeting::Helper;
use super::{Awaited, Message, Reach};
use crate::carriers::CarrierKind;
use crate::dial::DialError;
use crate::outbound::Outbound;
use crate::race::Attempt;
use crate::reach::host::{Invited, OpenInvite, ReachHost};
use crate::reach::leg::leg;
use crate::reach::secure::serve_invited;
use crate::reach::signal::{CallId, Fresh, Guard, Said, Signal, SignalError, SignalId};
use crate::way::CandidateKind;

/// Holders of invites who are being met at once; one more is not heard.
const MOST_MET: usize = 16;
/// Of these by the same invite.
const MOST_MET_OF_ONE: usize = 2;
/// From a knock to the end of the handshake, at most.
const MET_WITHIN: Duration = Duration::from_secs(30);
/// Between two warnings.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Longest wait for a link to a hub of an invite.
const LINKED_WITHIN: Duration = Duration::from_secs(15);
/// After so many seconds it is knocked again: who invited may be about to come to the hub.
const KNOCK_AFTER: [u64; 8] = [0, 1, 1, 2, 2, 3, 3, 4];

/// The invites by which somebody may come, at the inviter's end.
#[derive(Default)]
pub(super) struct Inviting {
    open: Vec<OpenInvite>,
    guards: BTreeMap<DeviceId, Guard>,
    meeting: Vec<(DeviceId, AbortOnDropHandle<()>)>,
    warned: Option<Instant>,
}

impl Inviting {
    /// These are open now; true if that is news.
    pub(super) fn set_open(&mut self, open: Vec<OpenInvite>) -> bool {
        let is_same = open.len() == self.open.len()
            && open.iter().zip(&self.open).all(|(new, known)| new.one_time == known.one_time);
        self.guards.retain(|id, _| open.iter().any(|invite| invite.one_time == *id));
        self.open = open;
        !is_same
    }

    /// The keys of those that are open at a time.
    pub(super) fn keys(&self, unix: u64) -> Vec<PairKey> {
        self.open.iter().filter(|invite| unix < invite.ends).map(|invite| invite.pair.clone()).collect()
    }

    pub(super) fn awaited(&self) -> impl Iterator<Item = (&PairKey, Awaited)> {
        self.open.iter().map(|invite| (&invite.pair, Awaited::Invited(invite.one_time)))
    }

    /// In which session the one who sent this wants to be met; none if he is met already.
    fn judge(
        &mut self,
        one_time: DeviceId,
        post: &Post,
        via: DeviceId,
        (unix, now): (u64, Instant),
    ) -> Result<Option<PairTag>, NotMet> {
        let invite = self.open.iter().find(|invite| invite.one_time == one_time && unix < invite.ends);
        let invite = invite.ok_or(NotMet::Closed)?;
        let signal = Signal::open(&invite.pair, &one_time, &post.message)?;
        let fresh = self.guards.entry(one_time).or_default().admit(&signal, via, unix, now)?;
        let Said::Knock { session } = signal.said else { return Err(NotMet::Other) };
        if fresh == Fresh::Copy {
            return Ok(None);
        }
        self.meeting.retain(|(_, task)| !task.is_finished());
        let of_one = self.meeting.iter().filter(|(who, _)| *who == one_time).count();
        if self.meeting.len() >= MOST_MET || of_one >= MOST_MET_OF_ONE {
            return Err(NotMet::TooMany);
        }
        Ok(Some(session))
    }
}

/// Why somebody who knocks is not met.
#[derive(Debug, thiserror::Error)]
enum NotMet {
    #[error("the invite is not open any more")]
    Closed,
    #[error(transparent)]
    Signal(#[from] SignalError),
    #[error("it is no knock")]
    Other,
    #[error("{MOST_MET_OF_ONE} by the same invite, or {MOST_MET} in all, are being met already")]
    TooMany,
    #[error("it came from another hub, and is to come by one that the invite names")]
    Beyond,
}

impl Actor {
    /// Somebody has sent word under the tag of an invite.
    pub(super) fn hear_knock(&mut self, carrier: DeviceId, is_beyond: bool, one_time: DeviceId, post: &Post) {
        let Some(peers) = self.peers.upgrade() else { return };
        let now = Instant::now();
        let hub = Self::helper(&peers, &carrier).filter(|helper| helper.kind == CarrierKind::Hub);
        let judged = match hub {
            Some(hub) if !is_beyond => self
                .inviting
                .judge(one_time, post, carrier, (unix(), now))
                .map(|session| session.map(|session| (hub, session))),
            _ => Err(NotMet::Beyond),
        };
        match judged {
            Ok(Some((hub, session))) => {
                info!(carrier = %carrier.short(), "somebody who holds an invite comes by a hub");
                let meeting = meet(
                    (self.identity.clone(), self.host.clone(), self.outbound.clone()),
                    hub,
                    one_time,
                    session,
                );
                let task = tokio::spawn(async move {
                    match timeout(MET_WITHIN, meeting).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            warn!(error, carrier = %carrier.short(), "somebody who holds an invite was not met");
                        }
                        Err(_elapsed) => {
                            warn!(carrier = %carrier.short(), "somebody who holds an invite did not come in time");
                        }
                    }
                });
                self.inviting.meeting.push((one_time, AbortOnDropHandle::new(task)));
            }
            Ok(None) => {}
            Err(error) => {
                let known = &mut self.inviting.warned;
                let is_first = known.is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_WARNINGS);
                if is_first {
                    *known = Some(now);
                    warn!(%error, carrier = %carrier.short(), "somebody who holds an invite was refused");
                } else {
                    debug!(%error, carrier = %carrier.short(), "somebody who holds an invite was refused");
                }
            }
        }
    }
}

/// Meets whoever knocked at the hub, has him prove that he holds the invite, and hands him over.
async fn meet(
    (identity, host, outbound): (Arc<Identity>, Arc<dyn ReachHost>, Outbound),
    hub: Helper,
    one_time: DeviceId,
    session: PairTag,
) -> Result<(), String> {
    let stream = join(&hub, &outbound, session).await.map_err(|error| error.to_string())?;
    let ends = stream.peer_addr().and_then(|remote| Ok((remote, stream.local_addr()?)));
    let (remote, local) = ends.map_err(|error| error.to_string())?;
    let recognising = host.clone();
    let recognises: crate::reach::secure::Recognises = Arc::new(move |tag| recognising.recognises(tag));
    let served = serve_invited(stream, &identity, one_time, &recognises).await;
    let stream = served.map_err(|error| error.to_string())?;
    host.invited(Invited { one_time, stream, remote, local });
    Ok(())
}

/// Is joined with the other one of a session at a hub.
async fn join(hub: &Helper, outbound: &Outbound, session: PairTag) -> Result<TcpStream, NotJoined> {
    let place = asking::relay(&hub.link, &RelayRequest { session }).await?;
    let tag = place.tag().ok_or_else(|| NotJoined::Failed("it gave a name that makes no sense".into()))?;
    let joined = leg(outbound, &hub.id, (&hub.address, hub.told), &tag).await;
    joined.map_err(|error| NotJoined::Failed(error.to_string()))
}

/// Why there is no connection to the other one at a hub; a part of a sentence.
#[derive(Debug, thiserror::Error)]
enum NotJoined {
    /// It will say the same again.
    #[error("{0}")]
    Refused(AskError),
    #[error("{0}")]
    Failed(String),
}

impl From<AskError> for NotJoined {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(_) => Self::Refused(error),
            AskError::Link(_) | AskError::Nonsense(_) => Self::Failed(error.to_string()),
        }
    }
}

impl Reach {
    /// Meets whoever made an invite at one of the hubs that it names, and says where. All that follows over the connection is between the
    /// two: nothing was proved yet.
    ///
    /// # Errors
    /// Why not, of each hub.
    pub async fn knock(
        &self,
        invite: &Invite,
        key: &OneTimeKey,
    ) -> Result<(TcpStream, HubAddress), Vec<Attempt>> {
        let hubs = invite.hubs().iter().map(|hub| HubAddress { id: hub.id, at: hub.address.clone() });
        let mut knocking: FuturesUnordered<_> = hubs
            .map(|hub| async move {
                let joined = self.knock_at(&hub, invite, key).await;
                (hub, joined)
            })
            .collect();
        let mut failures = Vec::new();
        while let Some((hub, joined)) = knocking.next().await {
            match joined {
                Ok(stream) => return Ok((stream, hub)),
                Err(why) => {
                    let why = DialError::Helped(why);
                    failures.push(Attempt::now(hub.to_string(), CandidateKind::Relayed, why));
                }
            }
        }
        Err(failures)
    }

    /// What an invite says of where its maker, who is a friend now, may be met.
    pub async fn remember_hubs(&self, friend: DeviceId, invite: &Invite) {
        let hubs = invite.hubs().iter();
        let hubs = hubs.map(|hub| HubAddress { id: hub.id, at: hub.address.clone() }).collect();
        // Nobody is there any more while the program ends.
        drop(self.0.messages.send(Message::Hubs { friend, hubs }).await);
    }

    async fn knock_at(
        &self,
        hub: &HubAddress,
        invite: &Invite,
        key: &OneTimeKey,
    ) -> Result<TcpStream, String> {
        let (pair, inviter) = (PairKey::of_invite(invite.secret()), invite.inviter());
        let mut last = String::new();
        for pause in KNOCK_AFTER {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            if self.0.messages.send(Message::Borrow(hub.clone())).await.is_err() {
                return Err("the program ends".into());
            }
            let Ok(Some(helper)) = timeout(LINKED_WITHIN, connected(&self.0.peers, &hub.id)).await else {
                return Err(format!("no link to it came about within {} s", LINKED_WITHIN.as_secs()));
            };
            let session = random_tag();
            let signal = Signal {
                id: SignalId(random_tag()),
                time: unix(),
                call: CallId(random_tag()),
                said: Said::Knock { session },
            };
            let message = signal.seal(&pair, &key.id()).map_err(|error| error.to_string())?;
            let post = Post { tag: pair.tag(TagUse::Post, &inviter, unix()), message };
            match asking::post(&helper.link, &post).await {
                Ok(0) => {
                    "the computer that made the invite is not connected there".clone_into(&mut last);
                    continue;
                }
                Ok(_) => {}
                Err(error @ AskError::Refused(_)) => return Err(error.to_string()),
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            }
            match join(&helper, &self.0.outbound, session).await {
                Ok(stream) => return Ok(stream),
                Err(error @ NotJoined::Refused(_)) => return Err(error.to_string()),
                Err(NotJoined::Failed(why)) => last = why,
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests;
