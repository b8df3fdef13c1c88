//! Lines that are long, slow, or dead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::namespace::Namespace;
use super::processes::Process;
use super::{Shared, ip};

/// What passes frames on, late.
const FORWARDER: &str = include_str!("line.py");
/// The interfaces of the line: towards the host, and towards the internet.
pub(super) const NEAR: &str = "near";
pub(super) const FAR: &str = "far";

/// How long, how wide and how patient a line is, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// What every packet needs for one way; there and back takes twice as long.
    pub one_way: Duration,
    /// Bits that pass in a second; none: as many as this machine can pass on.
    pub bits_per_second: Option<u64>,
    /// Bytes that wait for their turn before more is dropped; none: as many as there are.
    pub queue_bytes: Option<u64>,
}

/// A line between a public host or a router and the internet.
#[derive(Debug)]
pub struct Line {
    shared: Arc<Shared>,
    name: String,
    namespace: Namespace,
    distance: Distance,
    // Both directions; empty while the line is cut.
    forwarders: Mutex<Vec<Process>>,
}

impl Line {
    /// A line whose ends `connect` makes: [`NEAR`], towards whoever is to have it, and [`FAR`], towards the internet.
    pub(super) fn lay(shared: &Arc<Shared>, distance: Distance, connect: impl FnOnce(&Namespace)) -> Self {
        let name = shared.unique("line");
        let namespace = shared.namespace(&name);
        ip::batch(&format!("netns add {}\n", namespace.name()));
        connect(&namespace);
        ip::batch_in(&namespace, &format!("link set {NEAR} up\nlink set {FAR} up\n"));
        let line =
            Self { shared: Arc::clone(shared), name, namespace, distance, forwarders: Mutex::default() };
        line.mend();
        line
    }

    /// Nothing passes any more, in either direction, and nobody is told.
    pub fn cut(&self) {
        self.forwarders.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Everything passes, from now on.
    ///
    /// # Panics
    /// If the programs that do it can't be started.
    pub fn mend(&self) {
        let started = [(NEAR, FAR), (FAR, NEAR)].map(|(from, to)| self.forward(from, to));
        *self.forwarders.lock().unwrap_or_else(PoisonError::into_inner) = started.into();
    }

    fn forward(&self, from: &str, to: &str) -> Process {
        let Distance { one_way, bits_per_second, queue_bytes } = self.distance;
        let mut command = self.namespace.command("python3");
        command.args(["-S", "-c", FORWARDER, from, to]);
        command.arg(one_way.as_secs_f64().to_string());
        command.args([bits_per_second, queue_bytes].map(|bound| bound.unwrap_or(0).to_string()));
        let log = self.shared.directory.path().join(format!("{}.{from}.log", self.name));
        Process::start(&self.shared, command, &log)
    }
}
