//! Which friend is asked next to dial which external address back, and when. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use kith_identity::DeviceId;

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
    /// Asked last: the next question goes to another friend, if there is one.
    asked_last: Option<DeviceId>,
}

impl Plan {
    /// The external addresses that want a proof, and whether they have one. What is new, or has lost its proof, is asked for
    /// at once.
    pub(super) fn set_targets(&mut self, wanted: &BTreeMap<SocketAddr, bool>, now: Instant) {
        self.targets.retain(|target, _| wanted.contains_key(target));
        for (address, proved) in wanted {
            let new = Target { due: now, failures: 0, proved: false, asked_last: None };
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
            able.sort_by_key(|witness| (target.asked_last == Some(witness.friend), witness.friend));
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

    /// The question was answered: the dial arrived here, or it did not.
    pub(super) fn handle_outcome(&mut self, target: SocketAddr, arrived: bool, now: Instant) {
        let Some(target) = self.targets.get_mut(&target) else { return };
        target.proved = arrived;
        if arrived {
            target.failures = 0;
            target.due = now + FRESH;
        } else {
            target.due = now + PAUSES[target.failures.min(PAUSES.len() - 1)];
            target.failures += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(11, 0, 113, 5)), 4242);

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
        plan.handle_outcome(TARGET, false, now);
        let later = now + PAUSES[0];
        let second = asked(plan.next(&witnesses, later));
        assert_ne!(first, second);
        plan.handle_outcome(TARGET, false, later);
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
        plan.handle_outcome(TARGET, true, now);
        assert_eq!(plan.next(&witnesses, now + Duration::from_mins(1)), Step::Wait(Some(now + FRESH)));
        asked(plan.next(&witnesses, now + FRESH));
    }

    #[test]
    fn a_mapping_that_was_lost_and_made_again_needs_a_new_proof() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let witnesses = [witness(1, TARGET.ip())];
        plan.set_targets(&BTreeMap::from([(TARGET, false)]), now);
        asked(plan.next(&witnesses, now));
        plan.handle_outcome(TARGET, true, now);
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
        plan.handle_outcome(TARGET, false, now);
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
            plan.handle_outcome(TARGET, false, now);
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
        plan.handle_outcome(TARGET, false, now);
        plan.handle_doubt(now);
        assert_eq!(plan.next(&witnesses, now), Step::Wait(Some(now + PER_FRIEND)));
    }

    #[test]
    fn what_has_no_proof_goes_ahead() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let pinhole = SocketAddr::from(([0x2a0b, 0, 0, 0, 0, 0, 0, 1], 4242));
        let witnesses =
            [Witness { friend: DeviceId::from_bytes([1; 32]), outside: vec![TARGET.ip(), pinhole.ip()] }];
        plan.set_targets(&BTreeMap::from([(TARGET, false), (pinhole, false)]), now);
        asked(plan.next(&witnesses, now));
        plan.handle_outcome(TARGET, true, now);
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
