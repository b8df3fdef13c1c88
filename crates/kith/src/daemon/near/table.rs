//! Meetings: who is about to become a friend, and what both people have said. The clock is outside.

use std::time::{Duration, Instant};

use kith_control::MeetingConsent;
use kith_control::view::MeetingState;
use kith_identity::DeviceId;
use tokio::sync::watch;

/// Most meetings that are under way.
pub(super) const MOST_OPEN: usize = 4;
/// Most that ended and are still shown.
const MOST_ENDED: usize = 4;
/// For so long one that ended is shown.
const SHOWN: Duration = Duration::from_secs(60);

/// What the person here has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Decision {
    /// Nothing yet.
    None,
    /// Yes.
    Agreed(MeetingConsent),
    /// No; or something else took the place of this meeting.
    Refused,
}

/// One meeting.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) device_id: DeviceId,
    pub(super) name: String,
    pub(super) asked_here: bool,
    pub(super) words: Option<String>,
    pub(super) confirmed_there: bool,
    pub(super) state: MeetingState,
    pub(super) outcome: Option<String>,
    /// When it ends by itself, or has ended.
    pub(super) ends: Instant,
    decision: watch::Sender<Decision>,
}

impl Entry {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, MeetingState::Connecting | MeetingState::Comparing)
    }

    pub(super) fn decision(&self) -> Decision {
        *self.decision.borrow()
    }
}

/// Why no meeting begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMeeting {
    /// There are enough.
    TooMany,
    /// There is one with this computer already.
    UnderWay(u64),
}

/// All meetings.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    last: u64,
    entries: Vec<Entry>,
}

impl Meetings {
    /// Begins one: its number, and what the person here says of it.
    pub(super) fn begin(
        &mut self,
        device_id: DeviceId,
        name: String,
        asked_here: bool,
        ends: Instant,
    ) -> Result<(u64, watch::Receiver<Decision>), NoMeeting> {
        if let Some(known) = self.open_with(&device_id) {
            return Err(NoMeeting::UnderWay(known.id));
        }
        if self.entries.iter().filter(|entry| entry.is_open()).count() >= MOST_OPEN {
            return Err(NoMeeting::TooMany);
        }
        self.last += 1;
        let (decision, decided) = watch::channel(Decision::None);
        self.entries.push(Entry {
            id: self.last,
            device_id,
            name,
            asked_here,
            words: None,
            confirmed_there: false,
            state: MeetingState::Connecting,
            outcome: None,
            ends,
            decision,
        });
        Ok((self.last, decided))
    }

