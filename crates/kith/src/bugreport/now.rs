//! What the daemon says, field by field: a field that is not named here is not shown. Safety words never are.

use kith_control::view::{FriendView, GatewayView, JobView, MappingView, PortView, SetView, StatusView};
use serde::Serialize;

use super::page::{Page, or_dash, yes};
use super::redact::{Kind, Redactor};
use super::{Answers, MOST_JOBS, MOST_NAMED, MOST_ROWS};

pub(super) fn write(page: &mut Page, answers: &Answers, redactor: &mut Redactor) {
    computer(page, &answers.status, redactor);
    network(page, &answers.status, redactor);
    page.head("ports");
    each(page, answers.ports.as_deref(), MOST_ROWS, redactor, port);
    page.head("friends");
    each(page, Ok(&answers.status.friends), MOST_ROWS, redactor, friend);
    page.head("sets");
    each(page, answers.sets.as_deref(), MOST_ROWS, redactor, set);
    page.head("jobs, the newest first");
    each(page, answers.jobs.as_deref(), MOST_JOBS, redactor, job);
}

fn each<T>(
    page: &mut Page,
    found: Result<&[T], &String>,
    most: usize,
    redactor: &mut Redactor,
    show: impl Fn(&mut Page, &T, &mut Redactor),
) {
    match found {
        Err(problem) => page.row("no answer", redactor.text(problem)),
        Ok([]) => page.line("none"),
        Ok(all) => {
            all.iter().take(most).for_each(|one| show(page, one, redactor));
            if all.len() > most {
                page.line(format!("and {} more", all.len() - most));
            }
        }
    }
}

