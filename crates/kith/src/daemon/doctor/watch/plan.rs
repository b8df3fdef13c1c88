//! Whom to look at when, and when a verdict becomes a notice. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use kith_doctor::{Code, Part, Verdict, Weight};
use kith_identity::DeviceId;

/// Whoever is back within this time was never looked at: a restart, another network, a short sleep.
pub(super) const APART: Duration = Duration::from_secs(60);
/// Between two looks, at first.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks, at last: the pause doubles while nothing changes.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Between two looks, where something happens with the friend again and again.
pub(super) const STIRRED_PAUSE: Duration = Duration::from_secs(600);
/// After the network changed: the friends are dialled anew first, and whoever doesn't answer is known after ten seconds.
pub(super) const SETTLE: Duration = Duration::from_secs(20);
/// A network that changes all the time puts a look off for no longer.
pub(super) const LONGEST_SETTLE: Duration = Duration::from_secs(120);
/// Most notices at a time: the ones that matter more, and then the older ones.
pub(in crate::daemon) const MOST_NOTICES: usize = 32;

/// What may be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::daemon) enum Subject {
    /// The way in to this computer: it was mapped, and is not any more.
    Here,
    /// The way to a friend.
    Friend(DeviceId),
}

impl Subject {
    /// The friend, if it is the way to one.
    pub(in crate::daemon) const fn friend(self) -> Option<DeviceId> {
        match self {
            Self::Here => None,
            Self::Friend(id) => Some(id),
        }
    }
}

/// What a person should know before he asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Notice {
    /// What it is about.
    pub(in crate::daemon) subject: Subject,
    /// The friend for whom the doctor says the same; none: for this computer alone.
    pub(in crate::daemon) asked: Option<DeviceId>,
    /// The friends to whom it is in the way; none: to nobody in particular.
    pub(in crate::daemon) friends: Vec<DeviceId>,
    pub(in crate::daemon) code: Code,
    pub(in crate::daemon) part: Part,
    /// [`Weight::Note`]: said, and nobody is called to it.
    pub(in crate::daemon) weight: Weight,
    pub(in crate::daemon) sentence: String,
    pub(in crate::daemon) next_step: Option<String>,
    /// Since when it does not work.
    pub(in crate::daemon) since: Timestamp,
}

/// A notice that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Began(Notice),
    Ended(Notice),
}

/// What is broken, and what is known of it.
///
/// A verdict becomes a notice when two looks in a row have come to it, and stays until two in a row have come to another one, or until it
/// works again, at once; the second look rests on dials of its own, and both on the same network. So nothing is said that one look only came
/// to, and whoever comes and goes is silent as long as he is never away for [`APART`] and a pause.
#[derive(Debug, Default)]
pub(super) struct Watching {
    broken: BTreeMap<Subject, Broken>,
}

#[derive(Debug)]
struct Broken {
    /// By the clock that people read.
    since: Timestamp,
    /// By the clock that never jumps.
    first_look: Instant,
    due: Instant,
    pause: Duration,
    last_look: Option<Instant>,
    /// What the latest look came to.
    seen: Option<What>,
    /// The newest dial that it rests on.
    dialled: Option<SystemTime>,
    /// The network changed then, for the first time since the latest look.
    changed: Option<Instant>,
    notice: Option<Notice>,
}

/// What a verdict blames: the same as long as these are.
type What = (Code, Part);

impl Watching {
    /// What is broken now, and since when. What is not any more needs no notice.
    pub(super) fn follow(&mut self, broken: &BTreeMap<Subject, Timestamp>, now: Instant) -> Vec<Change> {
        let mut ended = Vec::new();
        self.broken.retain(|subject, known| {
            let stays = broken.contains_key(subject);
            if !stays {
                ended.extend(known.notice.take().map(Change::Ended));
            }
            stays
        });
        for (subject, since) in broken {
            self.broken.entry(*subject).or_insert_with(|| Broken {
                since: *since,
                first_look: now + APART,
                due: now + APART,
                pause: FIRST_PAUSE,
                last_look: None,
                seen: None,
                dialled: None,
                changed: None,
                notice: None,
            });
        }
        ended
    }

    /// Everything may be otherwise in another network: whatever is broken for long enough is looked at soon, and what was seen in the old
    /// one confirms nothing.
    pub(super) fn network_changed(&mut self, now: Instant) {
        for broken in self.broken.values_mut() {
            let first = *broken.changed.get_or_insert(now);
            broken.pause = FIRST_PAUSE;
            (broken.last_look, broken.seen, broken.dialled) = (None, None, None);
            broken.due = (now + SETTLE).min(first + LONGEST_SETTLE).max(broken.first_look);
        }
    }

    /// Something happened with it, as a dial that met something else than before: it is not left alone for as long as otherwise.
    pub(super) fn stirred(&mut self, subject: Subject, now: Instant) {
        let Some(broken) = self.broken.get_mut(&subject) else { return };
        if let Some(last) = broken.last_look {
            broken.due = broken.due.min((now + SETTLE).max(last + STIRRED_PAUSE));
        }
    }

