//! Meetings in both roles: two computers become friends when both people have said so, and in no other case.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kith_control::view::{MeetingState, MeetingView};
use kith_control::{Event, Failure, FailureKind, MeetingConsent, MeetingRequest};
use kith_identity::{
    DeviceId, Invite, InviteSecret, InviteTerms, MeetingNumber, OneTimeKey, Ownership, meeting_sentence,
};
use kith_near::Neighbour;
use kith_peer::join::{JoinError, JoinMessage, JoinRefusal};
use kith_peer::meet::{self, MeetJudge, Meeting, PATIENCE};
use tokio::sync::watch;
use tracing::info;

use super::super::core::{Core, lock};
use super::super::failure::{failed, failure};
use super::super::pairing::{Met, to_its_end};
use super::table::{Decision, NoMeeting};

/// Who has agreed at the last moment is still waited for.
const GRACE: Duration = Duration::from_secs(5);

const NOBODY_ANSWERED: &str = "not both people agreed within two minutes; nothing has changed";
pub(super) const REFUSED_HERE: &str = "you did not want it; nothing has changed";
const REFUSED_THERE: &str = "the person at the other computer did not want it; nothing has changed";
const ENDED_THERE: &str = "the other computer ended it; nothing has changed";

impl Core {
    /// Asks a computer that shows itself for a meeting.
    pub(in crate::daemon) fn ask_meeting(
        self: &Arc<Self>,
        request: &MeetingRequest,
    ) -> Result<MeetingView, Failure> {
        let device_id: DeviceId = request
            .device_id
            .parse()
            .map_err(|error| failure(FailureKind::Invalid, error, "GET /v1/near lists the computers"))?;
        let neighbour = lock(&self.near.neighbours).of(&device_id).cloned().ok_or_else(|| {
            failure(
                FailureKind::NotFound,
                "no computer with this device id shows itself in the network",
                "look for computers on both",
            )
        })?;
        let name = neighbour.about.name.clone();
        let begun = lock(&self.near.meetings).begin(device_id, name, true, Instant::now() + PATIENCE);
        let (id, decided) = match begun {
            Ok(begun) => begun,
            Err(NoMeeting::UnderWay(id)) => {
                return self
                    .meeting_view(id)
                    .ok_or_else(|| Failure::new(FailureKind::Failed, "the meeting is over"));
            }
            Err(NoMeeting::TooMany) => {
                return Err(failure(
                    FailureKind::Conflict,
                    "too many meetings are under way",
                    "finish one of them, or wait two minutes",
                ));
            }
        };
        let core = self.clone();
        tokio::spawn(async move {
            let asking = Asking { id, neighbour, decided };
            let (state, outcome) = match asking.run(&core).await {
                Ok(name) => (MeetingState::Friends, format!("you and {name} are friends now")),
                Err(reason) => (MeetingState::Ended, reason),
            };
            lock(&core.near.meetings).end(id, state, outcome, Instant::now());
            core.tell(Event::Near);
        });
        self.tell(Event::Near);
        self.meeting_view(id).ok_or_else(|| Failure::new(FailureKind::Failed, "the meeting is over"))
    }

    /// The invite that the two have in common, as it were: the token, and who announced it.
    fn meeting_invite(
        &self,
        asked: DeviceId,
        token: &InviteSecret,
        addresses: &[String],
    ) -> Result<Invite, Failure> {
        // Addresses that mean something on one interface alone are no addresses for later.
        let addresses = addresses.iter().filter(|address| !address.contains('%')).cloned().collect();
        let terms = InviteTerms {
            hubs: Vec::new(),
            inviter: asked,
            addresses,
            expires: 0,
            quota_bytes: 0,
            ownership: Ownership::Friend,
            name: String::new(),
        };
        Invite::with_secret(terms, token.clone()).map_err(failed)
    }
}

/// We ask.
struct Asking {
    id: u64,
    neighbour: Neighbour,
    decided: watch::Receiver<Decision>,
}

