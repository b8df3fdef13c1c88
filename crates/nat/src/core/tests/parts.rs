//! The pure parts by themselves.

use std::net::IpAddr;
use std::time::Duration;

use kith_network::{InterfaceKind, Snapshot};
use proptest::prelude::*;

use super::super::address::{is_public, is_shared};
use super::super::chance::{Chance, nonce, ports};
use super::super::epoch::{EpochTrack, Table};
use super::super::lease::{Lease, RENEWALS};
use super::super::time::Tick;
use super::super::uplinks::{leaves_by_tunnel, uplinks};
use super::world::{GATEWAY, LOCAL, gateway, home, interface, temporary};
use crate::{Epoch, Lifetime, Protocol};

const fn at(seconds: u64) -> Tick {
    Tick::at(Duration::from_secs(seconds))
}

/// Feeds epochs at times; the last one is judged.
fn check_epoch(protocol: Protocol, seen: &[(u64, u32)], expected: Table) {
    let mut track = EpochTrack::default();
    let mut last = Table::Lost;
    for (seconds, epoch) in seen {
        last = track.judge(protocol, Epoch(*epoch), at(*seconds));
    }
    assert_eq!(last, expected, "{protocol}: {seen:?}");
}

#[test]
fn the_epoch_rule_of_pcp_in_full() {
    let pcp = |seen: &[(u64, u32)], expected| check_epoch(Protocol::Pcp, seen, expected);
    // The first is always right.
    pcp(&[(0, 4_000_000_000)], Table::Kept);
    pcp(&[(0, 1000), (100, 1100)], Table::Kept);
    // Back by one second: packets that overtook each other. By two: a new table.
    pcp(&[(0, 1000), (0, 999)], Table::Kept);
    pcp(&[(0, 1000), (0, 998)], Table::Lost);
    pcp(&[(0, 1000), (100, 0)], Table::Lost);
    // The clocks may differ by one part in sixteen and two seconds.
    pcp(&[(0, 0), (160, 148)], Table::Kept);
    pcp(&[(0, 0), (160, 147)], Table::Lost);
    pcp(&[(0, 0), (148, 160)], Table::Kept);
    pcp(&[(0, 0), (147, 160)], Table::Lost);
    // A restart that began before: the epoch is larger than ours was, but too small by now.
    pcp(&[(0, 10), (1000, 500)], Table::Lost);
    // What was judged is what the next one is judged by.
    pcp(&[(0, 1000), (100, 0), (200, 100)], Table::Kept);
    pcp(&[(0, u32::MAX), (1, 0)], Table::Lost);
}

#[test]
fn the_epoch_rule_of_nat_pmp() {
    let pmp = |seen: &[(u64, u32)], expected| check_epoch(Protocol::NatPmp, seen, expected);
    pmp(&[(0, 1000), (80, 1070)], Table::Kept);
    pmp(&[(0, 1000), (80, 1068)], Table::Kept);
    pmp(&[(0, 1000), (80, 1067)], Table::Lost);
    // A clock that runs ahead says nothing.
    pmp(&[(0, 1000), (80, 9000)], Table::Kept);
    pmp(&[(0, 1000), (80, 3)], Table::Lost);
}

