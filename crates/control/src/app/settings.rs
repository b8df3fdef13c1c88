//! The options page: every setting, where its value comes from, and a field to change it.

use maud::{Markup, html};

use super::{outward, parts};
use crate::terminal::safe;
use crate::view::SettingView;

pub(super) fn section(settings: &[SettingView]) -> Markup {
    // In the backend's order, which is that of the settings file.
    let mut groups: Vec<(&str, Vec<&SettingView>)> = Vec::new();
    for setting in settings {
        let group = setting.key.rsplit_once('.').map_or("", |(group, _)| group);
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, members)) => members.push(setting),
            None => groups.push((group, vec![setting])),
        }
    }
    html! {
        (outward::section(settings))
        @for (group, settings) in groups {
            section.card.options {
                h2 { (title(group)) }
                @for setting in settings { (row(setting)) }
            }
        }
    }
}

fn title(group: &str) -> Markup {
    html! {
        @match group {
            "" => "General",
            "listener" => "Calls from friends",
            "control" => "This app and the command line",
            "nat" => "Router",
            "vault" => "Space for friends",
            "network" => "Network",
            other => (safe(other)),
        }
    }
}

fn row(setting: &SettingView) -> Markup {
    let key = safe(&setting.key);
    let field = format!("setting-{key}");
    let shown = plain(&setting.value);
    html! {
        form.setting id={ "row-" (key) } data-form="setting" data-key=(setting.key) {
            div.setting-about {
                label for=(field) { code { (key) } }
                p { (safe(&setting.description)) }
                p.muted {
                    "Default: " @match plain(&setting.default) {
                        "" => "empty",
                        "true" => "on",
                        "false" => "off",
                        value => (parts::code(value)),
                    }
                    @if setting.origin != "default" { ". Set in " (parts::code(&setting.origin)) }
                    @if setting.locked { ", " strong { "fixed by the administrator" } }
                }
            }
            div.setting-value {
                @if matches!(setting.value.as_str(), "true" | "false") {
                    select id=(field) name="value" disabled[setting.locked] {
                        option value="true" selected[setting.value == "true"] { "on" }
                        option value="false" selected[setting.value == "false"] { "off" }
                    }
                } @else {
                    input id=(field) name="value" value=(shown) disabled[setting.locked] autocomplete="off" spellcheck="false" dir="ltr";
                }
                button.small type="submit" disabled[setting.locked] { "Save" }
            }
        }
    }
}

/// A simple TOML string without its quotes; everything else as it is.
fn plain(value: &str) -> &str {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains(['"', '\\']) => inner,
        _ => value,
    }
}
