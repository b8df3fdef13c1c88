//! The cases: each fault alone, pairs of faults, and no fault at all. Pure.

use crate::matrix::Kind;

use super::cause::Cause;
use super::fault::{Fault, Linked};
use super::place::{Help, Place, Scene, Side};

/// One question to the doctor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name in tables and on the command line.
    pub name: String,
    /// Where all are.
    pub scene: Scene,
    /// What is broken: the root first.
    pub faults: Vec<Broken>,
    /// Who asks.
    pub asker: Side,
    /// The other one's report code is pasted.
    pub with_code: bool,
}

const PUBLIC: Scene = Scene { anna: Place::OnlyCalls, bert: Place::Public, help: Help::Relay };
const UPNP: Scene = Scene { bert: Place::Upnp, ..PUBLIC };
// A computer that only makes calls leaves its router alone, and does not know that it ever answered.
const HOME: Scene = Scene { anna: Place::Upnp, ..PUBLIC };
const FORWARDED: Scene = Scene { bert: Place::Forwarded, ..PUBLIC };
// Whoever helps would tell where he is.
const NAMED: Scene = Scene { bert: Place::Named, help: Help::Nobody, ..PUBLIC };
const SYMMETRIC: Scene = Scene { anna: Place::Symmetric, ..UPNP };

const fn alone(scene: Scene) -> Scene {
    Scene { help: Help::Nobody, ..scene }
}

const fn without_relay(bert: Place) -> Scene {
    Scene { bert, help: Help::Calls, ..PUBLIC }
}

/// A fault, and whose.
type Broken = (Fault, Side);

use Fault::*;
use Side::{Anna, Bert};

/// Each fault alone: the scene, the fault, its side, and who asks.
const SINGLE: &[(Scene, Fault, Side, Side)] = &[
    (PUBLIC, FirewallInDrop, Bert, Anna),
    (PUBLIC, FirewallInDrop, Bert, Bert),
    (UPNP, FirewallInDrop, Bert, Anna),
    (PUBLIC, FirewallInReject, Bert, Anna),
    (PUBLIC, FirewallInReject, Bert, Bert),
    (PUBLIC, FirewallOutDrop, Anna, Anna),
    (PUBLIC, FirewallOutDrop, Anna, Bert),
    (PUBLIC, FirewallOutReject, Anna, Anna),
    (PUBLIC, ServiceStopped, Bert, Anna),
    (PUBLIC, ServiceStopped, Bert, Bert),
    (UPNP, ServiceKilled, Bert, Anna),
    (PUBLIC, ComputerOff, Bert, Anna),
    (alone(UPNP), ComputerOff, Bert, Anna),
    (FORWARDED, ForwardedElsewhere, Bert, Anna),
    (FORWARDED, ForwardedElsewhere, Bert, Bert),
    (FORWARDED, ForwardedToOther, Bert, Anna),
    (alone(PUBLIC), Moved, Bert, Anna),
    (UPNP, MappingOff, Bert, Anna),
    (UPNP, MappingOff, Bert, Bert),
    (UPNP, MappingLost, Bert, Anna),
    (UPNP, MappingLost, Bert, Bert),
    (UPNP, RouterReset, Bert, Anna),
    (UPNP, RouterReset, Bert, Bert),
    (UPNP, MappingBlocked, Bert, Anna),
    (UPNP, MappingBlocked, Bert, Bert),
    (without_relay(Place::Lying), RouterLies, Bert, Bert),
    (without_relay(Place::Carrier), CarrierNat, Bert, Bert),
    (without_relay(Place::Double), DoubleNat, Bert, Bert),
    (Scene { anna: Place::Symmetric, bert: Place::Symmetric, help: Help::Relay }, BothSymmetric, Bert, Anna),
    (Scene { anna: Place::Symmetric, bert: Place::Symmetric, help: Help::Calls }, BothSymmetric, Bert, Anna),
    (NAMED, NamesDead, Anna, Anna),
    (NAMED, NameUnknown, Anna, Anna),
    (Scene { anna: Place::Http, ..alone(PUBLIC) }, ProxyRefuses, Anna, Anna),
    (Scene { anna: Place::Http, ..alone(PUBLIC) }, ProxyDead, Anna, Anna),
    (Scene { anna: Place::Socks, ..alone(PUBLIC) }, ProxyPassword, Anna, Anna),
    (PUBLIC, ClockAhead, Anna, Anna),
    (PUBLIC, ClockAhead, Bert, Anna),
    (alone(PUBLIC), LongPacketsLost, Anna, Anna),
    (UPNP, LongPacketsLost, Bert, Anna),
    (PUBLIC, OtherKith, Bert, Anna),
    (PUBLIC, Removed, Bert, Anna),
    (PUBLIC, Recreated, Bert, Anna),
    (PUBLIC, WebServer, Bert, Anna),
    (PUBLIC, OtherService, Bert, Anna),
    (PUBLIC, Portal, Anna, Anna),
    (PUBLIC, TlsPortal, Anna, Anna),
    (PUBLIC, PortClash, Bert, Bert),
    (PUBLIC, PortClash, Bert, Anna),
    (PUBLIC, Only443, Anna, Anna),
    (PUBLIC, NothingOut, Anna, Anna),
    (PUBLIC, QuotaFull, Bert, Anna),
    (PUBLIC, DiskFull, Bert, Anna),
    (PUBLIC, Paused, Bert, Anna),
    (PUBLIC, AcceptOff, Bert, Anna),
    (HOME, RouterDead, Anna, Anna),
    (PUBLIC, NoNetwork, Anna, Anna),
    (PUBLIC, LineDead, Anna, Anna),
    (PUBLIC, NotAllowed, Anna, Anna),
    (Scene { anna: Place::OnlyCalls, bert: Place::OnlyCalls, help: Help::Hub }, HubDead, Bert, Anna),
    (Scene { anna: Place::Kind(Kind::DualStack), ..alone(PUBLIC) }, Ipv6Broken, Anna, Anna),
];

