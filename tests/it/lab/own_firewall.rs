//! A computer's own firewall, with real rules: the doctor names the rule, and the command that it prints lets friends through.

use std::time::{Duration, Instant};

use e2e::lab::{Host, Lab};
use e2e::{Computer, need, need_lab, pair};
use serde_json::Value;

/// From a change of the rules until the doctor says so: the answer of a moment ago may be given again.
const SEEN: Duration = Duration::from_secs(90);
/// Longest wait for a connection.
const ANSWER: Duration = Duration::from_secs(3);

/// What is done in the shell of a computer.
#[track_caller]
fn shell(host: &Host, script: &str) {
    let done = host.command("sh").args(["-ec", script]).output().unwrap();
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
}

/// Removes all rules of all tables.
fn let_all_through(host: &Host) {
    let legacy = "for x in iptables-legacy ip6tables-legacy; do \
                  if command -v $x >/dev/null; then $x -P INPUT ACCEPT; $x -P OUTPUT ACCEPT; $x -F; fi; done";
    shell(host, &format!("nft flush ruleset; {legacy}"));
}

fn verdict(anna: &Computer) -> Value {
    let asked = anna.kith(&["doctor", "bert", "--json"]);
    serde_json::from_str(&asked.stdout).unwrap_or_else(|_| panic!("{asked}"))
}

fn code(diagnosis: &Value) -> &str {
    diagnosis["verdict"]["code"].as_str().unwrap()
}

/// The verdict once it is this one.
#[track_caller]
fn wait_verdict(anna: &Computer, what: &str, is: impl Fn(&str) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let diagnosis = verdict(anna);
        if is(code(&diagnosis)) {
            return diagnosis;
        }
        assert!(begun.elapsed() < SEEN, "{what}: {diagnosis:#}");
    }
}

/// With these rules the doctor says `expected`, by such a rule, and prints these commands; typing them in this order mends it.
#[track_caller]
pub(super) fn check(
    anna: &Computer,
    [host, other]: [&Host; 2],
    rules: &str,
    expected: &str,
    rule: &str,
    commands: &[&str],
) {
    let_all_through(host);
    shell(host, rules);
    let diagnosis = wait_verdict(anna, rules, |code| code == expected);
    let (inward, outward) = (other.dial(host.at(4242), ANSWER), host.dial(other.at(4242), ANSWER));
    assert_eq!((inward.is_err(), outward.is_err()), (expected == "firewall-in", expected == "firewall-out"));
    let said = &diagnosis["verdict"];
    assert_eq!(said["part"], "firewall-here", "{diagnosis:#}");
    let evidence = said["evidence"].as_array().unwrap();
    let mut named = evidence.iter().filter_map(|line| line.as_str()?.strip_prefix("the rule: "));
    assert!(named.next().is_some_and(|named| named.contains(rule)), "{diagnosis:#}");
    // What stands between backquotes is typed.
    let step = said["next_step"].as_str().unwrap();
    let typed: Vec<&str> = step.split('`').skip(1).step_by(2).collect();
    assert_eq!(typed, commands, "{diagnosis:#}");
    for command in typed {
        shell(host, command.strip_prefix("sudo ").unwrap());
    }
    wait_verdict(anna, &format!("{rules}\n{step}"), |code| !code.starts_with("firewall"));
    assert!(other.dial(host.at(4242), ANSWER).is_ok() && host.dial(other.at(4242), ANSWER).is_ok(), "{step}");
}

