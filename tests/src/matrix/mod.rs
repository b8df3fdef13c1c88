//! Every kind of site against every kind: whether two friends connect, by which way, and how fast.
//!
//! What is expected of a pair is worked out from the properties of the two kinds alone ([`expected`]) and was written down before
//! anything was measured. `cargo run -p e2e --bin matrix` runs all pairs and prints the table.

mod expected;
mod helper;
mod homes;
mod kind;
mod options;
mod punching;
mod report;
mod run;
mod selection;

pub use expected::{Because, Expected, Way, expected};
pub use helper::Helped;
pub(crate) use helper::HelperAt;
pub(crate) use homes::Grounds;
pub use kind::{Arrival, Kind, Leaves, Ports, Refuses, Traits};
pub use options::{Options, USAGE};
pub use punching::punch;
pub use report::{Report, Row, expectations, promised};
pub use run::run;
pub use selection::covering;
