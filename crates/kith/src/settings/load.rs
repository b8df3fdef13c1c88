//! Reading all layers into checked settings that remember where each value comes from.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::layer::{Layer, Origin};
use super::merge::merge;
use super::schema::{self, Key, Kind};
use super::{ListenPort, Role, Settings, SettingsError};
use crate::home::Home;

/// No settings file is larger; more means that something else lies there.
const LARGEST: u64 = 1024 * 1024;

/// Where the layers are.
#[derive(Clone)]
pub struct SettingsSources {
    /// The administrator's directory: `kith.toml`, `conf.d/*.toml` and `locked.toml` in it.
    pub etc: PathBuf,
    /// The home's settings file.
    pub home_file: PathBuf,
    /// Variables of the environment; those that don't begin with `KITH_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags: full key names with values as text.
    pub overrides: Vec<(String, String)>,
    /// Who reads: a hub may use port 443.
    pub role: Role,
}

impl fmt::Debug for SettingsSources {
    /// Without the values of the environment and of flags, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsSources")
            .field("etc", &self.etc)
            .field("home_file", &self.home_file)
            .finish_non_exhaustive()
    }
}

impl SettingsSources {
    /// The sources of this process: `/etc/kith`, the home's file, the environment.
    ///
    /// # Errors
    /// [`SettingsError::NotText`] for a `KITH_` variable that is no text.
    pub fn of_process(home: &Home) -> Result<Self, SettingsError> {
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with("KITH_")) else { continue };
            let value = value.into_string().map_err(|_| SettingsError::NotText { name: name.to_owned() })?;
            environment.push((name.to_owned(), value));
        }
        // A stable order, so that the same fault gives the same message.
        environment.sort();
        Ok(Self { environment, ..Self::files(Path::new("/etc/kith"), home) })
    }

    /// Only files: an administrator's directory and a home.
    pub fn files(etc: &Path, home: &Home) -> Self {
        Self {
            etc: etc.to_path_buf(),
            home_file: home.settings_file(),
            environment: Vec::new(),
            overrides: Vec::new(),
            role: Role::Computer,
        }
    }

    /// Reads, checks and merges all layers.
    ///
    /// # Errors
    /// The first fault found, with its place.
    pub fn load(&self) -> Result<Loaded, SettingsError> {
        let text = read(&self.home_file)?;
        self.load_with(text.as_deref())
    }

    /// As [`SettingsSources::load`] with this text in place of the home's file.
    pub(super) fn load_with(&self, home_text: Option<&str>) -> Result<Loaded, SettingsError> {
        let mut layers = vec![Layer::defaults()?];
        let mut files = vec![self.etc.join("kith.toml")];
        files.extend(fragments(&self.etc.join("conf.d"))?);
        for path in &files {
            layers.extend(layer(path)?);
        }
        if let Some(text) = home_text {
            layers.push(Layer::from_toml(&self.home_file, text)?);
        }
        layers.push(Layer::from_environment(&self.environment)?);
        layers.push(Layer::from_flags(&self.overrides)?);
        layers.extend(layer(&self.locked_file())?);
        Loaded::of(layers, self.locked_file(), self.role)
    }

    /// The file whose keys nobody else may change.
    pub fn locked_file(&self) -> PathBuf {
        self.etc.join("locked.toml")
    }
}

/// Settings with the origin of each value.
#[derive(Debug, Clone)]
pub struct Loaded {
    settings: Settings,
    layers: Vec<Layer>,
    locked: PathBuf,
}

/// One key as `kith settings get` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Full name.
    pub key: &'static str,
    /// The value in TOML; a password in it is replaced by stars.
    pub value: String,
    /// The default in TOML.
    pub default: &'static str,
    /// Where the value comes from.
    pub origin: Origin,
    /// True when `locked.toml` holds it.
    pub locked: bool,
    /// What the key does.
    pub help: &'static str,
}

impl Loaded {
    /// What a file of this text would give, with nothing but the defaults below it.
    ///
    /// # Errors
    /// The first fault found, with its place.
    pub fn of_text(path: &Path, text: &str) -> Result<Self, SettingsError> {
        Self::of(vec![Layer::defaults()?, Layer::from_toml(path, text)?], PathBuf::new(), Role::Computer)
    }

    fn of(layers: Vec<Layer>, locked: PathBuf, role: Role) -> Result<Self, SettingsError> {
        // Every layer was checked with the same types: this can only fail if the crate and we disagree.
        let settings = merge(&layers).map_err(|error| SettingsError::Value {
            origin: Origin::Default,
            key: "settings".to_owned(),
            problem: error.to_string(),
        })?;
        let loaded = Self { settings, layers, locked };
        loaded.check_together(role)?;
        Ok(loaded)
    }

    /// The typed values.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The typed values alone.
    pub fn into_settings(self) -> Settings {
        self.settings
    }

