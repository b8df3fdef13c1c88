//! Kith's composition root as a library: what the program `kith` is made of, so that tests reach it.
//!
//! It holds where a computer keeps its things ([`home`]) and what its person decided ([`settings`]). It holds no
//! protocol, no cryptography and no storage format: those are crates of their own.

pub mod bugreport;
pub mod cli;
pub mod daemon;
pub mod firewall;
pub mod home;
mod hub;
mod names;
pub mod remote_store;
pub mod settings;
