//! Harness of the end-to-end tests: real daemons, real command lines, real files, on one machine.
//!
//! Every [`Computer`] has a home and ports of its own, so tests run side by side. What is started ends with the value that
//! started it, also after a panic; a failed test prints the logs of its daemons.
//!
//! [`mod@bench`] measures the program beside stock restic.
//!
//! [`lab`] builds whole networks with routers between computers, for the superuser.
//!
//! [`matrix`] connects every kind of site with every kind.
//!
//! [`faults`] breaks something between two friends and asks the doctor.
//!
//! [`hubs`] are hubs under test, and computers that use them.
//!
//! [`relayed`] are two friends who are linked by a hub or by `socat` in turns.
//!
//! [`hostile`] is a friend who does what no friend should: it has a friend's key and disk, and lies.
//!
//! It does not reach into the program: what is not said by the command line, by a port or by a file in the contract is
//! not tested here. The hostile friend is made of the program's own crates, because it has to speak their protocol.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

pub mod bench;
mod binary;
mod computer;
mod disk;
pub mod far;
pub mod faults;
pub mod hostile;
pub mod hubs;
pub mod lab;
pub mod matrix;
mod meeting;
mod need;
mod outcome;
mod ports;
mod process;
mod puppet;
mod random;
pub mod relayed;
mod stalls;
mod tree;
mod wait;

pub use binary::{kith_binary, release_binary};
pub use computer::{Computer, UNPRIVILEGED, pair, pair_with};
pub use disk::{Isolation, make_readable_by_all};
pub use meeting::{befriend, meet};
pub use need::{alone, is_root, need, need_lab, need_mounts, say};
pub use outcome::Outcome;
pub use ports::{Port, free_port};
pub use process::{
    forget_memory_peak, memory_own_kib, memory_peak_kib, memory_resident_kib, processor_seconds,
    program_mapped_kib, run, run_with,
};
pub use puppet::{Answers, Puppet, secrets_of};
pub use random::Random;
pub use stalls::Stalls;
pub use tree::{Tree, assert_same, differences, write_random, write_tree};
pub use wait::{promised, wait_for, wait_until};
