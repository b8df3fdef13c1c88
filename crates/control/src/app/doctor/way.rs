//! The way from this computer to the friend's as a picture: what is broken is told by a sign, a word and a frame, not by its colour
//! alone. One below the other in a narrow window, side by side in a wide one.

use kith_doctor::diagnosis::{Condition, Station};
use kith_doctor::{Diagnosis, Part};
use maud::{Markup, html};

use super::super::parts;

pub(super) fn section(diagnosis: &Diagnosis) -> Markup {
    html! {
        @if !diagnosis.way.is_empty() {
            section.card aria-labelledby="road-title" {
                h2 #road-title { span.clamped { "The way" @if let Some(friend) = &diagnosis.friend { " to " (parts::name(friend)) } } }
                ol.road { @for station in &diagnosis.way { (self::station(station)) } }
            }
        }
    }
}

fn station(station: &Station) -> Markup {
    let (class, sign, word) = match station.state {
        Condition::Fine => ("fine", "✓", "Works"),
        Condition::Broken => ("broken", "✕", "Here it breaks"),
        Condition::Note => ("note", "!", "Could be better"),
        Condition::Unknown => ("unknown", "?", "Not known"),
    };
    html! {
        li class={ "stop " (class) } {
            span.stop-icon { (icon(station.part)) span.stop-sign aria-hidden="true" { (sign) } }
            span.stop-text {
                span.stop-name { (parts::name(&station.name)) }
                @if let Some(kind) = kind(station.part) && !station.name.eq_ignore_ascii_case(kind) { span.stop-kind { (kind) } }
                span.stop-word { (word) }
            }
        }
    }
}

/// What it is, for names that don't say it.
const fn kind(part: Part) -> Option<&'static str> {
    match part {
        Part::ThisComputer => Some("This computer"),
        Part::FirewallHere | Part::FirewallThere => Some("Firewall"),
        Part::RouterHere | Part::RouterThere => Some("Router"),
        Part::Internet => None,
        Part::Friend => Some("Friend"),
    }
}

fn icon(part: Part) -> Markup {
    let drawing = match part {
        Part::ThisComputer | Part::Friend => "M4 5h16v11H4zM9 20h6M12 16v4",
        Part::FirewallHere | Part::FirewallThere => {
            "M4 5h16v14H4zM4 9.7h16M4 14.3h16M10 5v4.7M15 9.7v4.6M8 14.3V19"
        }
        Part::RouterHere | Part::RouterThere => {
            "M3.5 13h17v6h-17zM7 16h.01M10.5 16h.01M17 13V6M14 8.5a4 4 0 0 1 6 0"
        }
        Part::Internet => {
            "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM3.5 12h17M12 3.5c5 5 5 12 0 17M12 3.5c-5 5-5 12 0 17"
        }
    };
    html! {
        svg.stop-drawing viewBox="0 0 24 24" aria-hidden="true" focusable="false" { path d=(drawing) {} }
    }
}
