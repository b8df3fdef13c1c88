//! What this computer carries for friends who can't reach each other.

use maud::{Markup, html};

use super::super::{format, parts};
use crate::view::RelayView;

pub(super) fn section(relay: &RelayView) -> Markup {
    html! {
        section.card aria-labelledby="relay-title" {
            h2 #relay-title { "Carried for friends" }
            @if relay.allowed {
                p.muted { "Friends of yours who are friends of each other and find no direct way meet through this computer. What passes is encrypted between them: nothing of it can be read or kept here." }
                dl.facts {
                    (parts::row("Now", &html! { (format::counted(relay.sessions.try_into().unwrap_or(u64::MAX), "connection", "connections")) }))
                    (parts::row("At most", &html! { (limits(relay)) }))
                }
                @if !relay.friends.is_empty() {
                    table.ports {
                        thead { tr { th scope="col" { "Friend" } th scope="col" { "Connections now" } th scope="col" { "In these 24 hours" } } }
                        tbody {
                            @for friend in &relay.friends {
                                tr {
                                    td data-label="Friend" { div { (parts::name(&friend.name)) } }
                                    td data-label="Connections now" { div { (friend.sessions) } }
                                    td data-label="In these 24 hours" { div { (format::bytes(friend.bytes_today)) } }
                                }
                            }
                        }
                    }
                }
            } @else {
                p.muted { "Nothing is carried: the settings say so (network.relay, or network.outbound-only)." }
            }
        }
    }
}

fn limits(relay: &RelayView) -> Markup {
    html! {
        @match relay.rate {
            Some(rate) => { (format::bytes(rate)) " a second for all together" },
            None => "as fast as the line is",
        }
        @match relay.daily {
            Some(daily) => { ", " (format::bytes(daily)) " in 24 hours for each friend" },
            None => ", without a limit for a day",
        }
    }
}

#[cfg(test)]
mod tests {
    use kith_identity::DeviceId;

    use super::*;
    use crate::view::RelayedView;

    #[test]
    fn what_is_carried_is_shown_with_its_limits_and_for_whom() {
        let carl = RelayedView {
            name: "<Carl>".into(),
            device_id: DeviceId::from_bytes([1; 32]),
            sessions: 1,
            bytes_today: 1_500_000_000,
        };
        let relay =
            RelayView { allowed: true, rate: Some(500_000), daily: None, sessions: 1, friends: vec![carl] };
        let page = section(&relay).into_string();
        for part in [
            "1\u{a0}connection",
            "500\u{a0}kB a second",
            "without a limit for a day",
            "&lt;Carl&gt;",
            "1.5\u{a0}GB",
        ] {
            assert!(page.contains(part), "{part:?} is not in {page}");
        }
        assert!(!page.contains("<Carl>"));
    }

    #[test]
    fn a_computer_that_carries_nothing_says_why() {
        let page = section(&RelayView::default()).into_string();
        assert!(page.contains("network.relay") && !page.contains("Connections now"), "{page}");
    }
}
