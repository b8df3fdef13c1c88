//! The routes as `netstat -rn` prints them on macOS and the BSDs.

use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::gateways::Route;

/// Where the program may be. It is not looked for elsewhere: the path is the person's, the daemon the system's.
const PROGRAMS: [&str; 3] = ["/usr/sbin/netstat", "/usr/bin/netstat", "/sbin/netstat"];
/// It reads the kernel's tables; where it takes longer than this, it hangs, perhaps over a name that it looks up.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes that are read of what it prints.
const MOST_BYTES: u64 = 2 << 20;
/// Most lines that are looked at.
const MOST_LINES: usize = 16 * 1024;
/// Most routes that are kept.
const MOST_ROUTES: usize = 1024;

/// The routes now; none if they can't be had.
pub(super) fn routes() -> Vec<Route> {
    let Some(program) = PROGRAMS.iter().find(|program| Path::new(program).is_file()) else {
        return Vec::new();
    };
    match printed(Command::new(program).arg("-rn").env("LC_ALL", "C"), PATIENCE) {
        Ok(text) => parse(&String::from_utf8_lossy(&text)),
        Err(error) => {
            tracing::debug!(%error, program, "can't be run");
            Vec::new()
        }
    }
}

/// What a program prints. It is killed when it is not done in time, or prints too much.
fn printed(command: &mut Command, patience: Duration) -> io::Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let Some(output) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    // It ends with the program, or with whatever else holds the other end of the pipe.
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.take(MOST_BYTES).read_to_end(&mut text);
        // Nobody waits any more if it took too long.
        sender.send(read.map(|_| text)).ok();
    });
    let text = receiver.recv_timeout(patience);
    // It may be done already.
    child.kill().ok();
    child.wait()?;
    text.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads the tables. Each has a line of headings, by which the columns are found: they differ from system to system.
fn parse(text: &str) -> Vec<Route> {
    let mut columns = None;
    let mut routes = Vec::new();
    for line in text.lines().take(MOST_LINES) {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(16).collect();
        if fields.first() == Some(&"Destination") {
            columns = Columns::find(&fields);
        } else if let Some(route) = columns.as_ref().and_then(|columns| columns.route(&fields)) {
            routes.push(route);
        }
        if routes.len() == MOST_ROUTES {
            break;
        }
    }
    routes
}

struct Columns {
    gateway: usize,
    flags: usize,
    interface: usize,
}

impl Columns {
    fn find(headings: &[&str]) -> Option<Self> {
        let at = |names: &[&str]| headings.iter().position(|heading| names.contains(heading));
        Some(Self {
            gateway: at(&["Gateway"])?,
            flags: at(&["Flags"])?,
            interface: at(&["Netif", "Iface", "Interface"])?,
        })
    }

    /// A route that leads out: a default one, or through a gateway.
    fn route(&self, fields: &[&str]) -> Option<Route> {
        let (destination, gateway) = (*fields.first()?, *fields.get(self.gateway)?);
        let (flags, interface) = (*fields.get(self.flags)?, *fields.get(self.interface)?);
        let flag = |flag: char| flags.contains(flag);
        let is_default = matches!(destination, "default" | "0.0.0.0/0" | "::/0");
        // What refuses, and what a neighbour was found at.
        if !flag('U') || flag('R') || flag('B') || flag('L') {
            return None;
        }
        // With the scope behind a percent sign; `link#7` is no gateway, and neither is a network, as tunnels have it.
        let address: Option<IpAddr> = gateway.split('%').next().and_then(|address| address.parse().ok());
        let v6 = address.map_or_else(|| gateway.contains(':'), |address| address.is_ipv6());
        let address = address.filter(|address| flag('G') && !is_network(address));
        (is_default || address.is_some()).then(|| Route {
            interface: interface.to_owned(),
            prefix: if is_default { 0 } else { 32 },
            v6,
            gateway: address,
            // There are no metrics; a route that is only for what is bound to its interface comes after the others.
            metric: u32::from(flag('I')),
        })
    }
}

fn is_network(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_unspecified(),
        IpAddr::V6(address) => address.segments()[4..] == [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let routes = parse(text);
        let shown: Vec<String> = routes
            .iter()
            .map(|route| {
                let gateway = route.gateway.map_or_else(|| "-".to_owned(), |gateway| gateway.to_string());
                format!("{} {} {gateway} {}", route.interface, route.prefix, route.metric)
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let start = std::time::Instant::now();
        let hung = printed(Command::new("sleep").arg("60"), Duration::from_millis(100));
        assert_eq!(hung.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_program_prints_is_read_to_its_end_but_no_further_than_needed() {
        let printed =
            |script: &str| printed(Command::new("sh").args(["-c", script]), Duration::from_secs(60));
        assert_eq!(printed("echo default; exit 3").unwrap(), b"default\n");
        let endless = printed("while :; do echo 0123456789012345678901234567890123456789; done").unwrap();
        assert_eq!(endless.len() as u64, MOST_BYTES);
        assert!(super::printed(&mut Command::new("/nonexistent/netstat"), PATIENCE).is_err());
    }

    #[test]
    fn routes_of_macos_are_read() {
        check(
            "Routing tables\n\nInternet:\n\
             Destination        Gateway            Flags               Netif Expire\n\
             default            192.168.1.1        UGScg                 en0       \n\
             default            link#15            UCSIg           bridge100      !\n\
             default            192.168.2.1        UGScIg                en1       \n\
             127                127.0.0.1          UCS                   lo0       \n\
             203.0.113.9        192.168.1.1        UGHS                  en0       \n\
             192.168.1.1        0:11:22:33:44:55   UHLWIir               en0   1177\n\
             192.168.1.66/32    192.168.1.7        UGRS                  en0       \n\n\
             Internet6:\n\
             Destination                             Gateway                                 Flags               Netif Expire\n\
             default                                 fe80::21b:21ff:fe00:1%en0               UGcg                  en0       \n\
             default                                 fe80::%utun0                            UGcIg               utun0       \n",
            &[
                "en0 0 192.168.1.1 0",
                "bridge100 0 - 1",
                "en1 0 192.168.2.1 1",
                "en0 32 192.168.1.1 0",
                "en0 0 fe80::21b:21ff:fe00:1 0",
                "utun0 0 - 1",
            ],
        );
        assert!(parse("Destination Gateway Flags Netif\ndefault fe80::%utun0 UGcIg utun0\n")[0].v6);
    }

    #[test]
    fn other_columns_of_other_systems_are_found() {
        check(
            "Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface\n\
             default            10.0.0.138         UGS        5     1234     -     8 em0\n\
             Kernel IP routing table\n\
             Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n\
             10.0.0.0        10.0.0.1        255.0.0.0       UG        0 0          0 eth0\n",
            &["em0 0 10.0.0.138 0", "eth0 32 10.0.0.1 0"],
        );
    }

    #[test]
    fn garbage_is_passed_over() {
        check("default 192.168.1.1 UGSc en0\n", &[]);
        check("Destination\ndefault 192.168.1.1 UGSc en0\n", &[]);
        check("Destination Gateway Flags Netif\n\0\ndefault\ndefault x\ndefault é% UG\n% % U %\n", &[]);
        check("Destination Gateway Flags Netif\ndefault 1.2.3.4.5 UG en0\n", &["en0 0 - 0"]);
        let long = "Destination Gateway Flags Netif\n".to_owned()
            + &"10.1/16 10.0.0.1 UG en0\n".repeat(MOST_ROUTES + 9);
        assert_eq!(parse(&long).len(), MOST_ROUTES);
    }
}
