//! What is asked of a friend.

use std::ops::Range;

use http::Method;
use kith_wire::paths;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The archive itself: it is to be made.
    Archive,
    /// The archive's config.
    Config,
    /// The list of a kind: `data`, `index`, `snapshots`.
    List(String),
    /// One object: kind and name.
    Object(String, String),
    /// Something that is not the store's: hello, report, state object.
    Other(String),
}

/// A request to a friend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// What about.
    pub place: Place,
    /// The range of bytes that is wanted, if not all.
    pub range: Option<(u64, u64)>,
    /// How often exactly this was asked before.
    pub times: u64,
}

impl Asked {
    pub(super) fn new(method: &Method, target: &str, range: Option<&str>) -> Self {
        let range = range.and_then(parse_range).map(|range| (range.start, range.end));
        Self { method: method.to_string(), place: Place::of(target), range, times: 0 }
    }

    /// Whether something of this kind is read: `data`, `index`, `snapshots`, `config`.
    #[must_use]
    pub fn reads(&self, kind: &str) -> bool {
        self.method == "GET"
            && match &self.place {
                Place::Config => kind == "config",
                Place::Object(of, _) => of == kind,
                _ => false,
            }
    }

    /// Whether an object of this kind is stored.
    #[must_use]
    pub fn stores(&self, kind: &str) -> bool {
        self.method == "POST" && matches!(&self.place, Place::Object(of, _) if of == kind)
    }

    /// Whether the list of this kind is read.
    #[must_use]
    pub fn lists(&self, kind: &str) -> bool {
        self.method == "GET" && matches!(&self.place, Place::List(of) if of == kind)
    }

    /// The object's name; empty if it is about something else.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.place {
            Place::Object(_, name) => name,
            _ => "",
        }
    }

    /// Whether the store is asked, and not the friend himself.
    #[must_use]
    pub const fn is_store(&self) -> bool {
        !matches!(self.place, Place::Other(_))
    }
}

impl Place {
    fn of(target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default();
        let Some(rest) = path.strip_prefix(paths::STORE) else { return Self::Other(path.to_owned()) };
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        match parts[..] {
            [_archive, "config"] => Self::Config,
            [_archive, kind, ""] => Self::List(kind.to_owned()),
            [_archive, kind, name] => Self::Object(kind.to_owned(), name.to_owned()),
            _ => Self::Archive,
        }
    }
}

fn parse_range(header: &str) -> Option<Range<u64>> {
    let (start, end) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some(start.parse().ok()?..end.parse::<u64>().ok()? + 1)
}
