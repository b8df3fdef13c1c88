//! The core against routers with faults, in virtual time.

mod basics;
mod events;
mod parts;
mod quirks;
mod router;
mod simulation;
mod world;
