//! Whether the router answers at all, and what else only the system knows.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kith_doctor::firewall::Access;
use kith_doctor::gateway::{Call, Look, Neighbour};
use kith_network::Gateway as Known;
use tokio::net::TcpStream;

use super::firewall::Rules;

/// The port that is called: nearly every router has its page there. A refusal is as good an answer.
const PAGE: u16 = 80;
/// Longest wait for that.
pub(super) const ANSWER: Duration = Duration::from_millis(1200);
/// Longest wait until the system doubts what it remembers: Linux asks again five seconds after the first packet without an answer, three
/// times, a second apart.
pub(super) const DOUBT: Duration = Duration::from_millis(8700);
/// How long Linux asks for a hardware address until it is in vain: three questions, a second apart. Meanwhile it looks as if nobody answered.
const ASKING: Duration = Duration::from_secs(3);
/// Between two looks at what the system knows.
const LOOK: Duration = Duration::from_millis(300);

/// How long a router may keep silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Others answer: it is surely there.
    Short,
    /// Nobody else answers.
    Long,
}

/// What is known of the router.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) address: IpAddr,
    /// Whether it answers; none: not known, as it may keep silent on purpose.
    pub(super) answers: Option<bool>,
    /// Whether it was called in vain: nothing came back.
    pub(super) kept_silent: bool,
    /// Its hardware address, by which one router is told from another with the same IP address.
    pub(super) hardware: Option<String>,
    /// Largest packet of the interface that leads to it.
    pub(super) mtu: Option<u32>,
}

impl Gateway {
    /// Without having asked it. That the system remembers where it was is no answer.
    pub(super) fn of(known: &Known) -> Self {
        Self::seen(known, Call::NotMade, Access::Unknown, false)
    }

    /// By what came of a call.
    pub(super) fn seen(known: &Known, call: Call, rules: Access, is_missed: bool) -> Self {
        let (neighbour, hardware) = neighbour(known);
        Self {
            address: known.address,
            answers: Look { call, neighbour, rules, is_missed }.answers(),
            kept_silent: call == Call::Silent,
            hardware,
            mtu: mtu(&known.interface),
        }
    }
}

/// The hardware address that the system remembers.
pub(super) fn hardware(known: &Known) -> Option<String> {
    neighbour(known).1
}

/// What this computer's own rules do with a call of the router.
pub(super) async fn rules_for(known: &Known, rules: &Rules) -> Access {
    rules.facts(0, vec![SocketAddr::new(known.address, PAGE)]).await.outbound
}

/// Calls it until that is `enough`. Whoever does not answer the question for its hardware address is not there: what the system remembers
/// of that it doubts only after some seconds.
pub(super) async fn call(known: &Known, patience: Patience, enough: impl Future<Output = ()>) -> Call {
    let called = match known.address {
        // A link-local address needs its interface.
        IpAddr::V6(ip) => SocketAddr::V6(std::net::SocketAddrV6::new(ip, PAGE, 0, known.index)),
        IpAddr::V4(_) => SocketAddr::new(known.address, PAGE),
    };
    let (mut calling, mut enough) = (std::pin::pin!(TcpStream::connect(called)), std::pin::pin!(enough));
    let begun = tokio::time::Instant::now();
    loop {
        tokio::select! {
            made = &mut calling => return match made {
                Ok(_) => Call::Answered,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Call::Refused,
                Err(error) if error.kind() == ErrorKind::TimedOut => Call::Silent,
                Err(_) => Call::Impossible,
            },
            () = &mut enough => return Call::Silent,
            () = tokio::time::sleep(LOOK) => {}
        }
        let is_asked = patience == Patience::Short || begun.elapsed() > ASKING;
        if is_asked && neighbour(known).0 == Neighbour::Gone {
            return Call::Silent;
        }
    }
}

/// What the system knows of a neighbour, and its hardware address.
#[cfg(target_os = "linux")]
fn neighbour(known: &Known) -> (Neighbour, Option<String>) {
    // A service may see no other files of /proc than those of processes.
    let table = std::fs::read_to_string("/proc/self/net/arp").unwrap_or_default();
    in_table(&table, known.address, &known.interface)
}

#[cfg(not(target_os = "linux"))]
const fn neighbour(_known: &Known) -> (Neighbour, Option<String>) {
    (Neighbour::Unknown, None)
}

/// Reads Linux' table: address, type, flags (0x2: complete), hardware address, mask, interface.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has that table"))]
fn in_table(table: &str, address: IpAddr, interface: &str) -> (Neighbour, Option<String>) {
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [ip, _, flags, hardware, _, device, ..] = fields[..] else { continue };
        if ip.parse() != Ok(address) || device != interface {
            continue;
        }
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        let is_there = flags & 2 != 0;
        return if is_there {
            (Neighbour::There, Some(hardware.to_owned()))
        } else {
            (Neighbour::Gone, None)
        };
    }
    (Neighbour::Unknown, None)
}

#[cfg(target_os = "linux")]
fn mtu(interface: &str) -> Option<u32> {
    if interface.contains('/') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
const fn mtu(_interface: &str) -> Option<u32> {
    None
}

/// Whether a time service says that it keeps the clock right; none where that can't be seen.
pub(super) fn clock_is_synchronised() -> Option<bool> {
    // systemd-timesyncd leaves this mark; other services don't, so that its absence says nothing.
    std::path::Path::new("/run/systemd/timesync/synchronized").exists().then_some(true)
}

#[cfg(test)]
mod tests {
    use kith_doctor::firewall::{LegacyTables, TablesTexts, Texts};

    use super::*;

    #[test]
    fn a_neighbour_that_was_asked_in_vain_is_gone_and_one_that_nobody_asked_is_not_known() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.168.1.1      0x1         0x2         52:54:00:00:00:01     *        lan\n\
                     192.168.1.9      0x1         0x0         00:00:00:00:00:00     *        lan\n";
        let look = |ip: &str, interface| in_table(table, ip.parse().unwrap(), interface);
        assert_eq!(look("192.168.1.1", "lan"), (Neighbour::There, Some("52:54:00:00:00:01".to_owned())));
        assert_eq!(look("192.168.1.9", "lan"), (Neighbour::Gone, None));
        assert_eq!(look("192.168.1.1", "wifi"), (Neighbour::Unknown, None));
        assert_eq!(look("192.168.1.2", "lan"), (Neighbour::Unknown, None));
    }

    #[tokio::test]
    async fn what_rules_do_with_a_call_of_the_router_is_known_where_they_can_be_read() {
        let known =
            Known { address: [192, 168, 1, 1].into(), interface: "lan".to_owned(), index: 2, metric: 100 };
        let policy = |policy: &str| {
            let chain = format!(
                r#"{{"nftables": [{{"chain": {{"family": "inet", "table": "t", "name": "out", "type": "filter", "hook": "output", "prio": 0, "policy": "{policy}"}}}}]}}"#
            );
            let no_others = TablesTexts { tables: LegacyTables::None, ..TablesTexts::default() };
            Rules::of(Texts { nft: Some(chain), v4: no_others.clone(), v6: no_others, ..Texts::default() })
        };
        assert_eq!(rules_for(&known, &policy("accept")).await, Access::Open);
        assert_eq!(rules_for(&known, &policy("drop")).await, Access::Dropped);
        assert_eq!(rules_for(&known, &Rules::of(Texts::default())).await, Access::Unknown);
    }
}
