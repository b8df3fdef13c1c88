//! How the daemon is started that was looked for: by the service that is installed for its home, or by hand.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::home::Home;

/// Longest wait for systemd.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where a service may be installed, below each: by a package, or by the administrator.
const UNITS: [&str; 3] = ["/usr/lib/systemd", "/lib/systemd", "/etc/systemd"];

/// How it is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// The command that starts it.
    pub(super) command: String,
    /// The command for one that is there and does nothing; none: no service is that is told so.
    pub(super) restart: Option<String>,
    /// What is known of the service, a sentence; none: there is none.
    pub(super) service: Option<String>,
}

/// Whose service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// The system's.
    System,
    /// The person's.
    User,
}

impl Unit {
    /// That of a home, if it is installed.
    fn of(home: &Home, is_named: bool, exists: &dyn Fn(&str) -> bool) -> Option<Self> {
        // One that was named is of no service, unless it is the system's.
        let (unit, directory) = match (home.is_system(), is_named) {
            (true, _) => (Self::System, "system"),
            (false, false) => (Self::User, "user"),
            (false, true) => return None,
        };
        let own = std::env::var("XDG_CONFIG_HOME")
            .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.config")));
        let own = own.ok().filter(|_| unit == Self::User).map(|base| format!("{base}/systemd"));
        let installed = UNITS.iter().map(|base| (*base).to_owned()).chain(own);
        let installed = installed.into_iter().any(|base| exists(&format!("{base}/{directory}/kith.service")));
        installed.then_some(unit)
    }

    const fn systemctl(self) -> &'static str {
        match self {
            Self::System => "systemctl",
            Self::User => "systemctl --user",
        }
    }

    /// The command that does something to it.
    fn command(self, verb: &str) -> String {
        let rights = if self == Self::System { "sudo " } else { "" };
        format!("{rights}{} {verb} kith", self.systemctl())
    }
}

impl Start {
    /// That of the daemon of a home; `is_named` where the person has said which one.
    pub(super) async fn of(home: &Home, is_named: bool) -> Self {
        let unit = Unit::of(home, is_named, &|path| Path::new(path).exists());
        let state = match unit {
            Some(unit) => state(unit).await,
            None => None,
        };
        judged(home, is_named, unit, state.as_deref())
    }
}

/// `inactive`, `failed`, `active`; none: systemd does not say.
async fn state(unit: Unit) -> Option<String> {
    let mut words = unit.systemctl().split(' ');
    let mut asked = Command::new(words.next()?);
    asked.args(words).args(["is-active", "kith"]).kill_on_drop(true);
    let answer = tokio::time::timeout(PATIENCE, asked.output()).await.ok()?.ok()?;
    let state = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    let is_word =
        !state.is_empty() && state.len() < 32 && state.bytes().all(|byte| byte.is_ascii_lowercase());
    is_word.then_some(state)
}

fn judged(home: &Home, is_named: bool, unit: Option<Unit>, state: Option<&str>) -> Start {
    let Some(unit) = unit else {
        let rights = if home.is_system() { "sudo " } else { "" };
        let command = match is_named {
            true => format!("{rights}kith --home {} daemon", argument(home.root())),
            false => format!("{rights}kith daemon"),
        };
        return Start { command, restart: None, service: None };
    };
    let (start, restart) = (unit.command("start"), unit.command("restart"));
    let status = format!("{} status kith", unit.systemctl());
    let service = match state {
        Some("inactive") => Some("the service kith is installed, and stopped".to_owned()),
        Some("failed") => Some(format!("the service kith has failed: `{status}` says why")),
        Some(state) => Some(format!("systemd says that the service kith is {state}")),
        None => Some("the service kith is installed".to_owned()),
    };
    // One that runs, and is not there, has lost its socket.
    let command = if state == Some("active") { restart.clone() } else { start };
    Start { command, restart: Some(restart), service }
}

/// A path as a word of a shell.
fn argument(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::SYSTEM_HOME;

    #[test]
    fn the_command_is_for_the_home_that_was_looked_in() {
        let (system, own) = (Home::at(SYSTEM_HOME), Home::at("/home/anna/.local/share/kith"));
        let both = |path: &str| path.starts_with("/lib/");
        let neither = |_: &str| false;
        for (home, is_named, exists, state, expected) in [
            (&system, false, &both as &dyn Fn(&str) -> bool, Some("inactive"), "sudo systemctl start kith"),
            (&system, true, &both, Some("failed"), "sudo systemctl start kith"),
            (&system, false, &both, Some("active"), "sudo systemctl restart kith"),
            (&system, false, &neither, None, "sudo kith daemon"),
            (&own, false, &both, None, "systemctl --user start kith"),
            (&own, false, &neither, None, "kith daemon"),
            (&own, true, &both, None, "kith --home /home/anna/.local/share/kith daemon"),
        ] {
            let unit = Unit::of(home, is_named, exists);
            let start = judged(home, is_named, unit, state);
            assert_eq!(start.command, expected, "{start:?}");
        }
        assert_eq!(argument(Path::new("/a b/c")), "'/a b/c'");
        let failed = judged(&system, false, Some(Unit::System), Some("failed"));
        assert_eq!(
            failed.service.as_deref(),
            Some("the service kith has failed: `systemctl status kith` says why")
        );
    }
}
