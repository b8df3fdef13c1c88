use super::*;

/// An address as the table of this computer's byte order writes it.
fn hex(ip: &str) -> String {
    let ip: Ipv4Addr = ip.parse().unwrap();
    format!("{:08X}", u32::from_ne_bytes(ip.octets()))
}

fn v4_line(interface: &str, destination: &str, gateway: &str, flags: u32, metric: u32, mask: &str) -> String {
    let (destination, gateway, mask) = (hex(destination), hex(gateway), hex(mask));
    format!("{interface}\t{destination}\t{gateway}\t{flags:04X}\t0\t0\t{metric}\t{mask}\t0\t0\t0     ")
}

const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";

fn route(interface: &str, prefix: u8, gateway: &str, metric: u32) -> Route {
    let gateway: Option<IpAddr> = (!gateway.is_empty()).then(|| gateway.parse().unwrap());
    Route {
        interface: interface.to_owned(),
        prefix,
        v6: gateway.is_some_and(|ip| ip.is_ipv6()),
        gateway,
        metric,
    }
}

#[test]
fn routes_of_ipv4_are_read() {
    let table = [
        HEAD.to_owned(),
        v4_line("eth0", "0.0.0.0", "192.168.1.1", 3, 100, "0.0.0.0"),
        v4_line("wg0", "0.0.0.0", "0.0.0.0", 1, 50, "0.0.0.0"),
        v4_line("eth0", "192.168.1.0", "0.0.0.0", 1, 100, "255.255.255.0"),
        v4_line("eth0", "10.0.0.0", "192.168.1.2", 3, 0, "255.0.0.0"),
        v4_line("eth0", "203.0.113.9", "192.168.1.1", 7, 0, "255.255.255.255"),
        v4_line("eth0", "0.0.0.0", "192.168.1.9", 0x203, 0, "0.0.0.0"),
        v4_line("eth0", "0.0.0.0", "192.168.1.8", 2, 0, "0.0.0.0"),
    ]
    .join("\n");
    assert_eq!(
        ipv4_routes(&table),
        [
            route("eth0", 0, "192.168.1.1", 100),
            route("wg0", 0, "", 50),
            route("eth0", 8, "192.168.1.2", 0),
            route("eth0", 32, "192.168.1.1", 0),
        ]
    );
}

#[cfg(target_endian = "little")]
#[test]
fn an_ipv4_route_as_a_kernel_wrote_it_is_read() {
    let table = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0   \n";
    assert_eq!(ipv4_routes(table), [route("eth0", 0, "192.0.2.1", 0)]);
}

#[test]
fn routes_of_ipv6_are_read() {
    let zeros = "0".repeat(32);
    let router = "fe80000000000000022590fffe010203";
    let table = [
        format!("fd000000000000000000000000000000 40 {zeros} 00 {zeros} 00000100 00000001 00000000 00000001     eth0"),
        format!("{zeros} 00 {zeros} 00 {router} 00000400 00000003 00000000 00450003     eth0"),
        format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo"),
        format!("20010db8000000000000000000000000 20 {zeros} 00 {router} 00000258 1 2 00000003 wlan0"),
    ]
    .join("\n");
    let tunnel = format!("{zeros} 00 {zeros} 00 {zeros} 00000010 00000003 00000000 00000001 tun0");
    assert_eq!(
        ipv6_routes(&table),
        [
            route("eth0", 0, "fe80::225:90ff:fe01:203", 1024),
            route("wlan0", 32, "fe80::225:90ff:fe01:203", 600)
        ]
    );
    assert_eq!(ipv6_routes(&tunnel), [Route { v6: true, ..route("tun0", 0, "", 16) }]);
}

#[test]
fn addresses_that_pass_are_known_by_their_flags() {
    let address = |flags: u32, last: u32| {
        format!("20010db80000000000000000000000{last:02x} 02 40 00 {flags:02x}     eth0")
    };
    let table = [
        address(0x80, 1),
        address(0x00, 2),
        address(0x01, 3),
        address(0x20, 4),
        address(0x40, 5),
        address(0x88, 6),
        address(0x21, 7),
        "fe8000000000000000fc00fffe000001 0a 40 20 c0   wlan0".to_owned(),
    ]
    .join("\n");
    let found: Vec<String> =
        unfit_addresses(&table).iter().map(|(index, ip)| format!("{index} {ip}")).collect();
    let expected: Vec<String> = (3..=7).map(|last| format!("2 2001:db8::{last}")).collect();
    assert_eq!(found[..5], expected);
    assert_eq!(found[5..], ["10 fe80::fc:ff:fe00:1"]);
}

#[test]
fn garbage_is_passed_over_line_by_line() {
    let good = v4_line("eth0", "0.0.0.0", "192.168.1.1", 3, 100, "0.0.0.0");
    let zeros = "0".repeat(32);
    let good_v6 =
        format!("{zeros} 00 {zeros} 00 fe80000000000000000000000000000a 00000400 0 0 00000003 eth0");
    let garbage = [
        "",
        "\0\0\0",
        "eth0",
        "eth0 0 0 0 0 0 0 0 0 0 0",
        "eth0 0000000000 010200C0 0003 0 0 0 00000000 0 0 0",
        "eth0 +0000000 +10200C0 0003 0 0 0 00000000",
        "eth0 00000000 010200C0 FFFFFFFFFF 0 0 0 00000000",
        "eth0 00000000 010200C0 0003 0 0 -1 00000000",
        "eth0 00000000 010200C0 0003 0 0 99999999999 00000000",
        "ééééééé ééééééé ü ö ä ß € 0 0 0 0",
        "g0000000000000000000000000000000 40 0 0 00000000000000000000000000000000 0 0 0 3 eth0",
        "00000000000000000000000000000000 ff 0 0 00000000000000000000000000000000 0 0 0 3 eth0",
        "00000000000000000000000000000000 00 0 0 00000000000000000000000000000000 0 0 0 zz eth0",
        "00000000000000000000000000000000 00 0 0 0 0 0 0 3 eth0",
    ];
    for line in garbage {
        let v4 = format!("{line}\n{good}\n{line}");
        assert_eq!(ipv4_routes(&v4), [route("eth0", 0, "192.168.1.1", 100)], "{line:?}");
        let v6 = format!("{line}\n{good_v6}\n{line}");
        assert_eq!(ipv6_routes(&v6), [route("eth0", 0, "fe80::a", 1024)], "{line:?}");
        assert_eq!(unfit_addresses(line), BTreeSet::new(), "{line:?}");
    }
    // Cut anywhere, as a table is whose end was not read.
    for end in 0..good_v6.len() {
        assert!(ipv6_routes(&good_v6[..end]).len() <= 1 && unfit_addresses(&good_v6[..end]).is_empty());
    }
}

#[test]
fn a_table_without_end_is_not_read_to_its_end() {
    let line = v4_line("eth0", "10.0.0.0", "192.168.1.1", 3, 0, "255.0.0.0") + "\n";
    assert_eq!(ipv4_routes(&line.repeat(MOST_ROUTES + 10)).len(), MOST_ROUTES);
    let other = v4_line("eth0", "10.0.0.0", "0.0.0.0", 1, 0, "255.0.0.0") + "\n";
    assert_eq!(ipv4_routes(&(other.repeat(MOST_LINES) + &line)), []);
}
