//! What Kith says of a router that does not do what it should, and what to do about it.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use e2e::lab::{
    Description, Effect, ErrorText, FakeIgd, Firewall, Lab, Leases, Listing, ReadBack, Script, Site,
    SiteKind, Ssdp,
};
use e2e::{Computer, memory_peak_kib, need_lab, pair, run, say, wait_until};
use serde_json::Value;

const PORT: u16 = 4242;
/// The longest time until a verdict stands: a router that hangs is waited for, and a lease that may vanish is looked at again.
const VERDICT: Duration = Duration::from_secs(25);
/// Computers that are looked at side by side.
const SIDE_BY_SIDE: usize = 6;
/// What a daemon may need at most whatever a router sends, in KiB.
const MOST_MEMORY: u64 = 150 * 1024;

/// What is wrong, and what must be said of it.
struct Case {
    what: &'static str,
    fault: Fault,
    state: &'static str,
    /// Words of the sentence.
    sentence: &'static [&'static str],
    /// Words of the next step; none: there is nothing to do.
    next_step: &'static [&'static str],
    /// More that must be so of the mapping.
    also: fn(&Value) -> bool,
}

enum Fault {
    /// A real router, and settings of Kith.
    Real(SiteKind, &'static str),
    /// A fake one.
    Fake(Script),
    /// Its description lies at another address of the same network.
    DescribedElsewhere,
    /// `ip` changes something on the computer, whose router is without a fault.
    Changed(&'static [&'static str]),
}

const ALWAYS: fn(&Value) -> bool = |_| true;
const LIMITED: fn(&Value) -> bool = |mapping| mapping["lease_seconds"].as_u64() > Some(0);
const PERMANENT: fn(&Value) -> bool = |mapping| mapping["lease_seconds"].is_null();
const OTHER_PORT: fn(&Value) -> bool = |mapping| mapping["external_port"] != PORT;

const CONTAINERS: [&str; 5] = [
    "link add docker0 type bridge",
    "addr add 172.17.0.1/16 dev docker0",
    "link add veth0 type veth peer name veth1",
    "link set veth0 master docker0 up",
    "link set docker0 up",
];
/// The other end of the tunnel is here too, so that it has a carrier.
const VPN: [&str; 4] = [
    "link add tun0 type veth peer name far",
    "addr add 10.8.0.2/24 dev tun0",
    "link set far up",
    "link set tun0 up",
];

fn mapped(what: &'static str, script: Script, also: fn(&Value) -> bool) -> Case {
    let sentence = &["leads", "to this computer (UPnP)", "not yet proved"];
    Case { what, fault: Fault::Fake(script), state: "mapped", sentence, next_step: &[], also }
}

fn off(what: &'static str, script: Script, sentence: &'static [&'static str]) -> Case {
    let next_step = &["forward TCP 4242", "192.168.1.1", "192.168.1.10:4242"];
    Case { what, fault: Fault::Fake(script), state: "router-off", sentence, next_step, also: ALWAYS }
}

fn down(what: &'static str, address: &str) -> Case {
    let script = Script { external_address: Some(address.to_owned()), ..Script::default() };
    let sentence = &["says that it has no Internet address"];
    let next_step = &["check the router's connection to the Internet", "http://192.168.1.1"];
    Case { what, fault: Fault::Fake(script), state: "router-off", sentence, next_step, also: ALWAYS }
}

fn described(what: &'static str, description: Description) -> Case {
    let sentence = &["the router at 192.168.1.1", "UPnP: what it says can't be understood"];
    off(what, Script { description, ..Script::default() }, sentence)
}

fn double(
    what: &'static str,
    address: &str,
    sentence: &'static [&'static str],
    next_step: &'static [&'static str],
) -> Case {
    let script = Script { external_address: Some(address.to_owned()), ..Script::default() };
    Case { what, fault: Fault::Fake(script), state: "double-nat", sentence, next_step, also: ALWAYS }
}

fn changed(
    what: &'static str,
    changes: &'static [&'static str],
    state: &'static str,
    sentence: &'static [&'static str],
    next_step: &'static [&'static str],
) -> Case {
    Case { what, fault: Fault::Changed(changes), state, sentence, next_step, also: ALWAYS }
}

