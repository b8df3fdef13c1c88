//! Which installation of an owner writes: a recovery makes a new one of a higher number, and from then on the older
//! one, which may be in a thief's hands or believe itself alone, can only read.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use crate::disk::Disk;
use crate::error::VaultError;
use crate::layout::Layout;
use crate::names::{NameError, Owner};
use crate::owner::OwnerState;

/// By so much the number of an installation may exceed that of the newest. A recovery adds one; without a bound one claim could use
/// up all numbers, and no recovery would ever write again.
const MOST_AHEAD: u64 = 1 << 32;

/// What the file begins with, before the version of its form.
const NAME: &str = "incarnation";
/// The version that is read and written.
pub(crate) const RECORD_VERSION: u32 = 1;

/// One installation of an owner: which recovery it comes from, and its random id.
///
/// The greater one writes. The id tells two installations apart that were made from the same state and thus have the same
/// number: of these the one of the greater id writes, so that all who keep something for them come to the same result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    number: u64,
    installation: [u8; 16],
}

impl Incarnation {
    /// The installation of this id, with the number that every recovery raises.
    pub fn new(number: u64, installation: [u8; 16]) -> Self {
        Self { number, installation }
    }

    /// The same with the id in hexadecimal, as a hello tells it.
    ///
    /// # Errors
    /// [`NameError::Installation`] if the id has another form.
    pub fn parse(number: u64, installation: &str) -> Result<Self, NameError> {
        let digits = installation.len() == 32 && installation.bytes().all(|c| c.is_ascii_hexdigit());
        let id = digits.then(|| u128::from_str_radix(installation, 16).ok()).flatten();
        id.map(|id| Self { number, installation: id.to_be_bytes() }).ok_or(NameError::Installation)
    }

    /// The number that every recovery raises.
    pub fn number(self) -> u64 {
        self.number
    }

    /// Whether its number may have come from recoveries after an installation of the number `newest`.
    pub fn is_plausible_after(self, newest: u64) -> bool {
        self.number <= newest.saturating_add(MOST_AHEAD)
    }

    /// The random id of the installation.
    pub fn installation(self) -> [u8; 16] {
        self.installation
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:032x}", self.number, u128::from_be_bytes(self.installation))
    }
}

/// Whether an installation may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nobody newer is known.
    Current,
    /// Another one has taken over; this one may read.
    Superseded {
        /// Since when, by the clock of this computer.
        since: SystemTime,
    },
    /// Its number is further ahead of the newest one than recoveries explain; it may read.
    Implausible,
}

/// What is known of the installations of an owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Installations {
    /// None ever spoke, or the record of it was lost.
    #[default]
    Unknown,
    /// The newest one seen.
    Newest(Newest),
    /// A later version of Kith wrote the record: which one may write can't be told, and so none may.
    Newer {
        /// The version of the record.
        found: u32,
    },
}

impl Installations {
    pub(crate) fn newest(self) -> Option<Newest> {
        match self {
            Self::Newest(newest) => Some(newest),
            Self::Unknown | Self::Newer { .. } => None,
        }
    }

    /// What a record says; `None` if it is damaged.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.strip_prefix(NAME)?.strip_prefix(' ')?.split_once('\n')?;
        if !version.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        match version.parse().ok()? {
            0 => None,
            RECORD_VERSION => Newest::parse(rest).map(Self::Newest),
            found => Some(Self::Newer { found }),
        }
    }
}

/// The newest installation seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) incarnation: Incarnation,
    /// When it was first seen: milliseconds since 1970-01-01 UTC.
    pub(crate) since: u64,
    /// Known after a restart.
    durable: bool,
}

impl Newest {
    pub(crate) fn admits(&self, writer: Incarnation) -> bool {
        writer >= self.incarnation
    }

    pub(crate) fn writer(&self, writer: Incarnation) -> Writer {
        if !self.admits(writer) {
            return Writer::Superseded { since: self.since_time() };
        }
        if writer.is_plausible_after(self.incarnation.number) { Writer::Current } else { Writer::Implausible }
    }

