//! Disks that are full, read-only or take no large files, for one process and its children only: whatever happens to the test, no mount is
//! left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a process sees the file systems.
#[derive(Clone, Debug)]
pub struct Isolation {
    script: String,
    place: PathBuf,
}

impl Isolation {
    /// A small file system of its own at this place.
    #[must_use]
    pub fn tmpfs(place: &Path, mebibytes: u32) -> Self {
        let script = format!("mount -t tmpfs -o size={mebibytes}m,mode=700 kith-test \"$0\"");
        Self { script, place: place.to_owned() }
    }

    /// This place can be read but not written.
    #[must_use]
    pub fn read_only(place: &Path) -> Self {
        let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"".to_owned();
        Self { script, place: place.to_owned() }
    }

    /// No file can be written beyond this length: such a write fails.
    #[must_use]
    pub fn files_up_to(kibibytes: u32) -> Self {
        // The shell counts blocks of 512 bytes.
        let script = format!("trap '' XFSZ && ulimit -f {}", kibibytes * 2);
        Self { script, place: PathBuf::from("/") }
    }

    /// No file can be written beyond this length: who tries is killed by the kernel.
    #[must_use]
    pub fn dying_of_files_beyond(kibibytes: u32) -> Self {
        Self { script: format!("ulimit -c 0 && ulimit -f {}", kibibytes * 2), place: PathBuf::from("/") }
    }

    /// A command that runs `program` this way; it keeps its process id.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        if !crate::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg(format!("{} && exec \"$@\"", self.script)).arg(&self.place).arg(program);
        command
    }
}

/// Lets other users of the computer into a directory and read what is below it.
///
/// # Panics
/// If the rights can't be changed.
pub fn make_readable_by_all(path: &Path) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let mode = meta.permissions().mode();
    if meta.is_dir() {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o555)).unwrap();
        for entry in std::fs::read_dir(path).unwrap() {
            make_readable_by_all(&entry.unwrap().path());
        }
    } else if meta.is_file() {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o444)).unwrap();
    }
}
