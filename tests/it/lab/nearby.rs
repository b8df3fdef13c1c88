//! Friends in one local network find each other, and nobody else learns who they are.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::lab::{Host, Lab, Process, Site, SiteKind};
use e2e::{Computer, need, need_lab, pair, run, say, wait_for, wait_until};
use kith_identity::DeviceId;

/// From the moment when both have new addresses until they are linked.
const FOUND: Duration = Duration::from_secs(2);
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
        let arguments = ["-i", "eth0", "-Z", "root", "-U", "-w", file.to_str().unwrap(), filter];
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
}

/// A home with three hosts.
fn home(lab: &Lab) -> (Site, [Host; 3]) {
    let mut site = lab.site(SiteKind::plain());
    let hosts = [site.host().clone(), site.add_host(), site.add_host()];
    (site, hosts)
}

/// As by DHCP: another address, of which nobody knows.
fn change_address(host: &Host, last: u8) {
    let old = host.ipv4().unwrap();
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
}

fn device_bytes(computer: &Computer) -> [u8; 32] {
    *computer.device_id().parse::<DeviceId>().unwrap().as_bytes()
}

#[test]
fn two_friends_who_both_got_new_addresses_are_linked_within_two_seconds_and_the_network_learns_no_name() {
    if !need_lab() || !need("tcpdump") {
        return;
    }
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
    change_address(&first, 101);
    change_address(&second, 102);
    let begun = Instant::now();
    wait_for("both to be linked anew", Duration::from_secs(30), || {
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
    say(&format!("linked {took:?} after both addresses changed"));
    assert!(took < FOUND, "linked after {took:?}");
    assert_eq!(anna.friend("bertdesktop")["path"], "lan");
    assert_eq!(bert.friend("annalaptop")["path"], "lan");

    std::thread::sleep(ALL_SAID);
    assert!(capture.contains(b"_kith"), "nothing was announced");
    for computer in [&anna, &bert] {
        assert!(!capture.contains(computer.name().as_bytes()), "the name of {}", computer.name());
        assert!(!capture.contains(&device_bytes(computer)), "the device id of {}", computer.name());
        assert!(!capture.contains(computer.device_id().as_bytes()));
    }
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
    bert.stop();
    anna.stop();
    change_address(&first, 111);
    change_address(&second, 112);
    anna.start();
    // Its first announcements have gone by.
    std::thread::sleep(ALL_SAID);
    bert.start();
    let took = wait_until("both to be linked", Duration::from_secs(30), || {
        anna.linked("bert") && bert.linked("anna")
    });
    say(&format!("linked {took:?} after the start"));
    assert!(took < FOUND, "linked after {took:?}");
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
    wait_until("an announcement", Duration::from_secs(2), || {
        capture.packets_of(&first).iter().any(|line| line.contains("5353"))
    });
    anna.kith(&["settings", "set", "network.lan-discovery", "false"]).ok();
    // Leaving the group is told to the network by the system, a moment later.
    std::thread::sleep(Duration::from_secs(1));
    let of_service = |lines: Vec<String>| lines.into_iter().filter(|line| line.contains("5353")).count();
    let before = of_service(capture.packets_of(&first));
    std::thread::sleep(ALL_SAID);
    assert_eq!(of_service(capture.packets_of(&first)), before);
    assert_eq!(capture.packets_of(&second), Vec::<String>::new(), "outbound-only = true");
}
