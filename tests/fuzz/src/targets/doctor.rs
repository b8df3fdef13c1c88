//! What the doctor reads: rules of firewalls, and what other computers say of themselves.

use std::net::SocketAddr;

use data_encoding::BASE64URL_NOPAD;
use kith_doctor::Side;
use kith_doctor::firewall::advice::advice;
use kith_doctor::firewall::iptables::Backend;
use kith_doctor::firewall::{Family, FirewallFacts, ReadError, Rules, Way};
use kith_doctor::report;
use sha2::{Digest, Sha256};

use crate::outcome::{NOTHING, Outcome, judged, taken};

/// Most characters that a rule is shown with: what is longer is cut, and says so.
const LONGEST_RULE: usize = 303;
/// Most of what a report code says, bytes.
const LONGEST_REPORT: usize = 64 * 1024;
const PORT: u16 = 4242;

/// `nft -j list ruleset`.
pub(super) fn nft(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return NOTHING };
    let mut rules = Rules::default();
    let read = rules.add_nft(text);
    judge(rules, read)
}

/// `iptables-save`.
pub(super) fn iptables(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return NOTHING };
    let mut rules = Rules::default();
    let read = rules.add_iptables(Family::V4, Backend::of(text, ""), text);
    judge(rules, read)
}

/// What follows from rules is short, can be shown, and stops nobody without naming where.
fn judge(mut rules: Rules, read: Result<(), ReadError>) -> Outcome {
    rules.settle();
    let remotes: [SocketAddr; 2] =
        [([198, 51, 100, 7], 4242).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], PORT).into()];
    let facts = rules.facts(PORT, &remotes);
    for (access, rule, place) in [
        (facts.inbound, &facts.inbound_rule, &facts.inbound_place),
        (facts.outbound, &facts.outbound_rule, &facts.outbound_place),
    ] {
        assert_eq!(access.is_closed(), rule.is_some(), "{facts:?}");
        assert_eq!(access.is_closed(), place.is_some(), "{facts:?}");
        let is_shown =
            |rule: &String| rule.len() <= LONGEST_RULE && !rule.contains(|letter: char| letter.is_control());
        assert!(rule.as_ref().is_none_or(is_shown), "{rule:?}");
    }
    assert!(read.is_ok() || !facts.inbound.is_closed(), "what was not read stops connections");
    check_commands(&facts);
    judged(read.is_ok(), &(facts, read))
}

/// What a person is told to type does nothing else than what it says.
fn check_commands(facts: &FirewallFacts) {
    for way in [Way::In, Way::Out] {
        let advice = advice(facts, way, PORT, "/usr/bin/kith");
        for command in advice.port.commands.iter().chain(&advice.program.commands) {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || " _-./=,:'\"".contains(letter);
            assert!(command.starts_with("sudo ") && command.chars().all(is_plain), "{command:?}");
        }
    }
}

/// A report code: as it is pasted, as what is packed in one that nobody has changed, and as what was packed.
pub(super) fn report_code(bytes: &[u8]) -> Outcome {
    if let Some(side) = std::str::from_utf8(bytes).ok().and_then(|line| report::decode(line).ok()) {
        return said(&side);
    }
    if let Ok(side) = report::decode(&line(bytes)) {
        return said(&side);
    }
    let packed = zstd::bulk::compress(bytes, 1).expect("anything can be packed");
    match report::decode(&line(&packed)) {
        Ok(side) => {
            assert!(bytes.len() <= LONGEST_REPORT, "{} bytes were read", bytes.len());
            said(&side)
        }
        Err(error) => judged(false, &error),
    }
}

fn line(packed: &[u8]) -> String {
    let mut bytes = Sha256::digest(packed)[..4].to_vec();
    bytes.extend(packed);
    format!("kith-report:{}", BASE64URL_NOPAD.encode(&bytes))
}

fn said(side: &Side) -> Outcome {
    assert_eq!(&side.clone().tamed(), side, "what was made safe is not");
    check_commands(&side.firewall);
    // More than a line holds is not told to anybody.
    if let Ok(line) = report::encode(side) {
        assert_eq!(report::decode(&line).as_ref(), Ok(side), "told and read again");
    }
    taken(side)
}
