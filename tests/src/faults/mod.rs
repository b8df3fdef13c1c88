//! The fault matrix: two friends whose link is healthy, something that is broken on purpose, and what the doctor makes of it.
//!
//! What it must say follows from the faults alone ([`Fault::causes`]) and was written down before anything was asked. What is broken is
//! shown to be broken by the laboratory itself before the doctor is called. `cargo run -p e2e --bin faults` runs all and prints the table.

mod cases;
mod cause;
mod fault;
mod homes;
mod inject;
mod options;
mod place;
mod report;
mod run;
mod servers;
mod stage;

pub use cases::{Case, all};
pub use cause::{Cause, View};
pub use fault::{Fault, Linked};
pub use options::{Options, USAGE};
pub use place::{Help, Place, Scene, Side};
pub use report::{Doubt, Report, Row, expectations};
pub use run::run;
