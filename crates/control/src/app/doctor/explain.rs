//! What the codes mean.

use kith_doctor::{Code, near};
use maud::{Markup, html};

use super::super::parts;

/// Most near matches that are named.
const MOST_NEAR: usize = 4;

/// What a code means; all codes when none is named; the nearest when there is no such code.
pub(in super::super) fn section(code: &str) -> Markup {
    if code.trim().is_empty() {
        return all();
    }
    match code.parse::<Code>() {
        Ok(code) => one(code),
        Err(_no_such) => unknown(code),
    }
}

fn one(code: Code) -> Markup {
    html! {
        h2 #explain-title { (parts::sentence(code.title())) }
        p { (code.meaning()) }
        p { strong { "What to do: " } (parts::sentence(code.step())) }
        p.muted { "Code: " code { (code) } }
    }
}

fn all() -> Markup {
    html! {
        h2 #explain-title { "What the doctor may say" }
        dl.all-codes {
            @for code in Code::ALL {
                div { dt { code data-explained=(code) { (code) } } dd { (code.title()) } }
            }
        }
    }
}

fn unknown(code: &str) -> Markup {
    let mut meant = near(code, Code::ALL.iter().map(|code| code.as_str()));
    meant.truncate(MOST_NEAR);
    html! {
        h2 #explain-title { "There is no code “" (parts::name(code)) "”" }
        @if meant.is_empty() { p { "Type “explain” alone to see all." } }
        @else { p { "Did you mean " @for (position, meant) in meant.iter().enumerate() { @if position > 0 { " or " } code { (meant) } } "?" } }
    }
}
