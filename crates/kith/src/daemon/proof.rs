//! Proof from outside: friends dial the mapped address back.

mod plan;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kith_control::Event;
use kith_identity::{DeviceId, DialBackNonce};
use kith_listener::{Arrival, Expected};
use kith_nat::{Family, GatewayState, Mapping, Nat, Proof, ProofOutcome, ProofReport, State};
use kith_peer::{AskDialBackError, Asker};
use kith_wire::{DIAL_BACK_CAPABILITY, DialBackAnswer, DialBackOutcome, Link};
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, info};

use self::plan::{Judgement, Met, Plan, Step, Witness};
use super::core::{Core, lock};
use super::roster::Friend;

/// Longest wait for a friend's answer.
const PATIENCE: Duration = Duration::from_secs(9);
/// Longest wait for the nat crate to take note of a proof.
const NOTED: Duration = Duration::from_secs(1);
/// How long after a friend's answer his dial may still arrive.
const STRAGGLER: Duration = Duration::from_secs(1);

/// Keeps the mappings proved, until the daemon ends.
pub(super) async fn keep(core: Arc<Core>, nat: Nat) {
    let mut state = nat.state();
    let mut events = core.events.subscribe();
    let mut network = core.network.watch();
    let mut seen = network.borrow_and_update().clone();
    let mut plan = Plan::default();
    let mut known: Vec<Witness> = Vec::new();
    loop {
        let now = Instant::now();
        let targets = core.targets(&state.borrow_and_update());
        plan.set_targets(&targets.iter().map(|target| (target.external, target.proved)).collect(), now);
        let witnesses = core.witnesses(&targets);
        if witnesses.iter().any(|witness| !known.contains(witness)) {
            plan.handle_new_witness(now);
        }
        known = witnesses;
        let until = match plan.next(&known, now) {
            Step::Ask { friend, target } => {
                let found = targets.iter().find(|found| found.external == target);
                if let Some(found) = found {
                    let outcome = core.prove(&friend, found).await;
                    let judgement =
                        plan.handle_outcome(target, friend, Met::of(outcome.as_ref()), Instant::now());
                    if let Some(outcome) = outcome
                        && judgement == Judgement::Tell
                    {
                        core.note_proof(&nat, found, &friend, outcome).await;
                    }
                }
                continue;
            }
            Step::Wait(until) => until,
        };
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            event = links(&mut events) => if event.is_none() { return },
            Ok(()) = network.changed() => {
                let now = network.borrow_and_update().clone();
                if now.resumes != seen.resumes || now.snapshot != seen.snapshot {
                    plan.handle_doubt(Instant::now());
                }
                seen = now;
            }
            () = timer => {}
        }
    }
}

