//! How well each friend could be reached: feeds the doctor's timelines with links that come and go and with sleep, and keeps them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kith_control::view::ReachabilityView;
use kith_doctor::facts::Habit;
use kith_doctor::history::{Event, Moment, Timeline, WINDOW};
use kith_doctor::{Code, Part};
use kith_identity::DeviceId;
use kith_wire::Slept;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tracing::warn;

use super::super::core::{Core, lock, value};
use super::super::db::{Db, DbError, Table};
use super::super::roster::Roster;

/// Between two moments in which it is noted that all is as it was. A timeline takes longer silence for time that nobody watched.
const LOOK: Duration = Duration::from_secs(60);
/// After a change it is written within this time, unless it was written lately.
const WRITE_SOON: Duration = Duration::from_secs(30);
/// Between two writings at least: a link that comes and goes, and a friend who tells of ever new sleep, cost no more than that.
const BETWEEN_WRITES: Duration = Duration::from_secs(300);
/// Where nothing changes it is written after this time: so much of "all is as it was" is lost with a daemon that is killed.
const WRITE_LATER: Duration = Duration::from_secs(3600);
/// A computer that sleeps again so soon after it woke was not awake for anybody, seconds.
const AWAKE: i64 = 300;
/// The clock may have been put right by this much meanwhile, seconds.
const JITTER: i64 = 2;
/// Longest sleep that several are told as, seconds.
const LONGEST_SLEEP: i64 = 24 * 3600;
/// What a friend says that lies further ahead of the clock here is no sleep that is over, seconds.
const AHEAD: i64 = 60;

/// See the module.
#[derive(Default)]
pub(in crate::daemon) struct Histories {
    timelines: std::sync::Mutex<BTreeMap<DeviceId, Timeline>>,
    /// When this computer slept last, since Kith was started.
    last_sleep: std::sync::Mutex<Option<Slept>>,
    /// Something is to be written soon.
    changed: Notify,
}

impl Histories {
    /// What was known when the daemon ended; since then nobody watched.
    pub(in crate::daemon) async fn load(db: &Db, roster: &Roster) -> Self {
        let stored = db.get::<BTreeMap<String, Value>>(Table::Values, value::REACHABILITY).await;
        let stored = stored.unwrap_or_else(|error| {
            warn!(%error, "how friends could be reached before is not known any more");
            None
        });
        let mut timelines = read(stored.unwrap_or_default());
        timelines.retain(|id, _| roster.contains(id));
        for timeline in timelines.values_mut() {
            timeline.note(now(), Event::Started);
        }
        Self { timelines: timelines.into(), ..Self::default() }
    }

    /// When this computer slept last, since Kith was started.
    pub(in crate::daemon) fn last_sleep(&self) -> Option<Slept> {
        *lock(&self.last_sleep)
    }
}

/// Each friend's timeline for itself: one that can't be read takes no other with it.
fn read(stored: BTreeMap<String, Value>) -> BTreeMap<DeviceId, Timeline> {
    let known = stored.into_iter().filter_map(|(friend, timeline)| {
        let id: DeviceId = friend.parse().ok()?;
        let timeline = serde_json::from_value(timeline);
        let timeline = timeline.inspect_err(
            |error| warn!(friend = %id.short(), %error, "how a friend could be reached before is not known any more"),
        );
        Some((id, timeline.ok()?))
    });
    known.collect()
}

/// When it is to be written, of when it was written last and when it changed after that.
fn due(written: Option<Instant>, changed: Option<Instant>, began: Instant) -> Instant {
    match changed {
        Some(changed) => {
            written.map_or(changed, |written| written + BETWEEN_WRITES).max(changed + WRITE_SOON)
        }
        None => written.unwrap_or(began) + WRITE_LATER,
    }
}

/// A sleep after another one: the whole, if there was but a moment between them.
fn joined(before: Option<Slept>, new: Slept) -> Slept {
    let before = before.filter(|before| (-JITTER..=AWAKE).contains(&new.from.saturating_sub(before.to)));
    let longest = new.to.saturating_sub(LONGEST_SLEEP);
    let from = before.map_or(new.from, |before| before.from.max(longest).min(new.from));
    Slept { from, ..new }
}

