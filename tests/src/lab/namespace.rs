//! Network namespaces by name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::need::program;

/// Where `ip` keeps the names.
pub(super) const DIRECTORY: &str = "/run/netns";

/// Where `ip` keeps the files that programs in a namespace see in the place of those of the same names in `/etc`.
pub(super) const FILES: &str = "/etc/netns";

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    /// The one of this name; it need not exist yet.
    pub(super) const fn named(name: String) -> Self {
        Self { name }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// A call of a program in it. The program takes the place of `ip`: it has the process id that was started.
    pub(super) fn command(&self, name: impl AsRef<Path>) -> Command {
        let name = name.as_ref();
        let path = name.to_str().map_or_else(|| name.to_owned(), program);
        let mut command = Command::new(program("ip"));
        command.args(["netns", "exec", &self.name]).arg(path);
        command
    }

    /// Does something in it: sockets that are made there stay there, whoever uses them later.
    ///
    /// # Panics
    /// If it does, or if there is no such namespace.
    pub(super) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // Only the thread moves; it ends with what it does.
                let file = File::open(self.path()).unwrap_or_else(|error| panic!("{}: {error}", self.name));
                setns(file, CloneFlags::CLONE_NEWNET)
                    .unwrap_or_else(|error| panic!("{}: {error}", self.name));
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Programs that are started in it from now on see this in the place of a file of `/etc`.
    pub(super) fn set_file(&self, name: &str, text: &str) {
        let directory = Path::new(FILES).join(&self.name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), text).unwrap();
    }

    /// Sets values below `/proc/sys/net`; what this kernel doesn't have is passed over.
    pub(super) fn set(&self, values: &[(&str, &str)]) {
        self.inside(|| {
            for (name, value) in values {
                let path = Path::new("/proc/sys/net").join(name);
                if path.exists() {
                    std::fs::write(&path, value)
                        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                }
            }
        });
    }
}
