//! The router whose faults a test chooses, asked by a client that knows nothing of Kith.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use e2e::lab::{
    Description, Effect, Entry, ErrorText, FakeIgd, Host, IgdVersion, Lab, Leases, Listing, ReadBack, Script,
    Site, SiteKind, Ssdp, Transport,
};
use e2e::{Outcome, need_lab, run};

/// Silence for that long counts as no answer, where none is expected.
const SILENCE: Duration = Duration::from_millis(300);
/// An answer that is expected comes much faster; on a loaded machine a first packet may need to be sent again.
const SOON: Duration = Duration::from_secs(5);

struct Faulty {
    site: Site,
    fake: FakeIgd,
    lab: Lab,
}

impl Faulty {
    fn new(script: Script) -> Self {
        let lab = Lab::new("fake igd");
        let site = lab.site(SiteKind::plain());
        let fake = FakeIgd::start(site.router(), script);
        Self { site, fake, lab }
    }

    fn upnpc(&self, args: &[&str]) -> Outcome {
        let url = self.fake.description_url();
        run(self.site.host().command("upnpc").args(["-u", &url]).args(args))
    }

    /// Asks for external port 5555 to lead to 4242.
    fn add(&self, lease: &str) -> Outcome {
        let own = self.site.host().address().to_string();
        self.upnpc(&["-a", &own, "4242", "5555", "tcp", lease])
    }

    fn table(&self) -> Vec<(u16, SocketAddr)> {
        let entries = self.site.router().table();
        entries.into_iter().map(|entry| (entry.external_port, entry.internal)).collect()
    }