/// Now, by both clocks.
fn now() -> Moment {
    Moment { unix: Timestamp::now().as_second(), steady: kith_network::through_sleep().as_secs() }
}

/// Follows links and sleep, and writes down what comes of them, until the daemon ends.
pub(in crate::daemon) async fn record(core: Arc<Core>) {
    let mut events = core.events.subscribe();
    let mut network = core.network.watch();
    let mut resumes = network.borrow().resumes;
    let mut look = tokio::time::interval(LOOK);
    let began = Instant::now();
    let (mut written, mut changed) = (None, None);
    loop {
        tokio::select! {
            _ = look.tick() => core.compare_links(),
            event = events.recv() => match event {
                Ok(kith_control::Event::FriendPath { device_id, to, .. }) => {
                    core.note_history(&device_id, if to.is_some() { Event::Linked } else { Event::Lost });
                }
                Ok(kith_control::Event::Friends) | Err(RecvError::Lagged(_)) => core.compare_links(),
                Ok(_) => {}
                Err(RecvError::Closed) => return,
            },
            Ok(()) = network.changed() => {
                let news = network.borrow_and_update().clone();
                if news.resumes != resumes {
                    resumes = news.resumes;
                    core.note_own_sleep(news.slept);
                }
            }
            () = core.histories.changed.notified() => changed = changed.or_else(|| Some(Instant::now())),
            () = tokio::time::sleep_until(due(written, changed, began)) => {
                let now = Instant::now();
                // What could not be written is still to be.
                changed = core.save_histories().await.err().map(|_told| now);
                written = Some(now);
            }
        }
    }
}

impl Core {
    /// Why there is no link to a friend, as a verdict says; of a friend who is linked nothing is noted.
    pub(in crate::daemon) fn history_cause(&self, friend: &DeviceId, code: Code, part: Part) {
        self.note_history(friend, Event::Cause { code, part });
    }

    /// A friend tells when his computer slept last, by its own clock.
    pub(in crate::daemon) fn history_slept(&self, friend: &DeviceId, slept: Slept) {
        let ahead = lock(&self.clocks).get(friend).copied().unwrap_or(0);
        let (from, to) = (slept.from.saturating_sub(ahead), slept.to.saturating_sub(ahead));
        let now = Timestamp::now().as_second();
        if to <= now.saturating_add(AHEAD) && from < to {
            self.note_history(friend, Event::SleptThere { from: from.max(now - WINDOW), to });
        }
    }

    /// How well a friend could be reached; none while nothing is known of that.
    pub(in crate::daemon) fn reachability(&self, friend: &DeviceId) -> Option<ReachabilityView> {
        let summary = lock(&self.histories.timelines).get(friend)?.summary(now());
        Some(ReachabilityView {
            sentence: summary.sentence()?,
            percent: summary.percent(),
            since: Timestamp::from_second(summary.since).ok()?,
            watched_seconds: summary.watched_seconds(),
            asleep_seconds: summary.asleep_seconds,
            asleep_here_seconds: summary.asleep_here_seconds,
            unwatched_seconds: summary.unwatched_seconds,
            causes: summary.causes,
        })
    }

    /// On how many of the last days a friend's computer slept at this time of the day.
    pub(super) fn sleep_habit(&self, friend: &DeviceId) -> Option<Habit> {
        lock(&self.histories.timelines).get(friend)?.habit(now())
    }

    fn note_history(&self, friend: &DeviceId, event: Event) {
        if !self.roster.contains(friend) {
            return;
        }
        let news = match lock(&self.histories.timelines).entry(*friend) {
            Entry::Occupied(mut known) => known.get_mut().note(now(), event),
            Entry::Vacant(new) => {
                let timeline = new.insert(Timeline::default());
                timeline.note(now(), Event::Started);
                timeline.note(now(), event);
                true
            }
        };
        if news {
            self.histories.changed.notify_one();
        }
    }

