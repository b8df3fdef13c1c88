//! The hubs by which this computer is found, and by which it reaches friends.

use jiff::Timestamp;
use maud::{Markup, html};

use super::super::format;
use super::super::parts::{self, Tone};
use crate::terminal::safe;
use crate::view::{HubState, HubView};

pub(super) fn section(hubs: &[HubView], now: Timestamp) -> Markup {
    html! {
        @if !hubs.is_empty() {
            section.card aria-labelledby="hubs-title" {
                h2 #hubs-title { "Hubs" }
                p.muted { "Where friends find this computer, and where two meet who find no direct way. A hub reads nothing of what passes." }
                (notices(hubs))
                table.ports.hubs {
                    thead { tr { th scope="col" { "Hub" } th scope="col" { "State" } th scope="col" { "Used as" } } }
                    tbody { @for hub in hubs { (row(hub, now)) } }
                }
            }
        }
    }
}

/// What hubs have announced.
pub(super) fn notices(hubs: &[HubView]) -> Markup {
    html! {
        @for notice in hubs.iter().filter_map(|hub| hub.notice(format::absolute)) {
            div.next-step role="status" { p { strong { "Notice: " } (parts::sentence(&notice)) } }
        }
    }
}

fn row(hub: &HubView, now: Timestamp) -> Markup {
    let (tone, word) = match hub.state {
        HubState::Registered => (Tone::Good, "Registered"),
        HubState::Refused => (Tone::Bad, "Refused"),
        HubState::Connecting => (Tone::Warn, "Not connected"),
        HubState::StandingBy => (Tone::Off, "Stands by"),
    };
    html! {
        tr {
            td data-label="Hub" { div { @for address in &hub.addresses { (parts::code(address)) " " } } }
            td data-label="State" { div {
                (parts::state(tone, word))
                @if let Some(why) = &hub.why { " " span.muted { (parts::sentence(why)) } }
                @if let Some(ms) = hub.round_trip_ms { " " span.muted { (ms.max(1)) " ms there and back" } }
                @if let Some(since) = hub.connected_since { " " span.muted { "connected " (parts::time(since, now)) } }
            } }
            td data-label="Used as" { div { (safe(&hub.role_words())) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use kith_identity::DeviceId;

    use super::*;
    use crate::view::{HubMoveView, HubRole};

    fn hub() -> HubView {
        HubView {
            device_id: DeviceId::from_bytes([1; 32]),
            name: "hub.example".into(),
            addresses: vec!["hub.example:4287".into()],
            role: HubRole::Primary,
            friends: Vec::new(),
            state: HubState::Registered,
            why: None,
            connected_since: None,
            round_trip_ms: Some(12),
            moves: None,
        }
    }

    #[test]
    fn every_hub_is_shown_with_its_state_and_whatever_it_announced() {
        let now = Timestamp::from_second(1_780_000_000).unwrap();
        let moves = HubMoveView {
            at: now,
            to: vec!["new.example:443".into()],
            done: false,
            next_step: Some("write <it> into `network.hubs`".into()),
        };
        let refused = HubView {
            role: HubRole::Borrowed,
            friends: vec!["<Bert>".into()],
            state: HubState::Refused,
            why: Some("it lets in <nobody>".into()),
            round_trip_ms: None,
            ..hub()
        };
        let page = section(&[HubView { moves: Some(moves), ..hub() }, refused], now).into_string();
        for part in [
            "hub.example:4287",
            "Registered",
            "12 ms there and back",
            "moves to new.example:443",
            "write &lt;it&gt; into",
            "Refused",
            "It lets in &lt;nobody&gt;",
            "used to reach &lt;Bert&gt;",
        ] {
            assert!(page.contains(part), "{part:?} is not in {page}");
        }
    }

    #[test]
    fn without_hubs_there_is_nothing_to_show() {
        let now = Timestamp::from_second(1_780_000_000).unwrap();
        assert_eq!(section(&[], now).into_string(), "");
    }
}