#[test]
fn addresses_that_lead_to_the_internet_are_told_from_those_that_do_not() {
    for public in ["1.1.1.1", "11.0.113.5", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1"] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
    for public in ["192.0.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", "2a02:8071::1", "2001:4860::8"]
    {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
    for inner in ["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1"] {
        assert!(!is_public(inner.parse().unwrap()), "{inner}");
    }
    for inner in ["169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.4", "192.0.2.1", "192.168.255.1"] {
        assert!(!is_public(inner.parse().unwrap()), "{inner}");
    }
    for inner in ["198.18.0.1", "198.19.255.255", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"]
    {
        assert!(!is_public(inner.parse().unwrap()), "{inner}");
    }
    for inner in
        ["::", "::1", "fe80::1", "fd00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "64:ff9b::1"]
    {
        assert!(!is_public(inner.parse().unwrap()), "{inner}");
    }
    assert!(is_shared("100.64.3.7".parse().unwrap()) && !is_shared("10.0.0.1".parse().unwrap()));
}

#[test]
fn a_computer_with_a_vpn_is_known_to_leave_by_it() {
    let mut network = home();
    assert!(!leaves_by_tunnel(&network));
    network.interfaces.push(interface(9, InterfaceKind::Tunnel, &[("10.8.0.2", 24)]));
    network.gateways.insert(0, gateway(9, "10.8.0.1"));
    assert!(!leaves_by_tunnel(&network), "the network behind the VPN alone");
    network.leaves_by.v4 = Some(9);
    assert!(leaves_by_tunnel(&network));
    assert_eq!(uplinks(&network).len(), 1);
}

#[test]
fn the_address_in_the_gateways_network_is_the_one_that_asks() {
    let card = interface(
        2,
        InterfaceKind::Physical,
        &[("169.254.3.3", 16), ("10.9.0.2", 24), (LOCAL, 24), ("192.168.1.24", 24)],
    );
    let network =
        Snapshot { interfaces: vec![card], gateways: vec![gateway(2, GATEWAY)], ..Snapshot::default() };
    let locals: Vec<IpAddr> = uplinks(&network).iter().map(|uplink| uplink.local).collect();
    assert_eq!(locals, [LOCAL.parse::<IpAddr>().unwrap()]);
}

#[test]
fn at_most_two_stable_addresses_per_ipv6_gateway_and_eight_uplinks_in_all() {
    let mut card = interface(
        2,
        InterfaceKind::Physical,
        &[("2a02::1", 64), ("fe80::5", 64), ("2a02::2", 64), ("2a02::3", 64), ("fd00::1", 64)],
    );
    card.addresses.insert(0, temporary("2a02::dead"));
    let gateways = (1..=9).map(|number| gateway(2, &format!("fe80::{number}"))).collect();
    let network = Snapshot { interfaces: vec![card], gateways, ..Snapshot::default() };
    let found = uplinks(&network);
    assert_eq!(found.len(), 8);
    assert_eq!(found[0].local, "2a02::1".parse::<IpAddr>().unwrap());
    assert_eq!(found[1].local, "2a02::2".parse::<IpAddr>().unwrap());
    assert_eq!(found[2].gateway, "fe80::2".parse::<IpAddr>().unwrap());
}

#[test]
fn nonces_differ_by_everything_that_they_are_made_of() {
    let gateway: IpAddr = GATEWAY.parse().unwrap();
    let local: IpAddr = LOCAL.parse().unwrap();
    let base = nonce(1, gateway, local, Protocol::Pcp, 4242);
    assert_eq!(base, nonce(1, gateway, local, Protocol::Pcp, 4242));
    for other in [
        nonce(2, gateway, local, Protocol::Pcp, 4242),
        nonce(1, local, local, Protocol::Pcp, 4242),
        nonce(1, gateway, gateway, Protocol::Pcp, 4242),
        nonce(1, gateway, local, Protocol::NatPmp, 4242),
        nonce(1, gateway, local, Protocol::Pcp, 4243),
    ] {
        assert_ne!(base, other);
    }
}

proptest! {
    #[test]
    fn ports_are_unprivileged_and_all_different(seed: u64, gateway: [u8; 4], listen in 1024_u16..) {
        let list = ports(seed, gateway.into(), listen);
        for (index, port) in list.iter().enumerate() {
            prop_assert!(*port >= 1024 && *port != listen && *port != 4242);
            prop_assert!(!list[..index].contains(port));
        }
    }

    #[test]
    fn a_lease_is_renewed_at_most_three_times_never_too_closely_and_before_it_ends(
        seconds in 1_u32..,
        seed: u64,
        late in 0_u64..3000,
    ) {
        let begun = at(1000);
        let mut lease = Lease::new(Lifetime::Seconds(seconds), begun, &mut Chance::of(seed, &[]));
        let ends = lease.ends().unwrap();
        prop_assert!(ends > begun && ends.since(begun) <= Duration::from_secs(604_800));
        let mut before = begun;
        let mut count = 0;
        while let Some(renewal) = lease.renewal() {
            prop_assert!(renewal < ends && renewal.since(before) >= Duration::from_secs(4));
            if count == 0 && (64..=604_800).contains(&seconds) {
                let part = renewal.since(begun).as_secs_f64() / f64::from(seconds);
                prop_assert!((0.5..=0.626).contains(&part), "{part}");
            }
            // Requests may come late.
            before = renewal + Duration::from_millis(late);
            lease.asked(before);
            count += 1;
        }
        prop_assert!(count <= RENEWALS);
    }

    #[test]
    fn any_epochs_at_any_times_are_judged(seen: Vec<(u32, u32)>) {
        for protocol in [Protocol::Pcp, Protocol::NatPmp] {
            let mut track = EpochTrack::default();
            let mut now = 0;
            for (pause, epoch) in &seen {
                now += u64::from(*pause);
                track.judge(protocol, Epoch(*epoch), at(now));
            }
        }
    }
}