#[test]
fn the_command_that_the_doctor_prints_lets_friends_through_the_rules_that_are_there() {
    if !need_lab() || !need("nft") {
        return;
    }
    let lab = Lab::new("own firewall");
    let (here, there) = (lab.public_host(), lab.public_host());
    let hosts = [&here, &there];
    let (anna, bert) = (Computer::in_host("anna", &here), Computer::in_host("bert", &there));
    anna.start();
    bert.start();
    pair(&bert, &anna);

    // What comes in at the port.
    let chain = |hook: &str, policy: &str| {
        format!(
            "nft add table inet mine; nft add chain inet mine {hook} '{{ type filter hook {hook} priority -5; policy {policy}; }}'; "
        )
    };
    let mend = ["sudo nft insert rule inet mine input tcp dport 4242 accept"];
    check(
        &anna,
        hosts,
        &format!("{}nft add rule inet mine input tcp dport 4242 drop", chain("input", "accept")),
        "firewall-in",
        "table inet mine, chain input: tcp dport 4242 drop",
        &mend,
    );
    let tracked = "nft add rule inet mine input ct state established,related accept; ";
    let loopback = "nft add rule inet mine input iif lo accept; ";
    let closed = format!("{}{loopback}{tracked}", chain("input", "drop"));
    check(&anna, hosts, &closed, "firewall-in", "table inet mine, chain input: policy drop", &mend);
    // Where the port is let in amid all that is dropped, no firewall is to blame.
    let_all_through(&here);
    shell(&here, &format!("{closed}nft add rule inet mine input tcp dport {{ 22, 4000-4300 }} accept"));
    let open = wait_verdict(&anna, "the port is open", |code| !code.starts_with("firewall"));
    let checks = open["checks"].as_array().unwrap();
    let own = checks.iter().find(|check| check["code"] == "firewall-in" && check["part"] == "firewall-here");
    assert_eq!(own.unwrap()["outcome"], "ok", "{open:#}");
    // What is in a chain of its own, by a map.
    let by_map = "nft add chain inet mine friends; nft add rule inet mine friends drop; \
                  nft add rule inet mine input tcp dport vmap '{ 22 : accept, 4242 : jump friends }'";
    check(
        &anna,
        hosts,
        &format!("{}{by_map}", chain("input", "accept")),
        "firewall-in",
        "table inet mine, chain friends: drop",
        &["sudo nft insert rule inet mine friends tcp dport 4242 accept"],
    );

    // What goes out to it.
    check(
        &anna,
        hosts,
        &format!("{}nft add rule inet mine output tcp dport 4242 drop", chain("output", "accept")),
        "firewall-out",
        "table inet mine, chain output: tcp dport 4242 drop",
        &["sudo nft insert rule inet mine output tcp dport 4242 accept"],
    );

    // The same with iptables, whichever tables of the kernel it is for, and for both kinds of addresses.
    if need("iptables-nft") && need("iptables-legacy") {
        let both = |rules: &str| {
            ["iptables", "ip6tables"].map(|program| rules.replace("PROGRAM", program)).join("; ")
        };
        check(
            &anna,
            hosts,
            &both("PROGRAM-nft -A INPUT -p tcp --dport 4242 -j DROP"),
            "firewall-in",
            "tables -A INPUT -p tcp -m tcp --dport 4242 -j DROP",
            &[
                "sudo iptables -I INPUT -p tcp --dport 4242 -j ACCEPT",
                "sudo ip6tables -I INPUT -p tcp --dport 4242 -j ACCEPT",
            ],
        );
        let guard = "PROGRAM-legacy -N GUARD; PROGRAM-legacy -A INPUT -p tcp -j GUARD; \
                     PROGRAM-legacy -A GUARD -p tcp -m multiport --dports 4000:4300 -j DROP";
        check(
            &anna,
            hosts,
            &both(guard),
            "firewall-in",
            "tables-legacy -A GUARD -p tcp -m multiport --dports 4000:4300 -j DROP",
            &[
                "sudo iptables-legacy -I GUARD -p tcp --dport 4242 -j ACCEPT",
                "sudo ip6tables-legacy -I GUARD -p tcp --dport 4242 -j ACCEPT",
            ],
        );
    }
    let_all_through(&here);
    wait_verdict(&anna, "nothing is in the way", |code| !code.starts_with("firewall"));
}
