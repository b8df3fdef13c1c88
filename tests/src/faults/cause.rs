//! What the doctor may name, and where.

use std::fmt;

use kith_doctor::{Code, Part};

/// A code at a part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// What is wrong.
    pub code: Code,
    /// Where, as seen by who asks.
    pub part: Part,
}

/// From where something is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// By the computer that it happens to.
    Here,
    /// By the friend of that computer.
    There,
}

impl Cause {
    /// What the code means by itself.
    pub(super) const fn usual(code: Code) -> Self {
        Self { code, part: code.part() }
    }

    /// The same at the side where it happens, for a code that is about one's own side.
    pub(super) const fn of_side(code: Code, view: View) -> Self {
        let part = match view {
            View::Here => code.part(),
            View::There => code.part().mirrored(),
        };
        Self { code, part }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::ThisComputer => "this-computer",
            Part::FirewallHere => "firewall-here",
            Part::RouterHere => "router-here",
            Part::Internet => "internet",
            Part::RouterThere => "router-there",
            Part::FirewallThere => "firewall-there",
            Part::Friend => "friend",
        };
        f.pad(&format!("{}@{part}", self.code))
    }
}
