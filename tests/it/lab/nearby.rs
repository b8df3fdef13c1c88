//! Friends in one local network find each other, and nobody else learns who they are.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::lab::{Host, Lab, Process, Site, SiteKind};
use e2e::{Computer, need, need_lab, pair, promised, run, wait_for, wait_until};
use kith_identity::DeviceId;

/// From the moment when both have new addresses until they are linked.
const FOUND: Duration = Duration::from_secs(2);
/// An announcement that nobody was there to hear is followed by others; for everything a loaded machine needs a while.
const FOUND_AT_LAST: Duration = Duration::from_secs(30);
/// When nothing has come for so long, all that was sent before is in the file.
const QUIET: Duration = Duration::from_millis(1500);
/// Until the effect of a switch is seen, on a loaded machine. Without it nothing is announced at all.
const AT_ONCE: Duration = Duration::from_secs(10);
/// What is said again is said within that.
const ALL_SAID: Duration = Duration::from_secs(9);

/// Everything of service discovery that comes to a host, and who joins groups there.
struct Capture {
    file: PathBuf,
    _tcpdump: Process,
}

impl Capture {
    fn start(lab: &Lab, host: &Host) -> Self {
        let file = lab.directory().join(format!("{}.pcap", host.name()));
        let filter = "udp port 5353 or udp port 1900 or igmp";
        // By itself it hands over in blocks, once in a while.
        let arguments =
            ["-i", "eth0", "-Z", "root", "-U", "--immediate-mode", "-w", file.to_str().unwrap(), filter];
        let tcpdump = host.start("tcpdump", &arguments);
        let log = lab.directory().join(format!("{}.tcpdump.log", host.name()));
        wait_until("tcpdump to listen", Duration::from_secs(10), || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on"))
        });
        Self { file, _tcpdump: tcpdump }
    }

    /// The bytes of all that has come so far.
    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.file).unwrap_or_default()
    }

    fn contains(&self, part: &[u8]) -> bool {
        self.bytes().windows(part.len()).any(|window| window == part)
    }

    /// One line for each packet that this address sent.
    fn packets_of(&self, host: &Host) -> Vec<String> {
        let mut call = std::process::Command::new("tcpdump");
        let text = run(call.args(["-n", "-r", self.file.to_str().unwrap()])).stdout;
        let address = host.ipv4().unwrap().to_string();
        let of_host = |line: &&str| {
            line.split_whitespace().skip_while(|word| *word != "IP").nth(1).is_some_and(|from| {
                from.strip_prefix(address.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        text.lines().filter(of_host).map(str::to_owned).collect()
    }

    /// How many packets of service discovery a host has sent.
    fn announced_by(&self, host: &Host) -> usize {
        self.packets_of(host).iter().filter(|line| line.contains("5353")).count()
    }

    /// The same, when no more have come for a while.
    #[track_caller]
    fn announced_in_all_by(&self, host: &Host) -> usize {
        let (mut count, mut since) = (self.announced_by(host), Instant::now());
        wait_until("the announcements to end", Duration::from_secs(30), || {
            let now = self.announced_by(host);
            if now != count {
                (count, since) = (now, Instant::now());
            }
            since.elapsed() >= QUIET
        });
        count
    }
}

/// A home with three hosts.
fn home(lab: &Lab) -> (Site, [Host; 3]) {
    let mut site = lab.site(SiteKind::plain());
    let hosts = [site.host().clone(), site.add_host(), site.add_host()];
    (site, hosts)
}

/// As by DHCP: another address instead of the old one, of which nobody knows.
fn change_address(host: &Host, old: Ipv4Addr, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = old.octets();
    let commands = [
        "-6 addr flush dev eth0 scope global".to_owned(),
        format!("addr del {old}/24 dev eth0"),
        format!("addr add {a}.{b}.{c}.{last}/24 dev eth0"),
        format!("route replace default via {a}.{b}.{c}.1"),
    ];
    for command in commands {
        run(host.command("ip").args(command.split(' '))).ok();
    }
    Ipv4Addr::new(a, b, c, last)
}

fn device_bytes(computer: &Computer) -> [u8; 32] {
    *computer.device_id().parse::<DeviceId>().unwrap().as_bytes()
}

#[test]
fn two_friends_who_both_got_new_addresses_are_linked_within_two_seconds_and_the_network_learns_no_name() {
    if !need_lab() || !need("tcpdump") {
        return;
    }
    // Each on ground of its own: a link over addresses that did not change would stay.
    promised("linked after both addresses changed", FOUND, both_get_new_addresses);
}

/// How long it takes two friends then to be linked.
fn both_get_new_addresses() -> Duration {
    let lab = Lab::new("nearby");
    let (_site, [first, second, third]) = home(&lab);
    let (anna, bert) = (Computer::in_host("annalaptop", &first), Computer::in_host("bertdesktop", &second));
    let capture = Capture::start(&lab, &third);
    anna.start();
    bert.start();
    pair(&anna, &bert);
    assert_eq!(anna.friend("bertdesktop")["path"], "lan");

    let since = anna.friend("bertdesktop")["connected_since"].clone();
    let (first_before, second_before) = (first.ipv4().unwrap(), second.ipv4().unwrap());
    change_address(&first, first_before, 101);
    change_address(&second, second_before, 102);
    let begun = Instant::now();
    wait_for("both to be linked anew", FOUND_AT_LAST, || {
        let (here, there) = (anna.friend("bertdesktop"), bert.friend("annalaptop"));
        // By whichever family: addresses of the link alone, IPv6's, don't change with those of IPv4.
        let gone = [first_before, second_before].map(|ip| format!("{ip}:"));
        let new = |friend: &serde_json::Value| {
            friend["address"].as_str().is_some_and(|at| !gone.iter().any(|gone| at.starts_with(gone)))
        };
        let linked =
            here["connected"] == true && there["connected"] == true && here["connected_since"] != since;
        (linked && new(&here) && new(&there)).then_some(())
    });
    let took = begun.elapsed();
    assert_eq!(anna.friend("bertdesktop")["path"], "lan");
    assert_eq!(bert.friend("annalaptop")["path"], "lan");

    std::thread::sleep(ALL_SAID);
    assert!(capture.contains(b"_kith"), "nothing was announced");
    for computer in [&anna, &bert] {
        assert!(!capture.contains(computer.name().as_bytes()), "the name of {}", computer.name());
        assert!(!capture.contains(&device_bytes(computer)), "the device id of {}", computer.name());
        assert!(!capture.contains(computer.device_id().as_bytes()));
    }
    took
}

#[test]
fn a_friend_who_starts_later_at_an_address_that_nobody_knows_is_found_at_once() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("nearby-start");
    let (_site, [first, second, _]) = home(&lab);
    let (anna, bert) = (Computer::in_host("anna", &first), Computer::in_host("bert", &second));
    anna.start();
    bert.start();
    pair(&anna, &bert);
    let mut at = [&first, &second].map(|host| (host, host.ipv4().unwrap()));
    let mut unknown = 111..;
    promised("linked after the start of the second", FOUND, || {
        bert.stop();
        anna.stop();
        for (host, address) in &mut at {
            *address = change_address(host, *address, unknown.next().unwrap());
        }
        anna.start();
        // Its first announcements have gone by.
        std::thread::sleep(ALL_SAID);
        bert.start();
        wait_until("both to be linked", FOUND_AT_LAST, || anna.linked("bert") && bert.linked("anna"))
    });
}

#[test]
fn where_it_is_switched_off_not_one_packet_is_sent_and_the_switch_works_at_once() {
    if !need_lab() || !need("tcpdump") {
        return;
    }
    let lab = Lab::new("nearby-off");
    let (_site, [first, second, third]) = home(&lab);
    let off = "[network]\nlan-discovery = false\n[nat]\nupnp = false\nnat-pmp = false\npcp = false\n";
    let anna = Computer::in_host_with("anna", &first, off);
    let outbound = off.replace("lan-discovery = false", "outbound-only = true");
    let bert = Computer::in_host_with("bert", &second, &outbound);
    let capture = Capture::start(&lab, &third);
    anna.start();
    bert.start();
    pair(&anna, &bert);
    std::thread::sleep(ALL_SAID);
    assert_eq!(capture.packets_of(&first), Vec::<String>::new(), "lan-discovery = false");
    assert_eq!(capture.packets_of(&second), Vec::<String>::new(), "outbound-only = true");

    anna.kith(&["settings", "set", "network.lan-discovery", "true"]).ok();
    wait_until("an announcement", AT_ONCE, || capture.announced_by(&first) > 0);
    anna.kith(&["settings", "set", "network.lan-discovery", "false"]).ok();
    // The last ones may be on their way to the file.
    let before = capture.announced_in_all_by(&first);
    std::thread::sleep(ALL_SAID);
    assert_eq!(capture.announced_by(&first), before);
    assert_eq!(capture.packets_of(&second), Vec::<String>::new(), "outbound-only = true");
}
