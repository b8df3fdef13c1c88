//! A laboratory of networks on one machine: an internet, routers with real address translation and real `miniupnpd`, hosts
//! behind them. It needs the superuser ([`crate::need_lab`]).
//!
//! Everything lives in network namespaces that have no way to the machine's own network: nothing that runs here can reach
//! the world, and nothing outside can reach it. A [`Lab`] takes all of it down when it is dropped, also after a panic; what a
//! killed process left is swept away by the next lab. Any number of labs stand side by side.
//!
//! ```no_run
//! use e2e::lab::{Lab, SiteKind};
//! let lab = Lab::new("a home and a server");
//! let home = lab.site(SiteKind::upnp());
//! let server = lab.public_host();
//! let listener = server.listen(4242);
//! assert!(home.host().dial(server.at(4242), std::time::Duration::from_secs(1)).is_ok());
//! ```
//!
//! The internet is routed: every site has a line of its own to it, and what is sent to an address that nobody has
//! disappears without a word.

mod addresses;
mod capture;
mod fake_igd;
mod host;
mod ip;
mod kind;
mod line;
mod miniupnpd;
mod namespace;
mod processes;
mod proxies;
mod router;
mod rules;
mod site;
mod standing;
mod sweep;
mod table;
mod ufw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

pub use capture::{Capture, Passed};
pub use fake_igd::{
    Description, Effect, ErrorText, FakeIgd, Leases, Listing, ReadBack, Request, Script, Ssdp,
};
pub use host::{Firewall, Host, Traffic};
pub use kind::{IgdVersion, SiteKind};
pub use line::{Distance, Line};
pub use processes::Process;
pub(crate) use processes::{spawn, tied_to_us};
pub use router::{Reboot, Router};
pub use site::{Carrier, Site};
pub use standing::{Standing, StandingHost};
pub use table::{Entry, Transport};
pub use ufw::Ufw;

use namespace::Namespace;
use processes::Processes;

/// Most sites, carriers and public hosts of one lab: each has a number that is a part of its addresses.
const MOST_PARTIES: u8 = 100;

/// Namespaces with an internet between them.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
    outside: OnceLock<Host>,
}

/// What the parts of a lab have in common.
#[derive(Debug)]
struct Shared {
    prefix: String,
    directory: Directory,
    internet: Namespace,
    parties: AtomicU8,
    names: Mutex<BTreeMap<String, u32>>,
    processes: Processes,
}

/// Where configuration and logs of routers are.
#[derive(Debug)]
enum Directory {
    Temporary(TempDir),
    Standing(PathBuf),
}

impl Lab {
    /// An internet with nothing in it. `title` names the directory that holds the logs of its routers.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn new(title: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        static SWEPT: OnceLock<()> = OnceLock::new();
        SWEPT.get_or_init(sweep::sweep);
        let title: String = title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let directory = tempfile::Builder::new().prefix(&format!("kith-lab-{title}-")).tempdir().unwrap();
        let prefix = format!("{}{}-", sweep::own_prefix(), COUNTER.fetch_add(1, Ordering::Relaxed));
        Self::with(prefix, Directory::Temporary(directory))
    }

    fn with(prefix: String, directory: Directory) -> Self {
        let internet = Namespace::named(format!("{prefix}internet"));
        let shared = Shared {
            prefix,
            directory,
            internet,
            parties: AtomicU8::new(0),
            names: Mutex::default(),
            processes: Processes::default(),
        };
        // From here on a panic takes down what was made.
        let lab = Self { shared: Arc::new(shared), outside: OnceLock::new() };
        site::build_internet(&lab.shared);
        lab
    }

    /// A home or office of this kind, with one host.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn site(&self, kind: SiteKind) -> Site {
        Site::build(&self.shared, kind, None)
    }

    /// A carrier that translates the addresses of its customers once more. `kind` says how.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn carrier(&self, kind: SiteKind) -> Carrier {
        Carrier::build(&self.shared, kind)
    }

    /// A home whose line is this carrier's.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn site_behind(&self, carrier: &Carrier, kind: SiteKind) -> Site {
        Site::build(&self.shared, kind, Some(carrier))
    }

    /// A host with public addresses of its own, of both families.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn public_host(&self) -> Host {
        site::public_host(&self.shared)
    }

    /// A host with public addresses of its own, at the end of a line of this length and width. Needs `python3`.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn distant_host(&self, distance: Distance) -> (Host, Line) {
        site::distant_host(&self.shared, distance)
    }

    /// The public host from which tests look at sites from outside.
    pub fn outside(&self) -> &Host {
        self.outside.get_or_init(|| self.public_host())
    }

    /// What the names of its namespaces begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// Where the logs of its routers are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.shared.directory.path()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        match self.shared.directory {
            Directory::Temporary(_) => {
                self.shared.processes.end_all();
                sweep::remove(&self.shared.prefix);
            }
            // It stays until somebody says `lab down`; what was begun in vain does not.
            Directory::Standing(_) if std::thread::panicking() => standing::remove(),
            Directory::Standing(_) => {}
        }
    }
}

impl Shared {
    /// A number that is a part of the addresses of one site, carrier or public host.
    fn number(&self) -> u8 {
        let number = self.parties.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= MOST_PARTIES, "a lab has at most {MOST_PARTIES} parties");
        number
    }

    /// A name that no other part of the lab has: the first `upnp` is `upnp`, the next one `upnp-2`.
    fn unique(&self, name: &str) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let count = names.entry(name.to_owned()).or_default();
        *count += 1;
        if *count == 1 { name.to_owned() } else { format!("{name}-{count}") }
    }

    fn namespace(&self, name: &str) -> Namespace {
        Namespace::named(format!("{}{name}", self.prefix))
    }
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Standing(path) => path,
        }
    }
}
