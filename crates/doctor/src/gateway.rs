//! Whether the router answers, by what came of a call of it: a call that something else may have stopped says nothing of it.

use crate::firewall::Access;

/// What came of a call at the port of the router's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Nobody called.
    NotMade,
    /// A connection stood.
    Answered,
    /// A refusal came (RST, or ICMP port unreachable): from the router, or from a firewall of this computer.
    Refused,
    /// The system said that it can't be done: by its routes, by an ICMP message, or as the router's hardware address is not known.
    Impossible,
    /// Nothing came.
    Silent,
}

/// What the system knows of the router's hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It has said who it is, now or some time ago.
    There,
    /// It was asked, and does not answer.
    Gone,
    /// Nobody knows.
    Unknown,
}

/// All that was seen of a router.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// What came of the call.
    pub call: Call,
    /// Whether it is known to be there at all.
    pub neighbour: Neighbour,
    /// What this computer's own rules do with such a call.
    pub rules: Access,
    /// Whether it has always answered such a call, and nobody else answers now either.
    pub is_missed: bool,
}

impl Look {
    /// Whether it answers; none: not known.
    #[must_use]
    pub fn answers(self) -> Option<bool> {
        let is_let_out = self.rules == Access::Open;
        match self.call {
            Call::Answered => Some(true),
            _ if self.neighbour == Neighbour::Gone => Some(false),
            Call::Refused if is_let_out => Some(true),
            Call::Silent if is_let_out && self.is_missed => Some(false),
            Call::Refused | Call::Silent | Call::Impossible | Call::NotMade => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Call; 5] = [Call::NotMade, Call::Answered, Call::Refused, Call::Impossible, Call::Silent];
    const RULES: [Access; 4] = [Access::Unknown, Access::Open, Access::Dropped, Access::Rejected];

    /// Those for which this is said.
    fn said(answer: Option<bool>, neighbour: Neighbour, is_missed: bool) -> Vec<(Call, Access)> {
        let all = ALL.into_iter().flat_map(|call| RULES.map(|rules| (call, rules)));
        all.filter(|(call, rules)| {
            Look { call: *call, neighbour, rules: *rules, is_missed }.answers() == answer
        })
        .collect()
    }

    #[test]
    fn a_router_answers_that_took_a_call_or_refused_one_that_no_rule_here_can_have_refused() {
        let mut expected: Vec<_> = RULES.map(|rules| (Call::Answered, rules)).into();
        expected.push((Call::Refused, Access::Open));
        for neighbour in [Neighbour::There, Neighbour::Unknown] {
            for is_missed in [false, true] {
                assert_eq!(said(Some(true), neighbour, is_missed), expected);
            }
        }
    }

    #[test]
    fn silence_is_believed_of_a_router_that_is_missed_where_rules_are_known_to_let_the_call_out() {
        for neighbour in [Neighbour::There, Neighbour::Unknown] {
            assert_eq!(said(Some(false), neighbour, false), []);
            assert_eq!(said(Some(false), neighbour, true), [(Call::Silent, Access::Open)]);
        }
    }

    #[test]
    fn who_does_not_say_where_he_is_does_not_answer_whatever_the_rules() {
        let expected: Vec<_> = ALL.into_iter().filter(|call| *call != Call::Answered).collect();
        let all: Vec<_> = expected.into_iter().flat_map(|call| RULES.map(|rules| (call, rules))).collect();
        assert_eq!(said(Some(false), Neighbour::Gone, false), all);
    }
}
