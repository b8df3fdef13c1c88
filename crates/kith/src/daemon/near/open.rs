//! While a person looks for computers nearby: what is shown, and what is listed.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kith_control::view::{MeetingState, MeetingView, NearComputerView, NearView};
use kith_control::{Event, Failure, FailureKind};
use kith_identity::{DeviceId, DialInRing, DialInTag, InviteSecret, OneTimeKey};
use kith_near::{About, Found};

use super::super::core::{Core, lock};
use super::super::failure::{failed, failure};
use super::meeting::REFUSED_HERE;
use super::table::{Decision, Entry};
use super::why_silent;

/// For so long a computer shows itself, unless the person says so again.
const OPEN: Duration = Duration::from_secs(10 * 60);

/// What a computer shows itself with.
pub(super) struct Open {
    /// Everybody in the network may know it.
    pub(super) token: InviteSecret,
    /// The certificate that follows from it.
    one_time: DeviceId,
    ring: DialInRing,
    pub(super) until: Instant,
}

impl Open {
    fn new() -> Result<Self, Failure> {
        let token = InviteSecret::generate();
        let one_time = OneTimeKey::for_invite(&token).map_err(failed)?.id();
        let ring = DialInRing::new(&[token.dial_in_key()]);
        Ok(Self { token, one_time, ring, until: Instant::now() + OPEN })
    }
}

impl Core {
    /// Whether a tag was made with the token that is shown now.
    pub(in crate::daemon) fn recognises_nearby(&self, tag: &DialInTag) -> bool {
        lock(&self.near.open)
            .as_ref()
            .is_some_and(|open| open.ring.recognises(tag) && Instant::now() < open.until)
    }

    /// Whether a one-time certificate is that of the token that is shown now.
    pub(in crate::daemon) fn admits_nearby(&self, one_time: &DeviceId) -> bool {
        lock(&self.near.open)
            .as_ref()
            .is_some_and(|open| open.one_time == *one_time && Instant::now() < open.until)
    }

    /// What everybody in the network may know now.
    pub(super) fn about_nearby(&self) -> Option<About> {
        let token = *lock(&self.near.open).as_ref()?.token.as_bytes();
        Some(About { name: self.loaded().settings().computer_name(), device_id: self.us(), token })
    }

    pub(in crate::daemon) fn near_view(&self) -> NearView {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let open_until = lock(&self.near.open).as_ref().map(|open| at(open.until, now, clock));
        let computers = lock(&self.near.neighbours);
        let computers = computers.iter().map(|neighbour| NearComputerView {
            device_id: neighbour.about.device_id,
            name: neighbour.about.name.clone(),
            addresses: neighbour.addresses.iter().map(ToString::to_string).collect(),
            friend: self.roster.get(&neighbour.about.device_id).map(|friend| friend.name),
        });
        let computers = computers.collect();
        let meetings = lock(&self.near.meetings).iter().map(|entry| view(entry, now, clock)).collect();
        let unavailable = why_silent(&self.settings()).map(str::to_owned);
        NearView { open_until, unavailable, computers, meetings }
    }

    /// Shows this computer, and lists others, from now on.
    pub(in crate::daemon) fn open_near(&self) -> Result<NearView, Failure> {
        if let Some(reason) = why_silent(&self.settings()) {
            return Err(failure(
                FailureKind::Refused,
                format!("computers nearby can't be looked for: {reason}"),
                "change that setting, or use an invite: `kith invite`",
            ));
        }
        if self.open_port().is_none() {
            return Err(failure(
                FailureKind::Failed,
                "computers nearby can't be looked for: the inbound port is not open",
                "`kith status` says why",
            ));
        }
        let mut open = lock(&self.near.open);
        match &mut *open {
            Some(open) => open.until = Instant::now() + OPEN,
            None => *open = Some(Open::new()?),
        }
        drop(open);
        self.near_changed();
        Ok(self.near_view())
    }

