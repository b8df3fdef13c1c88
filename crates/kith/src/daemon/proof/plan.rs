//! Which friend is asked next to dial which external address back, and when. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use kith_identity::DeviceId;
use kith_nat::ProofOutcome;

/// How long a proof is believed before it is asked for again.
const FRESH: Duration = Duration::from_mins(30);
/// Pause between two questions to one friend. He answers one in 10 seconds.
const PER_FRIEND: Duration = Duration::from_secs(11);
/// Pauses after failures; the last one stays.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(11),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
];

/// A friend who can be asked. He dials only an address from which he has a connection of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) friend: DeviceId,
    /// The addresses at which his dial would come from outside: the one from which he sees the link come, and those from which
    /// a connection to him can be made for the question.
    pub(super) outside: Vec<IpAddr>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask this friend to dial this address.
    Ask { friend: DeviceId, target: SocketAddr },
    /// Nothing before that moment, unless something changes.
    Wait(Option<Instant>),
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The dial arrived here.
    Arrived,
    /// The friend dialled, and did not come through.
    Failed,
    /// He did not dial, or could not: that says nothing about us.
    Nothing,
}

impl Met {
    /// Of what a friend's dial came to, if he tried.
    pub(super) fn of(outcome: Option<&ProofOutcome>) -> Self {
        match outcome {
            Some(ProofOutcome::Arrived) => Self::Arrived,
            Some(_) => Self::Failed,
            None => Self::Nothing,
        }
    }
}

/// Whether an outcome is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It counts.
    Tell,
    /// Not yet: whoever came through before is asked first.
    Withhold,
}

/// The plan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    targets: BTreeMap<SocketAddr, Target>,
    /// When each friend was asked last.
    asked: BTreeMap<DeviceId, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    /// Not before.
    due: Instant,
    failures: usize,
    proved: bool,
    /// Who came through last.
    proved_by: Option<DeviceId>,
    /// Asked last: the next question goes to another friend, if there is one.
    asked_last: Option<DeviceId>,
}

impl Plan {
    /// The external addresses that want a proof, and whether they have one. What is new, or has lost its proof, is asked for
    /// at once.
    pub(super) fn set_targets(&mut self, wanted: &BTreeMap<SocketAddr, bool>, now: Instant) {
        self.targets.retain(|target, _| wanted.contains_key(target));
        for (address, proved) in wanted {
            let new = Target { due: now, failures: 0, proved: false, proved_by: None, asked_last: None };
            let target = self.targets.entry(*address).or_insert(new);
            if target.proved && !proved {
                *target = Target { asked_last: target.asked_last, ..new };
            }
        }
    }

    /// A friend can be asked who could not before: he is, where the others did not come through.
    pub(super) fn handle_new_witness(&mut self, now: Instant) {
        for target in self.targets.values_mut().filter(|target| target.failures > 0) {
            target.due = target.due.min(now);
        }
    }

    /// Something makes the proofs doubtful: all are asked for at once.
    pub(super) fn handle_doubt(&mut self, now: Instant) {
        for target in self.targets.values_mut() {
            target.due = target.due.min(now);
            target.failures = 0;
        }
    }

    /// What to do now. A question counts as asked when this says so.
    pub(super) fn next(&mut self, witnesses: &[Witness], now: Instant) -> Step {
        self.asked.retain(|_, at| *at + PER_FRIEND > now);
        let mut wake: Option<Instant> = None;
        let mut earlier = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        // What has no proof goes ahead of what has one: the same friend answers one question in ten seconds.
        let mut targets: Vec<(&SocketAddr, &mut Target)> = self.targets.iter_mut().collect();
        targets.sort_by_key(|(_, target)| target.proved);
        for (address, target) in targets {
            if target.due > now {
                earlier(target.due);
                continue;
            }
            let mut able: Vec<&Witness> =
                witnesses.iter().filter(|witness| witness.outside.contains(&address.ip())).collect();
            // Who came through before is asked first: another one may be held up on his own side.
            able.sort_by_key(|witness| {
                let proved = target.proved_by == Some(witness.friend);
                let again = target.asked_last == Some(witness.friend);
                (!proved, again, witness.friend)
            });
            match able.iter().find(|witness| !self.asked.contains_key(&witness.friend)) {
                Some(witness) => {
                    self.asked.insert(witness.friend, now);
                    target.asked_last = Some(witness.friend);
                    target.due = now + PER_FRIEND;
                    return Step::Ask { friend: witness.friend, target: *address };
                }
                None => able
                    .iter()
                    .filter_map(|witness| self.asked.get(&witness.friend))
                    .for_each(|at| earlier(*at + PER_FRIEND)),
            }
        }
        Step::Wait(wake)
    }

