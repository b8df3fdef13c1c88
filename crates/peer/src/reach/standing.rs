//! How the hubs stand that are used, for whomever it is shown to.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::{DeviceId, HubAddress, Moves};

/// One hub that is used, or would be if others were away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubStanding {
    /// Who it is.
    pub id: DeviceId,
    /// Where it is dialled, `host:port`, the best first. What it announced for later is not among them.
    pub at: Vec<String>,
    /// What it is used for.
    pub role: HubRole,
    /// Whether a link to it is kept now. Who is only there for the case that another is away has none.
    pub is_wanted: bool,
    /// Whether there is a link.
    pub is_linked: bool,
    /// Whether it has taken what friends are to find and this computer is to be handed.
    pub is_registered: bool,
    /// Why it did not take it the last time, a sentence, partly in its words; none if it did since.
    pub refusal: Option<String>,
    /// Where it said that it will be, or is by now.
    pub moves: Option<Moves>,
}

/// What a hub is used for. The first that fits counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubRole {
    /// The one that is used first.
    Primary,
    /// The one that takes over while the primary is away.
    Alternate,
    /// One that the person chose, which has assigned the two others and is asked again when both are away.
    Registration,
    /// One of a friend who is reached by no other way.
    Borrowed,
}

/// What is known of hubs beside the choice of them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Whom a link is kept to.
    pub(crate) wanted: BTreeSet<DeviceId>,
    /// Whom there is a link to.
    pub(crate) linked: BTreeSet<DeviceId>,
    /// Who knows all.
    pub(crate) registered: BTreeSet<DeviceId>,
}

/// Each hub once, in this order. Where one has moved to goes before where it was.
pub(crate) fn standings(
    used: impl Iterator<Item = (HubRole, HubAddress)>,
    moves: &BTreeMap<DeviceId, Moves>,
    known: &Known,
    refusals: &BTreeMap<DeviceId, String>,
    unix: u64,
) -> Vec<HubStanding> {
    let mut standings: Vec<HubStanding> = Vec::new();
    for (role, HubAddress { id, at }) in used {
        if let Some(standing) = standings.iter_mut().find(|standing| standing.id == id) {
            if !standing.at.contains(&at) {
                standing.at.push(at);
            }
            continue;
        }
        let moves = moves.get(&id);
        let mut all: Vec<String> =
            moves.filter(|moves| moves.at <= unix).map(|moves| moves.to.clone()).unwrap_or_default();
        if !all.contains(&at) {
            all.push(at);
        }
        standings.push(HubStanding {
            id,
            at: all,
            role,
            is_wanted: known.wanted.contains(&id),
            is_linked: known.linked.contains(&id),
            is_registered: known.registered.contains(&id),
            refusal: refusals.get(&id).cloned(),
            moves: moves.cloned(),
        });
    }
    standings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn hub(byte: u8, at: &str) -> HubAddress {
        HubAddress { id: device(byte), at: at.to_owned() }
    }

    #[test]
    fn each_hub_is_told_of_once_by_what_it_is_used_for_first() {
        let used = [
            (HubRole::Primary, hub(1, "one:4287")),
            (HubRole::Alternate, hub(2, "two:4287")),
            (HubRole::Registration, hub(1, "one.again:443")),
            (HubRole::Borrowed, hub(3, "three:4287")),
        ];
        let known = Known {
            wanted: [device(1), device(3)].into(),
            linked: [device(1)].into(),
            registered: [device(1)].into(),
        };
        let refusals = [(device(3), "full".to_owned())].into();
        let told = standings(used.into_iter(), &BTreeMap::new(), &known, &refusals, 0);
        let short: Vec<_> = told
            .iter()
            .map(|hub| (hub.role, hub.at.join(" "), hub.is_wanted, hub.is_registered, hub.refusal.as_deref()))
            .collect();
        assert_eq!(
            short,
            [
                (HubRole::Primary, "one:4287 one.again:443".to_owned(), true, true, None),
                (HubRole::Alternate, "two:4287".to_owned(), false, false, None),
                (HubRole::Borrowed, "three:4287".to_owned(), true, false, Some("full")),
            ]
        );
    }

    #[test]
    fn where_a_hub_has_moved_to_goes_before_where_it_was_and_not_before_its_time() {
        let moves = Moves { at: 1000, to: vec!["new:443".into()] };
        let all = [(device(1), moves.clone())].into();
        let at = |unix| {
            let used = [(HubRole::Primary, hub(1, "old:443"))];
            standings(used.into_iter(), &all, &Known::default(), &BTreeMap::new(), unix).remove(0)
        };
        assert_eq!(at(999).at, ["old:443"]);
        assert_eq!(at(1000).at, ["new:443", "old:443"]);
        assert_eq!(at(999).moves, Some(moves));
    }
}
