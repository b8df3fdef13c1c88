//! The way from this computer to the friend's, drawn with letters.

use kith_doctor::diagnosis::{Condition, Station};

use super::super::output::safe;

/// Columns of a terminal that is no wider than usual, with the indent.
const WIDTH: usize = 78;
const INDENT: &str = "  ";

/// Beside each other where there is room, else one below the other.
pub(super) fn lines(way: &[Station]) -> Vec<String> {
    let cells: Vec<(String, &str, Condition)> =
        way.iter().map(|station| (safe(&station.name), word(station.state), station.state)).collect();
    across(&cells).unwrap_or_else(|| down(&cells))
}

const fn word(state: Condition) -> &'static str {
    match state {
        Condition::Fine => "ok",
        Condition::Broken => "HERE",
        Condition::Note => "note",
        Condition::Unknown => "?",
    }
}

/// `anna --- firewall --- router`, with the words below.
fn across(cells: &[(String, &str, Condition)]) -> Option<Vec<String>> {
    let widths: Vec<usize> =
        cells.iter().map(|(name, word, _)| name.chars().count().max(word.len())).collect();
    let total = widths.iter().sum::<usize>() + cells.len().saturating_sub(1) * 4 + INDENT.len();
    if cells.is_empty() || total > WIDTH {
        return None;
    }
    let (mut names, mut words) = (INDENT.to_owned(), INDENT.to_owned());
    for (position, ((name, word, state), width)) in cells.iter().zip(&widths).enumerate() {
        if position > 0 {
            names.push_str(leg(cells[position - 1].2, *state));
            words.push_str("    ");
        }
        names.push_str(&centred(name, *width));
        words.push_str(&centred(word, *width));
    }
    Some(vec![names.trim_end().to_owned(), words.trim_end().to_owned()])
}

/// What joins two parts: nothing passes where one of them is broken.
const fn leg(before: Condition, after: Condition) -> &'static str {
    match (before, after) {
        (Condition::Broken, _) | (_, Condition::Broken) => " X- ",
        (Condition::Unknown, _) | (_, Condition::Unknown) => " .. ",
        _ => " -- ",
    }
}

fn centred(text: &str, width: usize) -> String {
    format!("{text:^width$}")
}

fn down(cells: &[(String, &str, Condition)]) -> Vec<String> {
    let row = |(name, word, state): &(String, &str, Condition)| match state {
        Condition::Broken => format!("{INDENT}[ X] {name}   <-- {word}"),
        Condition::Fine => format!("{INDENT}[ok] {name}"),
        Condition::Note => format!("{INDENT}[ !] {name}"),
        Condition::Unknown => format!("{INDENT}[ ?] {name}"),
    };
    let mut lines = Vec::new();
    for (position, cell) in cells.iter().enumerate() {
        if position > 0 {
            lines.push(format!("{INDENT}  |"));
        }
        lines.push(row(cell));
    }
    lines
}