    /// The question was answered, or not.
    pub(super) fn handle_outcome(
        &mut self,
        target: SocketAddr,
        friend: DeviceId,
        met: Met,
        now: Instant,
    ) -> Judgement {
        let Some(target) = self.targets.get_mut(&target) else { return Judgement::Withhold };
        if met == Met::Arrived {
            *target =
                Target { due: now + FRESH, failures: 0, proved: true, proved_by: Some(friend), ..*target };
            return Judgement::Tell;
        }
        target.due = now + PAUSES[target.failures.min(PAUSES.len() - 1)];
        target.failures += 1;
        match met {
            Met::Failed if target.proved_by.is_some_and(|prover| prover != friend) => {
                // Asked once more, he is asked before all others; when he is gone, the failures of others count.
                if target.failures > 1 {
                    target.proved_by = None;
                }
                Judgement::Withhold
            }
            Met::Failed => {
                target.proved = false;
                target.proved_by = None;
                Judgement::Tell
            }
            Met::Arrived | Met::Nothing => Judgement::Withhold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(11, 0, 113, 5)), 4242);

    const FIRST: DeviceId = DeviceId::from_bytes([1; 32]);
    const SECOND: DeviceId = DeviceId::from_bytes([2; 32]);

    fn witness(number: u8, sees: IpAddr) -> Witness {
        Witness { friend: DeviceId::from_bytes([number; 32]), outside: vec![sees] }
    }

    fn asked(step: Step) -> DeviceId {
        match step {
            Step::Ask { friend, target } => {
                assert_eq!(target, TARGET);
                friend
            }
            Step::Wait(until) => panic!("nobody is asked before {until:?}"),
        }
    }

