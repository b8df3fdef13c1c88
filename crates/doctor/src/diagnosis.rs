//! What the doctor says: one verdict, the checks it follows from, and the way as a picture.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::code::{Code, Part, Weight};

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// The friend it is about; null: this computer alone.
    pub friend: Option<String>,
    /// The one cause and the one thing to do.
    pub verdict: Verdict,
    /// What was looked at, in the order in which one thing depends on another.
    pub checks: Vec<Check>,
    /// Connections from here to the friend's computer.
    pub outward: Direction,
    /// Connections from the friend's computer to here.
    pub inward: Direction,
    /// The parts of the way, from here to there; without a friend, those of this end.
    pub way: Vec<Station>,
    /// Whether the other end told its half: `link`, `code`, or null.
    pub told_by: Option<String>,
}

/// One cause and one next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// A stable code, see `kith explain`.
    #[schema(value_type = String)]
    pub code: Code,
    /// What is meant: `this computer`, `bert's router`.
    pub subject: String,
    /// The part of the way.
    pub part: Part,
    /// How much it matters.
    pub weight: Weight,
    /// What is wrong, a sentence without a full stop.
    pub sentence: String,
    /// The one thing to do, with concrete values; null: nothing.
    pub next_step: Option<String>,
    /// What this follows from, a line each.
    pub evidence: Vec<String>,
}

impl Verdict {
    /// Whether nothing is broken.
    #[must_use]
    pub const fn is_fine(&self) -> bool {
        !matches!(self.weight, Weight::Fault)
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// The code of what would be wrong.
    #[schema(value_type = String)]
    pub code: Code,
    /// Whose: the part of the way.
    pub part: Part,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen, a sentence without a full stop.
    pub detail: String,
}

/// See [`Check::outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing is wrong with it.
    Ok,
    /// It is broken.
    Failed,
    /// It does not matter, or something that it depends on is broken.
    Skipped,
    /// It can't be seen from here.
    Unknown,
}

/// Connections in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Direction {
    /// Whether they get through.
    pub state: Passage,
    /// What was tried, and what came of it, a sentence without a full stop.
    pub detail: String,
}

/// See [`Direction::state`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Passage {
    /// They do.
    Open,
    /// They don't.
    Closed,
    /// Nobody has tried.
    #[default]
    Unknown,
}

/// One part of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Station {
    /// Which.
    pub part: Part,
    /// What it is called: `anna`, `firewall`, `FRITZ!Box 7590`, `Internet`.
    pub name: String,
    /// How it is.
    pub state: Condition,
}

/// See [`Station::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It was seen to work.
    Fine,
    /// The verdict blames it.
    Broken,
    /// It works, and the verdict says how it could be better.
    Note,
    /// Nothing is known of it, or what is before it is broken.
    Unknown,
}
