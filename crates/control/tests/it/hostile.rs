//! Names as an enemy would choose them, in every place where a name from outside is shown.

use crate::harness::{Ask, start_with};
use crate::stand_in::{hostile, hostile_names};

const SECTIONS: [&str; 11] = [
    "doctor", "verdict", "jobs", "friends", "near", "sets", "computer", "network", "activity", "settings",
    "set-form",
];

/// What the browser would make of the text between tags and in attributes, roughly: every `<` starts a tag of ours.
fn tags(fragment: &str) -> impl Iterator<Item = &str> {
    fragment.split('<').skip(1).map(|rest| rest.split(['>', ' ']).next().unwrap_or(""))
}

#[tokio::test]
async fn hostile_names_are_text_in_every_fragment() {
    for (kind, name) in hostile_names() {
        let running = start_with(hostile(&name)).await;
        let token = running.session().await;
        for section in SECTIONS {
            let answer = Ask::get(running.app(), &format!("/fragments/{section}")).token(&token).send().await;
            assert_eq!(answer.status, 200, "{section} with {kind}");
            let body = &answer.body;
            assert!(tags(body).all(|tag| !["script", "img"].contains(&tag)), "{section} with {kind}: {body}");
            // An attribute that breaks out would put a handler among the attributes of some tag.
            for tag in body.split('<').skip(1) {
                let inside = tag.split('>').next().unwrap_or("");
                let outside_quotes: String = inside.split('"').step_by(2).collect();
                assert!(
                    !outside_quotes.contains("onerror") && !outside_quotes.contains("onmouseover"),
                    "{section} with {kind}: {tag}"
                );
            }
            if kind == "entity" {
                assert!(body.contains("&amp;lt;script") || !body.contains("lt;script"), "{section}: {body}");
            }
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn what_acts_on_the_reading_order_or_a_terminal_is_shown_and_not_obeyed() {
    for kind in ["override", "ansi", "newline"] {
        let name = &hostile_names()[kind];
        let running = start_with(hostile(name)).await;
        let token = running.session().await;
        for section in SECTIONS {
            let answer = Ask::get(running.app(), &format!("/fragments/{section}")).token(&token).send().await;
            // Values that go back to the engine stay as they are, inside quotes; what is shown does not.
            let shown: String = answer
                .body
                .split('<')
                .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
                .collect();
            for character in ['\u{202e}', '\u{1b}', '\u{7}', '\n', '\r'] {
                assert!(!shown.contains(character), "{character:?} in {section}");
            }
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn hostile_names_reach_the_backend_unchanged() {
    for (kind, name) in hostile_names() {
        let running = start_with(hostile(&name)).await;
        let client = running.client().await;
        client.remove_set(&name).await.unwrap();
        client.list_entries("abcdef12", Some(&name), Some(&name), None).await.unwrap();
        let shown = format!("{name:?}");
        assert_eq!(
            running.backend.calls(),
            [format!("remove set {name}"), format!("entries abcdef12 Some({shown}) Some({shown})")],
            "{kind}"
        );
        running.stop().await;
    }
}
