//! The laboratory itself: what a site of each kind does, by programs that know nothing of Kith.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::lab::{Distance, Entry, FakeIgd, Firewall, Host, Lab, Reboot, Script, Site, SiteKind, Transport};
use e2e::{need, need_lab, run, say, wait_until};

/// Silence for that long counts as no answer, where none is expected: a first packet that was lost is sent again after 1 s.
const SILENCE: Duration = Duration::from_millis(1500);
/// Everything in the lab answers much faster; on a loaded machine a first packet may need to be sent again.
const SOON: Duration = Duration::from_secs(5);
const PORT: u16 = 4242;

/// Answers every connection with a line.
struct Server {
    _listener: TcpListener,
}

impl Server {
    fn on(host: &Host) -> Self {
        let listener = host.listen(PORT);
        let answering = listener.try_clone().unwrap();
        let name = host.name().to_owned();
        // It ends with the test process: tests are few.
        std::thread::spawn(move || {
            for stream in answering.incoming() {
                let Ok(mut stream) = stream else { break };
                drop(stream.write_all(name.as_bytes()));
            }
        });
        Self { _listener: listener }
    }
}

/// Who answers at an address.
fn who_answers(from: &Host, address: SocketAddr) -> Option<String> {
    let mut stream = from.dial(address, SOON).ok()?;
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn map_by_upnpc(site: &Site, port: u16) {
    let host = site.host();
    let (address, inner, outer) = (host.address().to_string(), PORT.to_string(), port.to_string());
    site.router().upnpc(host, &["-a", &address, &inner, &outer, "tcp", "3600"]).ok();
}

fn entry(host: &Host, port: u16) -> Entry {
    Entry { transport: Transport::Tcp, external_port: port, internal: host.at(PORT) }
}

#[test]
fn hosts_reach_the_internet_and_nobody_reaches_them() {
    if !need_lab() {
        return;
    }
    let begun = Instant::now();
    let lab = Lab::new("plain");
    let plain = lab.site(SiteKind::plain());
    let outside = lab.outside();
    say(&format!("a lab of one site and a public host stood after {:?}", begun.elapsed()));
    let _outer = Server::on(outside);
    let _inner = Server::on(plain.host());
    assert_eq!(who_answers(plain.host(), outside.at(PORT)).as_deref(), Some("public"));
    let refused = outside.dial(plain.outside(PORT), SILENCE).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
    // The private address of another network leads nowhere, and neither does the machine's own network.
    assert!(!outside.reaches(plain.host().at(PORT), SILENCE));
    let machine = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(!outside.reaches(machine.local_addr().unwrap(), SILENCE));

    let rejecting = lab.site(SiteKind::plain().rejecting());
    let refused = outside.dial(rejecting.outside(PORT), SOON).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    plain.router().forward(PORT, plain.host().at(PORT));
    assert_eq!(who_answers(outside, plain.outside(PORT)).as_deref(), Some("plain-a"));
    assert_eq!(plain.router().table(), [], "what was forwarded by hand is no mapping");
}

#[test]
fn a_port_mapped_by_upnp_is_reached_until_the_router_forgets_it() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("upnp");
    let mut site = lab.site(SiteKind::upnp());
    let _server = Server::on(site.host());
    assert!(!lab.outside().reaches(site.outside(5555), SILENCE));
    map_by_upnpc(&site, 5555);
    assert_eq!(site.router().table(), [entry(site.host(), 5555)]);
    assert_eq!(who_answers(lab.outside(), site.outside(5555)).as_deref(), Some("upnp-a"));
    // Neither other protocol is spoken.
    assert_ne!(site.router().natpmpc(site.host(), &["-a", "1", "4242", "tcp"]).code, 0);

    let other = site.add_host();
    site.router().foreign_mapping(&other, PORT);
    let wanted = Entry { transport: Transport::Tcp, external_port: PORT, internal: other.at(PORT) };
    assert!(site.router().table().contains(&wanted));
    site.router().upnpc(&other, &["-l"]).says(&["192.168.1.10:4242", "192.168.1.11:4242"]);

    site.router().drop_mappings_silently();
    assert!(!lab.outside().reaches(site.outside(5555), SILENCE));
    assert_eq!(site.router().table(), []);
    site.router().upnpc(&other, &["-l"]).never_says("192.168.1.10:4242");
    map_by_upnpc(&site, 5555);
    assert_eq!(who_answers(lab.outside(), site.outside(5555)).as_deref(), Some("upnp-a"));

    // The other way to lose one: the router believes that it has it.
    site.router().drop_rules_behind_its_back();
    assert!(!lab.outside().reaches(site.outside(5555), SILENCE));
    site.router().upnpc(&other, &["-l"]).says(&["192.168.1.10:4242"]);
}

