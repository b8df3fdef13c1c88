//! A home: a router with a real `miniupnpd` and a computer behind it, each a network namespace, nothing connected to this machine.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

/// The router's addresses towards the home.
pub(crate) const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 77, 1));
/// The computer's.
pub(crate) const COMPUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 77, 23));
/// The router's address on its far side: one that `miniupnpd` takes for public.
pub(crate) const FAR_SIDE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(11, 0, 113, 5));

const RULES: &str = "table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain forward {
        type filter hook forward priority 0; policy drop;
        iifname \"lan\" accept
        iifname \"wan\" ct status dnat accept
        ct state established,related accept
        jump miniupnpd
    }
    chain prerouting {
        type nat hook prerouting priority -100;
        jump prerouting_miniupnpd
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        jump postrouting_miniupnpd
    }
}
";

/// See the module. Goes away with everything in it when dropped.
pub(crate) struct Site {
    router: String,
    computer: String,
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Site {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("kt{}-nat{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::tempdir().unwrap();
        let site =
            Self { router: format!("{name}-r"), computer: format!("{name}-c"), directory, daemon: None };
        let (router, computer) = (&site.router, &site.computer);
        for line in [
            format!("netns add {router}"),
            format!("netns add {computer}"),
            format!("-n {router} link add lan type veth peer name eth0 netns {computer}"),
            format!("-n {router} link add wan type veth peer name far"),
            format!("-n {router} link set lo up"),
            format!("-n {router} link set lan up"),
            format!("-n {router} link set wan up"),
            format!("-n {router} link set far up"),
            format!("-n {computer} link set lo up"),
            format!("-n {computer} link set eth0 up"),
            format!("-n {router} addr add {ROUTER}/24 dev lan"),
            format!("-n {router} addr add fe80::1/64 dev lan nodad"),
            format!("-n {router} addr add fd77::1/64 dev lan nodad"),
            format!("-n {router} addr add {FAR_SIDE}/24 dev wan"),
            format!("-n {computer} addr add {COMPUTER}/24 dev eth0"),
            format!("-n {computer} addr add fd77::23/64 dev eth0 nodad"),
        ] {
            run(Command::new("ip").args(line.split(' ')));
        }
        let rules = site.write("rules.nft", RULES);
        run(site.in_router("nft").arg("-f").arg(rules));
        site
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts the daemon that makes mappings; NAT-PMP and PCP only.
    pub(crate) fn start(&mut self) {
        self.start_with("enable_natpmp=yes\nenable_upnp=no\nhttp_port=5000\n");
    }

    /// Starts the daemon that makes mappings; `lines` say by which protocols.
    pub(crate) fn start_with(&mut self, lines: &str) {
        let path = |name| self.directory.path().join(name);
        let (leases, pid) = (path("leases"), path("pid"));
        let configuration = format!(
            "ext_ifname=wan\nlistening_ip=lan\n{lines}secure_mode=yes\n\
             system_uptime=no\nipv6_disable=no\nupnp_table_name=filter\nupnp_nat_table_name=filter\n\
             upnp_forward_chain=miniupnpd\nupnp_nat_chain=prerouting_miniupnpd\n\
             upnp_nat_postrouting_chain=postrouting_miniupnpd\nlease_file={}\n\
             uuid=00000000-0000-4000-8000-000000000077\n\
             allow 1024-65535 192.168.77.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
            leases.display()
        );
        let configuration = self.write("miniupnpd.conf", &configuration);
        let log = fs::File::create(path("log")).unwrap();
        let mut command = self.in_router("miniupnpd");
        command.arg("-d").arg("-f").arg(configuration).arg("-P").arg(pid);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// As if the power went: the daemon dies, its rules and its notes are gone.
    pub(crate) fn lose_power(&mut self) {
        self.kill();
        for name in ["leases", "pid"] {
            drop(fs::remove_file(self.directory.path().join(name)));
        }
        run(self.in_router("nft").args(["flush", "ruleset"]));
        run(self.in_router("nft").arg("-f").arg(self.directory.path().join("rules.nft")));
    }

    fn kill(&mut self) {
        // `ip netns exec` becomes the program that it starts: the child is the daemon itself.
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// The rules that lead from outside to the computer, as the kernel shows them.
    pub(crate) fn redirections(&self) -> String {
        run(self.in_router("nft").args(["list", "chain", "inet", "filter", "prerouting_miniupnpd"]))
    }

    /// What a program run on the router prints.
    pub(crate) fn in_router_output(&self, program: &str, arguments: &[&str]) -> String {
        run(self.in_router(program).args(arguments))
    }

    /// What a program run on the computer prints.
    pub(crate) fn on_computer(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("ip");
        run(command.args(["netns", "exec", &self.computer, program]).args(arguments))
    }

    fn in_router(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.router, program]);
        command
    }

    /// Runs asynchronous code as a program on the computer would: all its sockets are there.
    pub(crate) fn enter<T: Send>(&mut self, act: impl AsyncFnOnce(&mut Self) -> T + Send) -> T {
        let computer = self.computer.clone();
        within(&computer, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(act(self))
        })
    }

    /// Runs code as a program on the router would.
    pub(crate) fn enter_router<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        within(&self.router, act)
    }
}

/// Only a thread of its own enters the namespace, and what it runs makes no sockets on others.
fn within<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    let namespace = fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    thread::scope(|scope| {
        let entered = scope.spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        });
        entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        for name in [&self.router, &self.computer] {
            drop(Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status());
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}
