//! Making friends: invites, joining, reply lines.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kith_control::view::{AddressFailure, InviteView, JoinView};
use kith_control::{Event, Failure, FailureKind, InviteRequest, JoinRequest};
use kith_identity::{
    ArchiveId, DeviceId, DialInKey, Invite, InviteSecret, InviteTerms, LineKind, OneTimeKey, Ownership,
    ReachKey, ReplyLine, safety_sentence,
};
use kith_peer::join::{self, JoinError, JoinJudge, JoinMessage, JoinRefusal};
use kith_peer::{Attempt, CandidateKind, DialError};
use kith_wire::VersionRange;
use tracing::{Instrument, info};

use super::core::{Core, PROGRAM};
use super::failure::{failed, failure};
use super::invites::{Record, Role};
use super::roster::{Addresses, Friend};

/// How long an invite is open unless told otherwise.
const DEFAULT_EXPIRY_SECONDS: u64 = 7 * 24 * 3600;
/// So long the addresses of an invite are tried alone, before its hubs are asked too.
const BEFORE_HUBS: Duration = Duration::from_secs(1);
/// Longest time an invite may be open.
const LONGEST_EXPIRY_SECONDS: u64 = 365 * 24 * 3600;

impl Core {
    /// Makes an invite.
    pub(super) async fn make_invite(&self, request: InviteRequest) -> Result<InviteView, Failure> {
        let seconds = request.expires_seconds.unwrap_or(DEFAULT_EXPIRY_SECONDS);
        if seconds == 0 || seconds > LONGEST_EXPIRY_SECONDS {
            return Err(failure(
                FailureKind::Invalid,
                "an invite can be open for 1 second to 365 days",
                "give --expires a duration such as 2h or 7d",
            ));
        }
        let expires = Timestamp::now() + SignedDuration::from_secs(seconds.cast_signed());
        let settings = self.settings();
        let quota = request.quota_bytes.unwrap_or_else(|| settings.vault.default_quota.bytes());
        let mut addresses = self.public_addresses();
        addresses.splice(0..0, self.internal_addresses());
        let terms = InviteTerms {
            inviter: self.us(),
            addresses,
            hubs: self.hubs_for_invites(),
            expires: expires.as_second().cast_unsigned(),
            quota_bytes: quota,
            ownership: if request.own { Ownership::Own } else { Ownership::Friend },
            name: settings.computer_name(),
        };
        let invite = Invite::with_secret(terms, InviteSecret::generate()).map_err(failed)?;
        let record = Record::new(Role::Inviter, &invite, request.quota_bytes, request.own).map_err(failed)?;
        self.invites.put(record).await.map_err(failed)?;
        // Its hubs are told under which tag its holder will knock.
        if let Some(reach) = self.reach.get() {
            reach.changed();
        }
        Ok(InviteView { invite: invite.to_text().to_string(), expires })
    }

    /// Joins by an invite, or dials back by a reply line.
    pub(super) async fn join(self: &Arc<Self>, request: JoinRequest) -> Result<JoinView, Failure> {
        match LineKind::of(&request.invite) {
            Some(LineKind::Reply) => self.join_by_reply(&request).await,
            Some(LineKind::Invite) | None => self.join_by_invite(request).await,
        }
    }

