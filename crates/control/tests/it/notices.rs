//! What the daemon has found to be in the way by itself, where a person sees it.

use kith_control::view::NoticeView;

use crate::browser::chromium;
use crate::harness::{Ask, Running, start, start_with};
use crate::pressed::open;
use crate::stand_in::{State, ago, device, noticed, rich};

fn with_notices() -> State {
    let mut state = rich();
    let ben = &mut state.status.friends[1];
    (ben.connected, ben.path, ben.address, ben.connected_since) = (false, None, None, None);
    ben.last_error = Some("198.51.100.7:4242: refused (and 1 other address failed)".to_owned());
    state.status.notices = noticed::several();
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
    let running = start_with(with_notices()).await;
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
    let running = start_with(with_notices()).await;
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
    let mut state = with_notices();
    let ben = state.status.notices[1].clone();
    state.status.notices = (0..20).map(|n| NoticeView { since: ago(n), ..ben.clone() }).collect();
    let running = start_with(state).await;
    let top = fragment(&running, "verdict").await;
    assert_eq!(top.matches("notice bad fault").count(), 3);
    assert!(top.contains("And 17 more"), "{top}");
    running.stop().await;
}

#[tokio::test]
async fn what_is_in_the_way_to_several_friends_is_in_the_card_of_each_and_what_is_left_out_above_is_there() {
    let mut state = with_notices();
    let [lost, ben] = [0, 1].map(|at| state.status.notices[at].clone());
    let shared = NoticeView {
        friend: None,
        friend_id: None,
        friend_ids: vec![device(2), device(3)],
        sentence: "nothing outside of this network answers".to_owned(),
        ..ben.clone()
    };
    state.status.notices = vec![shared; 4];
    state.status.notices.push(lost);
    let running = start_with(state).await;
    let (top, cards) = (fragment(&running, "verdict").await, fragment(&running, "friends").await);
    assert_eq!(cards.matches("Nothing outside of this network answers").count(), 2, "{cards}");
    assert_eq!(top.matches("notice bad fault").count(), 3, "{top}");
    // It has no card.
    assert!(top.contains("has stopped letting friends in") && top.contains("And 2 more"), "{top}");
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
    let running = start_with(with_notices()).await;
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
