//! What the daemon has found to be in the way by itself.

use kith_doctor::Weight;
use maud::{Markup, html};

use super::fragments::Facts;
use super::parts;
use crate::view::{FriendView, NoticeView};

/// Most that stand above everything else; the rest is said beside the friends.
const MOST_ABOVE: usize = 3;

/// Those that somebody should look at, where the eyes are.
pub(super) fn section(facts: &Facts) -> Markup {
    let faults: Vec<&NoticeView> =
        facts.status.notices.iter().filter(|notice| notice.weight == Weight::Fault).collect();
    let (above, more) = above(faults);
    html! {
        @for notice in above {
            div.notice.bad.fault role="alert" {
                div.notice-text {
                    p { strong { (parts::sentence(&notice.sentence)) } " " span.muted { (parts::time(notice.since, facts.now)) } }
                    @if let Some(step) = &notice.next_step { p { "What to do: " (parts::sentence(step)) } }
                }
                (doctor(notice))
            }
        }
        @if more > 0 { p.muted.more-notices { "And " (more) " more, below, beside the friends." } }
    }
}

/// Those that stand above, and how many more there are. What is in the way to nobody in particular has no other place.
fn above(faults: Vec<&NoticeView>) -> (Vec<&NoticeView>, usize) {
    let total = faults.len();
    let homeless = faults.iter().filter(|notice| notice.friend_ids.is_empty()).count();
    let mut free = MOST_ABOVE.saturating_sub(homeless);
    let mut shown = faults;
    shown.retain(|notice| {
        let is_above = notice.friend_ids.is_empty() || free > 0;
        free = free.saturating_sub(usize::from(!notice.friend_ids.is_empty()));
        is_above
    });
    let more = total - shown.len();
    (shown, more)
}

/// What is in the way to this friend; none if nothing is said of him.
pub(super) fn of<'a>(facts: &'a Facts, friend: &FriendView) -> Option<&'a NoticeView> {
    facts.status.notices.iter().find(|notice| notice.friend_ids.contains(&friend.device_id))
}

/// The same in the friend's card.
pub(super) fn in_card(notice: &NoticeView) -> Markup {
    let is_fault = notice.weight == Weight::Fault;
    html! {
        div.said.bad[is_fault] {
            p { (parts::sentence(&notice.sentence)) }
            @if let Some(step) = &notice.next_step { p { strong { "What to do: " } (parts::sentence(step)) } }
        }
    }
}

fn doctor(notice: &NoticeView) -> Markup {
    let page = match &notice.doctor_id {
        Some(id) => format!("#/doctor/{id}"),
        None => "#/doctor".to_owned(),
    };
    html! { a.button.small href=(page) { "Look closer" } }
}
