//! What hubs say to each other. A hub is asked only for what lies with itself: nothing goes further than from one hub to the next.
//!
//! Beside what is here, `POST /kith/v1/post` and `POST /kith/v1/records` are the same as from a computer.

use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};

use crate::hello::{VersionRange, WireError, check_addresses};

/// Most bytes of a message of this module.
pub const HUBS_LIMIT: usize = 8 * 1024;
/// Longest name of a program.
const MOST_PROGRAM_BYTES: usize = 255;
/// Digits of a whole tag.
const TAG_DIGITS: u8 = 32;

/// `POST /kith/v1/hub/hello`, the first request of the hub that dialled, and again when something in it has changed; the answer is the
/// other's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubHello {
    /// Protocol versions spoken.
    pub wire: VersionRange,
    /// Program and version, for people.
    pub program: String,
    /// Where computers reach it, `host:port`, best first; empty: at the host where this hub found it.
    pub at: Vec<String>,
    /// The port for computers.
    pub port: u16,
    /// How many computers are there.
    pub computers: u64,
    /// By how many digits is to be searched there.
    #[serde(default)]
    pub prefix_digits: u8,
}

impl HubHello {
    /// Refuses what no honest hub says, and a version that is not spoken here.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn check(&self) -> Result<(), WireError> {
        if self.program.len() > MOST_PROGRAM_BYTES || self.prefix_digits > TAG_DIGITS {
            return Err(WireError::TooLong { field: "hello" });
        }
        check_addresses(&self.at)?;
        VersionRange::OURS.agree(self.wire).map(|_| ())
    }
}

/// `POST /kith/v1/hub/vouch`: whether a computer is registered with the hub that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouch {
    /// Which.
    pub who: DeviceId,
}

/// The answer to a [`Vouch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// Whether it is connected there and let in.
    pub registered: bool,
}
