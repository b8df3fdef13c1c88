//! What is done, who is killed, and when. Pure: a schedule follows from its seed.

use std::time::Duration;

use e2e::Random;

/// What is going on when somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// About how long it takes here; the kill comes at a random moment of it.
    const fn milliseconds(self) -> u64 {
        match self {
            Self::Backup => 350,
            Self::Restore => 300,
            Self::Upload => 200,
            Self::Delete => 120,
            Self::Undelete => 60,
            Self::Sweep => 140,
        }
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
    /// From the beginning of the work to the kill.
    pub(super) delay: Duration,
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
    let delay = Duration::from_micros(random.below(work.milliseconds() * 1000));
    Round { work, victim, delay, seed: random.number() }
}