    /// Ends that, and every meeting that is under way.
    pub(in crate::daemon) fn close_near(&self) {
        lock(&self.near.open).take();
        *lock(&self.near.neighbours) = kith_near::Neighbours::default();
        lock(&self.near.meetings).refuse_all(REFUSED_HERE, Instant::now());
        self.near_changed();
    }

    /// The person has said something of a meeting.
    pub(in crate::daemon) fn decide_meeting(
        &self,
        id: u64,
        decision: Decision,
    ) -> Result<MeetingView, Failure> {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let mut meetings = lock(&self.near.meetings);
        let decided = meetings.decide(id, decision);
        if decided && decision == Decision::Refused {
            meetings.end(id, MeetingState::Ended, REFUSED_HERE.into(), now);
        }
        let entry = meetings.get(id).ok_or_else(|| {
            failure(
                FailureKind::NotFound,
                "there is no such meeting any more",
                "ask the other computer again",
            )
        })?;
        if !decided {
            let reason =
                entry.outcome.clone().unwrap_or_else(|| "the other computer has not answered yet".into());
            return Err(failure(
                FailureKind::Conflict,
                format!("there is nothing to decide: {reason}"),
                "ask the other computer again",
            ));
        }
        let view = view(entry, now, clock);
        drop(meetings);
        self.tell(Event::Near);
        Ok(view)
    }

    pub(super) fn meeting_view(&self, id: u64) -> Option<MeetingView> {
        let meetings = lock(&self.near.meetings);
        meetings.get(id).map(|entry| view(entry, Instant::now(), Timestamp::now()))
    }

    /// Somebody in the network shows himself, or does not any more.
    pub(super) fn note_neighbour(&self, found: Found) {
        if lock(&self.near.open).is_none() {
            return;
        }
        let mut neighbours = lock(&self.near.neighbours);
        let changed = match found {
            Found::Neighbour(neighbour) => neighbours.heard(neighbour, Instant::now()),
            Found::Gone(instance) => neighbours.gone(&instance),
            Found::Friend { .. } | Found::Moved => false,
        };
        drop(neighbours);
        if changed {
            self.tell(Event::Near);
        }
    }

    /// Does what time brings; says when to come again, if there is something to wait for.
    pub(super) fn tend_near(&self) -> Option<Duration> {
        let now = Instant::now();
        let over = lock(&self.near.open).as_ref().is_some_and(|open| now >= open.until);
        let silent = why_silent(&self.settings()).is_some();
        if over || (silent && lock(&self.near.open).is_some()) {
            lock(&self.near.open).take();
            *lock(&self.near.neighbours) = kith_near::Neighbours::default();
            self.near_changed();
        }
        let expired = lock(&self.near.neighbours).expire(now);
        let tidied = lock(&self.near.meetings).tidy(now);
        if expired || tidied {
            self.tell(Event::Near);
        }
        let busy = lock(&self.near.open).is_some() || lock(&self.near.meetings).iter().next().is_some();
        busy.then_some(Duration::from_secs(1))
    }

    /// What is announced, and what is shown, is something else now.
    pub(super) fn near_changed(&self) {
        self.near.refresh();
        self.tell(Event::Near);
    }
}

/// A moment by the clock on the wall.
fn at(moment: Instant, now: Instant, clock: Timestamp) -> Timestamp {
    let left = SignedDuration::try_from(moment.saturating_duration_since(now)).unwrap_or_default();
    clock.checked_add(left).unwrap_or(clock)
}

fn view(entry: &Entry, now: Instant, clock: Timestamp) -> MeetingView {
    let decision = entry.decision();
    MeetingView {
        id: entry.id,
        device_id: entry.device_id,
        name: entry.name.clone(),
        asked_here: entry.asked_here,
        state: entry.state,
        safety_words: entry.words.clone(),
        confirmed_here: matches!(decision, Decision::Agreed(_)),
        confirmed_there: entry.confirmed_there,
        own: matches!(decision, Decision::Agreed(consent) if consent.own),
        expires: at(entry.ends, now, clock),
        outcome: entry.outcome.clone(),
    }
}