/// Waits until a link may have come or gone; none when there will be no more events.
async fn links(events: &mut tokio::sync::broadcast::Receiver<Event>) -> Option<()> {
    loop {
        match events.recv().await {
            Ok(Event::Friend { .. } | Event::Friends) | Err(RecvError::Lagged(_)) => return Some(()),
            Ok(_) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

/// An address outside that is said to lead here.
#[derive(Clone, Copy)]
struct Target {
    external: SocketAddr,
    /// Our end, where it is known.
    internal: Option<SocketAddr>,
    /// Made by a person: its proof is kept by the daemon, not by the nat crate.
    by_hand: bool,
    proved: bool,
}

/// How a friend is asked to dial an address.
enum Way {
    /// Over the link: he sees it come from there.
    Link(Link),
    /// Over a connection of its own to this address of his, from that address of ours.
    Own { to: SocketAddr, from: IpAddr },
}

impl Core {
    /// What is to be proved: the routers' mappings, IPv6 addresses that may be open without one, and what a person forwarded.
    fn targets(&self, nat: &State) -> Vec<Target> {
        if self.takes_no_calls() {
            return Vec::new();
        }
        let proved = |proof: &Proof| matches!(proof, Proof::Proved { .. });
        let mut targets: Vec<Target> = nat
            .mappings
            .iter()
            .filter_map(|mapping| {
                Some(Target {
                    external: mapping.external()?,
                    internal: Some(mapping.internal),
                    by_hand: false,
                    proved: proved(&mapping.proof),
                })
            })
            .collect();
        let held =
            |gateway: &&GatewayState| nat.mappings.iter().any(|mapping| mapping.uplink == gateway.uplink);
        for gateway in
            nat.gateways.iter().filter(|gateway| gateway.uplink.family() == Family::V6 && !held(gateway))
        {
            let external = SocketAddr::new(gateway.uplink.local, self.listen_port());
            targets.push(Target { external, internal: Some(external), by_hand: false, proved: false });
        }
        let proofs = lock(&self.static_proofs);
        for advertised in &self.loaded().settings().listener.advertise {
            let Some(ip) = advertised.ip() else { continue };
            let external = SocketAddr::new(ip, advertised.port());
            if targets.iter().all(|target| target.external != external) {
                let proved = proofs.get(&external).is_some_and(proved);
                targets.push(Target { external, internal: None, by_hand: true, proved });
            }
        }
        targets
    }

    /// Waits until it is known whether what the router promises is true, if somebody is there who tells.
    pub(super) async fn wait_for_proof(&self, longest: Duration) {
        let Some(nat) = self.nat.get() else { return };
        let mut state = nat.state();
        let waiting = async {
            loop {
                let now = state.borrow_and_update().clone();
                let primary = now.primary.as_ref();
                let is_open = primary
                    .is_some_and(|primary| primary.protocol.is_some() && primary.proof == Proof::NotYet)
                    && !self.witnesses(&self.targets(&now)).is_empty();
                if !is_open || state.changed().await.is_err() {
                    return;
                }
            }
        };
        // What is not known by then is told as unknown.
        tokio::time::timeout(longest, waiting).await.ok();
    }

    /// Friends who can dial our external addresses back from outside.
    fn witnesses(&self, targets: &[Target]) -> Vec<Witness> {
        let able = self.roster.all().into_iter().filter_map(|friend| {
            let outside: Vec<IpAddr> = targets
                .iter()
                .filter(|target| self.way(&friend, target).is_some())
                .map(|target| target.external.ip())
                .collect();
            (!outside.is_empty()).then_some(Witness { friend: friend.device_id, outside })
        });
        able.collect()
    }

    /// How this friend can be asked to dial an address from outside; none if he can't.
    fn way(&self, friend: &Friend, target: &Target) -> Option<Way> {
        let external = target.external.ip();
        let connection = self.peers()?.state(&friend.device_id)?.connection?;
        let theirs = connection.friend_ip()?.to_canonical();
        // Who shares our network, or our router's address, does not come from outside.
        if !connection.can(DIAL_BACK_CAPABILITY) || theirs == external || !self.is_outside(theirs) {
            return None;
        }
        if connection.seen_as.map(|seen| seen.to_canonical()) == Some(external) {
            return self.peers()?.link(&friend.device_id).map(Way::Link);
        }
        let same_family = theirs.is_ipv4() == external.is_ipv4();
        if same_family && external.is_ipv4() {
            // He sees us come from elsewhere: a dial of his would not meet this router.
            return None;
        }
        let addresses = friend.addresses.public.iter().chain(&friend.addresses.internal);
        let to = addresses
            .filter_map(|address| address.parse::<SocketAddr>().ok())
            .find(|to| to.is_ipv4() == external.is_ipv4() && self.is_outside(to.ip()))?;
        Some(Way::Own { to, from: target.internal?.ip() })
    }

    /// Whether a dial from this address, or to it, passes the border of our network.
    pub(super) fn is_outside(&self, ip: IpAddr) -> bool {
        kith_peer::is_outside(ip, &self.network.snapshot())
    }

    /// Asks a friend to dial one of our external addresses; what came of it, none if that says nothing about us.
    async fn prove(&self, friend: &DeviceId, target: &Target) -> Option<ProofOutcome> {
        let friend = self.roster.get(friend)?;
        let way = self.way(&friend, target)?;
        let nonce = DialBackNonce::generate();
        let mut expected = self.listener()?.expect(nonce).ok()?;
        let mut doubt = None;
        let outcome = tokio::select! {
            arrival = self.proof_of(target, &mut expected, &mut doubt) => {
                info!(target = %target.external, by = %friend.name, from = %arrival.remote, "the mapping is proved");
                ProofOutcome::Arrived
            }
            answer = self.ask(friend.device_id, way, target.external, nonce) => {
                if let Some(doubt) = doubt {
                    // Not even that nothing arrives from outside.
                    debug!(target = %target.external, by = %friend.name, ?doubt, "what arrived proves nothing");
                    return None;
                }
                let outcome = met(answer, target.external)?;
                info!(target = %target.external, by = %friend.name, ?outcome, "the dial of a friend did not arrive");
                outcome
            }
        };
        Some(outcome)
    }

    /// Has the friend dial; what he says of it, a moment after he has said it.
    async fn ask(
        &self,
        friend: DeviceId,
        way: Way,
        external: SocketAddr,
        nonce: DialBackNonce,
    ) -> Result<DialBackAnswer, AskDialBackError> {
        let addresses = [external];
        let answer = match way {
            Way::Link(link) => kith_peer::ask_dial_back(&link, &addresses, nonce, PATIENCE).await,
            Way::Own { to, from } => {
                let keys = self.dial_in_keys(&friend);
                let asker = Asker { identity: &self.identity, keys: &keys, outbound: &self.outbound };
                let asking =
                    kith_peer::ask_dial_back_from(asker, friend, to, Some(from), &addresses, nonce, PATIENCE);
                Box::pin(asking).await
            }
        };
        // The answer may overtake the dial that it tells of.
        tokio::time::sleep(STRAGGLER).await;
        answer
    }

    /// Waits for an arrival that proves the target. What arrives and does not is kept as a doubt.
    async fn proof_of(&self, target: &Target, expected: &mut Expected, doubt: &mut Option<Doubt>) -> Arrival {
        loop {
            let arrival = expected.arrived().await;
            match judge(&arrival, target, |ip| self.is_outside(ip)) {
                None => return arrival,
                found => *doubt = found,
            }
        }
    }

    /// Keeps the outcome where the state of the target is kept.
    async fn note_proof(&self, nat: &Nat, target: &Target, friend: &DeviceId, outcome: ProofOutcome) {
        let Some(friend) = self.roster.get(friend) else { return };
        let report =
            ProofReport { external: target.external, by: friend.name, at: SystemTime::now(), outcome };
        if target.by_hand {
            lock(&self.static_proofs).insert(target.external, report.into());
            self.tell(Event::Status);
            return;
        }
        let mut state = nat.state();
        nat.proof(report);
        // Until it is seen there, the mapping would seem to have lost its proof.
        let noted = state.wait_for(|state| {
            let unproved = |mapping: &Mapping| {
                mapping.external() == Some(target.external) && mapping.proof == Proof::NotYet
            };
            !state.mappings.iter().any(unproved)
        });
        drop(tokio::time::timeout(NOTED, noted).await);
    }
}

/// Why a nonce that arrived proves nothing of the target. Whoever brought it knew it: the friend, or somebody whom he told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It came from this computer, from a neighbour, or back from the router.
    FromInside,
    /// It came by the other family of addresses, to which another mapping or none belongs.
    OtherFamily,
    /// It came to another end of ours than the one to which the mapping leads.
    OtherEnd,
}

/// Whether an arrival proves the target; none if it does. Pure.
fn judge(arrival: &Arrival, target: &Target, is_outside: impl Fn(IpAddr) -> bool) -> Option<Doubt> {
    let from = arrival.remote.ip().to_canonical();
    let external = target.external.ip().to_canonical();
    let end = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    if from.is_ipv4() != external.is_ipv4() {
        Some(Doubt::OtherFamily)
    } else if from == external || !is_outside(from) {
        Some(Doubt::FromInside)
    } else if target.internal.is_some_and(|internal| end(internal) != end(arrival.local)) {
        Some(Doubt::OtherEnd)
    } else {
        None
    }
}

/// What a friend met whose dial did not arrive; none if he did not try.
fn met(answer: Result<DialBackAnswer, AskDialBackError>, target: SocketAddr) -> Option<ProofOutcome> {
    let answer = answer.inspect_err(|error| debug!(%error, "a friend did not dial back")).ok()?;
    let result = answer.of(target.ip())?;
    let words = || {
        let detail = result.detail.as_deref().unwrap_or("the network there knows no way");
        kith_control::terminal::safe(detail).into_owned()
    };
    match result.outcome {
        DialBackOutcome::Sent => Some(ProofOutcome::Other("something else answers there".into())),
        DialBackOutcome::Refused => Some(ProofOutcome::Refused),
        DialBackOutcome::NoResponse => Some(ProofOutcome::NoResponse),
        // Firewalls also say no that way (ICMP, "administratively prohibited").
        DialBackOutcome::Unreachable => Some(ProofOutcome::Other(words())),
        DialBackOutcome::NotAllowed | DialBackOutcome::TooSoon | DialBackOutcome::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes from 192.168 and 2001:db8:1 is inside.
    #[track_caller]
    fn check(remote: &str, local: &str, external: &str, internal: Option<&str>, expected: Option<Doubt>) {
        let arrival = Arrival { remote: remote.parse().unwrap(), local: local.parse().unwrap() };
        let target = Target {
            external: external.parse().unwrap(),
            internal: internal.map(|internal| internal.parse().unwrap()),
            by_hand: internal.is_none(),
            proved: false,
        };
        let is_outside = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets()[..2] != [192, 168],
            IpAddr::V6(ip) => ip.segments()[..3] != [0x2001, 0xdb8, 1],
        };
        assert_eq!(judge(&arrival, &target, is_outside), expected, "{remote} -> {local} for {external}");
    }

    const LOCAL: &str = "192.168.1.23:4242";
    const LOCAL_V6: &str = "[2001:db8:1::23]:4242";
    const EXTERNAL: &str = "11.0.113.5:40001";
    const FRIEND: &str = "11.0.113.9:50000";
    const FRIEND_V6: &str = "[2001:db8:9::9]:50000";

    #[test]
    fn what_comes_from_outside_to_the_end_of_the_mapping_proves_it() {
        check(FRIEND, LOCAL, EXTERNAL, Some(LOCAL), None);
        check("[::ffff:11.0.113.9]:50000", "[::ffff:192.168.1.23]:4242", EXTERNAL, Some(LOCAL), None);
        check(FRIEND_V6, LOCAL_V6, LOCAL_V6, Some(LOCAL_V6), None);
        // Where a person has forwarded it to is not known.
        check(FRIEND, LOCAL, EXTERNAL, None, None);
    }

    #[test]
    fn a_nonce_that_comes_by_the_other_family_proves_nothing() {
        check(FRIEND_V6, LOCAL_V6, EXTERNAL, Some(LOCAL), Some(Doubt::OtherFamily));
        check(FRIEND_V6, LOCAL_V6, EXTERNAL, None, Some(Doubt::OtherFamily));
        check(FRIEND, LOCAL, LOCAL_V6, Some(LOCAL_V6), Some(Doubt::OtherFamily));
        check("[::ffff:11.0.113.9]:50000", LOCAL, LOCAL_V6, None, Some(Doubt::OtherFamily));
    }

    #[test]
    fn a_nonce_that_comes_from_inside_or_back_from_the_router_proves_nothing() {
        check("192.168.1.77:50000", LOCAL, EXTERNAL, Some(LOCAL), Some(Doubt::FromInside));
        check("[::ffff:192.168.1.1]:50000", LOCAL, EXTERNAL, Some(LOCAL), Some(Doubt::FromInside));
        check("11.0.113.5:50000", LOCAL, EXTERNAL, Some(LOCAL), Some(Doubt::FromInside));
        check("[2001:db8:1::77]:50000", LOCAL_V6, LOCAL_V6, Some(LOCAL_V6), Some(Doubt::FromInside));
    }

    #[test]
    fn a_nonce_that_comes_to_another_end_than_the_mappings_proves_nothing() {
        check(FRIEND, "11.0.114.7:4242", EXTERNAL, Some(LOCAL), Some(Doubt::OtherEnd));
        check(FRIEND, "192.168.1.23:4243", EXTERNAL, Some(LOCAL), Some(Doubt::OtherEnd));
        check(FRIEND_V6, "[2001:db8:1::24]:4242", LOCAL_V6, Some(LOCAL_V6), Some(Doubt::OtherEnd));
    }
}