    pub(crate) fn since_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.since)
    }

    pub(crate) fn to_text(self) -> String {
        format!("{NAME} {RECORD_VERSION}\n{} {}\n", self.incarnation, self.since)
    }

    /// What follows the first line.
    fn parse(rest: &str) -> Option<Self> {
        let line = rest.strip_suffix('\n')?;
        let mut fields = line.split(' ');
        let (number, installation, since) = (fields.next()?, fields.next()?, fields.next()?);
        let incarnation = Incarnation::parse(number.parse().ok()?, installation).ok()?;
        let newest = Self { incarnation, since: since.parse().ok()?, durable: true };
        fields.next().is_none().then_some(newest)
    }
}

/// What a file in the record says; damage is no reason to lock an owner out, what a later version of Kith knows is.
pub(crate) fn load(layout: &Layout, owner: &Owner) -> Installations {
    let path = layout.incarnation(owner);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                warn!(path = %path.display(), %error, "the record of an owner's installations can't be read");
            }
            return Installations::Unknown;
        }
    };
    let Some(installations) = Installations::parse(&text) else {
        warn!(path = %path.display(), "the record of an owner's installations is damaged: the next one counts as the newest");
        return Installations::Unknown;
    };
    if let Installations::Newer { found } = installations {
        warn!(path = %path.display(), "{}", newer(layout, owner, found));
    }
    installations
}

fn newer(layout: &Layout, owner: &Owner, found: u32) -> VaultError {
    VaultError::NewerRecord { path: layout.incarnation(owner), found, known: RECORD_VERSION }
}

/// An installation speaks for its owner: if it is newer than all before it, it takes over, durably. When this
/// returns, no write of an older one will land any more. Blocking.
pub(crate) fn claim(
    disk: &Arc<Disk>,
    owner: &Arc<OwnerState>,
    incarnation: Incarnation,
) -> Result<Writer, VaultError> {
    // The disk works without the lock that everybody takes: only other claims wait.
    let _claim = owner.claim();
    if let Installations::Newer { found } = *owner.installations() {
        return Err(newer(&disk.layout, &owner.name, found));
    }
    if owner.writer(incarnation) == Writer::Implausible {
        warn!(owner = %owner.name, number = incarnation.number, "an installation has a number that no recovery can have given it");
        return Ok(Writer::Implausible);
    }
    let known = {
        let mut installations = owner.installations();
        let known = match installations.newest() {
            Some(known) if known.incarnation == incarnation || !known.admits(incarnation) => known,
            _ => Newest { incarnation, since: disk.now(), durable: false },
        };
        // Even if it can't be made durable: until the next start it counts.
        *installations = Installations::Newest(known);
        known
    };
    if !known.durable {
        save(disk, owner, known)?;
        *owner.installations() = Installations::Newest(Newest { durable: true, ..known });
        info!(owner = %owner.name, number = incarnation.number, "an installation speaks for the first time");
    }
    let archives: Vec<_> = owner.archives().values().cloned().collect();
    archives.iter().for_each(|archive| archive.settle());
    // A state object of the older one whose writing has begun is waited for, too.
    drop(owner.state());
    Ok(known.writer(incarnation))
}

fn save(disk: &Disk, owner: &OwnerState, newest: Newest) -> Result<(), VaultError> {
    let path = disk.layout.incarnation(&owner.name);
    let failed = |source| VaultError::Io { action: "write", path: path.clone(), source };
    if disk.has_failed() {
        return Err(failed(std::io::Error::other("an earlier write failed; Kith has to be restarted")));
    }
    {
        let _directories = owner.directories();
        disk.make_directories(&disk.layout.record(&owner.name))
            .inspect_err(|error| {
                disk.judge("make a directory", error);
            })
            .map_err(failed)?;
    }
    disk.replace("write the record of installations", &path, &newest.to_text()).map_err(failed)
}
