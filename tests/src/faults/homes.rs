//! Homes of friends who have met already: each case begins with copies of them.

use crate::lab::{Host, Lab};
use crate::meeting::meet;
use crate::{Computer, run};

/// Friends who have met.
pub(super) struct Homes {
    // Ends before its room.
    computers: Vec<Computer>,
    _room: Lab,
}

/// Whose home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of the two, who are also friends of carol's.
    AnnaOfThree,
    BertOfThree,
    Carol,
    /// Of the two, who have no other friend.
    Anna,
    Bert,
}

const NAMES: [&str; 5] = ["anna", "bert", "carol", "anna", "bert"];
const FRIENDS: [(usize, usize); 4] = [(0, 1), (0, 2), (1, 2), (3, 4)];

impl Homes {
    /// Lets them meet.
    pub(super) fn prepare() -> Self {
        let lab = Lab::new("faults room");
        let room = lab.public_host();
        let mut computers: Vec<Computer> = NAMES.iter().map(|name| Computer::in_host(name, &room)).collect();
        meet(&room, &mut computers, &FRIENDS, |_| {});
        Self { computers, _room: lab }
    }

    /// A copy of a home on a host. Nothing runs yet.
    pub(super) fn copy(&self, whose: Whose, host: &Host, settings: &str) -> Computer {
        let index = match whose {
            Whose::AnnaOfThree => 0,
            Whose::BertOfThree => 1,
            Whose::Carol => 2,
            Whose::Anna => 3,
            Whose::Bert => 4,
        };
        let original = &self.computers[index];
        let mut copy = Computer::in_host(original.name(), host);
        let mut command = std::process::Command::new("cp");
        command.arg("-a").arg(original.home().join(".")).arg(copy.home());
        run(&mut command).ok();
        copy.carry_to(host, settings);
        copy
    }
}
