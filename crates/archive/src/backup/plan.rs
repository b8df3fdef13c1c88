//! Which directories lead to what is backed up: a snapshot's root contains the full paths of its sources.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// A directory on the way to a source, or a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Planned {
    /// A directory of which only the named entries are taken.
    Way(Plan),
    /// Everything at this path.
    Source(PathBuf),
}

/// Entries by name, in the order in which trees are sorted.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// Where the directory lies.
    pub(super) path: PathBuf,
    /// What to take of it. `OsString` is ordered by bytes.
    pub(super) entries: BTreeMap<OsString, Planned>,
}

/// An absolute path without `.`, `..`, and doubled or trailing slashes; `None` if it is relative. Like Go's `Clean` it
/// looks at the text only, not at symbolic links.
pub(super) fn clean(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(cleaned)
}

impl Plan {
    /// The plan for clean absolute paths. If one source lies in another, the outer one contains it anyway.
    ///
    /// # Errors
    /// The root directory is a source and can't be listed.
    pub(super) fn new(paths: &[PathBuf]) -> io::Result<Self> {
        let mut plan = Self { path: "/".into(), entries: BTreeMap::new() };
        for path in paths {
            if path == Path::new("/") {
                plan.add_root()?;
            } else {
                plan.add(path);
            }
        }
        Ok(plan)
    }

    /// How many directories lead to the sources.
    pub(super) fn ways(&self) -> u64 {
        let below = |planned: &Planned| match planned {
            Planned::Way(plan) => 1 + plan.ways(),
            Planned::Source(_) => 0,
        };
        self.entries.values().map(below).sum()
    }

    /// The root directory has no name and no node: its entries are the sources.
    fn add_root(&mut self) -> io::Result<()> {
        for entry in fs::read_dir("/")? {
            let name = entry?.file_name();
            let source = Planned::Source(Path::new("/").join(&name));
            self.entries.insert(name, source);
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) {
        let names: Vec<&OsStr> = path
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name),
                _ => None,
            })
            .collect();
        let Some((last, way)) = names.split_last() else { return };
        let mut plan = self;
        for name in way {
            let below = plan.path.join(name);
            let next = plan
                .entries
                .entry(name.to_os_string())
                .or_insert_with(|| Planned::Way(Self { path: below, entries: BTreeMap::new() }));
            match next {
                Planned::Way(next) => plan = next,
                Planned::Source(_) => return,
            }
        }
        plan.entries.insert(last.to_os_string(), Planned::Source(path.to_owned()));
    }
}

/// The entries of a directory, sorted by the bytes of their names.
pub(super) fn sorted_names(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().into_vec());
    }
    names.sort_unstable();
    Ok(names.into_iter().map(OsString::from_vec).collect())
}

/// A path as text for a snapshot, which can hold UTF-8 only.
pub(super) fn text(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_text() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(clean(Path::new(path)), expected.map(PathBuf::from), "{path}");
        };
        check("/a/b/", Some("/a/b"));
        check("//a/./b/../c", Some("/a/c"));
        check("/..", Some("/"));
        check("a/b", None);
        check("", None);
    }

    #[test]
    fn sources_share_the_way_to_them() {
        let paths = ["/home/a/docs", "/home/b", "/home/b/inner", "/srv"].map(PathBuf::from);
        let plan = Plan::new(&paths).unwrap();
        let Planned::Way(home) = &plan.entries[OsStr::new("home")] else { panic!("no way") };
        assert_eq!(home.path, Path::new("/home"));
        assert_eq!(home.entries[OsStr::new("b")], Planned::Source("/home/b".into()));
        let Planned::Way(a) = &home.entries[OsStr::new("a")] else { panic!("no way") };
        assert_eq!(a.entries[OsStr::new("docs")], Planned::Source("/home/a/docs".into()));
        assert_eq!(plan.entries[OsStr::new("srv")], Planned::Source("/srv".into()));
        assert_eq!(plan.ways(), 2);
    }

    #[test]
    fn an_outer_source_contains_an_inner_one_in_any_order() {
        for paths in [["/h/b/inner", "/h/b"], ["/h/b", "/h/b/inner"]] {
            let plan = Plan::new(&paths.map(PathBuf::from)).unwrap();
            let Planned::Way(home) = &plan.entries[OsStr::new("h")] else { panic!("no way") };
            assert_eq!(home.entries[OsStr::new("b")], Planned::Source("/h/b".into()));
        }
    }
}
