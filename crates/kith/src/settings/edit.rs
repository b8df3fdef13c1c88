//! Changing the home's settings file: comments and order stay, the result is checked as a whole before it replaces the file.
//!
//! The daemon and, when none runs, the command line write the file; a lock beside it keeps them apart. All functions block on
//! the disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kith_backup::BackupSet;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::layer::{Origin, find_key, value_from_text};
use super::load::read;
use super::schema::Key;
use super::{Entry, Loaded, SettingsError, SettingsSources};
use crate::home::{open_private, write_atomically};

/// How long to wait for another process that changes the file; it needs milliseconds.
const LOCK_ATTEMPTS: u32 = 250;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A new settings file may hold a proxy's password; an existing one keeps its mode.
const NEW_FILE_MODE: u32 = 0o600;

/// What a change led to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Edited {
    /// The settings after the change.
    pub loaded: Loaded,
    /// The key as it is now. When its origin is not the home's file, a stronger layer hides the change: tell the person.
    pub entry: Entry,
    /// False when a stronger layer hides the change.
    pub effective: bool,
}

/// Sets a key to a value given as text, as in `listener.port` and `4300`.
///
/// # Errors
/// An unknown or locked key, a value that is not allowed, a file that can't be written; the file then is as it was.
pub fn set(sources: &SettingsSources, name: &str, text: &str) -> Result<Edited, SettingsError> {
    let origin = Origin::Asked;
    let key = find_key(name, &origin)?;
    let value = value_from_text(key, text, &origin)?;
    // Judged before the file is touched, so that the error names the command line and not a line of the file.
    super::layer::check(key, &value, &origin)?;
    let value: Value = value.to_string().parse().map_err(|error: toml_edit::TomlError| {
        SettingsError::Value { origin, key: key.name.to_owned(), problem: error.message().to_owned() }
    })?;
    change(sources, key, |old| Ok(put(old, key, &value)))
}

/// Removes a key from the home's file, so that the layers below it hold.
///
/// # Errors
/// As [`set`].
pub fn unset(sources: &SettingsSources, name: &str) -> Result<Edited, SettingsError> {
    let key = find_key(name, &Origin::Asked)?;
    change(sources, key, |mut document| {
        let (section, last) = split(key.name);
        match section {
            Some(section) => {
                if let Some(table) = document.get_mut(section).and_then(Item::as_table_like_mut) {
                    table.remove(last);
                }
            }
            None => drop(document.remove(last)),
        }
        Ok(document)
    })
}

/// Adds a backup set to the home's file.
///
/// # Errors
/// [`SettingsError::SetExists`], [`SettingsError::SetElsewhere`] when the sets come from a stronger layer, and as [`set`].
pub fn add_set(sources: &SettingsSources, new: &BackupSet) -> Result<Edited, SettingsError> {
    let key = find_key("set", &Origin::Asked)?;
    let table = set_table(new)?;
    change(sources, key, |mut document| {
        let loaded = sources.load_with(Some(&document.to_string()))?;
        let same =
            |set: &&BackupSet| set.name().as_str().to_lowercase() == new.name().as_str().to_lowercase();
        if let Some(old) = loaded.settings().sets.iter().find(same) {
            return Err(SettingsError::SetExists { name: old.name().to_string() });
        }
        if let Some(origin) = elsewhere(sources, &loaded) {
            return Err(SettingsError::SetsElsewhere { name: new.name().to_string(), origin });
        }
        match document.entry("set").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
            Item::ArrayOfTables(sets) => sets.push(table),
            Item::Value(Value::Array(sets)) => sets.push(table.into_inline_table()),
            other => *other = Item::ArrayOfTables(ArrayOfTables::from_iter([table])),
        }
        Ok(document)
    })
}

/// Removes a backup set from the home's file. What friends hold of it stays.
///
/// # Errors
/// [`SettingsError::NoSuchSet`] with the names there are, [`SettingsError::SetElsewhere`], and as [`set`].
pub fn remove_set(sources: &SettingsSources, name: &str) -> Result<Edited, SettingsError> {
    let key = find_key("set", &Origin::Asked)?;
    change(sources, key, |mut document| {
        let loaded = sources.load_with(Some(&document.to_string()))?;
        let sets = &loaded.settings().sets;
        if !sets.iter().any(|set| set.name().as_str() == name) {
            let names = sets.iter().map(|set| set.name().to_string()).collect();
            return Err(SettingsError::NoSuchSet { name: name.to_owned(), names });
        }
        if let Some(origin) = elsewhere(sources, &loaded) {
            return Err(SettingsError::SetElsewhere { name: name.to_owned(), origin });
        }
        match document.get_mut("set") {
            Some(Item::ArrayOfTables(_)) => remove_table(&mut document, name),
            Some(Item::Value(Value::Array(sets))) => {
                sets.retain(|set| set.as_inline_table().is_none_or(|set| !is_named(set, name)));
            }
            _ => {}
        }
        Ok(document)
    })
}