    /// Whether it was not looked at since it broke, or since the network changed.
    pub(super) fn is_first_look(&self, subject: Subject) -> bool {
        self.broken.get(&subject).is_some_and(|broken| broken.last_look.is_none())
    }

    /// What is to be looked at now; one at a time, whoever waits for longest.
    pub(super) fn due(&self, now: Instant) -> Option<Subject> {
        let (subject, broken) = self.broken.iter().min_by_key(|(_, broken)| broken.due)?;
        (broken.due <= now).then_some(*subject)
    }

    /// When the next look is due; none while everything works.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.broken.values().map(|broken| broken.due).min()
    }

    pub(super) fn is_broken(&self, subject: Subject) -> bool {
        self.broken.contains_key(&subject)
    }

    /// A look came to this; none: nothing can be said at present. It rests on dials of which the newest was over at `dialled`.
    pub(super) fn looked(
        &mut self,
        subject: Subject,
        verdict: Option<&Verdict>,
        dialled: Option<SystemTime>,
        now: Instant,
    ) -> Vec<Change> {
        // It works again meanwhile, or did.
        let Some(broken) = self.broken.get_mut(&subject).filter(|broken| broken.first_look <= now) else {
            return Vec::new();
        };
        let verdict = verdict.and_then(|verdict| Some((verdict, weight(subject, verdict)?)));
        let what = verdict.as_ref().map(|(verdict, _)| (verdict.code, verdict.part));
        let is_known = broken.notice.as_ref().map(|notice| (notice.code, notice.part)) == what;
        let is_sure = broken.last_look.is_some() && broken.seen == what;
        broken.last_look = Some(now);
        broken.changed = None;
        if !is_known && is_sure && dialled.is_some() && dialled == broken.dialled {
            // The same dials come to the same verdict: new ones are waited for, a quarter of a pause that doubles.
            broken.due = now + broken.pause / 4;
            broken.pause = (broken.pause * 2).min(LONGEST_PAUSE);
            return Vec::new();
        }
        broken.pause = if is_known && is_sure { (broken.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        broken.due = now + broken.pause;
        broken.seen = what;
        broken.dialled = dialled;
        if !is_known && !is_sure {
            return Vec::new();
        }
        let since = broken.since;
        let notice = verdict.map(|(verdict, weight)| Notice {
            subject,
            asked: subject.friend(),
            friends: subject.friend().into_iter().collect(),
            code: verdict.code,
            part: verdict.part,
            weight,
            sentence: verdict.sentence.clone(),
            next_step: verdict.next_step.clone(),
            since,
        });
        let before = std::mem::replace(&mut broken.notice, notice.clone());
        if is_known {
            // Said in the newest words, and no news.
            return Vec::new();
        }
        before.map(Change::Ended).into_iter().chain(notice.map(Change::Began)).collect()
    }

    /// All that is to be said, one by one.
    pub(super) fn notices(&self) -> Vec<Notice> {
        self.broken.values().filter_map(|broken| broken.notice.clone()).collect()
    }
}

/// As they are shown: the worst first, at most [`MOST_NOTICES`]. What stands in the way to several friends is this computer's.
pub(super) fn merged(all: Vec<Notice>) -> Vec<Notice> {
    let mut notices: Vec<Notice> = Vec::new();
    for notice in all {
        let is_same = |other: &&mut Notice| {
            (other.code, other.part, &other.sentence) == (notice.code, notice.part, &notice.sentence)
        };
        match notices.iter_mut().find(is_same) {
            Some(other) => {
                other.subject = Subject::Here;
                other.asked = other.asked.or(notice.asked);
                other.friends.extend(notice.friends);
                other.weight = other.weight.max(notice.weight);
                other.since = other.since.min(notice.since);
            }
            None => notices.push(notice),
        }
    }
    notices.sort_by(|one, other| (other.weight, one.since).cmp(&(one.weight, other.since)));
    notices.truncate(MOST_NOTICES);
    notices
}

/// How much a verdict matters before anybody has asked; none: nothing is said.
///
/// A friend's computer that is off, or of which no more is known than that it does not answer, is no alarm: that is every laptop at night.
/// Nor is one where nothing listens at Kith's port, as nobody there has said so: many routers answer that for a computer that is off.
fn weight(subject: Subject, verdict: &Verdict) -> Option<Weight> {
    match (subject, verdict.weight) {
        (_, Weight::Fine) => None,
        // What let friends in before and does not now is broken, even if others never had it. What else is amiss, as a hub, did not do it.
        (Subject::Here, _) => match verdict.part {
            Part::ThisComputer | Part::FirewallHere | Part::RouterHere => Some(Weight::Fault),
            Part::Internet | Part::RouterThere | Part::FirewallThere | Part::Friend => None,
        },
        (Subject::Friend(_), Weight::Note) => None,
        (Subject::Friend(_), Weight::Fault) => match verdict.code {
            Code::Offline | Code::NotRunning | Code::Unknown => Some(Weight::Note),
            _ => Some(Weight::Fault),
        },
    }
}