fn cases() -> Vec<Case> {
    let usual = Script::default;
    let real = |what, kind, settings, state, sentence, next_step| Case {
        what,
        fault: Fault::Real(kind, settings),
        state,
        sentence,
        next_step,
        also: ALWAYS,
    };
    vec![
        real(
            "a router without mappings",
            SiteKind::plain(),
            "",
            "router-off",
            &["192.168.1.1 does not open ports by itself", "neither"],
            &["switch on UPnP or NAT-PMP", "http://192.168.1.1", "forward TCP 4242", "192.168.1.10:4242"],
        ),
        real(
            "all protocols switched off",
            SiteKind::all(),
            "[nat]\nupnp = false\nnat-pmp = false\npcp = false\n",
            "off",
            &["switched off in Kith's settings"],
            &["nat.upnp"],
        ),
        real(
            "the only protocol of the router switched off",
            SiteKind::upnp(),
            "[nat]\nupnp = false\n",
            "router-off",
            &["UPnP is switched off in Kith's settings"],
            &["forward TCP 4242"],
        ),
        real(
            "UPnP alone",
            SiteKind::all(),
            "[nat]\nnat-pmp = false\npcp = false\n",
            "mapped",
            &["(UPnP)"],
            &[],
        ),
        real(
            "NAT-PMP alone",
            SiteKind::all(),
            "[nat]\nupnp = false\npcp = false\n",
            "mapped",
            &["(NAT-PMP)"],
            &[],
        ),
        real(
            "PCP alone",
            SiteKind::all(),
            "[nat]\nupnp = false\nnat-pmp = false\n",
            "mapped",
            &["(PCP)"],
            &[],
        ),
        changed(
            "no router",
            &["route del default"],
            "no-router",
            &["no default route"],
            &["network settings"],
        ),
        changed("containers", &CONTAINERS, "mapped", &["192.168.1.1 leads 11.0.113.10:4242"], &[]),
        changed("a VPN beside", &VPN, "mapped", &["192.168.1.1 leads 11.0.113.10:4242"], &[]),
        changed(
            "a VPN for everything",
            &[VPN[0], VPN[1], VPN[2], VPN[3], "route replace default via 10.8.0.1 dev tun0"],
            "no-router",
            &["leaves through a VPN"],
            &["VPN"],
        ),
        mapped("no fault", usual(), LIMITED),
        mapped("725", Script { leases: Leases::OnlyPermanent, ..usual() }, PERMANENT),
        mapped("402 for leases", Script { leases: Leases::OnlyPermanentSays402, ..usual() }, PERMANENT),
        mapped("501 for leases", Script { leases: Leases::OnlyPermanentSays501, ..usual() }, PERMANENT),
        mapped(
            "725 without words",
            Script { leases: Leases::OnlyPermanent, error_text: ErrorText::Empty, ..usual() },
            PERMANENT,
        ),
        mapped(
            "725 without a description",
            Script { leases: Leases::OnlyPermanent, error_text: ErrorText::Missing, ..usual() },
            PERMANENT,
        ),
        mapped("402 for permanent ones", Script { leases: Leases::NoPermanent, ..usual() }, LIMITED),
        mapped("leases vanish at once", Script { leases: Leases::LimitedVanish, ..usual() }, PERMANENT),
        mapped("718", Script { taken: vec![PORT], ..usual() }, OTHER_PORT),
        mapped("no read-back", Script { read_back: ReadBack::Missing, ..usual() }, LIMITED),
        mapped("answers from another port", Script { ssdp: Ssdp::OtherPort, ..usual() }, LIMITED),
        Case { fault: Fault::DescribedElsewhere, ..mapped("described elsewhere", usual(), LIMITED) },
        off(
            "any external port is really the internal one, which is taken",
            Script { effect: Effect::SamePort, taken: vec![PORT], ..usual() },
            &["does not open port 4242"],
        ),
        off(
            "only equal ports, and ours is taken",
            Script { same_ports_only: true, taken: vec![PORT], ..usual() },
            &["maps only port 4242 to port 4242"],
        ),
        off(
            "maps to another computer",
            Script { effect: Effect::OtherHost(Ipv4Addr::new(192, 168, 1, 77)), ..usual() },
            &["does not open port 4242"],
        ),
        off("501 for everything", Script { refuses: Some(501), ..usual() }, &["UPnP", "501"]),
        off("606 for everything", Script { refuses: Some(606), ..usual() }, &["UPnP", "606"]),
        described("garbage", Description::Garbage),
        described("ten million bytes", Description::Huge),
        described("an endless description", Description::Endless),
        described("an entity bomb", Description::EntityBomb),
        described("a hanging router", Description::Hanging),
        described("a trickling router", Description::Trickling),
        off(
            "404",
            Script { description: Description::NotFound, ..Script::default() },
            &["the router at 192.168.1.1", "speaks neither"],
        ),
        double("a carrier's address", "100.64.7.7", &["100.64.7.7", "carrier"], &["provider"]),
        double(
            "a private address",
            "192.168.77.2",
            &["192.168.77.2", "second router"],
            &["forward TCP 4242 on the second router to 192.168.77.2:4242"],
        ),
        down("no address yet", ""),
        down("the address 0.0.0.0", "0.0.0.0"),
    ]
}

