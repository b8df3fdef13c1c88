//! What is done, who is killed, and when. Pure: a schedule follows from its seed.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::Random;

/// Bounds of what a work is thought to take.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_secs(5);

/// What is going on when somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// `kith backup` of a folder that has changed.
    Backup,
    /// `kith restore` into an empty folder.
    Restore,
    /// Objects are sent, many and small.
    Upload,
    /// Objects of the archive are deleted: all of them, or some.
    Delete,
    /// All that was deleted is brought back.
    Undelete,
    /// The holder erases what has been held for its time.
    Sweep,
}

impl Work {
    pub(super) const ALL: [Self; 6] =
        [Self::Backup, Self::Restore, Self::Upload, Self::Delete, Self::Undelete, Self::Sweep];

    /// About how long it takes, before it is known for this machine.
    const fn guess(self) -> Duration {
        Duration::from_millis(match self {
            Self::Backup => 350,
            Self::Restore => 300,
            Self::Upload => 200,
            Self::Delete => 120,
            Self::Undelete => 60,
            Self::Sweep => 140,
        })
    }
}

/// How long each work takes here and now, learnt from the kills that came too late and those that did not.
#[derive(Debug, Default)]
pub(super) struct Pace(BTreeMap<Work, Duration>);

impl Pace {
    /// From the beginning of the work to the kill of this round.
    pub(super) fn delay(&self, round: &Round) -> Duration {
        let usual = self.0.get(&round.work).copied().unwrap_or_else(|| round.work.guess());
        usual * round.per_mille / 1000
    }

    /// Whether this round's kill came in the middle of its work. Where the two steps even out, two of three do.
    pub(super) fn note(&mut self, work: Work, inside: bool) {
        let usual = self.0.entry(work).or_insert_with(|| work.guess());
        *usual = if inside { *usual * 5 / 4 } else { *usual * 2 / 3 }.clamp(SHORTEST, LONGEST);
    }
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// The daemon of the computer whose files these are.
    Owner,
    /// The daemon of the friend who keeps them.
    Holder,
    /// The command line, which writes restored files.
    Restorer,
}

/// One kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) work: Work,
    pub(super) victim: Victim,
    /// When the kill comes, in thousandths of what the work takes.
    pub(super) per_mille: u32,
    /// Decides everything else: what changes, what is deleted.
    pub(super) seed: u64,
}

/// The rounds of one pair.
pub(super) fn schedule(seed: u64, pair: u64, rounds: u64) -> Vec<Round> {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(pair));
    (0..rounds).map(|_| round(&mut random)).collect()
}

fn round(random: &mut Random) -> Round {
    let work = match random.below(100) {
        0..36 => Work::Backup,
        36..56 => Work::Restore,
        56..70 => Work::Upload,
        70..84 => Work::Delete,
        84..93 => Work::Undelete,
        _ => Work::Sweep,
    };
    let victim = match (work, random.below(3)) {
        (Work::Sweep, _) | (_, 0) => Victim::Holder,
        (Work::Restore, 1) => Victim::Restorer,
        _ => Victim::Owner,
    };
    let per_mille = u32::try_from(random.below(1000)).expect("below a thousand");
    Round { work, victim, per_mille, seed: random.number() }
}