impl Asking {
    /// The name of the new friend, or why there is none.
    async fn run(mut self, core: &Arc<Core>) -> Result<String, String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let other = self.neighbour.about.device_id;
        let token = InviteSecret::from_bytes(self.neighbour.about.token);
        let key = OneTimeKey::for_invite(&token).map_err(|error| error.to_string())?;
        let addresses: Vec<String> = self.neighbour.addresses.iter().map(ToString::to_string).collect();
        let number = MeetingNumber::draw();
        let name = core.loaded().settings().computer_name();
        let asked = meet::ask(&core.outbound, &core.identity, &key, other, &addresses, &number, &name);
        let mut meeting = tokio::select! {
            asked = asked => asked.map_err(|error| why(&error))?,
            () = refused(&mut self.decided) => return Err(REFUSED_HERE.into()),
        };
        let us = core.us();
        let words = meeting_sentence((&us, &number), (&other, meeting.theirs()), token.as_bytes());
        let words = words.words().join(" ");
        lock(&core.near.meetings).compare(self.id, words.clone());
        core.tell(Event::Near);
        tokio::select! {
            agreed = meeting.wait(&number) => agreed.map_err(|error| why(&error))?,
            () = refused(&mut self.decided) => return Err(REFUSED_HERE.into()),
            () = tokio::time::sleep_until(deadline) => return Err(NOBODY_ANSWERED.into()),
        }
        lock(&core.near.meetings).confirmed_there(self.id);
        core.tell(Event::Near);
        let consent = tokio::select! {
            consent = agreed(&mut self.decided) => consent.ok_or(REFUSED_HERE)?,
            () = meeting.ended() => return Err(ENDED_THERE.into()),
            () = tokio::time::sleep_until(deadline) => return Err(NOBODY_ANSWERED.into()),
        };
        self.join(core, meeting, consent, &token, words, &addresses).await
    }

    /// Both people have agreed.
    async fn join(
        &self,
        core: &Arc<Core>,
        meeting: Meeting,
        consent: MeetingConsent,
        token: &InviteSecret,
        words: String,
        addresses: &[String],
    ) -> Result<String, String> {
        let other = self.neighbour.about.device_id;
        let said = |failure: Failure| failure.message;
        let invite = core.meeting_invite(other, token, addresses).map_err(said)?;
        let message = core.join_message(&invite, consent.own, consent.quota_bytes, &other);
        let reached_at = meeting.address().to_owned();
        let answer = meeting.join(&message).await.map_err(|error| {
            let reason = why(&error);
            format!(
                "{reason}. The other computer may have noted this one as a friend already: ask it once more"
            )
        })?;
        let (own, quota) = (consent.own, consent.quota_bytes);
        let friend = core
            .befriend(other, answer, own, quota, words, Met::At(reached_at), &invite)
            .await
            .map_err(said)?;
        Ok(friend.name)
    }
}

/// Waits until the person here refuses.
async fn refused(decided: &mut watch::Receiver<Decision>) {
    // An entry that is gone was refused.
    drop(decided.wait_for(|decision| *decision == Decision::Refused).await);
}

/// Waits for the person here: his consent, or none.
async fn agreed(decided: &mut watch::Receiver<Decision>) -> Option<MeetingConsent> {
    match decided.wait_for(|decision| *decision != Decision::None).await.as_deref() {
        Ok(Decision::Agreed(consent)) => Some(*consent),
        _ => None,
    }
}

fn why(error: &JoinError) -> String {
    match error {
        JoinError::Refused(reason) => reason.clone(),
        JoinError::NoAddress(attempts) => {
            let first = attempts.first().map(|attempt| format!(": {}: {}", attempt.address, attempt.error));
            format!("the other computer can't be reached{}", first.unwrap_or_default())
        }
        JoinError::Broken(reason) => format!("the meeting broke off: {reason}; nothing has changed"),
    }
}

/// We are asked. It belongs to one connection, and ends with it.
pub(in crate::daemon) struct Asked {
    core: Arc<Core>,
    token: Option<InviteSecret>,
    meeting: Mutex<Option<Begun>>,
}

/// A meeting that the asker has begun.
#[derive(Clone)]
struct Begun {
    id: u64,
    asker: DeviceId,
    number: MeetingNumber,
    deadline: tokio::time::Instant,
    decided: watch::Receiver<Decision>,
    words: String,
}

impl Asked {
    pub(in crate::daemon) fn new(core: Arc<Core>) -> Self {
        let token = lock(&core.near.open).as_ref().map(|open| open.token.clone());
        Self { core, token, meeting: Mutex::default() }
    }

    fn begun(&self) -> Result<Begun, JoinRefusal> {
        lock(&self.meeting).clone().ok_or_else(|| refuse("there is no meeting"))
    }
}

fn refuse(reason: &str) -> JoinRefusal {
    JoinRefusal { reason: reason.to_owned() }
}

