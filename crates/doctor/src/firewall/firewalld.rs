//! What is to be known of firewalld: zones, policies, and what its chains are called.

use super::advice::Exception;
use super::{FirewallFacts, RulePlace, Way};

/// The policy by which connections to friends are let out where nothing else says how.
pub(super) const POLICY: &str = "kith-out";
/// The table of firewalld that stops everything.
const PANIC: &str = "firewalld_policy_drop";
/// Longest name of a zone or a policy.
const LONGEST_NAME: usize = 64;

/// Whose chain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner<'a> {
    /// A zone's or a policy's name.
    pub(super) name: &'a str,
    /// Which of the two.
    pub(super) kind: Kind,
    /// Whether a rule of its own stops the connection (a rich rule), which comes before ports that are let in.
    pub(super) by_rule: bool,
}

/// See [`Owner::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Zone,
    Policy,
}

/// A port for a zone, or for a policy, now and for ever: `--reload` would end all that others have let in only for now.
pub(super) fn exception(facts: &FirewallFacts, way: Way, port: u16, place: Option<&RulePlace>) -> Exception {
    if place.is_some_and(is_panic) {
        return Exception {
            commands: vec!["sudo firewall-cmd --panic-off".to_owned()],
            words: "firewalld is in panic mode, in which it stops everything.".to_owned(),
        };
    }
    let owner = place.and_then(|place| owner(&place.chain));
    let zone = facts.zone.as_deref().filter(|zone| is_name(zone));
    let (of, by_rule) = match (owner, way) {
        (Some(Owner { name, kind: Kind::Policy, by_rule }), _) => (format!(" --policy={name}"), by_rule),
        // Which zone the rules come by is known better from the interface; a rule of another zone says nothing of this one's.
        (Some(Owner { name, by_rule, .. }), Way::In) => match zone {
            Some(zone) if zone != name => (format!(" --zone={zone}"), false),
            _ => (format!(" --zone={name}"), by_rule),
        },
        (None, Way::In) => (zone.map_or_else(String::new, |zone| format!(" --zone={zone}")), false),
        (_, Way::Out) => return by_new_policy(facts, port),
    };
    // Ports come after rules that refuse; a rule with this priority comes before all.
    let what = if by_rule {
        format!("--add-rich-rule='rule priority=\"-32768\" port port=\"{port}\" protocol=\"tcp\" accept'")
    } else {
        format!("--add-port={port}/tcp")
    };
    let commands = ["", " --permanent"].map(|kept| format!("sudo firewall-cmd{kept}{of} {what}")).to_vec();
    let default = if of.is_empty() {
        " It is for the default zone; if the network is in another one, which `firewall-cmd --get-active-zones` says, add `--zone=ZONE`."
    } else {
        ""
    };
    let words = format!("The first counts at once, the second from the next start on.{default}");
    Exception { commands, words }
}

/// What goes out is stopped by something that no policy of firewalld shows: one that lets it out before all others.
fn by_new_policy(facts: &FirewallFacts, port: u16) -> Exception {
    let policy = POLICY;
    let set = |what: &str| format!("sudo firewall-cmd --permanent --policy={policy} {what}");
    let made = format!("sudo firewall-cmd --permanent --new-policy={policy}");
    let add = format!("--add-port={port}/tcp");
    if facts.has_policy == Some(true) {
        let commands = vec![format!("sudo firewall-cmd --policy={policy} {add}"), set(&add)];
        let words = "The first counts at once, the second from the next start on.".to_owned();
        return Exception { commands, words };
    }
    let commands = vec![
        made,
        set("--set-priority=-100"),
        set("--add-ingress-zone=HOST"),
        set("--add-egress-zone=ANY"),
        set(&add),
        "sudo firewall-cmd --runtime-to-permanent".to_owned(),
        "sudo firewall-cmd --reload".to_owned(),
    ];
    let words = "It needs firewalld 0.9 or newer. A new policy counts only after a reload, which ends all that was let through just for \
                 now: the command before it keeps that."
        .to_owned();
    Exception { commands, words }
}

