//! The real ufw on one computer of the lab, as if it were installed there alone: with settings of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::namespace::Namespace;
use crate::need::judge;
use crate::run;

/// Where its package is unpacked, as `tests/run` says. It is not installed: it would be on every computer of the lab, and asking it takes time.
const UNPACKED: &str = "KITH_TESTS_UFW";

/// What its package does when it is installed, in the directory where it was unpacked.
const CONFIGURE: &str = r#"cd "$0"
if [ -d lib ] && [ ! -L lib ]; then cp -a lib/. usr/lib/; fi
cp usr/share/ufw/iptables/*.rules usr/share/ufw/*.init usr/share/ufw/ufw.conf etc/ufw/
chmod 640 etc/ufw/*.rules"#;

/// Runs a program that sees it as part of the system. The mounts end with the program: `ip netns exec` gives it mounts of its own.
const SEEING_IT: &str = r#"mount -t overlay -o "lowerdir=$0/usr:/usr" none /usr
mount -t overlay -o "lowerdir=$0/etc:/etc" none /etc
mount --bind "$0/etc/ufw" /etc/ufw
mount --bind "$0/etc/default/ufw" /etc/default/ufw
exec "$@""#;

/// See the module.
#[derive(Clone, Debug)]
pub struct Ufw {
    directory: Arc<TempDir>,
}

impl Ufw {
    /// A copy that is switched off; none if it was not unpacked, which is said.
    ///
    /// # Panics
    /// As [`crate::need`], or if it can't be copied.
    #[must_use]
    pub fn copied() -> Option<Self> {
        let unpacked = std::env::var_os(UNPACKED).map(PathBuf::from).filter(|path| path.is_dir());
        if !judge("ufw", unpacked.is_some(), &format!("ufw is not unpacked ({UNPACKED})")) {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("kith-ufw-").tempdir().unwrap();
        run(Command::new("cp").arg("-a").arg(unpacked?.join(".")).arg(directory.path())).ok();
        run(Command::new("sh").args(["-ec", CONFIGURE]).arg(directory.path())).ok();
        Some(Self { directory: Arc::new(directory) })
    }

    pub(super) fn command(&self, namespace: &Namespace, program: &Path) -> Command {
        let mut command = namespace.command("sh");
        command.args(["-ec", SEEING_IT]).arg(self.directory.path()).arg(program);
        command
    }
}