    /// The reply to a GET of the description, or what came of it until nothing came for `patience`.
    fn description(&self, patience: Duration) -> Vec<u8> {
        let address = SocketAddr::new(self.site.router().lan_address().into(), 5000);
        let mut stream = self.site.host().dial(address, SOON).unwrap();
        stream.write_all(b"GET /description.xml HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut bytes = Vec::new();
        // Silence ends it too.
        drop(stream.take(20_000_000).read_to_end(&mut bytes));
        bytes
    }
}

#[test]
fn without_faults_it_is_a_router_like_others() {
    if !need_lab() {
        return;
    }
    let faulty = Faulty::new(Script::default());
    let host = faulty.site.host();
    faulty.add("3600").ok();
    let entry = Entry { transport: Transport::Tcp, external_port: 5555, internal: host.at(4242) };
    assert_eq!(faulty.site.router().table(), [entry]);
    let listener = host.listen(4242);
    assert!(faulty.lab.outside().reaches(faulty.site.outside(5555), SOON));
    drop(listener);
    let real = faulty.site.router().wan_address().to_string();
    faulty.upnpc(&["-s"]).says(&["Connected", &real]);
    faulty.upnpc(&["-l"]).says(&["5555->192.168.1.10:4242"]);
    assert_eq!(faulty.fake.asked("AddPortMapping")[0].argument("NewLeaseDuration"), "3600");
    faulty.upnpc(&["-d", "5555", "tcp"]).ok();
    assert_eq!(faulty.table(), []);
    // A search finds it.
    run(host.command("upnpc").args(["-s"])).says(&[&faulty.fake.description_url()]);
    assert_eq!(faulty.fake.asked("M-SEARCH").len(), 1);
    // A lease ends.
    faulty.add("1").ok();
    e2e::wait_until("the end of the lease", Duration::from_secs(30), || faulty.table().is_empty());
    faulty.fake.set(Script { version: IgdVersion::Two, taken: vec![5555], ..Script::default() });
    let own = host.address().to_string();
    faulty.upnpc(&["-n", &own, "4242", "5555", "tcp", "3600"]).says(&["5556"]);
}

#[test]
fn it_refuses_as_it_is_told() {
    if !need_lab() {
        return;
    }
    let faulty = Faulty::new(Script::default());
    let check = |leases, lease: &str, code: &str| {
        faulty.fake.set(Script { leases, ..Script::default() });
        faulty.add(lease).says(&[&format!("failed with code {code}")]);
        assert_eq!(faulty.table(), [], "{leases:?}");
    };
    check(Leases::OnlyPermanent, "3600", "725");
    check(Leases::OnlyPermanentSays402, "3600", "402");
    check(Leases::OnlyPermanentSays501, "3600", "501");
    check(Leases::NoPermanent, "0", "402");
    faulty.fake.set(Script { taken: vec![5555], ..Script::default() });
    faulty.add("3600").says(&["failed with code 718"]);
    faulty.fake.set(Script { same_ports_only: true, ..Script::default() });
    faulty.add("3600").says(&["failed with code 724"]);
    for error_text in [ErrorText::Empty, ErrorText::Missing] {
        faulty.fake.set(Script { refuses: Some(725), error_text, ..Script::default() });
        faulty.add("3600").says(&["failed with code 725"]);
    }
    faulty.fake.set(Script { leases: Leases::OnlyPermanent, ..Script::default() });
    faulty.add("0").ok();
    assert_eq!(faulty.table(), [(5555, faulty.site.host().at(4242))]);
    let codes: Vec<_> =
        faulty.fake.asked("AddPortMapping").iter().filter_map(|request| request.error).collect();
    assert_eq!(codes, [725, 402, 501, 402, 718, 724, 725, 725]);
}

#[test]
fn it_lies_as_it_is_told() {
    if !need_lab() {
        return;
    }
    let faulty = Faulty::new(Script { effect: Effect::SamePort, ..Script::default() });
    let own = faulty.site.host().at(4242);
    // upnpc looks a new mapping up.
    faulty.add("3600").says(&["GetSpecificPortMappingEntry() failed with code 714"]);
    assert_eq!(faulty.table(), [(4242, own)]);
    faulty.upnpc(&["-l"]).says(&["4242->192.168.1.10:4242"]).never_says("5555->");
    faulty.fake.forget();
    faulty.fake.set(Script { effect: Effect::Nothing, listing: Listing::AsAsked, ..Script::default() });
    faulty.add("3600").ok();
    assert_eq!(faulty.table(), []);
    faulty.upnpc(&["-l"]).says(&["5555->192.168.1.10:4242"]);
    faulty.fake.forget();
    let other = Ipv4Addr::new(192, 168, 1, 77);
    faulty.fake.set(Script { effect: Effect::OtherHost(other), ..Script::default() });
    faulty.add("3600").ok();
    assert_eq!(faulty.table(), [(5555, SocketAddr::new(IpAddr::V4(other), 4242))]);
    faulty.fake.forget();
    faulty.fake.set(Script { leases: Leases::LimitedVanish, ..Script::default() });
    faulty.add("3600").says(&["GetSpecificPortMappingEntry() failed with code 714"]);
    assert_eq!(faulty.table(), []);
    faulty.add("0").ok();
    assert_eq!(faulty.table(), [(5555, own)]);
    faulty.fake.set(Script { external_address: Some("100.64.7.7".into()), ..Script::default() });
    faulty.upnpc(&["-s"]).says(&["100.64.7.7"]);
    faulty.fake.set(Script { read_back: ReadBack::Missing, ..Script::default() });
    faulty.add("3600").says(&["GetSpecificPortMappingEntry() failed with code 401"]);
}

#[test]
fn it_describes_itself_as_it_is_told() {
    if !need_lab() {
        return;
    }
    let faulty = Faulty::new(Script::default());
    let describes = |description| {
        faulty.fake.set(Script { description, ..Script::default() });
        let falls_silent = matches!(description, Description::Hanging | Description::Trickling);
        faulty.description(if falls_silent { SILENCE } else { SOON })
    };
    assert!(describes(Description::Hanging).is_empty());
    assert!(describes(Description::Garbage).starts_with(b"HTTP/1.1 200 OK"));
    assert!(describes(Description::Huge).len() > 10_000_000);
    assert_eq!(describes(Description::Endless).len(), 20_000_000);
    assert!(describes(Description::NotFound).starts_with(b"HTTP/1.1 404"));
    let bomb = String::from_utf8(describes(Description::EntityBomb)).unwrap();
    assert!(bomb.contains("<!ENTITY j \"&i;&i;") && bomb.len() < 4000, "{bomb}");
    let trickle = describes(Description::Trickling);
    assert!(trickle.len() < 200, "{} bytes", trickle.len());
}

#[test]
fn it_answers_searches_as_it_is_told() {
    if !need_lab() {
        return;
    }
    let faulty = Faulty::new(Script::default());
    let router = faulty.site.router().lan_address();
    let search = |ssdp, to: Ipv4Addr| {
        let patience = if ssdp == Ssdp::Silent { SILENCE } else { SOON };
        faulty.fake.set(Script { ssdp, ..Script::default() });
        search(faulty.site.host(), to, patience)
    };
    for to in [router, Ipv4Addr::new(239, 255, 255, 250)] {
        let (text, from) = search(Ssdp::Usual, to).unwrap();
        assert!(text.contains(&faulty.fake.description_url()), "{text}");
        assert_eq!(from, SocketAddr::new(router.into(), 1900));
        assert_ne!(search(Ssdp::OtherPort, to).unwrap().1.port(), 1900);
        assert_eq!(search(Ssdp::Silent, to), None);
        let elsewhere = "http://192.168.1.99:5000/description.xml";
        let (text, _) = search(Ssdp::LocationAt(elsewhere.into()), to).unwrap();
        assert!(text.contains(elsewhere), "{text}");
    }
    assert_eq!(faulty.fake.asked("M-SEARCH").len(), 8);
}

/// What is answered to a search, and by whom.
fn search(host: &Host, to: Ipv4Addr, patience: Duration) -> Option<(String, SocketAddr)> {
    host.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        let target = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
        let text = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {to}:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n"
        );
        socket.send_to(text.as_bytes(), (to, 1900)).unwrap();
        let mut answer = [0; 2048];
        let (length, from) = socket.recv_from(&mut answer).ok()?;
        Some((String::from_utf8_lossy(&answer[..length]).into_owned(), from))
    })
}
