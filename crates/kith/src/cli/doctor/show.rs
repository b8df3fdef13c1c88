//! A diagnosis as a person reads it in a terminal.

use kith_doctor::diagnosis::{Check, Direction, Outcome, Passage};
use kith_doctor::{Code, Diagnosis, Part};

use super::super::output::safe;
use super::way;

/// Columns after which a line goes on below.
const WIDTH: usize = 96;

/// The verdict first, then what to do, then why.
pub(super) fn lines(diagnosis: &Diagnosis) -> Vec<String> {
    let verdict = &diagnosis.verdict;
    let mut lines = wrapped(&sentence(&verdict.sentence), "");
    lines.push(String::new());
    lines.push("What to do:".to_owned());
    let step = verdict.next_step.as_deref().map_or_else(|| "Nothing.".to_owned(), sentence);
    lines.extend(wrapped(&step, "  "));
    if let Some(friend) = &diagnosis.friend {
        let friend = safe(friend);
        lines.push(String::new());
        lines.extend(direction(&format!("From here to {friend}"), &diagnosis.outward));
        lines.extend(direction(&format!("From {friend} to here"), &diagnosis.inward));
    }
    if !verdict.evidence.is_empty() {
        lines.push(String::new());
        lines.push("Why:".to_owned());
        for line in &verdict.evidence {
            let mut wrapped = wrapped(&safe(line), "    ");
            if let Some(first) = wrapped.first_mut() {
                first.replace_range(..4, "  - ");
            }
            lines.extend(wrapped);
        }
    }
    if !diagnosis.way.is_empty() {
        lines.push(String::new());
        lines.push("The way:".to_owned());
        lines.extend(way::lines(&diagnosis.way));
    }
    if !diagnosis.checks.is_empty() {
        lines.push(String::new());
        lines.push("What was looked at:".to_owned());
        lines.extend(diagnosis.checks.iter().map(|check| self::check(check, diagnosis.friend.as_deref())));
    }
    lines.push(String::new());
    lines.push(told(diagnosis));
    if verdict.code != Code::Works {
        lines.push(format!("`kith explain {}` says more.", verdict.code));
    }
    lines
}

/// Words of the engine as a sentence, harmless for a terminal.
fn sentence(words: &str) -> String {
    let words = safe(words.trim());
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let stop = if words.ends_with(['.', '!', '?', ':']) || words.is_empty() { "" } else { "." };
    // A name that begins the sentence stays as its owner writes it: only what is a word is made large.
    format!("{first}{}{stop}", letters.as_str())
}

fn direction(whence: &str, direction: &Direction) -> Vec<String> {
    let state = match direction.state {
        Passage::Open => "connections get through",
        Passage::Closed => "connections do NOT get through",
        Passage::Unknown => "not known",
    };
    let detail = safe(&direction.detail);
    let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
    let mut lines = wrapped(&format!("{whence}: {state}{detail}"), "  ");
    if let Some(first) = lines.first_mut() {
        first.replace_range(..2, "");
    }
    lines
}

fn check(check: &Check, friend: Option<&str>) -> String {
    let outcome = match check.outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
        Outcome::Unknown => "not known",
    };
    let detail = safe(&check.detail);
    let detail = if detail.is_empty() { check.code.title() } else { &detail };
    format!("  {outcome:<9}  {}: {detail}", part(check.part, friend))
}

/// Whose part of the way it is.
fn part(part: Part, friend: Option<&str>) -> String {
    let whose = |what: &str| {
        friend.map_or_else(|| format!("{what} there"), |friend| format!("{}'s {what}", safe(friend)))
    };
    match part {
        Part::ThisComputer => "this computer".to_owned(),
        Part::FirewallHere => "firewall here".to_owned(),
        Part::RouterHere => "router here".to_owned(),
        Part::Internet => "Internet".to_owned(),
        Part::RouterThere => whose("router"),
        Part::FirewallThere => whose("firewall"),
        Part::Friend => whose("computer"),
    }
}

fn told(diagnosis: &Diagnosis) -> String {
    let Some(friend) = diagnosis.friend.as_deref().map(safe) else {
        return "This computer alone was looked at. `kith doctor FRIEND` looks at the way to a friend."
            .to_owned();
    };
    match diagnosis.told_by.as_deref() {
        Some("code") => format!("{friend}'s half is from the report code that was pasted."),
        Some(_) => format!("{friend}'s computer told its half."),
        None => format!(
            "{friend}'s computer could not be asked. To look at both ends: `kith doctor --code` there, then `kith doctor {friend} --with LINE` here."
        ),
    }
}

/// Broken at blanks, every line behind the indent.
fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = indent.to_owned();
    let mut length = 0;
    for word in text.split(' ') {
        let more = word.chars().count() + usize::from(length > 0);
        if length > 0 && indent.len() + length + more > WIDTH {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
            line.push_str(word);
            length = word.chars().count();
            continue;
        }
        if length > 0 {
            line.push(' ');
        }
        line.push_str(word);
        length += more;
    }
    lines.push(line);
    lines
}
