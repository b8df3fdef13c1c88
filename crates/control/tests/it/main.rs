//! The local side from outside: through its socket, its ports, and as a browser or an attacker sees it.

mod admission;
mod app;
mod client;
mod description;
mod doors;
mod harness;
mod hostile;
mod limits;
mod stand_in;