/// Those where the other one's report code is pasted.
const WITH_CODE: &[(Scene, Fault, Side, Side)] = &[
    (alone(PUBLIC), FirewallInDrop, Bert, Anna),
    (without_relay(Place::Carrier), CarrierNat, Bert, Anna),
    (alone(UPNP), MappingOff, Bert, Anna),
    (Scene { bert: Place::OnlyCalls, ..alone(PUBLIC) }, BothOnlyCall, Bert, Anna),
];

/// Two faults at once: the scene, the root, the other one, and who asks.
const PAIRS: &[(Scene, Broken, Broken, Side)] = &[
    (HOME, (RouterDead, Anna), (QuotaFull, Bert), Anna),
    (HOME, (RouterDead, Anna), (ServiceStopped, Bert), Anna),
    (PUBLIC, (NoNetwork, Anna), (FirewallInDrop, Bert), Anna),
    (NAMED, (NoNetwork, Anna), (NamesDead, Anna), Anna),
    (Scene { anna: Place::Upnp, ..NAMED }, (RouterDead, Anna), (NamesDead, Anna), Anna),
    (PUBLIC, (LineDead, Anna), (QuotaFull, Bert), Anna),
    (PUBLIC, (ServiceStopped, Anna), (ServiceStopped, Bert), Anna),
    (PUBLIC, (ServiceStopped, Bert), (QuotaFull, Bert), Anna),
    (SYMMETRIC, (ServiceKilled, Bert), (QuotaFull, Bert), Anna),
    (PUBLIC, (FirewallOutReject, Anna), (ServiceStopped, Bert), Anna),
    (PUBLIC, (FirewallInDrop, Bert), (Paused, Bert), Anna),
    (PUBLIC, (FirewallInReject, Bert), (QuotaFull, Bert), Anna),
    (PUBLIC, (PortClash, Bert), (Paused, Bert), Anna),
    (PUBLIC, (Only443, Anna), (FirewallInDrop, Bert), Anna),
    (PUBLIC, (NotAllowed, Anna), (FirewallInDrop, Bert), Anna),
    (PUBLIC, (Portal, Anna), (Paused, Bert), Anna),
    (UPNP, (MappingLost, Bert), (QuotaFull, Bert), Anna),
    (UPNP, (RouterReset, Bert), (Paused, Bert), Anna),
    (Scene { anna: Place::Http, ..alone(PUBLIC) }, (ProxyDead, Anna), (ServiceStopped, Bert), Anna),
    (Scene { anna: Place::Socks, ..alone(PUBLIC) }, (ProxyPassword, Anna), (Paused, Bert), Anna),
    (alone(PUBLIC), (LongPacketsLost, Anna), (DiskFull, Bert), Anna),
];