impl MeetJudge for Asked {
    fn knock(&self, asker: DeviceId, name: String) -> Result<MeetingNumber, JoinRefusal> {
        let core = &self.core;
        if self.token.is_none() || lock(&core.near.open).is_none() {
            return Err(refuse("it does not look for computers nearby any more"));
        }
        if asker == core.us() {
            return Err(refuse("this is the very same computer"));
        }
        let mut meetings = lock(&core.near.meetings);
        // Both asked at once: the asking of the one with the lower device id counts.
        let glare = meetings.open_with(&asker).filter(|entry| entry.asked_here).map(|entry| entry.id);
        if let Some(ours) = glare.filter(|_| asker < core.us()) {
            meetings.drop_silently(ours);
        }
        let begun = meetings.begin(asker, name, false, Instant::now() + PATIENCE);
        drop(meetings);
        let (id, decided) = begun.map_err(|reason| match reason {
            NoMeeting::TooMany => refuse("it is busy with others; try again in two minutes"),
            NoMeeting::UnderWay(_) => {
                refuse("the two computers are asking each other already; look at both screens")
            }
        })?;
        let number = MeetingNumber::draw();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        *lock(&self.meeting) = Some(Begun { id, asker, number, deadline, decided, words: String::new() });
        Ok(number)
    }

    async fn decide(&self, theirs: MeetingNumber) -> Result<(), JoinRefusal> {
        let mut begun = self.begun()?;
        let token = self.token.as_ref().ok_or_else(|| refuse("there is no meeting"))?;
        let us = self.core.us();
        let words = meeting_sentence((&begun.asker, &theirs), (&us, &begun.number), token.as_bytes());
        begun.words = words.words().join(" ");
        *lock(&self.meeting) = Some(begun.clone());
        info!(friend = %begun.asker.short(), "a computer nearby asks to become a friend");
        lock(&self.core.near.meetings).compare(begun.id, begun.words.clone());
        self.core.tell(Event::Near);
        let (outcome, refusal) = tokio::select! {
            consent = agreed(&mut begun.decided) => match consent {
                Some(_consent) => return Ok(()),
                None => (REFUSED_HERE, REFUSED_THERE),
            },
            () = tokio::time::sleep_until(begun.deadline) => (NOBODY_ANSWERED, NOBODY_ANSWERED),
        };
        lock(&self.core.near.meetings).end(begun.id, MeetingState::Ended, outcome.into(), Instant::now());
        self.core.tell(Event::Near);
        Err(refuse(refusal))
    }

    async fn join(&self, message: JoinMessage) -> Result<JoinMessage, JoinRefusal> {
        let begun = self.begun()?;
        let core = &self.core;
        // The person may have changed his mind while the other's was thinking.
        let Decision::Agreed(consent) = *begun.decided.borrow() else { return Err(refuse(REFUSED_THERE)) };
        if tokio::time::Instant::now() > begun.deadline + GRACE {
            return Err(refuse(NOBODY_ANSWERED));
        }
        let token = self.token.as_ref().ok_or_else(|| refuse("there is no meeting"))?;
        let stored = |failure: Failure| refuse(&format!("the pairing could not be stored: {failure}"));
        let invite = core.meeting_invite(core.us(), token, &[]).map_err(stored)?;
        let (own, quota) = (consent.own && message.own, consent.quota_bytes);
        let answer = core.join_message(&invite, own, quota, &begun.asker);
        // Both have agreed: how it ends is no matter of the connection any more.
        *lock(&self.meeting) = None;
        lock(&core.near.meetings).confirmed_there(begun.id);
        let core = core.clone();
        to_its_end(async move {
            let befriended =
                core.befriend(begun.asker, message, own, quota, begun.words, Met::CalledUs, &invite).await;
            let (state, outcome) = match &befriended {
                Ok(friend) => (MeetingState::Friends, format!("you and {} are friends now", friend.name)),
                Err(failure) => (MeetingState::Ended, format!("the pairing could not be stored: {failure}")),
            };
            lock(&core.near.meetings).end(begun.id, state, outcome, Instant::now());
            core.tell(Event::Near);
            befriended.map(|_friend| answer).map_err(stored)
        })
        .await
    }
}

impl Drop for Asked {
    /// The connection is over, and the meeting with it, unless it came to its end before.
    fn drop(&mut self) {
        let begun = lock(&self.meeting).take();
        if let Some(begun) = begun {
            let outcome = match *begun.decided.borrow() {
                Decision::Refused => REFUSED_HERE,
                _ if tokio::time::Instant::now() >= begun.deadline => NOBODY_ANSWERED,
                _ => ENDED_THERE,
            };
            lock(&self.core.near.meetings).end(begun.id, MeetingState::Ended, outcome.into(), Instant::now());
            self.core.tell(Event::Near);
        }
    }
}