#[test]
fn each_router_speaks_what_its_kind_says() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("kinds");
    let version = |site: &Site| {
        let outcome = run(site.host().command("upnpc").args(["-u", &site.router().description_url(), "-s"]));
        (outcome.code == 0).then_some(outcome.stdout)
    };
    let pmp =
        |site: &Site| site.router().natpmpc(site.host(), &["-a", "5555", "4242", "tcp", "60"]).code == 0;
    for (kind, speaks_upnp, speaks_pmp, speaks_pcp) in [
        (SiteKind::upnp_v1(), true, false, false),
        (SiteKind::nat_pmp(), false, true, false),
        (SiteKind::pcp(), false, false, true),
        (SiteKind::nat_pmp_and_pcp(), false, true, true),
        (SiteKind::all(), true, true, true),
    ] {
        let site = lab.site(kind);
        let name = site.router().name();
        // natpmpc waits for long before it gives up: only where it is worth it.
        if speaks_pmp {
            assert!(pmp(&site), "NAT-PMP at {name}");
            assert_eq!(site.router().table().len(), 1, "at {name}");
            site.router().drop_mappings_silently();
            assert!(pmp(&site), "NAT-PMP at {name} again");
            assert_eq!(site.router().table().len(), 1, "at {name} again");
        }
        assert_eq!(version(&site).is_some(), speaks_upnp, "UPnP at {name}");
        let patience = if speaks_pcp { SOON } else { SILENCE };
        let answers = answers_pcp(site.host(), site.router().lan_address().into(), patience);
        assert_eq!(answers, speaks_pcp, "PCP at {name}");
        site.router().drop_mappings_silently();
    }
}

/// Whether a PCP ANNOUNCE (RFC 6887, section 14.1) is answered in version 2.
fn answers_pcp(host: &Host, router: std::net::IpAddr, patience: Duration) -> bool {
    let mut request = [0; 24];
    request[0] = 2;
    let std::net::IpAddr::V4(own) = host.address() else { panic!("an IPv4 host") };
    request[8..24].copy_from_slice(&own.to_ipv6_mapped().octets());
    host.inside(|| {
        let socket = std::net::UdpSocket::bind((own, 0)).unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.connect((router, 5351)).unwrap();
        socket.send(&request).unwrap();
        let mut answer = [0; 1100];
        let length = socket.recv(&mut answer).unwrap_or(0);
        length >= 24 && answer[0] == 2 && answer[3] == 0
    })
}

#[test]
fn a_router_that_restarts_has_forgotten_everything_and_may_have_another_address() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("reboot");
    let site = lab.site(SiteKind::all());
    let router = site.router();
    let _server = Server::on(site.host());
    map_by_upnpc(&site, PORT);
    let before = site.outside(PORT);
    let url = router.description_url();
    assert!(lab.outside().reaches(before, SOON));

    router.reboot(Reboot::default());
    assert_eq!(site.outside(PORT), before);
    assert_eq!(router.table(), []);
    assert!(!lab.outside().reaches(before, SILENCE));
    map_by_upnpc(&site, PORT);
    assert!(lab.outside().reaches(before, SOON));

    router.reboot(Reboot { new_wan: true, new_http_port: true, cables_dead: true, ..Reboot::default() });
    let after = site.outside(PORT);
    assert_ne!(after.ip(), before.ip());
    assert_ne!(router.description_url(), url);
    map_by_upnpc(&site, PORT);
    assert!(lab.outside().wait_reaches(after, SOON) < SOON);
    assert!(!lab.outside().reaches(before, SILENCE));

    // A line that was cut: the mappings live on at the new address.
    router.change_wan_address();
    assert_ne!(site.outside(PORT), after);
    lab.outside().wait_reaches(site.outside(PORT), SOON);
}

