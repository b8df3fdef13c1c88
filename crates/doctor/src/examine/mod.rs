//! From facts to the one cause.
//!
//! Checks stand in the order in which one thing depends on another: this computer, its firewall, its router, what is between, the router,
//! firewall and computer at the other end, and at last what the friend has room for. The first that failed is the verdict. What only
//! *follows* from failed connections (that a router lets nobody in, say) is not looked at once something was found that stops them.

mod answers;
mod between;
mod clock;
mod end;
mod helpers;
mod router;
mod sleep;
mod storage;
mod tested;
mod together;
mod way;
mod words;

use crate::code::{Code, Part, Weight};
use crate::diagnosis::{Check, Diagnosis, Outcome, Verdict};
use crate::facts::{Facts, Pair, Side, Source, TestResult};

use self::words::Whose;

/// Most lines of evidence.
const MOST_EVIDENCE: usize = 12;

/// What was looked at, and what to say if it is the cause.
struct Found {
    code: Code,
    part: Part,
    outcome: Outcome,
    detail: String,
    /// For one that failed.
    blame: Option<Blame>,
}

/// What a verdict says.
struct Blame {
    weight: Weight,
    sentence: String,
    next_step: Option<String>,
    evidence: Vec<String>,
}

impl Found {
    fn new(code: Code, part: Part, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { code, part, outcome, detail: detail.into(), blame: None }
    }

    fn ok(code: Code, part: Part, detail: impl Into<String>) -> Self {
        Self::new(code, part, Outcome::Ok, detail)
    }

    fn unknown(code: Code, part: Part, detail: impl Into<String>) -> Self {
        Self::new(code, part, Outcome::Unknown, detail)
    }

    fn failed(code: Code, part: Part, sentence: impl Into<String>, next_step: impl Into<String>) -> Self {
        let sentence = sentence.into();
        let blame = Blame {
            weight: code.weight(),
            sentence: sentence.clone(),
            next_step: Some(next_step.into()),
            evidence: Vec::new(),
        };
        Self { code, part, outcome: Outcome::Failed, detail: sentence, blame: Some(blame) }
    }

    /// The same, seen by this.
    fn because(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        if let Some(blame) = &mut self.blame {
            blame.evidence.extend(evidence);
        }
        self
    }

    /// The same, and it matters less than usual.
    fn noted(mut self) -> Self {
        if let Some(blame) = &mut self.blame {
            blame.weight = Weight::Note;
            self.outcome = Outcome::Ok;
        }
        self
    }
}

/// What is asked again and again of a pair.
struct Case<'a> {
    facts: &'a Facts,
    here: &'a Side,
    there: Option<&'a Side>,
    pair: &'a Pair,
}

impl<'a> Case<'a> {
    /// A link without anybody who passes on.
    fn is_direct(&self) -> bool {
        self.pair.link.as_ref().is_some_and(|link| link.path != "relayed")
    }

    fn is_relayed(&self) -> bool {
        self.pair.link.as_ref().is_some_and(|link| link.path == "relayed")
    }

    fn is_apart(&self) -> bool {
        self.pair.link.is_none()
    }

    /// Addresses of the friend that were really tried from here.
    fn tried(&self) -> impl Iterator<Item = &'a crate::facts::Test> + use<'a> {
        self.here.tests.iter().filter(|test| test.result != TestResult::Elsewhere)
    }

    fn any(&self, result: TestResult) -> bool {
        self.tried().any(|test| test.result == result)
    }

    /// Whether some address of the friend was tried, and none led to him.
    fn none_leads_there(&self) -> bool {
        self.tried().next().is_some() && !self.any(TestResult::Friend)
    }

    /// The sentences of the port tests with one of these results.
    fn tests(&self, results: &[TestResult]) -> Vec<String> {
        self.tried().filter(|test| results.contains(&test.result)).map(words::test).collect()
    }

    fn name(&self) -> &'a str {
        &self.pair.name
    }

    fn whose(&self) -> Whose<'a> {
        Whose::There(&self.pair.name)
    }
}

/// One cause, one next step, and all that was looked at.
#[must_use]
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let mut found = match &facts.friend {
        Some(pair) => {
            let there = facts.there.as_ref().map(|there| &there.side);
            of_pair(&Case { facts, here: &facts.here, there, pair })
        }
        None => of_computer(&facts.here),
    };
    let failed = found.iter().position(|found| found.outcome == Outcome::Failed);
    let path = facts.friend.as_ref().map(|pair| pair.link.as_ref().map(|link| link.path.as_str()));
    if failed.is_some() && path == Some(None) {
        // A port that was always shut did not end what there was before.
        restore(&mut found, |found| found.code != Code::FirewallIn);
    } else if let Some(at) = failed.filter(|at| path == Some(Some("relayed")) && lets_nobody_in(&found[*at]))
    {
        // To open the other end changes nothing as long as nothing gets out of this one.
        restore(&mut found[..at], |found| stops_calls(found.code));
    }
    let failed = found.iter().position(|found| found.outcome == Outcome::Failed);
    let at = failed.or_else(|| found.iter().position(|found| found.blame.is_some()));
    let verdict = match at.map(|at| found.swap_remove_blame(at)) {
        Some((code, part, blame)) => Verdict {
            code,
            subject: words::subject(part, facts.friend.as_ref()),
            part,
            weight: blame.weight,
            sentence: blame.sentence,
            next_step: blame.next_step,
            evidence: blame.evidence.into_iter().take(MOST_EVIDENCE).collect(),
        },
        None => words::all_is_well(facts),
    };
    let checks: Vec<Check> = found
        .into_iter()
        .map(|found| Check {
            code: found.code,
            part: found.part,
            outcome: found.outcome,
            detail: found.detail,
        })
        .collect();
    Diagnosis {
        friend: facts.friend.as_ref().map(|pair| pair.name.clone()),
        outward: way::outward(facts),
        inward: way::inward(facts),
        way: way::stations(facts, &verdict, &checks),
        checks,
        told_by: facts.there.as_ref().map(|there| match there.source {
            Source::Link => "link".to_owned(),
            Source::Code => "code".to_owned(),
        }),
        verdict,
    }
}

