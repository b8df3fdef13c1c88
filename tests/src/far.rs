//! How fast a backup is over a long line, beside what one TCP connection with large buffers brings over the same line.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Distance, Host, Lab};
use crate::{Computer, pair, write_random};

/// How far the buffers of the connection of `iperf3` may grow.
const LARGE: &str = "4096 131072 67108864";
const IPERF_PORT: u16 = 5201;

/// Two daemons with a line between them.
#[derive(Debug)]
pub struct Far {
    anna: Computer,
    bert: Computer,
    hosts: [Host; 2],
    // The line, and everything else, ends with it.
    _lab: (crate::lab::Line, Lab),
    backups: u64,
}

impl Far {
    /// Two friends, linked over a line, between systems as they are.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn new(distance: Distance) -> Self {
        Self::between(distance, None)
    }

    /// The same between systems that by themselves let no more than so many bytes of a connection wait to be sent and acknowledged.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn with_narrow_systems(distance: Distance, most: usize) -> Self {
        Self::between(distance, Some(most))
    }

    fn between(distance: Distance, most: Option<usize>) -> Self {
        let lab = Lab::new("far");
        let ((near, line), far) = (lab.distant_host(distance), lab.public_host());
        if let Some(most) = most {
            for host in [&near, &far] {
                host.inside(|| {
                    std::fs::write("/proc/sys/net/ipv4/tcp_wmem", format!("4096 16384 {most}")).unwrap();
                });
            }
        }
        let (anna, bert) = (Computer::in_host("anna", &near), Computer::in_host("bert", &far));
        anna.start();
        bert.start();
        pair(&bert, &anna);
        // The archive is made, so that what is measured is the transfer.
        let mut far = Self { anna, bert, hosts: [near, far], _lab: (line, lab), backups: 0 };
        far.backup(64 << 10);
        far
    }

    /// Bits per second of a backup of so many bytes that don't compress, from the first look at the folder to the end of the
    /// command.
    ///
    /// # Panics
    /// If it fails.
    pub fn backup(&mut self, bytes: u64) -> f64 {
        self.backups += 1;
        let name = format!("set{}", self.backups);
        let source = self.anna.folder(&name);
        write_random(&source, self.backups, bytes, bytes.div_ceil(4));
        self.anna.kith(&["set", "add", &name, source.to_str().unwrap(), "--to", "bert"]).ok();
        let begun = Instant::now();
        self.anna.kith(&["backup", &name]).ok();
        let rate = rate(bytes, begun.elapsed());
        std::fs::remove_dir_all(&source).unwrap();
        rate
    }

    /// Bits per second of a restore of the newest backup, and whether what came is complete.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn restore(&self, bytes: u64) -> f64 {
        let target = self.anna.folder("restored");
        let set = format!("set{}", self.backups);
        let args = ["restore", "latest", "--set", &set, "--target", target.to_str().unwrap()];
        let begun = Instant::now();
        self.anna.kith(&args).ok();
        let rate = rate(bytes, begun.elapsed());
        std::fs::remove_dir_all(&target).unwrap();
        rate
    }

    /// Bits per second of one TCP connection whose buffers grow as far as it needs.
    ///
    /// # Panics
    /// If `iperf3` fails.
    #[must_use]
    pub fn iperf3(&self, time: Duration) -> f64 {
        let [near, far] = &self.hosts;
        let before = [near, far].map(|host| host.inside(|| tune(&[LARGE, LARGE])));
        let server = far.start("iperf3", &["--server", "--one-off"]);
        let mut client = near.command("iperf3");
        client.args(["--json", "--omit", "2", "--time", &time.as_secs().to_string()]);
        client.args(["--client", &far.address().to_string()]);
        // The server takes a moment. What a thread sees of its namespace is not what the process does.
        let ready = || {
            far.inside(|| std::fs::read_to_string("/proc/thread-self/net/tcp6").unwrap())
                .contains(&format!(":{IPERF_PORT:04X} "))
        };
        crate::wait_until("iperf3 to listen", Duration::from_secs(10), ready);
        let said = client.stdin(Stdio::null()).output().unwrap();
        drop(server);
        for (host, before) in [near, far].into_iter().zip(before) {
            host.inside(|| tune(&before));
        }
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        said["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_else(|| panic!("{said:#}"))
    }

    /// The two computers: who backs up, and who keeps.
    #[must_use]
    pub const fn computers(&self) -> [&Computer; 2] {
        [&self.anna, &self.bert]
    }
}

/// Sets how far buffers for receiving and sending grow; gives back how far they did before.
fn tune<T: AsRef<str>>(values: &[T; 2]) -> [String; 2] {
    let mut before = ["tcp_rmem", "tcp_wmem"].map(|name| format!("/proc/sys/net/ipv4/{name}"));
    for (path, value) in before.iter_mut().zip(values) {
        let old = std::fs::read_to_string(&*path).unwrap();
        std::fs::write(&*path, value.as_ref()).unwrap();
        *path = old;
    }
    before
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 * 8.0 / took.as_secs_f64()
}
