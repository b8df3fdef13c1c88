//! Proof from outside: friends dial the mapped address back.

mod plan;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kith_control::Event;
use kith_identity::{DeviceId, DialBackNonce};
use kith_nat::{Mapping, Nat, Proof, ProofOutcome, ProofReport};
use kith_peer::AskDialBackError;
use kith_wire::{DIAL_BACK_CAPABILITY, DialBackAnswer, DialBackOutcome, Link};
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, info};

use self::plan::{Plan, Step, Witness};
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
        let targets = core.targets(&state.borrow_and_update().mappings);
        plan.set_targets(&targets.iter().map(|target| (target.external, target.proved)).collect(), now);
        let witnesses = core.witnesses(&targets);
        if witnesses.iter().any(|witness| !known.contains(witness)) {
            plan.handle_new_witness(now);
        }
        known = witnesses;
        let until = match plan.next(&known, now) {
            Step::Ask { friend, target } => {
                let found = targets.iter().find(|found| found.external == target);
                if let Some(found) = found
                    && let Some(arrived) = core.prove(&nat, &friend, found).await
                {
                    plan.handle_outcome(target, arrived, Instant::now());
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
    internal: Option<IpAddr>,
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
    /// What is to be proved: the routers' mappings, and what a person forwarded.
    fn targets(&self, mappings: &[Mapping]) -> Vec<Target> {
        let proved = |proof: &Proof| matches!(proof, Proof::Proved { .. });
        let mut targets: Vec<Target> = mappings
            .iter()
            .filter_map(|mapping| {
                Some(Target {
                    external: mapping.external()?,
                    internal: Some(mapping.internal.ip()),
                    by_hand: false,
                    proved: proved(&mapping.proof),
                })
            })
            .collect();
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
        let theirs = connection.remote.ip().to_canonical();
        // Who shares our network, or our router's address, does not come from outside.
        if !connection.can(DIAL_BACK_CAPABILITY) || theirs == external || self.beside_us(theirs) {
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
        let to = addresses.filter_map(|address| address.parse::<SocketAddr>().ok()).find(|to| {
            to.is_ipv4() == external.is_ipv4() && !kith_peer::is_internal(to.ip()) && !self.beside_us(to.ip())
        })?;
        Some(Way::Own { to, from: target.internal? })
    }

    /// Whether an address is in a network that this computer is part of.
    fn beside_us(&self, ip: IpAddr) -> bool {
        kith_peer::is_internal(ip) || self.network.snapshot().is_on_link(ip)
    }

    /// Asks a friend to dial one of our external addresses; whether that arrived, none if he did not try.
    async fn prove(&self, nat: &Nat, friend: &DeviceId, to_prove: &Target) -> Option<bool> {
        let friend = self.roster.get(friend)?;
        let target = to_prove.external;
        let way = self.way(&friend, to_prove)?;
        let nonce = DialBackNonce::generate();
        let addresses = [target];
        let mut expected = self.listener()?.expect(nonce).ok()?;
        let asking = async {
            let answer = match way {
                Way::Link(link) => kith_peer::ask_dial_back(&link, &addresses, nonce, PATIENCE).await,
                Way::Own { to, from } => {
                    let (identity, from) = (&self.identity, Some(from));
                    let asking = kith_peer::ask_dial_back_from(
                        identity,
                        friend.device_id,
                        to,
                        from,
                        &addresses,
                        nonce,
                        PATIENCE,
                    );
                    Box::pin(asking).await
                }
            };
            // The answer may overtake the dial that it tells of.
            tokio::time::sleep(STRAGGLER).await;
            answer
        };
        let outcome = tokio::select! {
            arrival = expected.arrived() => {
                let from = arrival.remote.ip().to_canonical();
                if from == target.ip() || self.beside_us(from) {
                    debug!(%target, by = %friend.name, %from, "the dial came back from inside: it proves nothing");
                    return None;
                }
                info!(%target, by = %friend.name, from = %arrival.remote, "the mapping is proved");
                ProofOutcome::Arrived
            }
            answer = asking => {
                let outcome = met(answer, target);
                info!(%target, by = %friend.name, ?outcome, "the mapping is not proved");
                outcome?
            }
        };
        let arrived = outcome == ProofOutcome::Arrived;
        let report = ProofReport { external: target, by: friend.name, at: SystemTime::now(), outcome };
        if to_prove.by_hand {
            lock(&self.static_proofs).insert(target, report.into());
            self.tell(Event::Status);
        } else {
            let mut state = nat.state();
            nat.proof(report);
            // Until it is seen there, the mapping would seem to have lost its proof.
            let noted = state.wait_for(|state| {
                let unproved =
                    |mapping: &Mapping| mapping.external() == Some(target) && mapping.proof == Proof::NotYet;
                !state.mappings.iter().any(unproved)
            });
            drop(tokio::time::timeout(NOTED, noted).await);
        }
        Some(arrived)
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
        DialBackOutcome::Unreachable => Some(ProofOutcome::Other(words())),
        DialBackOutcome::NotAllowed | DialBackOutcome::TooSoon | DialBackOutcome::Unknown => None,
    }
}
