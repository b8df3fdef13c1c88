//! One layer of settings: where it comes from, what it says, each value checked alone.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::schema::{self, Key, Kind};
use super::{Settings, SettingsError};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Built in.
    Default,
    /// A file, and the line when it is known.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// The variable.
        variable: String,
    },
    /// A flag.
    CommandLine,
    /// What the person just asked for, by the command line or the app: it needs no place in an error.
    Asked,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}, line {line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::CommandLine => f.write_str("command line"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

impl Origin {
    /// The beginning of an error's sentence.
    pub(super) fn prefix(&self) -> String {
        if *self == Self::Asked { String::new() } else { format!("{self}: ") }
    }
}

/// One value with its place.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The values of one layer by full key name.
#[derive(Clone, Default)]
pub(super) struct Layer {
    pub(super) leaves: BTreeMap<&'static str, Leaf>,
}

impl fmt::Debug for Layer {
    /// Keys and places only: a value may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.leaves.iter().map(|(name, leaf)| (name, leaf.origin.to_string()))).finish()
    }
}

impl Layer {
    /// The built-in defaults.
    pub(super) fn defaults() -> Result<Self, SettingsError> {
        let mut layer = Self::default();
        for key in &schema::KEYS {
            let text = format!("value = {}", key.default);
            let value = toml::from_str::<toml::Table>(&text).ok().and_then(|mut table| table.remove("value"));
            let value = value.unwrap_or_else(|| Value::String(String::new()));
            layer.insert(key, value, Origin::Default)?;
        }
        Ok(layer)
    }

    /// The text of a settings file.
    pub(super) fn from_toml(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let at = |offset: usize| Origin::File { path: path.to_path_buf(), line: Some(line_of(text, offset)) };
        let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
            origin: at(error.span().map_or(0, |span| span.start)),
            problem: error.message().to_owned(),
        })?;
        let mut layer = Self::default();
        layer.read_table("", table.get_ref(), &at)?;
        Ok(layer)
    }

    /// Variables of the environment. `KITH_HOME` and `KITH_LOG` are not settings.
    pub(super) fn from_environment(variables: &[(String, String)]) -> Result<Self, SettingsError> {
        let mut layer = Self::default();
        for (variable, text) in variables {
            if !variable.starts_with("KITH_") || variable == "KITH_HOME" || variable == "KITH_LOG" {
                continue;
            }
            let origin = Origin::Environment { variable: variable.clone() };
            match schema::KEYS.iter().find(|key| key.variable().as_deref() == Some(variable)) {
                Some(key) => layer.insert(key, value_from_text(key, text, &origin)?, origin)?,
                None => refuse_unknown_variable(variable, origin)?,
            }
        }
        Ok(layer)
    }

    /// Flags of the command line: full key names with values as text.
    pub(super) fn from_flags(flags: &[(String, String)]) -> Result<Self, SettingsError> {
        let mut layer = Self::default();
        for (name, text) in flags {
            let key = find_key(name, &Origin::CommandLine)?;
            layer.insert(key, value_from_text(key, text, &Origin::CommandLine)?, Origin::CommandLine)?;
        }
        Ok(layer)
    }

    fn read_table(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        at: &dyn Fn(usize) -> Origin,
    ) -> Result<(), SettingsError> {
        for (name, value) in table.iter() {
            let origin = at(name.span().start);
            let bare = name.get_ref().as_ref();
            let full = join(prefix, bare);
            if let Some(key) = schema::find(&full) {
                if key.kind == Kind::Sets {
                    check_set_keys(value.get_ref(), &origin, at)?;
                }
                self.insert(key, to_value(value.get_ref(), key.name, &origin)?, origin)?;
            } else if schema::is_section(&full) {
                let Some(section) = value.get_ref().as_table() else {
                    let problem = format!("this is a section; write its keys below a line [{full}]");
                    return Err(SettingsError::Value { origin, key: full, problem });
                };
                self.read_table(&full, section, at)?;
            } else {
                let proposal = schema::closest(&full).map(str::to_owned);
                return Err(SettingsError::UnknownKey { origin, key: full, proposal });
            }
        }
        Ok(())
    }

    /// Checks a value against its key and keeps it.
    fn insert(&mut self, key: &'static Key, value: Value, origin: Origin) -> Result<(), SettingsError> {
        check(key, &value, &origin)?;
        self.leaves.insert(key.name, Leaf { value, origin });
        Ok(())
    }
}

/// The key of that name, or an error that proposes one.
pub(super) fn find_key(name: &str, origin: &Origin) -> Result<&'static Key, SettingsError> {
    schema::find(name).ok_or_else(|| SettingsError::UnknownKey {
        origin: origin.clone(),
        key: name.to_owned(),
        proposal: schema::closest(name).map(str::to_owned),
    })
}

