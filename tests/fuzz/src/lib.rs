//! Fuzz targets: readers of bytes that come from outside, tried with what others really sent, with what is made to hurt, and
//! with as many fresh mutations of both as there is time for.
//!
//! - [`targets()`] is the table: one line for each reader. A [`Target`] does not only survive its input but checks what was promised of
//!   what it reads: bounds, forms, that writing and reading again changes nothing.
//! - [`fuzz`] is the engine: it replays the corpus (`corpus/TARGET/*`), then makes fresh inputs. The same seed makes the same inputs.
//!   It counts how many of them differ, and how many the reader took: a target that takes none, or all of what it may refuse, is not
//!   reached by what is made for it.
//! - `cargo test -p fuzz` tries every target with 100,000 fresh inputs of a new seed; `KITH_FUZZ_SEED` and `KITH_FUZZ_INPUTS` choose others.
//!   `cargo run -p fuzz -- TARGET --seconds 600` (or `--inputs 1000000`) goes on for longer and writes what breaks a target, made small, into its corpus.
//!   Files there that are called `crash-...` once broke it and are replayed for ever.
//!
//! It does *not* measure which code an input reaches: that takes a special compiler. What stands in for it is the [`form`]
//! of what came out: an input whose outcome has a form that was not seen before is kept and changed further.

mod corpus;
mod engine;
mod failure;
mod mutate;
mod outcome;
mod random;
mod smaller;
mod target;
mod targets;

pub use corpus::{corpus, corpus_directory, crash_name};
pub use engine::{Plan, Summary, fuzz};
pub use failure::{Failure, Origin};
pub use mutate::Mutator;
pub use outcome::{NOTHING, Outcome, form, judged, refused, taken};
pub use random::Random;
pub use smaller::smaller;
pub use target::Target;
pub use targets::{target, targets};
