//! Two ends that connect at the same time, through real address translation. The counts are those of the design: where both routers keep
//! source ports, 19 of 20.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::lab::{Distance, Host, Lab, Site, SiteKind};
use e2e::{need_lab, run};

const PUNCHER: &str = env!("CARGO_BIN_EXE_puncher");
/// Punches of one pair, each from a port of its own: what routers remember of one is in no other's way.
const TRIES: usize = 20;
static NEXT_PORT: AtomicU16 = AtomicU16::new(4300);
/// How long each may take.
const LONGEST: Duration = Duration::from_secs(4);
/// From here until the first packets leave: both programs must run by then.
const LEAD: Duration = Duration::from_millis(800);

/// A home 25 ms from the internet: two of them have a round trip of 100 ms.
const FAR: Distance =
    Distance { one_way: Duration::from_millis(25), bits_per_second: None, queue_bytes: None };

/// An end, and where the other one takes it to be.
type End<'a> = (&'a Host, IpAddr);

fn seen(site: &Site) -> End<'_> {
    (site.host(), site.outside_address().into())
}

/// How many punches succeeded, and how long they took at the end that calls, in the order of time. Both ends must be of one opinion.
#[track_caller]
fn punches(caller: End<'_>, callee: End<'_>) -> Vec<Duration> {
    let begun = Instant::now();
    let first = NEXT_PORT.fetch_add(u16::try_from(TRIES).unwrap(), Ordering::Relaxed).to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begin = (now + LEAD).as_millis().to_string();
    let play = |role: &str, (host, _): End<'_>, (_, friend): End<'_>| {
        let mut command = host.command(PUNCHER);
        command.args([role, &friend.to_string(), &first, &TRIES.to_string(), &begin]);
        run(command.arg(LONGEST.as_millis().to_string())).ok().to_owned()
    };
    let (called, answered) = std::thread::scope(|scope| {
        let answering = scope.spawn(|| play("callee", callee, caller));
        (play("caller", caller, callee), answering.join().unwrap())
    });
    assert!(begun.elapsed() < LEAD + LONGEST + Duration::from_secs(14), "{:?}", begun.elapsed());
    let met = |said: &str| -> Vec<(String, Duration)> {
        let words = said.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let met = words.filter(|words| words[1] == "met");
        let mut met: Vec<_> = met
            .map(|words| (words[0].to_owned(), Duration::from_millis(words[2].parse().unwrap())))
            .collect();
        met.sort();
        met
    };
    assert_eq!((called.lines().count(), answered.lines().count()), (TRIES, TRIES), "{called}\n{answered}");
    let ports = |met: Vec<(String, Duration)>| met.into_iter().map(|(port, _)| port).collect::<Vec<_>>();
    assert_eq!(ports(met(&called)), ports(met(&answered)), "{called}\n{answered}");
    let mut times: Vec<Duration> = met(&called).into_iter().map(|(_, time)| time).collect();
    times.sort();
    say(&format!("{} of {TRIES}; {:?}", times.len(), times.get(times.len() / 2)));
    if times.len() < TRIES - 1 {
        say(&format!("{called}\n{answered}"));
    }
    times
}

#[allow(clippy::print_stdout, reason = "what was measured is shown by the test runner on failure")]
fn say(what: &str) {
    println!("{what}");
}

#[track_caller]
fn assert_nearly_all(caller: End<'_>, callee: End<'_>) {
    let met = punches(caller, callee);
    assert!(met.len() >= TRIES - 1, "{} of {TRIES}", met.len());
}

#[test]
fn two_homes_whose_routers_keep_ports_meet_near_and_far() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("punch plain");
    let [one, other] = [lab.site(SiteKind::plain()), lab.site(SiteKind::plain())];
    assert_nearly_all(seen(&one), seen(&other));
    drop((one, other));
    let [one, other] = [0, 1].map(|_| lab.site(SiteKind::plain().distant(FAR)));
    assert_nearly_all(seen(&one), seen(&other));
}

