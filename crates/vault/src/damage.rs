//! What of an owner is damaged on this disk: found by the scrub, told to the owner, forgotten when the owner has
//! deleted it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::warn;

use crate::layout::Layout;
use crate::names::{ArchiveName, Object, ObjectName, ObjectType, Owner};

/// So many are remembered of one owner; when some are mended, the next round finds the others.
const MOST: usize = 10_000;

/// What the file begins with; the number is the version of its form.
const FIRST_LINE: &str = "damaged 1";

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// Its bytes are not those that its name promises.
    Changed,
    /// The disk does not give it out.
    Unreadable,
}

impl Damage {
    /// The word for it on the wire and on the disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Changed, Self::Unreadable].into_iter().find(|damage| damage.as_str() == word)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedObject {
    /// Whose.
    pub owner: Owner,
    /// Of which archive.
    pub archive: ArchiveName,
    /// As in a path of restic's REST protocol: `data/<name>`, `index/<name>`, `snapshots/<name>`.
    pub object: String,
    /// What is wrong.
    pub damage: Damage,
    /// When it was found.
    pub found: SystemTime,
}

pub(crate) type Key = (ArchiveName, ObjectType, ObjectName);

/// One entry.
pub(crate) struct Noted {
    key: Key,
    damage: Damage,
    found: u64,
}

impl Noted {
    pub(crate) fn of(&self, owner: &Owner) -> DamagedObject {
        let (archive, kind, name) = self.key.clone();
        DamagedObject {
            owner: owner.clone(),
            archive,
            object: Object::Named(kind, name).to_string(),
            damage: self.damage,
            found: UNIX_EPOCH + Duration::from_millis(self.found),
        }
    }
}

/// All that is known of one owner.
#[derive(Default)]
pub(crate) struct Damages {
    known: BTreeMap<Key, (Damage, u64)>,
    unsaved: bool,
}

impl Damages {
    /// What the record says, as far as it is still there.
    pub(crate) fn load(layout: &Layout, owner: &Owner) -> Self {
        let path = layout.damaged(owner);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    warn!(path = %path.display(), %error, "the record of damaged objects can't be read; the scrub finds them again");
                }
                return Self::default();
            }
        };
        let Some(mut damages) = Self::parse(&text) else {
            warn!(path = %path.display(), "the record of damaged objects is damaged; the scrub finds them again");
            return Self::default();
        };
        damages.known.retain(|(archive, kind, name), _| {
            layout.object(owner, archive, &Object::Named(*kind, name.clone())).symlink_metadata().is_ok()
        });
        damages
    }

    /// What a record says; lines that make no sense are left out. `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next() == Some(FIRST_LINE))
            .then(|| Self { known: lines.filter_map(parse).take(MOST).collect(), unsaved: false })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for ((archive, kind, name), (damage, found)) in &self.known {
            text += &format!("{found} {damage} {archive} {}/{name}\n", kind.as_str());
        }
        text
    }

    /// Remembers one; `None` if it was known.
    pub(crate) fn note(&mut self, key: Key, damage: Damage, now: u64) -> Option<Noted> {
        if self.known.contains_key(&key) || self.known.len() >= MOST {
            return None;
        }
        self.known.insert(key.clone(), (damage, now));
        self.unsaved = true;
        Some(Noted { key, damage, found: now })
    }

    /// Forgets one; true if it was known.
    pub(crate) fn forget(&mut self, key: &Key) -> bool {
        let known = self.known.remove(key).is_some();
        self.unsaved |= known;
        known
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Noted> {
        self.known.iter().map(|(key, (damage, found))| Noted {
            key: key.clone(),
            damage: *damage,
            found: *found,
        })
    }

    /// What is to be written down, if anything changed since that was asked last.
    pub(crate) fn unsaved_text(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.unsaved) {
            return None;
        }
        Some(self.to_text())
    }

    /// It could not be written down.
    pub(crate) fn not_saved(&mut self) {
        self.unsaved = true;
    }
}

fn parse(line: &str) -> Option<(Key, (Damage, u64))> {
    let mut words = line.split(' ');
    let (found, damage) = (words.next()?.parse().ok()?, Damage::parse(words.next()?)?);
    let archive = ArchiveName::parse(words.next()?).ok()?;
    let (kind, name) = words.next()?.split_once('/')?;
    let key = (archive, ObjectType::parse(kind)?, ObjectName::parse(name).ok()?);
    words.next().is_none().then_some((key, (damage, found)))
}