/// Looks at one case, and says what is not as it should be.
fn problem(case: &Case) -> Option<String> {
    let lab = Lab::new("verdict");
    let kind = match &case.fault {
        Fault::Real(kind, _) => kind.clone(),
        Fault::Changed(_) => SiteKind::all(),
        _ => SiteKind::plain(),
    };
    let site = lab.site(kind);
    let fake = fake(case, &site);
    let settings = if let Fault::Real(_, settings) = case.fault { settings } else { "" };
    let anna = Computer::in_host_with("anna", site.host(), settings);
    anna.start();
    let begun = Instant::now();
    let mapping = loop {
        let mapping = anna.status()["mapping"].take();
        if fits(case, &mapping) {
            break mapping;
        }
        if begun.elapsed() > VERDICT {
            let asked: Vec<String> = fake
                .iter()
                .flat_map(FakeIgd::requests)
                .map(|request| format!("{} {:?} -> {:?}", request.what, request.arguments, request.error))
                .collect();
            return Some(format!(
                "{}: expected {} {:?} {:?}, it says\n{mapping:#}\nthe router was asked\n{}\n",
                case.what,
                case.state,
                case.sentence,
                case.next_step,
                asked.join("\n")
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    say(&format!("{}: {} after {:?}", case.what, mapping["sentence"], begun.elapsed()));
    let left = site.router().table();
    if case.state == "router-off" && !left.is_empty() {
        return Some(format!("{}: the router still leads {left:?}", case.what));
    }
    let memory = memory_peak_kib(anna.pid());
    (memory > MOST_MEMORY).then(|| format!("{}: the daemon needed {memory} KiB", case.what))
}

fn fake(case: &Case, site: &Site) -> Option<FakeIgd> {
    let script = match &case.fault {
        Fault::Real(..) => return None,
        Fault::Changed(changes) => {
            for change in *changes {
                run(site.host().command("ip").args(change.split(' '))).ok();
            }
            return None;
        }
        Fault::Fake(script) => script.clone(),
        Fault::DescribedElsewhere => {
            run(site.router().command("ip").args(["addr", "add", "192.168.1.2/24", "dev", "lan"])).ok();
            let url = "http://192.168.1.2:5000/description.xml";
            Script { ssdp: Ssdp::LocationAt(url.to_owned()), ..Script::default() }
        }
    };
    Some(FakeIgd::start(site.router(), script))
}

fn fits(case: &Case, mapping: &Value) -> bool {
    let has = |key: &str, words: &[&str]| {
        let text = mapping[key].as_str().unwrap_or_default();
        words.iter().all(|word| text.contains(word)) && (words.is_empty() == mapping[key].is_null())
    };
    mapping["state"] == case.state
        && has("sentence", case.sentence)
        && has("next_step", case.next_step)
        && (case.also)(mapping)
}

#[test]
fn every_fault_of_a_router_gets_the_right_name() {
    if !need_lab() {
        return;
    }
    let cases = Mutex::new(cases().into_iter());
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let case = cases.lock().unwrap().next();
                    let Some(case) = case else { break };
                    let problem = problem(&case);
                    problems.lock().unwrap().extend(problem);
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} wrong:\n{}", problems.len(), problems.join("\n"));
}

/// A home with a friend who tries to get in from outside.
#[track_caller]
fn with_a_friend(
    kind: SiteKind,
    prepare: impl FnOnce(&Site) -> Option<FakeIgd>,
    state: &str,
    sentence: &[&str],
    next_step: &[&str],
) {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("friend");
    let site = lab.site(kind);
    let fake = prepare(&site);
    judged(&lab, &site, fake, state, sentence, next_step);
}

#[track_caller]
fn judged(
    lab: &Lab,
    site: &Site,
    _fake: Option<FakeIgd>,
    state: &str,
    sentence: &[&str],
    next_step: &[&str],
) {
    let (anna, bert) =
        (Computer::in_host("anna", site.host()), Computer::in_host("bert", &lab.public_host()));
    bert.start();
    anna.start();
    pair(&bert, &anna);
    let begun = Instant::now();
    loop {
        let mapping = anna.status()["mapping"].take();
        let text = |key: &str| mapping[key].as_str().unwrap_or_default().to_owned();
        let right = mapping["state"] == state
            && sentence.iter().all(|word| text("sentence").contains(word))
            && next_step.iter().all(|word| text("next_step").contains(word));
        if right {
            say(&format!("{} after {:?}", text("sentence"), begun.elapsed()));
            assert_eq!(mapping["proved"], false);
            return;
        }
        assert!(
            begun.elapsed() < 2 * VERDICT,
            "expected {state} {sentence:?} {next_step:?}, it says {mapping:#}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_firewall_on_this_computer_is_named() {
    with_a_friend(
        SiteKind::all(),
        |site| {
            site.host().firewall(Firewall::DropPort(PORT));
            None
        },
        "blocked",
        &["bert could not connect", "firewall on this computer"],
        &["allow incoming TCP 4242 in the firewall of this computer"],
    );
}

#[test]
fn a_firewall_on_this_computer_that_lets_only_answers_in_is_named() {
    with_a_friend(
        SiteKind::upnp(),
        |site| {
            site.host().firewall(Firewall::DropInbound);
            None
        },
        "blocked",
        &["bert could not connect", "firewall on this computer"],
        &["allow incoming TCP 4242 in the firewall of this computer"],
    );
}

#[test]
fn a_router_that_says_yes_and_does_nothing_is_found_out_by_a_friend() {
    with_a_friend(
        SiteKind::plain(),
        |site| {
            let script = Script { effect: Effect::Nothing, listing: Listing::AsAsked, ..Script::default() };
            Some(FakeIgd::start(site.router(), script))
        },
        "blocked",
        &["bert could not connect"],
        &["TCP 4242"],
    );
}

/// miniupnpd maps nothing where its own address is not public, and says that it has none. A friend sees that it has: there is
/// somebody in between.
#[test]
fn a_carrier_is_named_though_the_router_says_only_that_it_has_no_address() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("carrier");
    let carrier = lab.carrier(SiteKind::plain());
    for kind in [SiteKind::upnp(), SiteKind::nat_pmp()] {
        let site = lab.site_behind(&carrier, kind);
        judged(&lab, &site, None, "double-nat", &["friends see"], &["provider"]);
    }
}

#[test]
fn a_router_that_hides_the_carrier_is_found_out_by_a_friend() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("liar");
    let carrier = lab.carrier(SiteKind::plain());
    // An address that was the carrier's once.
    let site = lab.site_behind(&carrier, SiteKind::all().claiming(Ipv4Addr::new(11, 0, 113, 200)));
    judged(&lab, &site, None, "double-nat", &["11.0.113.200", "friends see"], &["provider"]);
}

/// The router gives this computer another address, and lets anybody remove what leads to the former one.
#[test]
fn after_a_change_of_this_computers_address_one_entry_leads_to_the_new_one() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("moved");
    let site = lab.site(SiteKind::plain());
    let _fake = FakeIgd::start(site.router(), Script::default());
    let anna = Computer::in_host("anna", site.host());
    anna.start();
    let led_to =
        || -> Vec<String> { site.router().table().iter().map(|entry| entry.internal.to_string()).collect() };
    wait_until("the first mapping", VERDICT, || led_to() == ["192.168.1.10:4242"]);
    for change in [
        "addr del 192.168.1.10/24 dev eth0",
        "addr add 192.168.1.77/24 dev eth0",
        "route replace default via 192.168.1.1",
    ] {
        run(site.host().command("ip").args(change.split(' '))).ok();
    }
    wait_until("one mapping, to the new address", VERDICT, || led_to() == ["192.168.1.77:4242"]);
}
