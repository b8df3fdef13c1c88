//! The messages of the protocol itself.

use kith_identity::InstallationId;
use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::condition::Condition;
use crate::installed::Installed;

/// The version of the wire protocol this build speaks.
pub const WIRE_VERSION: u16 = 1;

/// The versions a computer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// Oldest.
    pub least: u16,
    /// Newest.
    pub most: u16,
}

impl VersionRange {
    /// What this build speaks.
    pub const OURS: Self = Self { least: 1, most: WIRE_VERSION };

    /// The newest version that both speak.
    ///
    /// # Errors
    /// If there is none; the sentence says on which side the newer Kith is to be installed.
    pub fn agree(self, other: Self) -> Result<u16, WireError> {
        let common = self.most.min(other.most);
        if common >= self.least && common >= other.least {
            Ok(common)
        } else {
            Err(WireError::NoCommonVersion { ours: self.most, theirs: other.most })
        }
    }
}

/// A message that can't be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// One of the two programs is too old for the other.
    #[error("{}", no_common_version(*ours, *theirs))]
    NoCommonVersion {
        /// Our newest.
        ours: u16,
        /// Their newest.
        theirs: u16,
    },
    /// Too many or too long entries.
    #[error("the other computer's {field} is longer than the protocol allows")]
    TooLong {
        /// Which field.
        field: &'static str,
    },
    /// A value that nobody can mean.
    #[error("the other computer's {field} makes no sense")]
    Nonsense {
        /// Which field.
        field: &'static str,
    },
}

fn no_common_version(ours: u16, theirs: u16) -> String {
    if theirs > ours {
        format!(
            "the Kith there speaks version {theirs} of the protocol, which this one, of version {ours}, does not know: \
             install the newer Kith on this computer"
        )
    } else {
        format!(
            "the Kith there speaks no newer version of the protocol than {theirs}, which this one, of version {ours}, has given \
             up: install the newer Kith on the other computer"
        )
    }
}

/// The part of a hello that no version changes: it is read before the rest, which may be of another form.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Spoken {
    /// Protocol versions spoken.
    pub wire: VersionRange,
}

impl Spoken {
    /// Refuses a hello of another version than ours, in whatever form; what is no hello at all passes, and fails later.
    ///
    /// # Errors
    /// [`WireError::NoCommonVersion`]
    pub fn check_hello(bytes: &[u8]) -> Result<(), WireError> {
        serde_json::from_slice::<Self>(bytes).map_or(Ok(()), Self::check)
    }

    /// As [`Self::check_hello`], for the answer to a hello.
    ///
    /// # Errors
    /// [`WireError::NoCommonVersion`]
    pub fn check_answer(bytes: &[u8]) -> Result<(), WireError> {
        #[derive(Deserialize)]
        struct Answer {
            hello: Spoken,
        }
        serde_json::from_slice::<Answer>(bytes).map_or(Ok(()), |answer| answer.hello.check())
    }

    fn check(self) -> Result<(), WireError> {
        VersionRange::OURS.agree(self.wire).map(|_| ())
    }
}

/// Most bytes of a hello, a report or an answer to them.
pub const MESSAGE_LIMIT: usize = 64 * 1024;
const MOST_ADDRESSES: usize = 32;
const MOST_ADDRESS_BYTES: usize = 280;
const MOST_NAME_BYTES: usize = 255;
/// Most bytes of a sentence in a report.
pub const MOST_SENTENCE_BYTES: usize = 500;

/// First message on a link, in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol versions spoken.
    pub wire: VersionRange,
    /// Program and version, for people.
    pub program: String,
    /// Which installation of the identity speaks.
    pub installation: InstallationId,
    /// Raised by every recovery: the highest one is the living one.
    pub incarnation: u64,
    /// When this installation was made, Unix milliseconds by its own clock.
    #[serde(default)]
    pub since: i64,
    /// See [`Installed::proof`].
    #[serde(default)]
    pub proof: String,
    /// Drawn at every start of the program: two that come and go by turns under one installation are copies of each other.
    #[serde(default)]
    pub run: Option<InstallationId>,
    /// What the sender can do beyond the version, by name.
    pub capabilities: Vec<String>,
    /// The IP address the receiver is seen from.
    pub you_are: String,
    /// The dialer's word for the way his connection takes: see [`Class`]. Absent in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The sender's clock, Unix seconds.
    pub time: i64,
    /// The part that may change later.
    pub report: Report,
}

/// What a computer tells its friends about itself, in hello and whenever it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The sender's name.
    pub name: String,
    /// Its addresses inside its network, `ip:port`.
    pub internal: Vec<String>,
    /// Its addresses from outside as it knows them, `host:port`.
    pub public: Vec<String>,
    /// The port that leads to it from outside, for the address the receiver sees it come from.
    pub public_port: Option<u16>,
    /// Bytes the sender keeps for the receiver at most; null = nothing is accepted.
    pub offered_bytes: Option<u64>,
    /// Bytes of live objects the sender keeps for the receiver.
    pub stored_bytes: u64,
    /// Sequence of the newest state object of the receiver that the sender keeps.
    pub state_sequence: Option<u64>,
    /// The newest installation of the receiver that the sender knows.
    #[serde(default)]
    pub newest: Option<Installed>,
    /// Why the sender stores nothing for anybody at present, a sentence; null when all is well.
    #[serde(default)]
    pub trouble: Option<String>,
    /// How many objects of the receiver were found to be damaged on the sender's disk.
    #[serde(default)]
    pub damaged: u64,
    /// How the sender is; null: he is of a release that doesn't tell.
    #[serde(default)]
    pub condition: Option<Condition>,
}

