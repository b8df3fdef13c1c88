//! The options page: every setting, where its value comes from, and a field to change it.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::parts;
use crate::terminal::safe;
use crate::view::SettingView;

pub(super) fn section(settings: &[SettingView]) -> Markup {
    // Settings without a section first: theirs is the empty name.
    let mut groups: BTreeMap<&str, Vec<&SettingView>> = BTreeMap::new();
    for setting in settings {
        let group = setting.key.rsplit_once('.').map_or("", |(group, _)| group);
        groups.entry(group).or_default().push(setting);
    }
    html! {
        @for (group, settings) in groups {
            section.card.options {
                h2 { @if group.is_empty() { "General" } @else { (safe(group)) } }
                @for setting in settings { (row(setting)) }
            }
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
                    "Default " (parts::code(plain(&setting.default)))
                    @if setting.origin != "default" { ", now from " (parts::name(&setting.origin)) }
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