    /// One key with its value and origin.
    ///
    /// # Errors
    /// [`SettingsError::UnknownKey`] with a proposal.
    pub fn get(&self, name: &str) -> Result<Entry, SettingsError> {
        Ok(self.entry(super::layer::find_key(name, &Origin::Asked)?))
    }

    /// All keys, in the order of the file.
    pub fn list(&self) -> Vec<Entry> {
        schema::KEYS.iter().map(|key| self.entry(key)).collect()
    }

    /// Where a key's value comes from.
    pub fn origin(&self, name: &str) -> Origin {
        let leaf = self.layers.iter().rev().find_map(|layer| layer.leaves.get(name));
        leaf.map_or(Origin::Default, |leaf| leaf.origin.clone())
    }

    /// The place in `locked.toml` that holds a key.
    pub fn lock_of(&self, name: &str) -> Option<Origin> {
        let origin = self.origin(name);
        matches!(&origin, Origin::File { path, .. } if *path == self.locked).then_some(origin)
    }

    fn entry(&self, key: &'static Key) -> Entry {
        let leaf = self.layers.iter().rev().find_map(|layer| layer.leaves.get(key.name));
        let value = match (&self.settings.network.proxy, leaf) {
            (Some(proxy), _) if key.secret => format!("{:?}", proxy.redacted()),
            (_, Some(leaf)) if key.kind == Kind::Sets => sets_in_line(&leaf.value),
            (_, Some(leaf)) => leaf.value.to_string(),
            (_, None) => key.default.to_owned(),
        };
        Entry {
            key: key.name,
            value,
            default: key.default,
            origin: self.origin(key.name),
            locked: self.lock_of(key.name).is_some(),
            help: key.help,
        }
    }

    /// Checks what no value can know alone. The error stands at the key that should change.
    fn check_together(&self, role: Role) -> Result<(), SettingsError> {
        let settings = &self.settings;
        let conflict = |key: &str, problem: String| {
            Err(SettingsError::Conflict { origin: self.origin(key), key: key.to_owned(), problem })
        };
        let listen = settings.listener.port.get();
        if let Err(problem) = ListenPort::new(listen.into(), role) {
            return conflict("listener.port", problem);
        }
        let (control, app) = (settings.control.port.get(), settings.control.app_port.get());
        if control == app {
            return conflict(
                "control.app-port",
                format!("port {app} is control.port already; give each a port of its own"),
            );
        }
        for (key, port) in [("control.port", control), ("control.app-port", app)] {
            if port == listen {
                let problem = format!("port {port} is listener.port already; give each a port of its own");
                return conflict(key, problem);
            }
        }
        let hub = &settings.hub;
        if let Err(problem) = ListenPort::new(hub.peer_port.get().into(), Role::Computer) {
            return conflict("hub.peer-port", problem);
        }
        if hub.peer_port == hub.port {
            let problem = format!("port {} is hub.port already; give each a port of its own", hub.port.get());
            return conflict("hub.peer-port", problem);
        }
        if role == Role::Hub && hub.bind.is_empty() {
            return conflict("hub.bind", "the list is empty; name an address".to_owned());
        }
        if hub.moving.to.is_empty() != hub.moving.at.is_none() {
            let problem = "hub.moving.to and hub.moving.at go together; give both, or none".to_owned();
            return conflict("hub.moving.at", problem);
        }
        if settings.listener.bind.is_empty() && !settings.network.outbound_only {
            let problem = "the list is empty; name an address, or set network.outbound-only = true to accept no connections";
            return conflict("listener.bind", problem.to_owned());
        }
        if let Err(error) = kith_backup::set::check_sets(&settings.sets) {
            return conflict("set", error.to_string());
        }
        Ok(())
    }
}

/// Sets in one line of TOML.
fn sets_in_line(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(list) => {
            format!("[{}]", list.iter().map(sets_in_line).collect::<Vec<_>>().join(", "))
        }
        toml::Value::Table(table) => {
            let parts: Vec<String> =
                table.iter().map(|(name, value)| format!("{name} = {}", sets_in_line(value))).collect();
            format!("{{ {} }}", parts.join(", "))
        }
        other => other.to_string(),
    }
}

fn layer(path: &Path) -> Result<Option<Layer>, SettingsError> {
    read(path)?.map(|text| Layer::from_toml(path, &text)).transpose()
}

/// The text of a settings file; `None` when there is no such file. A file that can't be read is never skipped: it may hold
/// what the administrator locked.
pub(super) fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    let unreadable = |source| SettingsError::Unreadable { path: path.to_path_buf(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(source)),
    };
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(SettingsError::TooLarge { path: path.to_path_buf(), limit: LARGEST });
    }
    Ok(Some(text))
}

/// The `*.toml` files of a directory in the order of their names, without hidden ones.
fn fragments(directory: &Path) -> Result<Vec<PathBuf>, SettingsError> {
    let unreadable = |source| SettingsError::Unreadable { path: directory.to_path_buf(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().ends_with(b".toml") && !name.as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