#[test]
fn behind_a_carrier_a_mapping_leads_nowhere() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("carrier");
    let carrier = lab.carrier(SiteKind::plain());
    let honest = lab.site_behind(&carrier, SiteKind::upnp());
    let liar = lab.site_behind(&carrier, SiteKind::upnp().claiming(carrier.router().wan_address()));
    assert!(honest.router().wan_address().to_string().starts_with("100.64."));
    assert_eq!(honest.outside_address(), carrier.router().wan_address());
    let _outer = Server::on(lab.outside());
    assert!(honest.host().reaches(lab.outside().at(PORT), SOON));

    let refused = honest.router().upnpc(honest.host(), &["-a", "192.168.2.10", "4242", "4242", "tcp"]);
    assert_eq!(honest.router().table(), [], "{refused}");
    let claimed = carrier.router().wan_address().to_string();
    liar.router().upnpc(liar.host(), &["-s"]).says(&[&claimed]);
    let _server = Server::on(liar.host());
    map_by_upnpc(&liar, PORT);
    assert_eq!(liar.router().table(), [entry(liar.host(), PORT)]);
    assert!(!lab.outside().reaches(liar.outside(PORT), SILENCE));
    // Who has the same carrier meets the router's shared address.
    let shared = SocketAddr::new(liar.router().wan_address().into(), PORT);
    assert_eq!(who_answers(honest.host(), shared).as_deref(), Some("upnp-2-a"));
}

#[test]
fn a_firewall_on_the_host_stops_what_the_router_lets_through() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("firewall");
    let site = lab.site(SiteKind::upnp());
    let _server = Server::on(site.host());
    map_by_upnpc(&site, PORT);
    let (outside, address) = (lab.outside(), site.outside(PORT));
    assert!(outside.reaches(address, SOON));
    let _outer = Server::on(outside);
    for firewall in [Firewall::DropPort(PORT), Firewall::DropInbound] {
        site.host().firewall(firewall);
        let refused = outside.dial(address, SILENCE).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut, "{firewall:?}");
        assert!(site.host().reaches(outside.at(PORT), SOON), "{firewall:?} lets out");
    }
    site.host().firewall(Firewall::RejectPort(PORT));
    let refused = outside.dial(address, SOON).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    site.host().firewall(Firewall::Off);
    assert!(outside.reaches(address, SOON));
}

/// The address from which a server sees a host that calls from this port of its own.
fn seen_as(from: &Host, port: u16, server: &TcpListener) -> SocketAddr {
    let to = server.local_addr().unwrap();
    let _call = from.inside(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        // The call before may not be forgotten yet.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::new(from.address(), port).into()).unwrap();
        socket.connect_timeout(&to.into(), SOON).unwrap();
        socket
    });
    server.accept().unwrap().1
}