    #[test]
    fn only_a_friend_who_sees_that_address_is_asked_to_dial_it() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        let elsewhere = witness(1, [192, 168, 1, 23].into());
        assert_eq!(plan.next(std::slice::from_ref(&elsewhere), now), Step::Wait(None));
        let outside = witness(2, TARGET.ip());
        assert_eq!(asked(plan.next(&[elsewhere, outside.clone()], now)), outside.friend);
    }

    #[test]
    fn one_friend_is_asked_at_most_every_eleven_seconds_and_others_take_turns() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        let witnesses = [witness(1, TARGET.ip()), witness(2, TARGET.ip())];
        let first = asked(plan.next(&witnesses, now));
        plan.handle_outcome(TARGET, FIRST, Met::Failed, now);
        let later = now + PAUSES[0];
        let second = asked(plan.next(&witnesses, later));
        assert_ne!(first, second);
        plan.handle_outcome(TARGET, SECOND, Met::Failed, later);
        plan.handle_doubt(later);
        assert_eq!(plan.next(&witnesses, later), Step::Wait(Some(now + PER_FRIEND)));
        assert_eq!(asked(plan.next(&witnesses, now + PER_FRIEND)), first);
    }

    #[test]
    fn a_proof_is_asked_for_again_after_half_an_hour() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let witnesses = [witness(1, TARGET.ip())];
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        asked(plan.next(&witnesses, now));
        plan.handle_outcome(TARGET, FIRST, Met::Arrived, now);
        assert_eq!(plan.next(&witnesses, now + Duration::from_mins(1)), Step::Wait(Some(now + FRESH)));
        asked(plan.next(&witnesses, now + FRESH));
    }

    #[test]
    fn a_mapping_that_was_lost_and_made_again_needs_a_new_proof() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let witnesses = [witness(1, TARGET.ip())];
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        asked(plan.next(&witnesses, now));
        plan.handle_outcome(TARGET, FIRST, Met::Arrived, now);
        let later = now + Duration::from_mins(1);
        plan.set_targets(&BTreeMap::from([(TARGET, true)]), later);
        assert_eq!(plan.next(&witnesses, later), Step::Wait(Some(now + FRESH)));
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), later);
        asked(plan.next(&witnesses, later));
    }

    #[test]
    fn a_new_friend_is_asked_where_others_did_not_come_through() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        asked(plan.next(&[witness(1, TARGET.ip())], now));
        plan.handle_outcome(TARGET, FIRST, Met::Failed, now);
        plan.handle_new_witness(now);
        assert_eq!(
            asked(plan.next(&[witness(1, TARGET.ip()), witness(2, TARGET.ip())], now)),
            witness(2, TARGET.ip()).friend
        );
    }

    #[test]
    fn failures_make_the_pauses_longer_and_doubt_makes_them_short_again() {
        let (mut plan, mut now) = (Plan::default(), Instant::now());
        let witnesses = [witness(1, TARGET.ip())];
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            asked(plan.next(&witnesses, now));
            plan.handle_outcome(TARGET, FIRST, Met::Failed, now);
            let mut at = now;
            while let Step::Wait(Some(until)) = plan.next(&[], at)
                && until > at
            {
                at = until;
            }
            pauses.push(at.duration_since(now));
            now = at.max(now + PER_FRIEND);
        }
        assert_eq!(pauses[..5], PAUSES);
        assert_eq!(pauses[5], PAUSES[4]);
        asked(plan.next(&witnesses, now));
        plan.handle_outcome(TARGET, FIRST, Met::Failed, now);
        plan.handle_doubt(now);
        assert_eq!(plan.next(&witnesses, now), Step::Wait(Some(now + PER_FRIEND)));
    }

    #[test]
    fn a_friend_who_is_held_up_himself_does_not_undo_the_proof_of_another() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let both = [witness(1, TARGET.ip()), witness(2, TARGET.ip())];
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        asked(plan.next(&both[..1], now));
        assert_eq!(plan.handle_outcome(TARGET, FIRST, Met::Arrived, now), Judgement::Tell);
        // Half an hour later the first one is asked again, although the second one never was.
        let later = now + FRESH;
        assert_eq!(asked(plan.next(&both, later)), FIRST);
        assert_eq!(plan.handle_outcome(TARGET, FIRST, Met::Arrived, later), Judgement::Tell);
        // When he is busy, the failure of the second one waits for his word.
        let later = later + FRESH;
        assert_eq!(asked(plan.next(&both[1..], later)), SECOND);
        assert_eq!(plan.handle_outcome(TARGET, SECOND, Met::Failed, later), Judgement::Withhold);
        assert_eq!(asked(plan.next(&both, later + PER_FRIEND)), FIRST);
        assert_eq!(plan.handle_outcome(TARGET, FIRST, Met::Failed, later), Judgement::Tell);
    }

    #[test]
    fn failures_count_when_whoever_came_through_is_gone() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        asked(plan.next(&[witness(1, TARGET.ip())], now));
        plan.handle_outcome(TARGET, FIRST, Met::Arrived, now);
        let mut judgements = Vec::new();
        for round in 1..4 {
            let later = now + FRESH * round;
            assert_eq!(asked(plan.next(&[witness(2, TARGET.ip())], later)), SECOND);
            judgements.push(plan.handle_outcome(TARGET, SECOND, Met::Failed, later));
        }
        assert_eq!(judgements, [Judgement::Withhold, Judgement::Withhold, Judgement::Tell]);
    }

    #[test]
    fn a_friend_who_can_not_dial_is_asked_ever_less_often_and_blames_nobody() {
        let (mut plan, mut now) = (Plan::default(), Instant::now());
        let witnesses = [witness(1, TARGET.ip())];
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        for pause in [PAUSES[1], PAUSES[2], PAUSES[3], PAUSES[4], PAUSES[4]] {
            asked(plan.next(&witnesses, now));
            assert_eq!(plan.handle_outcome(TARGET, FIRST, Met::Nothing, now), Judgement::Withhold);
            let Step::Wait(Some(until)) = plan.next(&witnesses, now + PAUSES[0]) else { panic!() };
            assert!(until <= now + pause, "{until:?}");
            now += pause;
        }
    }

    #[test]
    fn what_has_no_proof_goes_ahead() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let pinhole = SocketAddr::from(([0x2a0b, 0, 0, 0, 0, 0, 0, 1], 4242));
        let witnesses =
            [Witness { friend: DeviceId::from_bytes([1; 32]), outside: vec![TARGET.ip(), pinhole.ip()] }];
        plan.set_targets(&BTreeMap::from([(TARGET, false), (pinhole, false)]), now);
        asked(plan.next(&witnesses, now));
        plan.handle_outcome(TARGET, FIRST, Met::Arrived, now);
        plan.handle_doubt(now);
        let step = plan.next(&witnesses, now + PER_FRIEND);
        assert_eq!(step, Step::Ask { friend: witnesses[0].friend, target: pinhole });
    }

    #[test]
    fn what_is_not_mapped_any_more_is_not_asked_for() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        plan.set_targets(&BTreeMap::new(), now);
        assert_eq!(plan.next(&[witness(1, TARGET.ip())], now), Step::Wait(None));
    }
}