/// All: the faults alone, the pairs, and the sites without a fault.
#[must_use]
pub fn all() -> Vec<Case> {
    let single = SINGLE
        .iter()
        .map(|(scene, fault, side, asker)| Case::new(*scene, vec![(*fault, *side)], *asker, false));
    let with_code = WITH_CODE
        .iter()
        .map(|(scene, fault, side, asker)| Case::new(*scene, vec![(*fault, *side)], *asker, true));
    let pairs =
        PAIRS.iter().map(|(scene, root, other, asker)| Case::new(*scene, vec![*root, *other], *asker, false));
    let friends = [Place::Public, Place::Upnp];
    let healthy = Kind::ALL.into_iter().flat_map(|kind| {
        friends.map(|bert| {
            let scene = Scene { anna: Place::Kind(kind), bert, help: Help::Relay };
            Case::new(scene, Vec::new(), Anna, false)
        })
    });
    let mut cases: Vec<Case> = single.chain(with_code).chain(pairs).chain(healthy).collect();
    for index in 0..cases.len() {
        let same = cases[..index].iter().filter(|case| case.name == cases[index].name).count();
        if same > 0 {
            cases[index].name += &format!("-{}", same + 1);
        }
    }
    cases
}

impl Case {
    fn new(scene: Scene, faults: Vec<Broken>, asker: Side, with_code: bool) -> Self {
        let word = |side| if side == asker { "here" } else { "there" };
        let parts: Vec<String> =
            faults.iter().map(|(fault, side)| format!("{}-{}", fault.name(), word(*side))).collect();
        let mut name = parts.join("+");
        if let (true, Place::Kind(kind)) = (name.is_empty(), scene.anna) {
            let friend = if scene.bert == Place::Public { "public" } else { "upnp" };
            name = format!("fine-{kind}-{friend}");
        }
        if with_code {
            name += "-code";
        }
        Self { name, scene, faults, asker, with_code }
    }

    /// Whether something is broken, and not only less good.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.faults.iter().any(|(fault, _)| fault.is_fault(self.scene))
    }

    /// What is right to name: any of these; empty if anything is that blames nobody.
    #[must_use]
    pub fn right(&self) -> Vec<Cause> {
        self.faults.first().map_or_else(Vec::new, |root| self.causes_of(*root))
    }

    /// What may be named without blaming a healthy part.
    #[must_use]
    pub fn allowed(&self) -> Vec<Cause> {
        self.faults.iter().flat_map(|fault| self.causes_of(*fault)).collect()
    }

    /// What a check may say besides: what is true of the sites all the time.
    #[must_use]
    pub fn nature(&self) -> Vec<Cause> {
        let sides = [Anna, Bert];
        sides.into_iter().flat_map(|side| self.scene.of(side).nature(side.seen_by(self.asker))).collect()
    }

    fn causes_of(&self, (fault, side): Broken) -> Vec<Cause> {
        fault.causes(self.scene, side, side.seen_by(self.asker))
    }

    /// What becomes of the link.
    pub(super) fn leaves(&self) -> Linked {
        let mut left = Linked::Stays;
        for (fault, _) in &self.faults {
            left = match (left, fault.leaves()) {
                (Linked::Not, _) | (_, Linked::Not) => Linked::Not,
                (Linked::ByHelp, _) | (_, Linked::ByHelp) => Linked::ByHelp,
                _ => Linked::Stays,
            };
        }
        left
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(known, _)| *known == fault)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_enough_cases_and_each_has_a_name_of_its_own() {
        let cases = all();
        let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        let single: BTreeSet<&str> = cases
            .iter()
            .filter(|case| case.faults.len() == 1 && case.is_broken())
            .map(|case| case.faults[0].0.name())
            .collect();
        assert!(single.len() >= 36, "{} faults", single.len());
        assert!(cases.iter().filter(|case| case.faults.len() == 2).count() >= 20);
        assert_eq!(cases.iter().filter(|case| case.faults.is_empty()).count(), 2 * Kind::ALL.len());
        for fault in Fault::ALL {
            assert!(cases.iter().any(|case| case.has(*fault)), "{} is in no case", fault.name());
        }
    }

    #[test]
    fn the_same_fault_is_named_at_the_side_where_it_is() {
        let named = |name: &str| -> Vec<String> {
            let cases = all();
            let case = cases.iter().find(|case| case.name == name).unwrap();
            case.right().iter().map(ToString::to_string).collect()
        };
        assert_eq!(named("firewall-in-drop-here"), ["firewall-in@firewall-here"]);
        assert_eq!(named("firewall-in-drop-there"), ["firewall-in@firewall-there"]);
        assert_eq!(named("router-dead-here+quota-full-there"), ["router-silent@router-here"]);
        assert_eq!(named("service-stopped-there"), ["not-running@friend"]);
        assert_eq!(named("service-stopped-here"), ["service-down@this-computer"]);
    }
}