/// Turns text from the environment or the command line into a TOML value of the key's type.
///
/// Lists are separated by commas, tables by commas and the last equal sign; both may also be written as in TOML.
pub(super) fn value_from_text(key: &Key, text: &str, origin: &Origin) -> Result<Value, SettingsError> {
    let text = text.trim();
    let as_toml = || toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?.remove("value");
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let value = match key.kind {
        Kind::Text => Some(Value::String(text.to_owned())),
        Kind::Flag => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(Value::Boolean(true)),
            "false" | "no" | "off" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        Kind::Number => text.parse().ok().map(Value::Integer),
        Kind::Texts if text.starts_with('[') => {
            // "[2001:db8::1]:4242" begins like a list, too.
            as_toml().or_else(|| Some(Value::Array(parts().map(Value::from).collect())))
        }
        Kind::Texts => Some(Value::Array(parts().map(Value::from).collect())),
        Kind::TextTable if text.starts_with('{') => as_toml(),
        Kind::TextTable => parts()
            .map(|part| part.split_once('=').map(|(k, v)| (k.trim().to_owned(), Value::from(v.trim()))))
            .collect::<Option<toml::Table>>()
            .map(Value::Table),
        Kind::Sets => {
            let problem = "sets are not set this way; use `kith set add` and `kith set remove`".to_owned();
            return Err(SettingsError::Value { origin: origin.clone(), key: key.name.to_owned(), problem });
        }
    };
    value.ok_or_else(|| SettingsError::Value {
        origin: origin.clone(),
        key: key.name.to_owned(),
        problem: format!("expected {}, found {}", key.kind.expected(), shown(key, text)),
    })
}

fn shown(key: &Key, text: &str) -> String {
    if key.secret { "something else".to_owned() } else { format!("{text:?}") }
}

/// Checks type and value of one key by itself.
pub(super) fn check(key: &Key, value: &Value, origin: &Origin) -> Result<(), SettingsError> {
    let refuse =
        |problem: String| SettingsError::Value { origin: origin.clone(), key: key.name.to_owned(), problem };
    let fits = match (key.kind, value) {
        (Kind::Text, Value::String(_))
        | (Kind::Flag, Value::Boolean(_))
        | (Kind::Number, Value::Integer(_)) => true,
        (Kind::Texts, Value::Array(list)) => list.iter().all(Value::is_str),
        (Kind::TextTable, Value::Table(table)) => table.values().all(Value::is_str),
        (Kind::Sets, Value::Array(list)) => list.iter().all(Value::is_table),
        _ => false,
    };
    if !fits {
        return Err(refuse(format!("expected {}, found {}", key.kind.expected(), describe(value))));
    }
    // The typed settings judge the value: a document with this key alone must be readable.
    let document = key
        .name
        .rsplit('.')
        .fold(value.clone(), |inner, name| Value::Table(toml::Table::from_iter([(name.to_owned(), inner)])));
    Settings::deserialize(document).map(drop).map_err(|error| refuse(error.message().to_owned()))
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(list) if list.iter().all(Value::is_str) => "a list of texts",
        Value::Array(_) => "a list with something else in it",
        Value::Table(_) => "a table",
    }
}

/// Checks keys and types of `[[set]]` tables, so that an error names the line inside the table.
fn check_set_keys(
    value: &DeValue<'_>,
    origin: &Origin,
    at: &dyn Fn(usize) -> Origin,
) -> Result<(), SettingsError> {
    let Some(list) = value.as_array() else {
        let problem = "expected [[set]] tables, with two brackets on each side".to_owned();
        return Err(SettingsError::Value { origin: origin.clone(), key: "set".to_owned(), problem });
    };
    for (name, value) in list.iter().filter_map(|entry| entry.get_ref().as_table()).flatten() {
        let bare = name.get_ref().as_ref();
        let origin = at(name.span().start);
        if !schema::SET_KEYS.contains(&bare) {
            return Err(SettingsError::UnknownKey {
                origin,
                key: format!("{bare} in [[set]]"),
                proposal: schema::closest_of(bare, &schema::SET_KEYS).map(str::to_owned),
            });
        }
        let kind = if bare == "name" { Kind::Text } else { Kind::Texts };
        let key = format!("set.{bare}");
        let value = to_value(value.get_ref(), &key, &origin)?;
        let fits = match &value {
            Value::String(_) => kind == Kind::Text,
            Value::Array(list) => kind == Kind::Texts && list.iter().all(Value::is_str),
            _ => false,
        };
        if !fits {
            let problem = format!("expected {}, found {}", kind.expected(), describe(&value));
            return Err(SettingsError::Value { origin, key, problem });
        }
    }
    Ok(())
}

/// A variable without `__` may be somebody else's, unless it is a key with its separators confused.
fn refuse_unknown_variable(variable: &str, origin: Origin) -> Result<(), SettingsError> {
    let squashed = |name: &str| name.replace('_', "").to_ascii_uppercase();
    let mut names = schema::KEYS.iter().filter_map(Key::variable);
    let confused = names.find(|name| squashed(name) == squashed(variable));
    if confused.is_none() && !variable.contains("__") {
        return Ok(());
    }
    let rest = variable.trim_start_matches("KITH_").to_ascii_lowercase().replace("__", ".").replace('_', "-");
    let proposal = confused.or_else(|| schema::find(schema::closest(&rest)?)?.variable());
    Err(SettingsError::UnknownKey { origin, key: rest, proposal })
}

fn to_value(value: &DeValue<'_>, key: &str, origin: &Origin) -> Result<Value, SettingsError> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(&number.as_str().replace('_', ""), number.radix());
            Value::Integer(parsed.map_err(|_| SettingsError::Value {
                origin: origin.clone(),
                key: key.to_owned(),
                problem: "the number is too large".to_owned(),
            })?)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(list) => Value::Array(
            list.iter().map(|entry| to_value(entry.get_ref(), key, origin)).collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(name, entry)| {
                    Ok((name.get_ref().clone().into_owned(), to_value(entry.get_ref(), key, origin)?))
                })
                .collect::<Result<_, SettingsError>>()?,
        ),
    })
}

/// `prefix.name`, with quotes around a name that would need them in TOML.
fn join(prefix: &str, name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let name = if bare { name.to_owned() } else { format!("{name:?}") };
    if prefix.is_empty() { name } else { format!("{prefix}.{name}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}
