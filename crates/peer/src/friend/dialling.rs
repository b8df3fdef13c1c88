//! The connections that we make.

use std::sync::Arc;

use kith_identity::tls;
use kith_wire::{Class, Side};
use tokio::sync::Mutex as AsyncMutex;

use super::{Shared, lock, now};
use crate::book::{Candidate, Known, Target};
use crate::calls::Dialed;
use crate::carriers::CarrierKind;
use crate::dial::{DialError, Dialing, dial};
use crate::dialer::Race;
use crate::host::Standing;
use crate::prefer::Keep;
use crate::race::{Failed, Raced, race};
use crate::session::{Session, greet};
use crate::way::{CandidateKind, Place, seen_from};

/// What a race tries.
pub(super) struct Plan {
    candidates: Vec<Candidate>,
    /// The worst class that is of use.
    worst: Class,
    /// What of it is an address, and what is known of where that is.
    pub(super) addresses: Vec<(String, Place)>,
}

impl Plan {
    fn new(known: &Known, candidates: Vec<Candidate>, worst: Class) -> Self {
        let address = |candidate: &Candidate| match &candidate.target {
            Target::Address(address) => Some((address.clone(), known.place(address))),
            Target::Call => None,
        };
        let addresses = candidates.iter().filter_map(address).collect();
        Self { candidates, worst, addresses }
    }
}

impl Shared {
    /// Races all candidates that lead to a link of use.
    pub(super) async fn dial_all(self: Arc<Self>, serial: u64, plan: Plan) -> Raced<Session> {
        let Plan { candidates, worst, .. } = plan;
        let dialing = Dialing {
            outbound: self.outbound.clone(),
            friend: Some(self.friend),
            config: tls::client_config(&self.identity, self.friend),
            us: self.us,
            keys: self.household.host.dial_in_keys(&self.friend),
        };
        // One hello at a time: the first proved connection asks for the link, the others wait for the outcome.
        let turn = AsyncMutex::new(());
        let (shared, turn, dialing) = (&self, &turn, &dialing);
        race(candidates, |candidate: Candidate| async move {
            let (dialed, dialled) = match candidate.target {
                Target::Address(address) => {
                    let told = lock(&shared.known).told(&address);
                    let made = dial(&address, told, dialing).await?;
                    let place = lock(&shared.known).place(&address);
                    (made.dialed(place), Some((address, candidate.kind)))
                }
                Target::Call => {
                    let called = shared.calls().call(shared.friend, worst).await;
                    (called.map_err(Failed::Each)?, None)
                }
            };
            if dialed.way.class() > worst {
                return Err(DialError::NoBetter.into());
            }
            let _turn = turn.lock().await;
            Ok(shared.ask_for_link(dialed, dialled, serial).await?)
        })
        .await
    }

    pub(super) fn plan(&self, wanted: Race) -> Plan {
        let known = lock(&self.known);
        let (mut candidates, worst) = match wanted {
            Race::Any => (known.candidates(), Class::Relayed),
            Race::BetterThan(Class::Relayed) => (known.better_than(Class::Relayed), Class::Direct),
            Race::BetterThan(class) => (known.better_than(class), Class::Lan),
        };
        // A hub is what others are reached by.
        if self.kind == CarrierKind::Friend && worst > Class::Lan {
            candidates.push(Candidate::call());
            candidates.sort_by_key(|candidate| candidate.delay);
        }
        Plan::new(&known, candidates, worst)
    }

    /// What a race does not know that tries this.
    pub(super) fn plan_beside(&self, tried: &[(String, Place)]) -> Plan {
        let known = lock(&self.known);
        let is_new = |candidate: &Candidate| match &candidate.target {
            Target::Address(address) => {
                let place = known.place(address);
                tried.iter().all(|(tried, then)| tried != address || *then != place)
            }
            Target::Call => false,
        };
        let candidates = known.candidates().into_iter().filter(is_new).collect();
        Plan::new(&known, candidates, Class::Relayed)
    }

    /// Asks for the link over a connection that was made.
    pub(super) async fn ask_for_link(
        &self,
        dialed: Dialed,
        dialled: Option<(String, CandidateKind)>,
        serial: u64,
    ) -> Result<Session, DialError> {
        // Claimed before hello is said: of two hellos that cross on the way, both ends then keep the same one.
        let (claim, ends) = ((Side::Dialer, dialed.way.class()), (&self.us, &self.friend));
        if lock(&self.claims).claim(serial, claim, ends, now()) == Keep::Existing {
            return Err(DialError::Duplicate);
        }
        let mut claimed = Claimed { shared: self, serial, is_kept: false };
        let presence = self.dial_backs.connected(seen_from(dialed.way, dialed.remote));
        match greet(dialed, dialled, &self.household, presence).await {
            Ok(session) if matches!(session.standing, Standing::Guest | Standing::Visitor) => {
                // He may want to read, and perhaps he can't dial us.
                let visits = session.standing == Standing::Visitor;
                let mut guests = lock(&self.guests);
                if guests.any(visits) {
                    session.link.close("this computer was recovered elsewhere");
                    session.driver.detach();
                } else {
                    guests.serve(session, visits);
                }
                Err(DialError::OlderInstallation)
            }
            Ok(session) => {
                claimed.is_kept = true;
                Ok(session)
            }
            Err(error) => Err(error),
        }
    }
}

/// The claim of a connection that was not proved yet: if it comes to nothing, or is given up, the link stays in its place.
struct Claimed<'a> {
    shared: &'a Shared,
    serial: u64,
    is_kept: bool,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            lock(&self.shared.claims).release(self.serial);
        }
    }
}
