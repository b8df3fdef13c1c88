//! Which pairs are tried when not all of them are. Pure.

use std::collections::BTreeMap;

use super::expected::{Because, Way, expected};
use super::kind::Kind;

/// What a selection is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Goal {
    Kind(Kind),
    Cell(Way, Because),
}

/// How often a kind is in a selection at least.
const EACH_KIND: u32 = 2;

/// Pairs in which every kind comes twice at least, and everything that is ever expected, for every reason, once.
#[must_use]
pub fn covering() -> Vec<(Kind, Kind)> {
    let mut ordered = in_order();
    let mut open = goals();
    let needed = ordered.iter().position(|pair| {
        meet(&mut open, *pair);
        open.is_empty()
    });
    ordered.truncate(needed.map_or(usize::MAX, |last| last + 1));
    ordered
}

/// The first `count` of all pairs, in an order that covers much early.
#[must_use]
pub(super) fn first(count: usize) -> Vec<(Kind, Kind)> {
    in_order().into_iter().take(count).collect()
}

/// All pairs: next comes the one that meets most of what is not met yet.
fn in_order() -> Vec<(Kind, Kind)> {
    let mut rest: Vec<(Kind, Kind)> = Kind::pairs().collect();
    let mut open = goals();
    let mut ordered = Vec::new();
    while !rest.is_empty() {
        let worth = |pair: &(Kind, Kind)| goals_of(*pair).filter(|goal| open.contains_key(goal)).count();
        // The last one of the best, in the order of the kinds turned round.
        let best = (0..rest.len()).rev().max_by_key(|index| worth(&rest[*index])).unwrap_or(0);
        let pair = rest.remove(best);
        meet(&mut open, pair);
        ordered.push(pair);
    }
    ordered
}

fn goals() -> BTreeMap<Goal, u32> {
    let mut goals: BTreeMap<Goal, u32> =
        Kind::ALL.into_iter().map(|kind| (Goal::Kind(kind), EACH_KIND)).collect();
    for (first, second) in Kind::pairs() {
        let expected = expected(first, second, true);
        goals.insert(Goal::Cell(expected.way, expected.because), 1);
    }
    goals
}

fn goals_of((first, second): (Kind, Kind)) -> impl Iterator<Item = Goal> {
    let expected = expected(first, second, true);
    let other = (first != second).then_some(Goal::Kind(second));
    [Goal::Kind(first), Goal::Cell(expected.way, expected.because)].into_iter().chain(other)
}

fn meet(open: &mut BTreeMap<Goal, u32>, pair: (Kind, Kind)) {
    for goal in goals_of(pair) {
        if let Some(left) = open.get_mut(&goal) {
            *left -= 1;
            if *left == 0 {
                open.remove(&goal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_selection_holds_every_kind_twice_and_every_cell_of_the_table() {
        let pairs = covering();
        for kind in Kind::ALL {
            let count = pairs.iter().filter(|(first, second)| *first == kind || *second == kind).count();
            assert!(count >= 2, "{kind} comes {count} times in {pairs:?}");
        }
        let cells = |pairs: &mut dyn Iterator<Item = (Kind, Kind)>| -> BTreeSet<(Way, Because)> {
            pairs
                .map(|(first, second)| expected(first, second, true))
                .map(|expected| (expected.way, expected.because))
                .collect()
        };
        assert_eq!(cells(&mut pairs.iter().copied()), cells(&mut Kind::pairs()));
        assert!(pairs.len() <= 30, "{} pairs are many: {pairs:?}", pairs.len());
    }

    #[test]
    fn the_first_pairs_are_different_ones_and_all_are_all() {
        let pairs = first(1000);
        assert_eq!(pairs.iter().collect::<BTreeSet<_>>().len(), Kind::pairs().count());
        assert_eq!(first(7), pairs[..7]);
    }
}