#[test]
fn source_ports_are_kept_by_plain_routers_and_carriers_and_by_symmetric_ones_not() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("source ports");
    let (carrier, symmetric) = (lab.carrier(SiteKind::plain()), lab.carrier(SiteKind::plain().symmetric()));
    let (first, second) = (lab.public_host().listen(PORT), lab.public_host().listen(PORT));
    for (site, keeps) in [
        (lab.site(SiteKind::plain()), true),
        (lab.site(SiteKind::plain().rejecting()), true),
        (lab.site(SiteKind::upnp()), true),
        (lab.site_behind(&carrier, SiteKind::plain()), true),
        (lab.site(SiteKind::plain().symmetric()), false),
        (lab.site_behind(&symmetric, SiteKind::plain()), false),
    ] {
        let seen = [&first, &second].map(|server| seen_as(site.host(), 40_000, server));
        let name = site.router().name();
        assert!(seen.iter().all(|seen| seen.ip() == site.outside_address()), "{name}: {seen:?}");
        // A random port is the right one once in 30,000 tries, twice never.
        assert_eq!(seen.iter().all(|seen| seen.port() == 40_000), keeps, "{name}: {seen:?}");
        assert_eq!(seen[0] == seen[1], keeps, "{name}: {seen:?}");
    }
}

#[test]
fn routers_of_one_carrier_meet_where_each_maps_a_port() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("one carrier");
    let carrier = lab.carrier(SiteKind::plain());
    let homes = [0, 1].map(|_| lab.site_behind(&carrier, SiteKind::plain()));
    let fakes = homes.each_ref().map(|home| FakeIgd::start(home.router(), Script::default()));
    let (here, there) = (&homes[0], &homes[1]);
    let _server = Server::on(there.host());
    let meeting = SocketAddr::new(there.router().wan_address().into(), PORT);
    assert!(meeting.ip().to_string().starts_with("100.64."), "{meeting}");
    assert!(!here.host().reaches(meeting, SILENCE));
    let address = there.host().address().to_string();
    let mapped = ["-u", &fakes[1].description_url(), "-a", &address, "4242", "4242", "tcp", "3600"];
    run(there.host().command("upnpc").args(mapped)).ok();
    assert_eq!(who_answers(here.host(), meeting).as_deref(), Some("plain-2-a"));
    // There is no way round by the outside.
    assert!(!here.host().reaches(there.outside(PORT), SILENCE));
    assert!(!lab.outside().reaches(there.outside(PORT), SILENCE));
}

#[test]
fn a_firewall_lets_out_what_goes_to_its_port_and_a_host_answers_there() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("443");
    let site = lab.site(SiteKind::plain().letting_out_only(443));
    let outside = lab.outside();
    let _server = Server::on(outside);
    assert!(!site.host().reaches(outside.at(443), SILENCE));
    outside.redirect(443, PORT);
    assert_eq!(who_answers(site.host(), outside.at(443)).as_deref(), Some("public"));
    assert!(!site.host().reaches(outside.at(PORT), SILENCE));
    let closed = lab.site(SiteKind::plain().closed());
    assert!(!closed.host().reaches(outside.at(443), SILENCE));
}

#[test]
fn a_site_at_the_end_of_a_long_line_is_far_away_and_its_line_can_be_cut() {
    if !need_lab() || !need("python3") {
        return;
    }
    let lab = Lab::new("long lines");
    let far = SiteKind::plain().distant(Distance {
        one_way: Duration::from_millis(25),
        bits_per_second: None,
        queue_bytes: None,
    });
    let carrier = lab.carrier(far.clone());
    let sites = [lab.site(far), lab.site_behind(&carrier, SiteKind::plain())];
    sites[1].router().forward(PORT, sites[1].host().at(PORT));
    let _server = Server::on(sites[1].host());
    carrier.router().forward(PORT, SocketAddr::new(sites[1].router().wan_address().into(), PORT));
    let (here, there) = (sites[0].host(), sites[1].outside(PORT));
    let begun = Instant::now();
    let before = here.traffic();
    assert_eq!(who_answers(here, there).as_deref(), Some("plain-2-a"));
    // A connection is there after one round trip, the text comes with another half at the least.
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(100) && took < SOON, "{took:?}");
    let after = here.traffic();
    assert!(after.received > before.received + 9 && after.sent > before.sent, "{before:?} {after:?}");
    for cable in [sites[0].cable(), carrier.cable()] {
        cable.cut();
        assert_eq!(here.dial(there, SILENCE).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        cable.mend();
        here.wait_reaches(there, SOON);
    }
}