/// Hubs and proxies: what they don't do is no fault where the two are connected all the same.
fn helpers_of(case: &Case<'_>, side: &Side, whose: Whose<'_>) -> Vec<Found> {
    let found = helpers::of(side, whose);
    if case.is_apart() { found } else { found.into_iter().map(Found::noted).collect() }
}

/// Whether a closed port may be as it should be: two who were ever connected were so without it.
fn wanted(case: &Case<'_>) -> end::Matters {
    let never = case.is_apart() && case.pair.last_seen.is_none();
    if never { end::Matters::Always } else { end::Matters::IfBroken }
}

/// The other end is shut for calls.
fn lets_nobody_in(found: &Found) -> bool {
    found.part > Part::Internet
        && matches!(
            found.code,
            Code::FirewallIn | Code::PortTaken | Code::MappingOff | Code::MappingLost | Code::MappingLies
        )
}

/// What keeps calls from leaving this end.
const fn stops_calls(code: Code) -> bool {
    matches!(
        code,
        Code::SettingsForbid
            | Code::FirewallOut
            | Code::NetworkBlocksOut
            | Code::NamesFail
            | Code::NameWrong
            | Code::ProxyDown
            | Code::ProxyRefuses
    )
}

/// What would only be a note while all works, is what stops the two where something else does, too.
fn restore(found: &mut [Found], which: impl Fn(&Found) -> bool) {
    for found in found.iter_mut().filter(|found| which(found)) {
        if let Some(blame) = found.blame.as_mut().filter(|_| found.code.weight() == Weight::Fault) {
            blame.weight = Weight::Fault;
            found.outcome = Outcome::Failed;
        }
    }
}

/// Takes what is said of one out of the list, which keeps its row.
trait TakeBlame {
    fn swap_remove_blame(&mut self, at: usize) -> (Code, Part, Blame);
}

impl TakeBlame for Vec<Found> {
    fn swap_remove_blame(&mut self, at: usize) -> (Code, Part, Blame) {
        let found = &mut self[at];
        let blame = found.blame.take().unwrap_or_else(|| Blame {
            weight: found.code.weight(),
            sentence: found.detail.clone(),
            next_step: None,
            evidence: Vec::new(),
        });
        (found.code, found.part, blame)
    }
}

/// This computer alone.
fn of_computer(here: &Side) -> Vec<Found> {
    let mut found = end::itself(here, Whose::Here);
    found.extend(end::clock_alone(here));
    found.extend(end::firewall(here, Whose::Here, end::Matters::IfBroken));
    found.extend(router::of(here, Whose::Here, end::Matters::Always));
    found.extend(helpers::of(here, Whose::Here));
    found
}

/// This computer, the friend's, and what is between.
fn of_pair(case: &Case<'_>) -> Vec<Found> {
    let mut found = end::itself(case.here, Whose::Here);
    found.push(clock::compared(case));
    found.extend(between::settings(case));
    found.extend(end::firewall(case.here, Whose::Here, wanted(case)));
    found.extend(between::out(case));
    found.extend(helpers_of(case, case.here, Whose::Here));
    found.extend(answers::identity(case));
    if let Some(there) = case.there {
        found.extend(end::itself(there, case.whose()));
        found.extend(end::firewall(there, case.whose(), wanted(case)));
    }
    found.extend(tested::firewalls(case));
    found.extend(tested::isolated(case));
    found.extend(tested::hairpin(case));
    let stopped = found.iter().any(|found| found.outcome == Outcome::Failed);
    if !stopped {
        found.extend(tested::mappings(case));
    }
    found.extend(answers::addresses(case, stopped));
    let stopped = found.iter().any(|found| found.outcome == Outcome::Failed);
    // What a router does not do matters only where the two don't come together otherwise.
    let matters =
        if case.is_direct() || stopped { end::Matters::IfBroken } else { end::Matters::IfNothingElse };
    found.extend(router::of(case.here, Whose::Here, matters));
    if let Some(there) = case.there {
        found.extend(router::of(there, case.whose(), matters));
        found.extend(helpers_of(case, there, case.whose()));
    }
    let stopped = found.iter().any(|found| found.outcome == Outcome::Failed);
    found.extend(together::together(case, stopped));
    found.extend(storage::checks(case));
    // What it explains must not be beaten by anything that is found later.
    sleep::explains(case, &mut found);
    found
}

#[cfg(test)]
mod tests;