/// Refuses a flood of addresses, and texts that are none.
pub(crate) fn check_addresses(addresses: &[String]) -> Result<(), WireError> {
    if addresses.len() > MOST_ADDRESSES || addresses.iter().any(|a| a.len() > MOST_ADDRESS_BYTES) {
        return Err(WireError::TooLong { field: "list of addresses" });
    }
    Ok(())
}

impl Report {
    /// Refuses what no honest sender says.
    ///
    /// # Errors
    /// Names the first field that is too long.
    pub fn check(&self) -> Result<(), WireError> {
        if self.name.len() > MOST_NAME_BYTES {
            return Err(WireError::TooLong { field: "name" });
        }
        for addresses in [&self.internal, &self.public] {
            check_addresses(addresses)?;
        }
        if self.trouble.as_ref().is_some_and(|trouble| trouble.len() > MOST_SENTENCE_BYTES) {
            return Err(WireError::TooLong { field: "trouble" });
        }
        if let Some(newest) = &self.newest {
            newest.check()?;
        }
        self.condition.map_or(Ok(()), |condition| condition.check())
    }
}

impl Hello {
    /// The installation that says hello.
    #[must_use]
    pub fn installed(&self) -> Installed {
        Installed {
            incarnation: self.incarnation,
            installation: self.installation,
            since: self.since,
            proof: self.proof.clone(),
        }
    }

    /// The class of the connection by the dialer's judgement; none if he gives none that is known here.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.class.as_deref().and_then(Class::from_word)
    }

    /// Whether the sender can do this, or says so of itself.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|can| can == capability)
    }

    /// Checks what the other side said and finds the version to speak.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn check(&self) -> Result<u16, WireError> {
        let class_bytes = self.class.as_ref().map_or(0, String::len);
        if self.program.len() > MOST_NAME_BYTES
            || self.you_are.len() > MOST_ADDRESS_BYTES
            || class_bytes > MOST_NAME_BYTES
        {
            return Err(WireError::TooLong { field: "hello" });
        }
        if self.capabilities.len() > 64 || self.capabilities.iter().any(|c| c.len() > 64) {
            return Err(WireError::TooLong { field: "list of capabilities" });
        }
        self.installed().check()?;
        self.report.check()?;
        VersionRange::OURS.agree(self.wire)
    }
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// Whether the link is taken.
    pub verdict: HelloVerdict,
    /// The answerer's own hello.
    pub hello: Hello,
    /// Another running copy of the asker's very installation was seen: two homes have one identity, one installation id.
    #[serde(default)]
    pub twin: bool,
}

/// See [`HelloAnswer::verdict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HelloVerdict {
    /// The link is up.
    Welcome,
    /// Both dialled at once and the other connection is kept.
    Duplicate,
    /// No common protocol version.
    Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_spoken() {
        let range = |least, most| VersionRange { least, most };
        assert_eq!(range(1, 3).agree(range(2, 5)), Ok(3));
        assert_eq!(range(1, 3).agree(range(1, 1)), Ok(1));
        assert_eq!(range(1, 1).agree(range(2, 5)), Err(WireError::NoCommonVersion { ours: 1, theirs: 5 }));
    }

    #[test]
    fn the_sentence_about_versions_says_which_computer_needs_the_newer_kith() {
        let said = |ours, theirs| WireError::NoCommonVersion { ours, theirs }.to_string();
        assert!(
            said(1, 99).contains("version 99")
                && said(1, 99).ends_with("install the newer Kith on this computer")
        );
        assert!(said(99, 1).ends_with("install the newer Kith on the other computer"));
    }

    #[test]
    fn a_hello_of_another_version_is_recognised_in_any_form() {
        let newer = br#"{"wire": {"least": 7, "most": 9, "more": true}, "everything": ["else", 1]}"#;
        assert_eq!(Spoken::check_hello(newer), Err(WireError::NoCommonVersion { ours: 1, theirs: 9 }));
        let answer = [br#"{"hello": "#.as_slice(), newer, b"}"].concat();
        assert_eq!(Spoken::check_answer(&answer), Err(WireError::NoCommonVersion { ours: 1, theirs: 9 }));
        for other in [&b"{}"[..], b"junk", br#"{"wire": {"least": 1, "most": 9}}"#] {
            assert_eq!((Spoken::check_hello(other), Spoken::check_answer(other)), (Ok(()), Ok(())));
        }
    }

    #[test]
    fn a_report_with_a_flood_of_addresses_is_refused() {
        let report = Report { internal: vec!["10.0.0.1:1".into(); 33], ..Report::default() };
        assert_eq!(report.check(), Err(WireError::TooLong { field: "list of addresses" }));
    }
}