    /// Notes of every friend how it is, whatever was heard or missed; forgets those who are none any more.
    fn compare_links(&self) {
        let friends = self.roster.all();
        lock(&self.histories.timelines).retain(|id, _| friends.iter().any(|friend| friend.device_id == *id));
        for id in friends.into_iter().map(|friend| friend.device_id) {
            let state = self.peers().and_then(|peers| peers.state(&id));
            let is_linked = state.is_some_and(|state| state.connection.is_some());
            self.note_history(&id, Event::StillSo);
            if lock(&self.histories.timelines).get(&id).is_some_and(|known| known.is_linked() != is_linked) {
                self.note_history(&id, if is_linked { Event::Linked } else { Event::Lost });
            }
        }
    }

    /// This computer has just woken. Friends hear of it with what they are told of its condition.
    fn note_own_sleep(&self, slept: Duration) {
        let to = Timestamp::now().as_second();
        let seconds = slept.as_secs();
        let from = to.saturating_sub_unsigned(seconds).max(0);
        let mut last = lock(&self.histories.last_sleep);
        *last = Some(joined(*last, Slept { from, to }));
        drop(last);
        for friend in self.roster.all() {
            self.note_history(&friend.device_id, Event::SleptHere { seconds });
        }
        self.tell(kith_control::Event::Status);
    }

    async fn save_histories(&self) -> Result<(), DbError> {
        let timelines = lock(&self.histories.timelines).clone();
        let saved = self.db.put(Table::Values, value::REACHABILITY, &timelines).await;
        saved.inspect_err(|error| warn!(%error, "how friends could be reached was not written down"))
    }

    /// Writes down what is known when the daemon ends.
    pub(in crate::daemon) async fn end_histories(&self) {
        self.compare_links();
        // If it failed that was told, and there is no later.
        drop(self.save_histories().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_of_one_friend_costs_no_other_his_history() {
        let [anna, bert] = [1, 2].map(|byte| DeviceId::from_bytes([byte; 32]));
        let good = r#"{"until": 1000, "marks": [{"at": 5, "is": "linked"}]}"#;
        let later = r#"{"until": 1000, "marks": [{"at": 5, "is": "levitating"}]}"#;
        let stored = format!(r#"{{"{anna}": {good}, "{bert}": {later}, "somebody": {good}}}"#);
        let known = read(serde_json::from_str(&stored).unwrap());
        assert_eq!(known.keys().collect::<Vec<_>>(), [&anna]);
        assert!(known[&anna].is_linked());
    }

    #[test]
    fn a_change_is_written_soon_and_no_two_within_five_minutes_and_nothing_new_hourly() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let check = |written: Option<u64>, changed: Option<u64>, expected| {
            assert_eq!(due(written.map(at), changed.map(at), began), at(expected), "{written:?} {changed:?}");
        };
        check(None, None, 3600);
        check(None, Some(100), 130);
        check(Some(130), None, 3730);
        check(Some(130), Some(131), 430);
        check(Some(130), Some(425), 455);
    }

    #[test]
    fn a_wake_of_a_moment_does_not_cut_the_sleep_of_which_friends_are_told() {
        let check = |before: Option<(i64, i64)>, new: (i64, i64), expected: i64| {
            let slept = |(from, to)| Slept { from, to };
            assert_eq!(joined(before.map(slept), slept(new)), slept((expected, new.1)), "{before:?}");
        };
        check(None, (1000, 2000), 1000);
        check(Some((0, 999)), (1000, 2000), 0);
        check(Some((0, 1001)), (1000, 2000), 0);
        check(Some((0, 700)), (1000, 2000), 0);
        check(Some((0, 699)), (1000, 2000), 1000);
        // A clock that was set back meanwhile.
        check(Some((0, 5000)), (1000, 2000), 1000);
        check(Some((0, 90_000)), (90_100, 100_000), 100_000 - LONGEST_SLEEP);
        check(Some((0, 90_000)), (90_100, 200_000), 90_100);
    }
}
