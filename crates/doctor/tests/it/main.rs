//! The manual says what the table of codes says. `KITH_BLESS=1 cargo test -p kith-doctor --test it` writes its section anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use kith_doctor::{Code, Weight};

const BEGIN: &str = "<!-- from the table in crates/doctor/src/code.rs: begin -->\n";
const END: &str = "<!-- from the table: end -->\n";

fn manual() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/troubleshooting.md")
}

/// One entry per code, whose heading is its anchor.
fn section() -> String {
    let mut text = BEGIN.to_owned();
    for code in Code::ALL {
        let weight = match code.weight() {
            Weight::Note => " (A remark, not a fault.)",
            Weight::Fine | Weight::Fault => "",
        };
        write!(
            text,
            "\n### `{code}`\n\n**{}.**{weight} {}\n\n*What to do:* {}\n",
            capital(code.title()),
            code.meaning(),
            code.step()
        )
        .unwrap();
    }
    text.push('\n');
    text.push_str(END);
    text
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default() + letters.as_str()
}

#[test]
fn the_manual_explains_every_code_as_the_table_does() {
    let text = std::fs::read_to_string(manual()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the manual has the mark at which the section begins");
    let (_, after) = rest.split_once(END).expect("the manual has the mark at which the section ends");
    let wanted = format!("{before}{}{after}", section());
    if std::env::var_os("KITH_BLESS").is_some() {
        std::fs::write(manual(), wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/troubleshooting.md differs from the table: KITH_BLESS=1 cargo test -p kith-doctor --test it"
    );
}

#[test]
fn every_code_can_be_an_anchor_and_reads_as_a_sentence() {
    for code in Code::ALL {
        let name = code.as_str();
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{name}"
        );
        assert!(!code.title().ends_with('.') && !code.title().is_empty(), "{name}: {}", code.title());
        for sentence in [code.meaning(), code.step()] {
            assert!(sentence.ends_with(['.', '!', '?']), "{name}: {sentence}");
        }
    }
}
