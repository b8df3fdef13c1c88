//! Whether the router answers at all, and what else only the system knows.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kith_doctor::firewall::Access;
use kith_network::Gateway as Known;
use tokio::net::TcpStream;

use super::firewall::Rules;

/// The port that is called: nearly every router has its page there. A refusal is as good an answer.
const PAGE: u16 = 80;
/// Longest wait for that.
const ANSWER: Duration = Duration::from_millis(1200);
/// Longest wait until the system doubts what it remembers: Linux asks again five seconds after the first packet without an answer, three
/// times, a second apart.
const DOUBT: Duration = Duration::from_millis(8700);
/// How long a system takes at least to ask in vain for a hardware address: three questions, a second apart (RFC 4861, section 10; Linux does the
/// same for IPv4). A firewall refuses at once.
const IN_VAIN: Duration = Duration::from_secs(2);
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
    /// Whether it was called in vain, and has always answered before.
    pub(super) is_silent: bool,
    /// Its hardware address, by which one router is told from another with the same IP address.
    pub(super) hardware: Option<String>,
    /// Largest packet of the interface that leads to it.
    pub(super) mtu: Option<u32>,
}

impl Gateway {
    /// Without having asked it.
    pub(super) fn of(known: &Known) -> Self {
        let neighbour = neighbour(known);
        Self {
            address: known.address,
            // That the system remembers where it was is no answer.
            answers: matches!(neighbour, Neighbour::Gone).then_some(false),
            is_silent: false,
            hardware: hardware(known),
            mtu: mtu(&known.interface),
        }
    }

    /// Silence says something where no rule of this computer stops the call.
    pub(super) async fn judged(self, rules: &Rules, port: u16) -> Self {
        if !self.is_silent || self.answers.is_some() {
            return self;
        }
        let call = rules.facts(port, vec![SocketAddr::new(self.address, PAGE)]).await;
        let may_be_stopped = call.readable && call.outbound != Access::Open;
        Self { answers: (!may_be_stopped).then_some(false), ..self }
    }
}

/// The hardware address that the system remembers.
pub(super) fn hardware(known: &Known) -> Option<String> {
    match neighbour(known) {
        Neighbour::There(hardware) => Some(hardware),
        Neighbour::Gone | Neighbour::Unknown => None,
    }
}

/// Calls it: whoever does not answer the question for its hardware address is not there. What the system remembers of that address it
/// doubts only after some seconds: where `patient` they are waited for.
pub(super) async fn ask(known: &Known, patience: Patience) -> Gateway {
    let called = match known.address {
        // A link-local address needs its interface.
        IpAddr::V6(ip) => SocketAddr::V6(std::net::SocketAddrV6::new(ip, PAGE, 0, known.index)),
        IpAddr::V4(_) => SocketAddr::new(known.address, PAGE),
    };
    let mut calling = std::pin::pin!(TcpStream::connect(called));
    let begun = tokio::time::Instant::now();
    let until = begun
        + match patience {
            Patience::Short => ANSWER,
            Patience::Long => DOUBT,
        };
    let answered = loop {
        tokio::select! {
            made = &mut calling => break match made {
                Ok(_) => Some(true),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Some(true),
                // The system asked for its hardware address in vain; or a firewall refused, here or there.
                Err(error) if error.kind() == std::io::ErrorKind::HostUnreachable => {
                    let is_in_vain = begun.elapsed() >= IN_VAIN && neighbour(known) == Neighbour::Unknown;
                    is_in_vain.then_some(false)
                }
                Err(_) => None,
            },
            () = tokio::time::sleep(LOOK) => {}
        }
        if matches!(neighbour(known), Neighbour::Gone) || tokio::time::Instant::now() >= until {
            break None;
        }
    };
    let found = Gateway::of(known);
    Gateway { answers: answered.or(found.answers), ..found }
}

/// What the system knows of a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Neighbour {
    /// It has said who it is.
    There(String),
    /// It was asked, and does not answer.
    Gone,
    /// Nobody knows.
    Unknown,
}

#[cfg(target_os = "linux")]
fn neighbour(known: &Known) -> Neighbour {
    let table = std::fs::read_to_string("/proc/net/arp").unwrap_or_default();
    in_table(&table, known.address, &known.interface)
}

#[cfg(not(target_os = "linux"))]
const fn neighbour(_known: &Known) -> Neighbour {
    Neighbour::Unknown
}

/// Reads Linux' `/proc/net/arp`: address, type, flags (0x2: complete), hardware address, mask, interface.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has that table"))]
fn in_table(table: &str, address: IpAddr, interface: &str) -> Neighbour {
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [ip, _, flags, hardware, _, device, ..] = fields[..] else { continue };
        if ip.parse() != Ok(address) || device != interface {
            continue;
        }
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        return if flags & 2 != 0 { Neighbour::There(hardware.to_owned()) } else { Neighbour::Gone };
    }
    Neighbour::Unknown
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
        assert_eq!(look("192.168.1.1", "lan"), Neighbour::There("52:54:00:00:00:01".to_owned()));
        assert_eq!(look("192.168.1.9", "lan"), Neighbour::Gone);
        assert_eq!(look("192.168.1.1", "wifi"), Neighbour::Unknown);
        assert_eq!(look("192.168.1.2", "lan"), Neighbour::Unknown);
    }

    #[tokio::test]
    async fn silence_says_nothing_where_a_rule_of_this_computer_may_stop_the_call() {
        let policy = |policy: &str| {
            let chain = format!(
                r#"{{"nftables": [{{"chain": {{"family": "inet", "table": "t", "name": "out", "type": "filter", "hook": "output", "prio": 0, "policy": "{policy}"}}}}]}}"#
            );
            let no_others = TablesTexts { tables: LegacyTables::None, ..TablesTexts::default() };
            Rules::of(Texts { nft: Some(chain), v4: no_others.clone(), v6: no_others, ..Texts::default() })
        };
        let called = |is_silent| Gateway {
            address: [192, 168, 1, 1].into(),
            answers: None,
            is_silent,
            hardware: None,
            mtu: None,
        };
        assert_eq!(called(true).judged(&policy("accept"), 4242).await.answers, Some(false));
        assert_eq!(called(true).judged(&policy("drop"), 4242).await.answers, None);
        assert_eq!(called(false).judged(&policy("accept"), 4242).await.answers, None);
        let unread = Rules::of(Texts::default());
        assert_eq!(
            called(true).judged(&unread, 4242).await.answers,
            Some(false),
            "as it has always answered"
        );
    }
}
