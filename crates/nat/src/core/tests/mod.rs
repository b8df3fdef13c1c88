//! The core against routers with faults, in virtual time.

mod basics;
mod chaos;
mod events;
mod mended_routers;
mod parts;
mod quirks;
mod router;
mod sentences;
mod simulation;
mod verdicts;
mod ways;
mod world;