/// Where the sets stand, unless the home's file may change them. They replace each other as a whole between layers: those
/// of a weaker layer would vanish by an addition here.
fn elsewhere(sources: &SettingsSources, loaded: &Loaded) -> Option<Origin> {
    match loaded.origin("set") {
        Origin::Default => None,
        Origin::File { path, .. } if path == sources.home_file => None,
        origin => Some(origin),
    }
}

/// Runs a change under the lock: read, refuse what is locked, change, check, write.
fn change(
    sources: &SettingsSources,
    key: &'static Key,
    edit: impl FnOnce(DocumentMut) -> Result<DocumentMut, SettingsError>,
) -> Result<Edited, SettingsError> {
    let target = target_of(&sources.home_file)?;
    let _lock = lock(&target)?;
    let old = read(&target)?.unwrap_or_default();
    // The file must be sound before it is changed; a fault in it is named with its line.
    let before = sources.load_with(Some(&old))?;
    if let Some(origin) = before.lock_of(key.name) {
        return Err(SettingsError::Locked { key: key.name.to_owned(), origin });
    }
    let document = old.parse::<DocumentMut>().map_err(|error| SettingsError::Syntax {
        origin: Origin::File { path: target.clone(), line: None },
        problem: error.message().to_owned(),
    })?;
    let new = edit(document)?.to_string();
    let loaded = sources.load_with(Some(&new)).map_err(without_line)?;
    if new != old {
        let mode = std::fs::metadata(&target).map_or(NEW_FILE_MODE, |data| data.permissions().mode() & 0o777);
        write_atomically(&target, new.as_bytes(), mode)
            .map_err(|source| SettingsError::Unwritable { path: target.clone(), source })?;
    }
    let entry = loaded.get(key.name)?;
    let effective = !matches!(entry.origin, Origin::Environment { .. } | Origin::CommandLine);
    Ok(Edited { loaded, entry, effective })
}

/// A conflict's line would be one of a file that is never written.
fn without_line(error: SettingsError) -> SettingsError {
    match error {
        SettingsError::Conflict { key, problem, .. } => {
            SettingsError::Conflict { origin: Origin::Asked, key, problem }
        }
        other => other,
    }
}

/// A linked file is changed where it lies; the link stays. The superuser follows only links of his own: the owner of the home
/// could make him write elsewhere.
fn target_of(file: &Path) -> Result<PathBuf, SettingsError> {
    if let Ok(data) = std::fs::symlink_metadata(file)
        && data.is_symlink()
        && data.uid() != 0
        && nix::unistd::geteuid().is_root()
    {
        return Err(SettingsError::ForeignLink { path: file.to_path_buf(), owner: data.uid() });
    }
    Ok(std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf()))
}

/// Waits for other writers.
fn lock(target: &Path) -> Result<File, SettingsError> {
    let path = beside(target);
    let unwritable = |source| SettingsError::Unwritable { path: target.to_path_buf(), source };
    let file = open_private(&path, OpenOptions::new().write(true).truncate(false)).map_err(unwritable)?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
    }
    Err(SettingsError::Busy { path: target.to_path_buf() })
}

fn beside(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".lock");
    target.with_file_name(name)
}

fn split(name: &str) -> (Option<&str>, &str) {
    name.split_once('.').map_or((None, name), |(section, last)| (Some(section), last))
}

fn lookup<'a>(document: &'a DocumentMut, key: &Key) -> Option<&'a Item> {
    let (section, last) = split(key.name);
    match section {
        Some(section) => document.get(section)?.as_table_like()?.get(last),
        None => document.get(last),
    }
}