/// The word by which a state goes in the API.
fn word<T: Serialize>(state: &T) -> String {
    let value = serde_json::to_value(state).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn list(addresses: &[String], redactor: &mut Redactor) -> String {
    let shown: Vec<_> = addresses.iter().take(MOST_NAMED).map(|address| redactor.address(address)).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

fn computer(page: &mut Page, status: &StatusView, redactor: &mut Redactor) {
    page.head("daemon");
    page.row("version", redactor.text(&status.version));
    page.row("started", status.started);
    let listener = &status.listener;
    page.row("listener", format!("{}, port {}", word(&listener.state), listener.port));
    page.under("addresses", list(&listener.addresses, redactor));
    if let Some(error) = &listener.error {
        page.under("error", redactor.text(error));
    }
    page.row("control", format!("port {}, app {}", status.control.port, status.control.app_port));
    page.row("internal", list(&status.internal, redactor));
    page.row("public", list(&status.public, redactor));
    page.row("paused until", or_dash(status.paused_until));
    page.row("recovery sheet seen", yes(!status.recovery_unseen));
    if let Some(superseded) = &status.superseded {
        let by = redactor.name(Kind::Friend, &superseded.told_by);
        page.row("superseded", format!("since {}, told by {by}", superseded.since));
    }
    let vault = &status.vault;
    page.row("vault", format!("accepts from: {}", redactor.text(&vault.accept)));
    page.under(
        "live, held, free bytes",
        format!("{}, {}, {}", vault.live_bytes, vault.held_bytes, or_dash(vault.free_bytes)),
    );
    if let Some(failure) = &vault.failure {
        page.under("FAILURE", redactor.text(failure));
    }
    let scrub = &vault.scrub;
    page.under(
        "scrub",
        format!(
            "under way {}, started {}, finished {}, read {} bytes, damaged {}",
            yes(scrub.under_way),
            or_dash(scrub.started),
            or_dash(scrub.finished),
            scrub.read_bytes,
            scrub.damaged
        ),
    );
}

fn network(page: &mut Page, status: &StatusView, redactor: &mut Redactor) {
    page.head("way in from outside");
    mapping(page, &status.mapping, redactor);
    for other in status.mappings.iter().take(MOST_NAMED) {
        page.line("mapping");
        mapping(page, other, redactor);
    }
    for found in status.gateways.iter().take(MOST_NAMED) {
        gateway(page, found, redactor);
    }
}

fn mapping(page: &mut Page, mapping: &MappingView, redactor: &mut Redactor) {
    page.under("state", redactor.text(&mapping.state));
    page.under("sentence", redactor.text(&mapping.sentence));
    if let Some(step) = &mapping.next_step {
        page.under("next step", redactor.text(step));
    }
    if let Some(protocol) = &mapping.protocol {
        page.under("protocol", redactor.text(protocol));
    }
    if let Some(outside) = mapping.external() {
        page.under("outside", redactor.address(&outside));
    }
    if let Some(inside) = &mapping.internal {
        page.under("inside", redactor.address(inside));
    }
    page.under("lease seconds", or_dash(mapping.lease_seconds));
    let proof = &mapping.proof;
    let by = proof.by.as_deref().map(|by| redactor.name(Kind::Friend, by));
    page.under("proof", format!("{}, by {}, at {}", word(&proof.state), or_dash(by), or_dash(proof.at)));
    if let Some(why) = &proof.why {
        page.under("proof failed", redactor.text(why));
    }
}

fn gateway(page: &mut Page, gateway: &GatewayView, redactor: &mut Redactor) {
    let address = redactor.address(&gateway.address);
    let interface = redactor.text(&gateway.interface);
    page.row("router", format!("{address}, interface {interface}, {}", redactor.text(&gateway.state)));
    for asked in gateway.protocols.iter().take(MOST_NAMED) {
        let outcome = redactor.text(&asked.outcome);
        page.under(&redactor.text(&asked.protocol), outcome);
    }
}

fn port(page: &mut Page, port: &PortView, redactor: &mut Redactor) {
    let remote = port.remote.as_ref().map(|remote| redactor.text(remote));
    let friend = port.friend.as_ref().map(|friend| redactor.name(Kind::Friend, friend));
    let text = format!(
        "{} {} {} {}, remote {}, friend {}: {}",
        redactor.text(&port.local),
        redactor.text(&port.protocol),
        redactor.text(&port.direction),
        port.state.as_str(),
        or_dash(remote),
        or_dash(friend),
        redactor.text(&port.purpose)
    );
    page.line(text);
}

fn friend(page: &mut Page, friend: &FriendView, redactor: &mut Redactor) {
    let name = redactor.name(Kind::Friend, &friend.name);
    page.row(&name, redactor.name(Kind::Device, &friend.device_id.short()));
    let path = friend.path.as_ref().map(|path| redactor.text(path));
    let address = friend.address.as_ref().map(|address| redactor.address(address));
    page.under(
        "connected",
        format!("{}, path {}, address {}", yes(friend.connected), or_dash(path), or_dash(address)),
    );
    page.under(
        "since, last seen",
        format!("{}, {}", or_dash(friend.connected_since), or_dash(friend.last_seen)),
    );
    page.under("own, paused", format!("{}, {}", yes(friend.own), yes(friend.paused)));
    page.under("internal", list(&friend.internal, redactor));
    page.under("public", list(&friend.public, redactor));
    page.under("configured", list(&friend.configured, redactor));
    let version = friend.version.as_ref().map(|version| redactor.text(version));
    page.under("version", or_dash(version));
    page.under(
        "quota, stored here, held here bytes",
        format!("{}, {}, {}", or_dash(friend.quota_bytes), friend.stored_here_bytes, friend.held_here_bytes),
    );
    page.under(
        "offered, stored there bytes",
        format!("{}, {}", or_dash(friend.offered_bytes), or_dash(friend.stored_there_bytes)),
    );
    page.under("damaged here, there", format!("{}, {}", friend.damaged_here, friend.damaged_there));
    page.under("clock ahead seconds", or_dash(friend.clock_ahead_seconds));
    page.under(
        "last backup, recovered",
        format!("{}, {}", or_dash(friend.last_backup), or_dash(friend.recovered)),
    );
    for (what, said) in [
        ("last error", &friend.last_error),
        ("trouble", &friend.trouble),
        ("archive says", &friend.archive.message),
    ] {
        if let Some(said) = said {
            page.under(what, redactor.text(said));
        }
    }
    let archive = &friend.archive;
    let head = archive
        .head
        .map(|head| format!("{} with {} snapshots of {}", head.sequence, head.snapshots, head.time));
    page.under(
        "archive",
        format!(
            "{}, compared {}, head {}, missing {}",
            word(&archive.verdict),
            or_dash(archive.compared),
            or_dash(head),
            archive.missing_count
        ),
    );
}

fn set(page: &mut Page, set: &SetView, redactor: &mut Redactor) {
    let paths: Vec<_> =
        set.paths.iter().take(MOST_NAMED).map(|path| redactor.name(Kind::Path, path)).collect();
    let to: Vec<_> =
        set.to.iter().take(MOST_NAMED).map(|friend| redactor.name(Kind::Friend, friend)).collect();
    let name = redactor.name(Kind::Set, &set.name);
    page.row(
        &name,
        format!(
            "{} ({} in all) to {}, {} patterns, last backup {}",
            paths.join(", "),
            set.paths.len(),
            to.join(", "),
            set.exclude.len(),
            or_dash(set.last_backup)
        ),
    );
}

fn job(page: &mut Page, job: &JobView, redactor: &mut Redactor) {
    let set = job.set.as_ref().map(|set| redactor.name(Kind::Set, set));
    let friend = redactor.name(Kind::Friend, &job.friend);
    page.line(format!(
        "job {}: {} of {} with {friend}: {}, {} to {}",
        job.id,
        word(&job.kind),
        or_dash(set),
        word(&job.state),
        job.started,
        or_dash(job.ended)
    ));
    let progress = &job.progress;
    page.under(
        "progress",
        format!(
            "{}; files {} of {}, bytes {} of {}, sent {}, saved {}, errors {}",
            redactor.text(&progress.phase),
            progress.files_done,
            progress.files_total,
            progress.bytes_done,
            progress.bytes_total,
            progress.bytes_sent,
            progress.bytes_saved,
            progress.errors
        ),
    );
    if let Some(error) = &job.error {
        page.under("error", redactor.text(error));
    }
    if job.skipped_count > 0 {
        page.under("skipped", job.skipped_count);
    }
    for skipped in job.skipped.iter().take(MOST_NAMED) {
        let path = redactor.name(Kind::Path, &skipped.path);
        page.under(&path, redactor.text(&skipped.reason));
    }
    for finding in job.findings.iter().take(MOST_NAMED) {
        page.under("finding", redactor.text(finding));
    }
}
