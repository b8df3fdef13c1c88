//! What dialogs are filled with.

use maud::{Markup, html};

use super::fragments::Facts;
use super::parts;
use crate::terminal::safe;
use crate::view::FriendView;

/// Bytes as the person writes them in a field: whole gigabytes.
const GIGABYTE: u64 = 1_000_000_000;

pub(super) fn invite() -> Markup {
    html! {
        form data-form="invite" {
            h2 #invite-title { "Invite a friend" }
            p { "You get one line of text. Send it in any way you like; it works once, for seven days. Whoever has it becomes your friend." }
            (gigabytes("invite-quota", "Space that you offer", None, "as in the options"))
            label.check { input type="checkbox" name="own"; span { "It is for another computer of my own" } }
            div.buttons {
                button type="button" data-close { "Cancel" }
                button.primary type="submit" { "Make the invite" }
            }
        }
    }
}

pub(super) fn new_set(facts: &Facts) -> Markup {
    let friends = &facts.status.friends;
    html! {
        form data-form="set" {
            h2 #set-title { "Add a backup set" }
            label.field { span { "Name" } input name="name" required maxlength="100" autocomplete="off" placeholder="Documents"; }
            label.field {
                span { "Folders or files, one per line" }
                textarea name="paths" required rows="4" spellcheck="false" dir="ltr" placeholder="/home/me/Documents" {}
            }
            fieldset {
                legend { "Goes to" }
                @for friend in friends {
                    label.check {
                        input type="checkbox" name="to" value=(friend.device_id) checked[friends.len() == 1];
                        span { (parts::name(&friend.name)) }
                    }
                }
            }
            @if friends.len() > 1 {
                fieldset {
                    legend { "While one of them is away, goes to " small.muted { "(optional)" } }
                    @for friend in friends {
                        label.check {
                            input type="checkbox" name="alternate" value=(friend.device_id);
                            span { (parts::name(&friend.name)) }
                        }
                    }
                }
            }
            label.field {
                span { "Leave out, one pattern per line " small.muted { "(optional)" } }
                textarea name="exclude" rows="2" spellcheck="false" dir="ltr" placeholder="*.tmp" {}
            }
            div.buttons {
                button type="button" data-close { "Cancel" }
                button.primary type="submit" { "Add the set" }
            }
        }
    }
}

pub(super) fn friend(friend: &FriendView) -> Markup {
    html! {
        form data-form="friend" data-friend=(friend.device_id) {
            h2 #friend-title { "Change " (parts::name(&friend.name)) }
            label.field {
                span { "Name" }
                input name="name" required maxlength="100" autocomplete="off" value=(friend.name) data-was=(friend.name);
            }
            (gigabytes("friend-quota", "Space that I offer", friend.quota_bytes, "as in the options"))
            label.field {
                span { "One more address to try " small.muted { "(host:port)" } }
                input name="address" autocomplete="off" spellcheck="false" dir="ltr" placeholder="203.0.113.7:4242";
            }
            label.check {
                input type="checkbox" name="paused" checked[friend.paused] data-was=(friend.paused);
                span { "Take nothing new from this friend for now" }
            }
            div.buttons {
                button.danger type="button" data-action="remove-friend" data-friend=(friend.device_id) data-shown=(safe(&friend.name)) { "Remove this friend" }
                span.grow {}
                button type="button" data-close { "Cancel" }
                button.primary type="submit" { "Save" }
            }
        }
    }
}

fn gigabytes(id: &str, label: &str, bytes: Option<u64>, absent: &str) -> Markup {
    let shown = bytes.map(|bytes| bytes.div_ceil(GIGABYTE).to_string());
    html! {
        label.field for=(id) {
            span { (label) " " small.muted { "(GB)" } }
            input #(id) name="quota" type="number" min="1" max="1000000" step="1" inputmode="numeric" value=[shown.as_deref()]
                data-was=[shown.as_deref()] placeholder=(absent);
        }
    }
}