/// Puts a value in place of the old one with its comment, below its commented-out sample line, or at the end of its section.
fn put(mut document: DocumentMut, key: &Key, value: &Value) -> DocumentMut {
    let (section, last) = split(key.name);
    if lookup(&document, key).is_none()
        && let Some(changed) = put_below_sample(&document.to_string(), section, last, value)
    {
        return changed;
    }
    match section {
        None => put_in(document.as_table_mut(), last, value),
        Some(section) => {
            let item = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
            if let Item::Value(Value::InlineTable(inline)) = item
                && !inline.contains_key(last)
            {
                // The space before the closing brace belongs to the last value, which is last no longer.
                for (_, value) in inline.iter_mut() {
                    value.decor_mut().set_suffix("");
                }
            }
            if let Some(table) = item.as_table_like_mut() {
                put_in(table, last, value);
            }
        }
    }
    document
}

fn put_in(table: &mut dyn TableLike, name: &str, value: &Value) {
    let mut value = value.clone();
    match (table.get_mut(name), &value) {
        (Some(Item::Table(old)), Value::InlineTable(new)) => {
            old.clear();
            for (key, value) in new.iter() {
                old.insert(key, Item::Value(value.clone().decorated(" ", "")));
            }
        }
        (Some(Item::Value(old)), _) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        (Some(other), _) => *other = Item::Value(value),
        (None, _) => drop(table.insert(name, Item::Value(value))),
    }
}

/// Writes `name = value` below a line `# name = ...` of the right section.
fn put_below_sample(text: &str, section: Option<&str>, name: &str, value: &Value) -> Option<DocumentMut> {
    let mut current = None;
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            current = line.strip_prefix('[').and_then(|rest| rest.split(']').next()).map(str::trim);
        } else if current == section
            && let Some(sample) = line.strip_prefix('#')
            && sample.split_once('=').is_some_and(|(left, _)| left.trim() == name)
        {
            found = Some(index);
        }
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.insert(found? + 1, format!("{name} = {}", value.to_string().trim()));
    let document = (lines.join("\n") + "\n").parse::<DocumentMut>().ok()?;
    // A comment inside a text of several lines only looks like one.
    let parent: &dyn TableLike = match section {
        Some(section) => document.get(section)?.as_table_like()?,
        None => document.as_table(),
    };
    let written = parent.get(name)?.as_value()?.to_string();
    (written.trim() == value.to_string().trim()).then_some(document)
}

fn set_table(set: &BackupSet) -> Result<Table, SettingsError> {
    let mut paths = toml_edit::Array::new();
    for path in set.paths() {
        let text = path.to_str().ok_or_else(|| SettingsError::PathNotText { path: path.clone() })?;
        paths.push(text);
    }
    let mut table = Table::new();
    table.insert("name", toml_edit::value(set.name().as_str()));
    table.insert("paths", toml_edit::value(paths));
    table.insert("to", toml_edit::value(toml_edit::Array::from_iter(set.destinations())));
    if !set.alternates().is_empty() {
        table.insert("alternate", toml_edit::value(toml_edit::Array::from_iter(set.alternates())));
    }
    if !set.excludes().is_empty() {
        table.insert("exclude", toml_edit::value(toml_edit::Array::from_iter(set.excludes())));
    }
    Ok(table)
}

fn is_named(set: &InlineTable, name: &str) -> bool {
    set.get("name").and_then(Value::as_str) == Some(name)
}

/// Removes a `[[set]]` table, but keeps what stands above it beyond an empty line: that is not about this set.
fn remove_table(document: &mut DocumentMut, name: &str) {
    let Some(sets) = document.get_mut("set").and_then(Item::as_array_of_tables_mut) else { return };
    let named = |set: &Table| set.get("name").and_then(Item::as_str) == Some(name);
    let Some(index) = sets.iter().position(named) else { return };
    let above = sets.get(index).and_then(|set| set.decor().prefix()?.as_str()).unwrap_or_default();
    let kept = above.rfind("\n\n").map(|end| above[..=end].to_owned()).unwrap_or_default();
    sets.remove(index);
    let empty = sets.is_empty();
    if let Some(next) = sets.get_mut(index) {
        let own = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
        let prefix = format!("{kept}{own}");
        next.decor_mut().set_prefix(prefix);
    } else if !kept.trim().is_empty() {
        let trailing = format!("{kept}{}", document.trailing().as_str().unwrap_or_default());
        document.set_trailing(trailing);
    }
    if empty {
        document.remove("set");
    }
}
