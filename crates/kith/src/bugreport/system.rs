//! The program and the system under it.

use std::path::Path;

use crate::home::Home;

/// What runs here.
#[derive(Debug, Clone)]
pub struct System {
    /// Version of this program; the daemon has its own.
    pub version: &'static str,
    /// As `linux`.
    pub system: &'static str,
    /// As `x86_64`.
    pub architecture: &'static str,
    /// The C library this program was built for.
    pub libc: &'static str,
    /// The kernel's release.
    pub kernel: String,
    /// `ID` and `VERSION_ID` of the distribution.
    pub distribution: Option<(String, String)>,
    /// Whether systemd has started this computer.
    pub systemd: bool,
    /// How the daemon of this home was started; `None` if none runs or it can't be seen.
    pub service: Option<&'static str>,
    /// The names by which this computer goes.
    pub host: String,
    /// The user who runs the command, by name.
    pub user: Option<String>,
    /// His directory.
    pub user_home: Option<std::path::PathBuf>,
}

impl System {
    /// Looks.
    pub fn look(home: &Home) -> Self {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            libc: if cfg!(target_env = "gnu") {
                "gnu"
            } else if cfg!(target_env = "musl") {
                "musl"
            } else {
                "the system's"
            },
            kernel: nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            distribution: std::fs::read_to_string("/etc/os-release").ok().map(|text| distribution(&text)),
            systemd: Path::new("/run/systemd/system").is_dir(),
            service: home.read_ports().ok().flatten().and_then(|ports| service(ports.pid)),
            host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
            user: user.as_ref().map(|user| user.name.clone()),
            user_home: user.map(|user| user.dir),
        }
    }
}

fn distribution(text: &str) -> (String, String) {
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_default().trim().trim_matches('"').to_owned()
    };
    (value("ID"), value("VERSION_ID"))
}

/// From the control group, which systemd makes for every unit.
fn service(pid: u32) -> Option<&'static str> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    Some(started_as(&groups))
}

fn started_as(groups: &str) -> &'static str {
    if !groups.contains("/kith.service") {
        "by hand, or by something else than the unit kith.service"
    } else if groups.contains("/user.slice/") {
        "by systemd, as a service of its user"
    } else {
        "by systemd, as the system's service"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_daemon_is_told_from_its_control_group() {
        assert_eq!(started_as("0::/system.slice/kith.service\n"), "by systemd, as the system's service");
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/kith.service\n";
        assert_eq!(started_as(user), "by systemd, as a service of its user");
        assert!(started_as("0::/user.slice/user-1000.slice/session-2.scope\n").starts_with("by hand"));
    }

    #[test]
    fn a_distribution_is_its_id_and_version() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 13\"\nVERSION_ID=\"13\"\nID=debian\n";
        assert_eq!(distribution(text), ("debian".to_owned(), "13".to_owned()));
    }
}
