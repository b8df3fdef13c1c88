//! What the daemon has found to be in the way by itself, where a person sees it.

use kith_control::view::NoticeView;
use kith_doctor::{Code, Weight};

use crate::browser::chromium;
use crate::harness::{Ask, Running, start, start_with};
use crate::pressed::open;
use crate::stand_in::{State, ago, device, rich};

fn notice(code: Code, friend: Option<(u8, &str)>, sentence: &str, step: &str) -> NoticeView {
    NoticeView {
        code,
        friend: friend.map(|(_, name)| name.to_owned()),
        friend_id: friend.map(|(seed, _)| device(seed)),
        doctor_id: friend.map(|(seed, _)| device(seed)),
        part: code.part(),
        weight: code.weight(),
        sentence: sentence.to_owned(),
        next_step: Some(step.to_owned()),
        since: ago(420),
    }
}

/// A way in that was lost, a friend with a fault, and one who is off.
pub(crate) fn several() -> Vec<NoticeView> {
    let lost = "the router here (FRITZ!Box 7590) has stopped letting friends in";
    let step = "switch on UPnP on the router's page (http://192.168.1.1/), or forward TCP port 4242 to 192.168.1.23:4242 by hand";
    let stopped =
        "something answers where Ben’s workshop's computer should be, and says that no Kith runs there";
    let off = "attic's computer is off, asleep, or without a network, as far as can be seen from here";
    let quiet = notice(
        Code::Offline,
        Some((3, "attic")),
        off,
        "ask attic whether the computer is on and Kith runs there; backups go on by themselves when it is back",
    );
    vec![
        notice(Code::MappingLost, None, lost, step),
        notice(
            Code::NotRunning,
            Some((2, "Ben’s workshop")),
            stopped,
            "ask Ben’s workshop to start Kith, and to look at `kith status` there",
        ),
        NoticeView { weight: Weight::Note, ..quiet },
    ]
}

fn noticed() -> State {
    let mut state = rich();
    let ben = &mut state.status.friends[1];
    (ben.connected, ben.path, ben.address, ben.connected_since) = (false, None, None, None);
    ben.last_error = Some("198.51.100.7:4242: refused (and 1 other address failed)".to_owned());
    state.status.notices = several();
    state
}

async fn fragment(running: &Running, section: &str) -> String {
    let token = running.session().await;
    let answer = Ask::get(running.app(), &format!("/fragments/{section}")).token(&token).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_fault_stands_above_everything_with_what_to_do_and_a_way_to_the_doctor() {
    let running = start_with(noticed()).await;
    let top = fragment(&running, "verdict").await;
    assert_eq!(top.matches("notice bad fault").count(), 2, "{top}");
    for wanted in [
        "The router here (FRITZ!Box 7590) has stopped letting friends in",
        "What to do: ",
        "(http://192.168.1.1/)",
        "href=\"#/doctor\"",
        &format!("href=\"#/doctor/{}\"", device(2)),
    ] {
        assert!(top.contains(wanted), "{wanted} in {top}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_friend_who_is_only_off_is_told_of_in_his_card_and_nowhere_else() {
    let running = start_with(noticed()).await;
    let (top, cards) = (fragment(&running, "verdict").await, fragment(&running, "friends").await);
    assert!(!top.contains("is off, asleep"), "{top}");
    assert!(cards.contains("is off, asleep"), "{cards}");
    assert!(cards.contains("says that no Kith runs there"), "{cards}");
    // The verdict says it better than what the dialler met.
    assert!(!cards.contains("nobody answered at"), "{cards}");
    assert_eq!(
        (cards.matches("class=\"said\"").count(), cards.matches("class=\"said bad\"").count()),
        (1, 1)
    );
    running.stop().await;
}

#[tokio::test]
async fn many_faults_do_not_push_everything_else_down() {
    let mut state = noticed();
    let ben = state.status.notices[1].clone();
    state.status.notices = (0..20).map(|n| NoticeView { since: ago(n), ..ben.clone() }).collect();
    let running = start_with(state).await;
    let top = fragment(&running, "verdict").await;
    assert_eq!(top.matches("notice bad fault").count(), 3);
    assert!(top.contains("And 17 more"), "{top}");
    running.stop().await;
}

#[tokio::test]
async fn where_nothing_is_in_the_way_nothing_is_said() {
    let running = start().await;
    assert!(!fragment(&running, "verdict").await.contains("notice bad fault"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_fit_wide_and_narrow_windows_light_and_dark_and_lead_to_the_doctor() {
    let Some(program) = chromium() else { return };
    let running = start_with(noticed()).await;
    let mut browser = open(&running, program).await;
    browser.until("document.querySelectorAll('.notice.fault').length === 2").await;
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (320, "light"), (320, "dark")] {
        browser.look(width, scheme).await;
        browser.picture(&format!("notices-{width}-{scheme}")).await;
        let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(over).await, 0, "at {width}: something is wider than the window");
    }
    browser.press(&format!(".notice.fault a[href=\"#/doctor/{}\"]", device(2))).await;
    browser.until("document.querySelector(\"#diagnosis-title\") !== null").await;
    running.stop().await;
}