    /// The one that is under way with a computer.
    pub(super) fn open_with(&self, device_id: &DeviceId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.device_id == *device_id && entry.is_open())
    }

    pub(super) fn get(&self, id: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Both are connected: the people can compare.
    pub(super) fn compare(&mut self, id: u64, words: String) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id && entry.is_open()) {
            entry.words = Some(words);
            entry.state = MeetingState::Comparing;
        }
    }

    /// The person there has agreed.
    pub(super) fn confirmed_there(&mut self, id: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.confirmed_there = true;
        }
    }

    /// The person here has decided; false if there was nothing to decide. Who has agreed may still change his mind, not the other way round.
    pub(super) fn decide(&mut self, id: u64, decision: Decision) -> bool {
        let Some(entry) = self.entries.iter().find(|entry| entry.id == id && entry.is_open()) else {
            return false;
        };
        // Nobody agrees to words that he has not seen.
        if decision != Decision::Refused && entry.state != MeetingState::Comparing {
            return false;
        }
        entry.decision.send_if_modified(|known| {
            let changes = *known == Decision::None || decision == Decision::Refused;
            if changes {
                *known = decision;
            }
            changes
        });
        true
    }

    /// It is over; what was over before stays as it is.
    pub(super) fn end(&mut self, id: u64, state: MeetingState, outcome: String, now: Instant) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id && entry.is_open()) {
            entry.state = state;
            entry.outcome = Some(outcome);
            entry.ends = now;
        }
        self.tidy(now);
    }

    /// Drops one without a word.
    pub(super) fn drop_silently(&mut self, id: u64) {
        if let Some(entry) = self.get(id) {
            entry.decision.send_replace(Decision::Refused);
        }
        self.entries.retain(|entry| entry.id != id);
    }

    /// The person wants none of them any more.
    pub(super) fn refuse_all(&mut self, outcome: &str, now: Instant) {
        let open: Vec<u64> =
            self.entries.iter().filter(|entry| entry.is_open()).map(|entry| entry.id).collect();
        for id in open {
            self.decide(id, Decision::Refused);
            self.end(id, MeetingState::Ended, outcome.to_owned(), now);
        }
    }

    /// Forgets those that ended a while ago: whether there were any.
    pub(super) fn tidy(&mut self, now: Instant) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.is_open() || now.saturating_duration_since(entry.ends) < SHOWN);
        let mut surplus =
            self.entries.iter().filter(|entry| !entry.is_open()).count().saturating_sub(MOST_ENDED);
        self.entries.retain(|entry| {
            let goes = surplus > 0 && !entry.is_open();
            surplus -= usize::from(goes);
            !goes
        });
        self.entries.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn begin(meetings: &mut Meetings, byte: u8) -> Result<u64, NoMeeting> {
        let ends = Instant::now() + Duration::from_secs(120);
        meetings.begin(id(byte), format!("pc {byte}"), false, ends).map(|(id, _)| id)
    }

    #[test]
    fn there_is_one_meeting_with_a_computer_and_four_in_all() {
        let mut meetings = Meetings::default();
        let first = begin(&mut meetings, 1).unwrap();
        assert_eq!(begin(&mut meetings, 1), Err(NoMeeting::UnderWay(first)));
        for byte in 2..=4 {
            begin(&mut meetings, byte).unwrap();
        }
        assert_eq!(begin(&mut meetings, 5), Err(NoMeeting::TooMany));
        meetings.end(first, MeetingState::Ended, "refused".into(), Instant::now());
        assert!(begin(&mut meetings, 1).is_ok());
    }

    #[test]
    fn nobody_agrees_to_words_that_he_has_not_seen_and_a_no_is_final() {
        let mut meetings = Meetings::default();
        let ends = Instant::now();
        let (meeting, decided) = meetings.begin(id(1), "anna".into(), true, ends).unwrap();
        let yes = Decision::Agreed(MeetingConsent { own: true, quota_bytes: None });
        assert!(!meetings.decide(meeting, yes));
        meetings.compare(meeting, "six words".into());
        assert!(meetings.decide(meeting, yes));
        assert_eq!(*decided.borrow(), yes);
        // Another yes changes nothing of the first.
        let other = Decision::Agreed(MeetingConsent { own: false, quota_bytes: Some(1) });
        assert!(meetings.decide(meeting, other));
        assert_eq!(*decided.borrow(), yes);
        assert!(meetings.decide(meeting, Decision::Refused));
        assert!(meetings.decide(meeting, yes));
        assert_eq!(*decided.borrow(), Decision::Refused);
        meetings.end(meeting, MeetingState::Ended, "refused".into(), ends);
        assert!(!meetings.decide(meeting, yes));
        assert!(!meetings.decide(99, Decision::Refused));
    }

    #[test]
    fn what_ended_is_shown_for_a_minute_and_is_bounded() {
        let mut meetings = Meetings::default();
        let now = Instant::now();
        for byte in 0..50 {
            let meeting = begin(&mut meetings, byte).unwrap();
            meetings.end(meeting, MeetingState::Ended, "refused".into(), now);
            meetings.end(meeting, MeetingState::Friends, "too late".into(), now);
        }
        assert_eq!(meetings.iter().count(), MOST_ENDED);
        assert!(meetings.iter().all(|entry| entry.state == MeetingState::Ended));
        assert!(!meetings.tidy(now + SHOWN / 2));
        assert!(meetings.tidy(now + SHOWN));
        assert_eq!(meetings.iter().count(), 0);
    }
}
