//! Why two computers don't connect: the troubleshooting guide as code.
//!
//! [`Facts`] of both ends go in, gathered by whoever can; one [`Verdict`] comes out: one cause, one next step, and what it
//! follows from. [`diagnose`] looks at things in the order in which one depends on another, so that what follows from a fault is not
//! blamed beside it. The [`Code`] table says what each verdict means; the manual is checked against it.
//!
//! It does *not* look at anything itself: no socket, no file, no clock. It changes nothing, least of all a firewall.

mod code;
pub mod diagnosis;
mod examine;
pub mod facts;
pub mod firewall;
pub mod gateway;
pub mod history;
mod near;
pub mod report;
mod tame;

pub use code::{Code, NoSuchCode, Part, Weight};
pub use diagnosis::{Diagnosis, Verdict};
pub use examine::diagnose;
pub use facts::{Facts, Side};
pub use near::near;

/// A moment for a person, of Unix seconds; none of what is no time.
fn date(unix: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(unix).ok().filter(|_| unix > 0)?;
    Some(time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}