#[test]
fn ipv6_is_routed_and_the_router_keeps_strangers_out() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("ipv6");
    let both = lab.site(SiteKind::all().dual_stack());
    let only = lab.site(SiteKind::all().ipv6_only());
    let outside = lab.outside();
    let outer = outside.inside(|| TcpListener::bind("[::]:4242").unwrap());
    let _outer = outer;
    let v6 = |host: &Host| SocketAddr::new(host.ipv6().unwrap().into(), PORT);
    for site in [&both, &only] {
        let host = site.host();
        assert!(host.reaches(v6(outside), SOON), "{} to the internet", host.name());
        let listener = host.inside(|| TcpListener::bind(v6(host)).unwrap());
        let refused = outside.dial(v6(host), SILENCE).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut, "{}", host.name());
        drop(listener);
    }
    for site in [&both, &only] {
        let host = site.host();
        let listener = host.inside(|| TcpListener::bind(v6(host)).unwrap());
        assert_eq!(pinhole_by_pcp(host), 0, "PCP over IPv6 at {}", site.router().name());
        let wanted = Entry { transport: Transport::Tcp, external_port: PORT, internal: v6(host) };
        assert_eq!(site.router().pinholes(), [wanted]);
        assert!(outside.reaches(v6(host), SOON), "{} through its pinhole", host.name());
        site.router().drop_rules_behind_its_back();
        assert!(!outside.reaches(v6(host), SILENCE), "{} without its pinhole", host.name());
        drop(listener);
    }
    assert_eq!(only.host().ipv4(), None);
    assert!(!only.host().reaches(outside.at(PORT), SILENCE));
}

/// Asks for a pinhole to the TCP port by PCP MAP (RFC 6887, section 11.1), and gives back the result code.
fn pinhole_by_pcp(host: &Host) -> u8 {
    let own = host.ipv6().unwrap();
    let port = PORT.to_be_bytes();
    let mut request = [0; 60];
    request[..2].copy_from_slice(&[2, 1]);
    request[4..8].copy_from_slice(&600_u32.to_be_bytes());
    request[8..24].copy_from_slice(&own.octets());
    request[24..36].copy_from_slice(b"nonce nonce!");
    request[36] = 6;
    request[40..42].copy_from_slice(&port);
    request[42..44].copy_from_slice(&port);
    let mut router = own.segments();
    router[7] = 1;
    host.inside(|| {
        let socket = std::net::UdpSocket::bind((own, 0)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.send_to(&request, (std::net::Ipv6Addr::from(router), 5351)).unwrap();
        let mut answer = [0; 1100];
        let length = socket.recv(&mut answer).unwrap();
        assert!(length >= 60 && answer[..2] == [2, 0x81], "{:?}", &answer[..length]);
        answer[3]
    })
}

#[test]
fn nothing_is_left_of_a_lab_even_after_a_panic() {
    if !need_lab() {
        return;
    }
    let names = |prefix: &str| {
        let list = run(Command::new("ip").args(["netns", "list"]));
        list.ok().lines().filter(|line| line.starts_with(prefix)).count()
    };
    let panicked = std::thread::spawn(|| {
        let lab = Lab::new("panic");
        let site = lab.site(SiteKind::upnp());
        let sleeper = site.host().start("sleep", &["1000"]);
        let prefix = lab.prefix().to_owned();
        let directory = lab.directory().to_owned();
        assert!(sleeper.runs());
        std::panic::panic_any((prefix, directory, sleeper.id()));
    });
    let told = panicked.join().unwrap_err();
    let (prefix, directory, sleeper) = *told.downcast::<(String, std::path::PathBuf, u32)>().unwrap();
    assert_eq!(names(&prefix), 0);
    assert!(!directory.exists());
    let gone = || !std::path::Path::new(&format!("/proc/{sleeper}/exe")).exists();
    wait_until("what ran in the lab to end", SOON, gone);
}
