//! How often two routers that keep ports are punched.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::lab::{Lab, SiteKind};
use crate::{Computer, befriend, meet, wait_until};

use super::helper::{Helped, Helper};
use super::run::{keep_logs, lines};

/// Longest wait for the first link at home.
const AT_HOME: Duration = Duration::from_secs(60);
/// A try has failed if there is no punched link by then: who was relayed meanwhile would try again after 60 s.
const ONE_TRY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(25);
/// Between two tries: nobody takes more than 12 calls of a friend in a minute.
const BETWEEN: Duration = Duration::from_millis(5_500);

/// Breaks the link of two computers behind plain routers by `kith ra` so many times; for each time how long it took until there
/// was a punched link, none if there was none within 10 s. `logs`: where those of the daemons are kept.
///
/// # Panics
/// If the laboratory or a daemon fails, or there never was a punched link.
#[must_use]
pub fn punch(
    helped: Helped,
    round_trip: Duration,
    tries: usize,
    logs: Option<&Path>,
) -> Vec<Option<Duration>> {
    let lab = Lab::new("punching");
    let distance = lines(round_trip);
    let helper = Helper::start(&lab, helped, distance);
    let room = lab.public_host();
    let mut computers = ["anna", "bert"].map(|name| Computer::in_host(name, &room));
    meet(&room, &mut computers, &[(0, 1)], |computer| {
        if helped == Helped::ByFriend {
            befriend(&helper.computer, computer);
        }
    });
    let kind = distance.map_or_else(SiteKind::plain, |distance| SiteKind::plain().distant(distance));
    let sites = [lab.site(kind.clone()), lab.site(kind)];
    for (computer, site) in computers.iter_mut().zip(&sites) {
        computer.carry_to(site.host(), &helper.settings());
        computer.start();
    }
    let [anna, bert] = &computers;
    wait_until("the two to be linked by a punched connection", AT_HOME, || {
        anna.friend("bert")["path"] == "punched" && bert.friend("anna")["path"] == "punched"
    });
    let times = (0..tries)
        .map(|turn| {
            std::thread::sleep(BETWEEN);
            once([(anna, bert), (bert, anna)][turn % 2])
        })
        .collect();
    if let Some(directory) = logs {
        keep_logs(directory, [anna, bert, &helper.computer].into_iter());
    }
    times
}

/// The one who breaks the link is the one who calls in half of the tries only.
fn once((here, there): (&Computer, &Computer)) -> Option<Duration> {
    let (begun, at) = (Instant::now(), Timestamp::now());
    here.kith(&["ra"]).ok();
    while begun.elapsed() < ONE_TRY {
        let shown = here.friend(there.name());
        let since = shown["connected_since"].as_str().and_then(|since| since.parse::<Timestamp>().ok());
        if shown["path"] == "punched" && since.is_some_and(|since| since >= at) {
            return Some(begun.elapsed());
        }
        std::thread::sleep(PAUSE);
    }
    None
}
