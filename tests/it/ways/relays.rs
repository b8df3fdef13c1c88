//! What happens to relayed links beside backups.

use std::time::{Duration, Instant};

use e2e::lab::{Lab, SiteKind};
use e2e::{need, need_lab, say, wait_until};
use jiff::Timestamp;

use super::{hubs, settled};

const LINKED: Duration = Duration::from_secs(60);
/// Addresses that don't answer are waited for for 10 s: the call that makes a relayed link must not come after them.
const AT_ONCE: Duration = Duration::from_secs(6);

#[test]
fn a_relayed_link_that_is_lost_while_a_better_one_is_looked_for_is_made_anew_at_once() {
    if !need_lab() || !need("python3") {
        return;
    }
    let lab = Lab::new("lost relay");
    let (_hubs, settings) = hubs(&lab, 1);
    let sites = [(); 2].map(|()| lab.site(SiteKind::plain().symmetric()));
    let (anna, bert) = settled(&lab, &sites, &settings, |_| {});
    let is_relayed = |since: Timestamp| {
        [anna.friend("bert"), bert.friend("anna")].iter().all(|friend| {
            let begun = friend["connected_since"].as_str().and_then(|begun| begun.parse::<Timestamp>().ok());
            friend["path"] == "relayed" && begun.is_some_and(|begun| begun >= since)
        })
    };
    wait_until("a relayed link", LINKED, || is_relayed(Timestamp::MIN));
    // Each of the two loses it, once while the call that made it is still punching.
    for computer in [&anna, &bert, &anna, &bert] {
        let (begun, at) = (Instant::now(), Timestamp::now());
        computer.kith(&["ra"]).ok();
        wait_until("another relayed link", LINKED, || is_relayed(at));
        let took = begun.elapsed();
        say(&format!("there again after {took:.2?}"));
        assert!(took < AT_ONCE, "it took {took:?}\n{}\n{}", anna.log(), bert.log());
    }
}