/// By the name of the chain: `filter_IN_public_deny` with nftables, `IN_public_deny` with iptables, `filter_OUT_policy_strict`.
pub(super) fn owner(chain: &str) -> Option<Owner<'_>> {
    let chain = chain.strip_prefix("filter_").unwrap_or(chain);
    let chain = chain.strip_prefix("IN_").or_else(|| chain.strip_prefix("OUT_"))?;
    let (kind, chain) = match chain.strip_prefix("policy_") {
        Some(chain) => (Kind::Policy, chain),
        None => (Kind::Zone, chain),
    };
    let before = ["_pre", "_deny"].iter().find_map(|part| chain.strip_suffix(part));
    let after = ["_allow", "_log", "_post"].iter().find_map(|part| chain.strip_suffix(part));
    let name = before.or(after).unwrap_or(chain);
    is_name(name).then_some(Owner { name, kind, by_rule: before.is_some() })
}

/// Whether the rule is one of firewalld's.
pub(super) fn is_own(place: &RulePlace) -> bool {
    place.table == "firewalld" || is_panic(place)
}

/// Whether everything is stopped.
pub(super) fn is_panic(place: &RulePlace) -> bool {
    place.table == PANIC
}

/// A name that may stand in a command.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// The zone in which the interface is that leads to the Internet, by what firewalld says of its zones and the kernel of its ways.
pub(super) fn zone(active: &str, default: &str, routes: &str) -> Option<String> {
    let interface = way_out(routes)?;
    let mut zone: Option<&str> = None;
    for line in active.lines() {
        match line.trim().strip_prefix("interfaces:") {
            Some(names) if names.split_whitespace().any(|name| name == interface) => {
                return zone.filter(|zone| is_name(zone)).map(str::to_owned);
            }
            // `public`, or `public (default)`; what is about a zone is indented.
            None if !line.starts_with([' ', '\t']) => zone = line.split_whitespace().next(),
            _ => {}
        }
    }
    Some(default.trim()).filter(|zone| is_name(zone)).map(str::to_owned)
}

/// The interface of the first way to everywhere, with the least metric.
fn way_out(routes: &str) -> Option<&str> {
    let ways = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (name, to, metric, mask) = (fields.first()?, fields.get(1)?, fields.get(6)?, fields.get(7)?);
        (*to == "00000000" && *mask == "00000000").then_some((metric.parse::<u32>().ok()?, *name))
    });
    ways.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_chains_say_whose_they_are() {
        for (chain, name, kind, by_rule) in [
            ("filter_IN_public", "public", Kind::Zone, false),
            ("filter_IN_public_deny", "public", Kind::Zone, true),
            ("IN_home_pre", "home", Kind::Zone, true),
            ("filter_IN_FedoraServer_post", "FedoraServer", Kind::Zone, false),
            ("filter_OUT_policy_strict", "strict", Kind::Policy, false),
            ("filter_OUT_policy_strict_deny", "strict", Kind::Policy, true),
        ] {
            assert_eq!(owner(chain), Some(Owner { name, kind, by_rule }), "{chain}");
        }
        for chain in ["filter_INPUT", "INPUT", "filter_IN_", "filter_IN_$(reboot)"] {
            assert_eq!(owner(chain), None, "{chain}");
        }
    }

    #[test]
    fn the_zone_is_that_of_the_interface_in_use() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                      wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                      eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                      eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        let active = "docker\n  interfaces: docker0\nhome (default)\n  interfaces: wlan0\nwork\n  sources: 10.0.0.0/8\n  interfaces: eth0 eth1\n";
        assert_eq!(zone(active, "home", routes).as_deref(), Some("work"));
        assert_eq!(zone("docker\n  interfaces: docker0\n", "public\n", routes).as_deref(), Some("public"));
        assert_eq!(zone(active, "home", ""), None);
        assert_eq!(zone("$(reboot)\n  interfaces: eth0\n", "x", routes), None);
    }
}
