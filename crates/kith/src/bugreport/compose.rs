//! The text of a report. What is shown of each thing is written out here, field by field.

use super::page::{Page, or_dash, yes};
use super::redact::{Kind, Redactor};
use super::{Daemon, Facts, MOST_LOG_BYTES, Storage, System, known, now};
use crate::settings::schema::{self, Kind as Type};
use crate::settings::{Entry, Loaded, Origin};

/// Texts of the settings that are sizes, ranges or words of ours: checked when they were read.
const HARMLESS_TEXTS: [&str; 5] = [
    "vault.accept",
    "vault.default-quota",
    "vault.keep-free",
    "network.outgoing-ports",
    "network.punch-port-ranges",
];

/// Makes the report, redacted.
pub fn compose(facts: &Facts) -> String {
    let mut redactor = Redactor::new();
    known::acquaint(facts, &mut redactor);
    let redactor = &mut redactor;
    let mut page = Page::default();
    page.line("KITH REPORT 1");
    page.line(format!("made {} by kith {}", facts.made, facts.system.version));
    page.line(
        "Names, addresses, paths and everything else that Kith does not know to be harmless is replaced by words with a number,",
    );
    page.line(
        "as friend-1, path-4, address-6 (public IPv4). The same word is the same thing in this report. Secrets were not read.",
    );
    system(&mut page, &facts.system, redactor);
    match &facts.daemon {
        Daemon::Absent => {
            page.head("daemon");
            page.line(
                "no daemon runs in this home: what only it knows (links, friends, ports, jobs) is missing",
            );
        }
        Daemon::Silent(why) => {
            page.head("daemon");
            page.row("a daemon is there, and does not answer", redactor.text(why));
        }
        Daemon::Answers(answers) => now::write(&mut page, answers, redactor),
    }
    settings(&mut page, facts.settings.as_ref(), redactor);
    storage(&mut page, &facts.storage);
    log(&mut page, facts.log.as_deref(), redactor);
    page.head("replaced");
    for (kind, count) in redactor.given() {
        page.row(kind.as_str(), count);
    }
    page.finish()
}

fn system(page: &mut Page, system: &System, redactor: &mut Redactor) {
    page.head("program and system");
    page.row("version", system.version);
    page.row("system", format!("{} {}, libc {}", system.system, system.architecture, system.libc));
    page.row("kernel", kernel(&system.kernel, redactor));
    if let Some((id, version)) = &system.distribution {
        page.row("distribution", format!("{} {}", redactor.text(id), redactor.text(version)));
    }
    page.row("started by systemd", yes(system.systemd));
    page.row("daemon started", system.service.unwrap_or("not seen"));
}

/// `6.12.0-amd64`: who builds a kernel may add a name to it.
fn kernel(release: &str, redactor: &mut Redactor) -> String {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let parts = release.split(['-', '+', '_']);
    let shown =
        parts.map(|part| if part.chars().all(number) { part.to_owned() } else { redactor.text(part) });
    shown.collect::<Vec<_>>().join("-")
}

fn settings(page: &mut Page, loaded: Result<&Loaded, &String>, redactor: &mut Redactor) {
    page.head("settings in force");
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problem) => return page.row("they can't be read", redactor.text(problem)),
    };
    for entry in loaded.list() {
        let origin = match &entry.origin {
            Origin::Default => "default",
            Origin::Environment { .. } => "environment",
            Origin::File { .. } if entry.locked => "file, locked",
            Origin::File { .. } => "file",
            _ => "command line",
        };
        page.row(entry.key, format!("{}   ({origin})", setting(&entry, redactor)));
    }
    for set in &loaded.settings().sets {
        let to: Vec<_> =
            set.destinations().iter().map(|friend| redactor.name(Kind::Friend, friend)).collect();
        page.under(
            &redactor.name(Kind::Set, set.name().as_str()),
            format!(
                "{} paths, to {}, {} alternates, {} patterns",
                set.paths().len(),
                to.join(", "),
                set.alternates().len(),
                set.excludes().len()
            ),
        );
    }
}

/// The value of a setting: numbers, flags, sizes and words of ours as they are.
fn setting(entry: &Entry, redactor: &mut Redactor) -> String {
    if entry.origin == Origin::Default || entry.value == entry.default || HARMLESS_TEXTS.contains(&entry.key)
    {
        return entry.value.clone();
    }
    let kind = schema::find(entry.key).map(|key| key.kind);
    match (kind, entry.key) {
        (Some(Type::Flag | Type::Number), _) => entry.value.clone(),
        (_, "name") => "\"this-computer\"".to_owned(),
        (_, "vault.path") => {
            format!("\"{}\"", redactor.name(Kind::Path, entry.value.trim_matches(['"', '\''])))
        }
        (_, "network.proxy") => "set".to_owned(),
        (Some(Type::Texts), "listener.bind" | "listener.advertise") => addresses(&entry.value, redactor),
        (Some(Type::Texts), _) => format!("{} entries", texts(&entry.value).len()),
        (Some(Type::TextTable), _) => "set".to_owned(),
        (Some(Type::Sets), _) => "see below".to_owned(),
        _ => "(hidden)".to_owned(),
    }
}

fn addresses(value: &str, redactor: &mut Redactor) -> String {
    let shown: Vec<_> = texts(value).iter().map(|text| redactor.address(text)).collect();
    format!("[{}]", shown.join(", "))
}

/// The texts of a list in TOML.
fn texts(value: &str) -> Vec<String> {
    let table = toml::from_str::<toml::Table>(&format!("value = {value}")).unwrap_or_default();
    let list = table.get("value").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn storage(page: &mut Page, storage: &Storage) {
    page.head("files");
    match storage.state_version {
        // Until the first checkpoint the version stands in the log beside it.
        Some(0) => page.row("format of state.db", "not in its header yet"),
        version => page.row("format of state.db", or_dash(version)),
    }
    page.row("format of the vault", or_dash(storage.vault_version));
    for (name, bytes) in &storage.files {
        page.row(name, format!("{bytes} bytes"));
    }
    page.row(
        "vault",
        format!("of {} owners{}", storage.owners, if storage.cut_off { ", not all counted" } else { "" }),
    );
    for (kind, (count, bytes)) in &storage.vault {
        page.under(kind, format!("{count} files, {bytes} bytes"));
    }
    if storage.foreign_secrets > 0 {
        page.row("entries of secrets that Kith did not make", storage.foreign_secrets);
    }
    if storage.faults.is_empty() {
        page.line("modes and owners are as they should be");
    }
    for fault in &storage.faults {
        page.row("not as it should be", fault);
    }
}

fn log(page: &mut Page, lines: Result<&[String], &String>, redactor: &mut Redactor) {
    page.head("log");
    let lines = match lines {
        Ok(lines) => lines,
        Err(problem) => return page.row("it can't be read", redactor.text(problem)),
    };
    let shown: Vec<String> = lines.iter().map(|line| redactor.log_line(line)).collect();
    let mut room = MOST_LOG_BYTES;
    let fitting = shown.iter().rev().take_while(|line| {
        let fits = line.len() < room;
        room = room.saturating_sub(line.len() + 1);
        fits
    });
    let left_out = shown.len() - fitting.count();
    page.line(format!("the last {} lines", shown.len() - left_out));
    for line in &shown[left_out..] {
        page.line(line);
    }
}