#[test]
fn a_router_that_refuses_is_no_obstacle() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("punch reject");
    let [plain, rejecting] = [lab.site(SiteKind::plain()), lab.site(SiteKind::plain().rejecting())];
    assert_nearly_all(seen(&plain), seen(&rejecting));
    let [plain, rejecting] = [SiteKind::plain().distant(FAR), SiteKind::plain().rejecting().distant(FAR)]
        .map(|kind| lab.site(kind));
    assert_nearly_all(seen(&rejecting), seen(&plain));
}

/// At no distance at all two such routers let through only what meets within microseconds: that is as often as it goes. 2 ms of line at
/// each end are enough for most, and at 100 ms all meet.
#[test]
fn two_routers_that_refuse_let_through_what_meets_on_the_way() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("punch rejects");
    let near = [0, 1].map(|_| lab.site(SiteKind::plain().rejecting()));
    punches(seen(&near[0]), seen(&near[1]));
    let town = Distance { one_way: Duration::from_millis(2), ..FAR };
    let same_town = [0, 1].map(|_| lab.site(SiteKind::plain().rejecting().distant(town)));
    let met = punches(seen(&same_town[0]), seen(&same_town[1]));
    assert!(met.len() >= TRIES / 2, "{} of {TRIES}", met.len());
    let far = [0, 1].map(|_| lab.site(SiteKind::plain().rejecting().distant(FAR)));
    assert_nearly_all(seen(&far[0]), seen(&far[1]));
}

#[test]
fn a_public_computer_meets_homes_whose_ports_nobody_foresees() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("punch public");
    let public = lab.public_host();
    let symmetric = lab.site(SiteKind::plain().symmetric());
    let open = (&public, public.address());
    assert_nearly_all(open, seen(&symmetric));
    // Whoever of the two is the TLS client: what is accepted at the public computer may be the caller's or the callee's.
    let other = lab.site(SiteKind::plain().symmetric());
    assert_nearly_all(seen(&other), open);
}

#[test]
fn a_home_meets_one_behind_a_carrier() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("punch carrier");
    let carrier = lab.carrier(SiteKind::plain());
    let [plain, behind] = [lab.site(SiteKind::plain()), lab.site_behind(&carrier, SiteKind::plain())];
    assert_nearly_all(seen(&plain), seen(&behind));
}

#[test]
fn where_no_port_is_foreseeable_it_fails_in_its_time_and_says_what_it_met() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("punch symmetric");
    let [one, other] = [0, 1].map(|_| lab.site(SiteKind::plain().symmetric()));
    let begun = Instant::now();
    assert_eq!(punches(seen(&one), seen(&other)).len(), 0);
    assert!(begun.elapsed() < LEAD + LONGEST + Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_port_is_observed_as_routers_show_it() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("observe");
    let public = lab.public_host();
    let _carrier = public.start(PUNCHER, &["carrier", "4242"]);
    let at = public.at(4242);
    let plain = lab.site(SiteKind::plain());
    plain.host().wait_reaches(at, Duration::from_secs(10));
    let observed = |host: &Host| {
        let mut command = host.command(PUNCHER);
        let said = run(command.args(["observe", &at.to_string(), "4300"])).ok().to_owned();
        said.lines().map(|line| line.parse().unwrap()).collect::<Vec<std::net::SocketAddr>>()
    };
    assert_eq!(observed(plain.host()), [plain.outside(4300); 2]);
    let carrier = lab.carrier(SiteKind::plain());
    let behind = lab.site_behind(&carrier, SiteKind::plain());
    assert_eq!(observed(behind.host()), [behind.outside(4300); 2]);
    let symmetric = lab.site(SiteKind::plain().symmetric());
    let seen = observed(symmetric.host());
    assert!(seen.iter().all(|seen| seen.ip() == symmetric.outside_address()), "{seen:?}");
    assert!(seen.iter().any(|seen| seen.port() != 4300), "{seen:?}");
}