    async fn join_by_invite(self: &Arc<Self>, request: JoinRequest) -> Result<JoinView, Failure> {
        let invite = Invite::parse(&request.invite).map_err(|error| {
            failure(
                FailureKind::Invalid,
                error,
                "ask your friend for the whole line that `kith invite` printed",
            )
        })?;
        if invite.inviter() == self.us() {
            return Err(failure(
                FailureKind::Invalid,
                "this invite was made on this very computer",
                "send it to your friend, who gives it to `kith join` on the other computer",
            ));
        }
        if invite.expired(Timestamp::now().as_second().cast_unsigned()) {
            let ended =
                Timestamp::from_second(invite.terms().expires.cast_signed()).unwrap_or(Timestamp::MAX);
            return Err(failure(
                FailureKind::Invalid,
                format!("the invite expired on {}", ended.strftime("%Y-%m-%d at %H:%M UTC")),
                "ask for a new one; if the date looks wrong, check the clocks of both computers",
            ));
        }
        let own = self.confirm_own(&invite, request.own)?;
        let key = invite.one_time_key().map_err(failed)?;
        let message = self.join_message(&invite, own, request.quota_bytes, &invite.inviter());
        let us_there = invite.inviter();
        let sentence = safety(&self.us(), &us_there, &invite);
        match self.ask_inviter(&invite, &key, &message).await {
            Ok((answer, met)) => {
                let friend = self
                    .befriend(us_there, answer, own, request.quota_bytes, sentence.clone(), met, &invite)
                    .await?;
                if let Some(reach) = self.reach.get() {
                    reach.remember_hubs(us_there, &invite).await;
                }
                Ok(JoinView {
                    friend: Some(self.friend_view(&friend)),
                    safety_words: sentence,
                    reply: None,
                    failures: Vec::new(),
                })
            }
            Err(JoinError::NoAddress(attempts)) => {
                let record = Record::new(Role::Joiner, &invite, request.quota_bytes, own).map_err(failed)?;
                self.invites.put(record).await.map_err(failed)?;
                let mut addresses = self.public_addresses();
                addresses.extend(self.internal_addresses());
                let reply = ReplyLine::new(&invite, self.us(), &addresses).map_err(failed)?;
                let failures = attempts.into_iter().map(|attempt| AddressFailure {
                    address: attempt.address,
                    reason: attempt.error.to_string(),
                });
                Ok(JoinView {
                    friend: None,
                    safety_words: sentence,
                    reply: Some(reply.to_text()),
                    failures: failures.collect(),
                })
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// Asks the inviter at his addresses, and soon by his hubs too: whichever leads to him first counts.
    async fn ask_inviter(
        &self,
        invite: &Invite,
        key: &OneTimeKey,
        message: &JoinMessage,
    ) -> Result<(JoinMessage, Met), JoinError> {
        let (inviter, addresses) = (invite.inviter(), invite.addresses());
        let mut direct = pin!(join::ask(&self.outbound, &self.identity, key, inviter, addresses, message));
        let reach = self.reach.get().filter(|_| !invite.hubs().is_empty());
        let Some(reach) = reach else {
            return direct.await.map(|(answer, address)| (answer, Met::At(address)));
        };
        let mut by_hub = pin!(async {
            if !addresses.is_empty() {
                tokio::time::sleep(BEFORE_HUBS).await;
            }
            let (stream, hub) = reach.knock(invite, key).await.map_err(JoinError::NoAddress)?;
            info!(hub = %hub.id.short(), address = %hub.at, "the computer that made the invite was met at a hub");
            join::ask_over(stream, &self.identity, key, inviter, message).await.map_err(|error| match error {
                // The other way round may work all the same.
                JoinError::Broken(why) => JoinError::NoAddress(vec![Attempt::now(
                    hub.to_string(),
                    CandidateKind::Relayed,
                    DialError::Helped(why),
                )]),
                other => other,
            })
        });
        let mut attempts = Vec::new();
        let (mut direct_failed, mut hub_failed) = (false, false);
        loop {
            let failed = tokio::select! {
                asked = &mut direct, if !direct_failed => match asked {
                    Ok((answer, address)) => return Ok((answer, Met::At(address))),
                    Err(error) => {
                        direct_failed = true;
                        error
                    }
                },
                asked = &mut by_hub, if !hub_failed => match asked {
                    Ok(answer) => return Ok((answer, Met::AtHub)),
                    Err(error) => {
                        hub_failed = true;
                        error
                    }
                },
            };
            match failed {
                JoinError::NoAddress(of_one) => attempts.extend(of_one),
                // Of what can't be reached there may be another way; what was answered is an answer.
                JoinError::Broken(_) if !(direct_failed && hub_failed) => {}
                decided => return Err(decided),
            }
            if direct_failed && hub_failed {
                return Err(JoinError::NoAddress(attempts));
            }
        }
    }

    /// The other side of our invite could not reach us and sent a reply line: we dial it.
    async fn join_by_reply(self: &Arc<Self>, request: &JoinRequest) -> Result<JoinView, Failure> {
        let reply = ReplyLine::parse(&request.invite).map_err(|error| {
            failure(
                FailureKind::Invalid,
                error,
                "ask your friend for the whole reply line that `kith join` printed",
            )
        })?;
        let no_invite = || {
            failure(
                FailureKind::NotFound,
                "this reply line answers an invite that was not made on this computer",
                "use it on the computer that made the invite, or make a new invite there",
            )
        };
        let record = self.invites.made_with_id(&reply.invite_id().to_string()).ok_or_else(no_invite)?;
        let invite = record.invite().ok_or_else(no_invite)?;
        reply
            .verify(&invite)
            .map_err(|error| failure(FailureKind::Invalid, error, "ask for the line again"))?;
        if !self.invites.admits(&record.one_time) {
            return Err(failure(
                FailureKind::Invalid,
                "the invite has expired, or was used a while ago",
                "make a new one with `kith invite`",
            ));
        }
        if record.used_by.is_some_and(|user| user != reply.joiner()) {
            return Err(failure(
                FailureKind::Conflict,
                "the invite was used by another computer already",
                "make a new one with `kith invite`",
            ));
        }
        let key = OneTimeKey::for_reply(invite.secret()).map_err(failed)?;
        let own = record.own && request.own == record.own;
        let quota = request.quota_bytes.or(record.quota_bytes);
        let message = self.join_message(&invite, own, quota, &reply.joiner());
        let sentence = safety(&self.us(), &reply.joiner(), &invite);
        match join::ask(&self.outbound, &self.identity, &key, reply.joiner(), reply.addresses(), &message)
            .await
        {
            Ok((answer, address)) => {
                if !self.invites.claim(&record.one_time, reply.joiner()).await.map_err(failed)? {
                    return Err(failure(
                        FailureKind::Conflict,
                        "the invite was used by another computer already",
                        "make a new one with `kith invite`",
                    ));
                }
                let friend = self
                    .befriend(reply.joiner(), answer, own, quota, sentence.clone(), Met::At(address), &invite)
                    .await?;
                Ok(JoinView {
                    friend: Some(self.friend_view(&friend)),
                    safety_words: sentence,
                    reply: None,
                    failures: Vec::new(),
                })
            }
            Err(JoinError::NoAddress(attempts)) => Ok(JoinView {
                friend: None,
                safety_words: sentence,
                reply: None,
                failures: attempts
                    .into_iter()
                    .map(|attempt| AddressFailure {
                        address: attempt.address,
                        reason: attempt.error.to_string(),
                    })
                    .collect(),
            }),
            Err(error) => Err(refused(&error)),
        }
    }

    /// An own computer is confirmed at both ends.
    fn confirm_own(&self, invite: &Invite, confirmed: bool) -> Result<bool, Failure> {
        match (invite.terms().ownership, confirmed) {
            (Ownership::Own, true) => Ok(true),
            (Ownership::Own, false) => Err(failure(
                FailureKind::Invalid,
                format!(
                    "this invite says that {:?} and this computer belong to the same person",
                    invite.terms().name
                ),
                "if that is so, confirm it with `kith join --own`; if not, ask for an invite made without --own",
            )),
            (Ownership::Friend, true) => Err(failure(
                FailureKind::Invalid,
                "this invite is for a friend, not for one's own computer",
                "make it with `kith invite --own` on the other computer, or join without --own",
            )),
            (Ownership::Friend, false) => Ok(false),
        }
    }

    pub(super) fn join_message(
        &self,
        invite: &Invite,
        own: bool,
        quota: Option<u64>,
        to: &DeviceId,
    ) -> JoinMessage {
        let mut report = self.report_to(to);
        report.offered_bytes =
            Some(quota.unwrap_or_else(|| self.loaded().settings().vault.default_quota.bytes()));
        JoinMessage {
            wire: VersionRange::OURS,
            program: PROGRAM.to_owned(),
            invite: invite.id().to_string(),
            own,
            dial_in: self.dial_in.key().to_hex().to_string(),
            recovery: self.dial_in.recovery_key().to_hex().to_string(),
            reach: self.dial_in.reach_key(to).to_hex().to_string(),
            report,
        }
    }

    /// Adds the other side as a friend, or refreshes what is known of one.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the pairing")]
    pub(super) async fn befriend(
        self: &Arc<Self>,
        device_id: DeviceId,
        message: JoinMessage,
        own: bool,
        quota_bytes: Option<u64>,
        safety_words: String,
        met: Met,
        invite: &Invite,
    ) -> Result<Friend, Failure> {
        let known = self.roster.get(&device_id);
        let called_us = matches!(met, Met::CalledUs);
        let reached_at = match met {
            Met::At(address) => Some(address),
            Met::AtHub | Met::CalledUs => None,
        };
        let invited = if invite.inviter() == device_id { invite.addresses().to_vec() } else { Vec::new() };
        let friend = Friend {
            device_id,
            name: known.as_ref().map_or_else(|| message.report.name.clone(), |known| known.name.clone()),
            named_here: known.as_ref().is_some_and(|known| known.named_here),
            former_names: known.as_ref().map(|known| known.former_names.clone()).unwrap_or_default(),
            own: own && message.own,
            added: known.as_ref().map_or_else(Timestamp::now, |known| known.added),
            safety_words: Some(safety_words),
            archive: known.as_ref().map_or_else(ArchiveId::generate, |known| known.archive),
            quota_bytes: quota_bytes.or_else(|| known.as_ref().and_then(|known| known.quota_bytes)),
            paused: known.as_ref().is_some_and(|known| known.paused),
            dial_in: checked_key(message.dial_in),
            recovery_key: checked_key(message.recovery),
            reach_key: ReachKey::from_hex(&message.reach).map(|_key| message.reach),
            // Told in our half of the exchange; if the key was changed meanwhile, the one before is still accepted.
            holds: Some(self.dial_in.counter()),
            addresses: Addresses {
                last_good: reached_at,
                configured: known.as_ref().map(|k| k.addresses.configured.clone()).unwrap_or_default(),
                internal: message.report.internal,
                public: message.report.public,
                invited,
            },
            last_seen: Some(Timestamp::now()),
            program: Some(kith_control::terminal::safe(&message.program).into_owned()),
            incarnation: 0,
            installation: None,
            newest: known.as_ref().and_then(|known| known.newest.clone()),
            recovered: known.as_ref().and_then(|known| known.recovered),
            trouble: None,
            damaged: 0,
            offered_bytes: message.report.offered_bytes,
            stored_there_bytes: None,
            condition: message.report.condition,
        };
        // Before he can ask for anything: what is taken from him is decided first.
        self.apply_policy_to(&friend);
        let friend = self.roster.put(friend).await.map_err(failed)?;
        info!(friend = %friend.device_id.short(), name = %friend.name, own = friend.own, "paired");
        self.apply_vault_policy();
        if let Some(peers) = self.peers() {
            let book = friend.addresses.book();
            // Who called takes us for a friend when he has our answer, which is still to be sent: he would refuse us now.
            if called_us {
                peers.await_friend(friend.device_id, book);
            } else {
                peers.set_friend(friend.device_id, book);
            }
        }
        self.state_dirty.notify_one();
        self.tell(Event::Friends);
        Ok(friend)
    }
}

/// How a pairing came about.
pub(super) enum Met {
    /// We called, and this address led there.
    At(String),
    /// We called by a hub.
    AtHub,
    /// The other one called us.
    CalledUs,
}

/// A key that a friend told, if it is one.
fn checked_key(text: String) -> Option<String> {
    DialInKey::from_hex(&text).map(|_key| text)
}

fn safety(us: &DeviceId, other: &DeviceId, invite: &Invite) -> String {
    safety_sentence(us, other, invite.secret().as_bytes()).words().join(" ")
}

fn refused(error: &JoinError) -> Failure {
    failure(FailureKind::Refused, error, "ask for a new invite, and try again")
}

/// Does what must not be left half done, whether or not the other computer, whose connection this is called for, is still there to hear of
/// it: what is written down and not yet known in memory would be a friend after the next start and nobody until then.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, JoinRefusal>> + Send + 'static,
) -> Result<T, JoinRefusal> {
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|_ended| Err(JoinRefusal { reason: "the program ends there".to_owned() }))
}

/// Judges who comes with an open invite or an open reply.
pub(super) struct Judge(pub(super) Arc<Core>);

impl JoinJudge for Judge {
    async fn judge(
        &self,
        one_time: DeviceId,
        joiner: DeviceId,
        message: JoinMessage,
    ) -> Result<JoinMessage, JoinRefusal> {
        let refuse = |reason: &str| JoinRefusal { reason: reason.to_owned() };
        let core = &self.0;
        let record = core.invites.get(&one_time).ok_or_else(|| refuse("there is no such invite"))?;
        let invite = record.invite().ok_or_else(|| refuse("there is no such invite"))?;
        if !core.invites.admits(&one_time) {
            return Err(refuse("the invite has expired"));
        }
        if record.used_by.is_some_and(|user| user != joiner) {
            return Err(refuse("the invite was used by another computer already"));
        }
        if joiner == core.us() {
            return Err(refuse("the invite was made on this very computer"));
        }
        if record.role == Role::Joiner && joiner != invite.inviter() {
            return Err(refuse("only the computer that made the invite may use the reply line"));
        }
        let sentence = safety(&core.us(), &joiner, &invite);
        let own = record.own && message.own;
        let answer = core.join_message(&invite, own, record.quota_bytes, &joiner);
        let quota = record.quota_bytes;
        let core = core.clone();
        to_its_end(async move {
            let stored =
                |error: &dyn std::fmt::Display| refuse(&format!("the pairing could not be stored: {error}"));
            // Claimed first: of two who come at once, one gets in. A joiner who did not hear the answer may ask again.
            let claimed = core.invites.claim(&one_time, joiner).await;
            if !claimed.map_err(|error| stored(&error))? {
                return Err(refuse("the invite was used by another computer already"));
            }
            let befriended =
                core.befriend(joiner, message, own, quota, sentence, Met::CalledUs, &invite).await;
            befriended.map(|_friend| answer).map_err(|failure| stored(&failure))
        })
        .await
    }
}
