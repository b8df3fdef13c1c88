//! The names that are known beforehand, so that they are found inside of sentences.

use super::redact::{Kind, Redactor};
use super::{Answers, Daemon, Facts};
use crate::settings::Settings;

/// Users that every system has, and fallbacks of ours: hiding them hides nothing, and spoils many sentences.
const COMMON: [&str; 5] = ["root", "kith", "nobody", "computer", "localhost"];
/// Shorter globs would turn up everywhere.
const SHORTEST_PATTERN: usize = 3;

/// Tells the redactor what this computer, its friends, sets and places are called.
pub(super) fn acquaint(facts: &Facts, redactor: &mut Redactor) {
    let settings = facts.settings.as_ref().ok().map(|loaded| loaded.settings());
    let host = facts.system.host.as_str();
    let short = host.split('.').next().unwrap_or_default();
    let own = settings.map(Settings::computer_name);
    let mut computer = vec![host, short];
    computer.extend(own.as_deref());
    if let Daemon::Answers(answers) = &facts.daemon {
        computer.push(&answers.status.name);
    }
    for name in computer.into_iter().filter(|name| !COMMON.contains(name)) {
        redactor.know_as(name, "this-computer");
    }
    if let Daemon::Answers(answers) = &facts.daemon {
        redactor.know_as(&answers.status.device_id.to_string(), "this-device");
        redactor.know_as(&answers.status.device_id.short(), "this-device");
        learn_answers(answers, redactor);
    }
    if let Some(settings) = settings {
        learn_settings(settings, redactor);
    }
    redactor.know_as(&facts.home.display().to_string(), "the-home");
    if let Some(directory) = facts.system.user_home.as_ref().filter(|path| path.components().count() > 1) {
        redactor.know(Kind::Path, &directory.display().to_string());
    }
    if let Some(user) = facts.system.user.as_deref().filter(|user| !COMMON.contains(user)) {
        redactor.know(Kind::User, user);
    }
    for line in facts.log.iter().flatten() {
        redactor.learn(line);
    }
}

fn learn_answers(answers: &Answers, redactor: &mut Redactor) {
    for friend in &answers.status.friends {
        redactor.know(Kind::Friend, &friend.name);
        redactor.know_device(&friend.device_id);
        let addresses = friend.configured.iter().chain(&friend.internal).chain(&friend.public);
        addresses.chain(&friend.address).for_each(|address| learn_host(address, redactor));
    }
    for set in answers.sets.iter().flatten() {
        redactor.know(Kind::Set, &set.name);
        set.paths.iter().for_each(|path| redactor.know(Kind::Path, path));
        set.to.iter().for_each(|friend| redactor.know(Kind::Friend, friend));
        set.exclude.iter().for_each(|pattern| learn_pattern(pattern, redactor));
    }
    for job in answers.jobs.iter().flatten() {
        redactor.know(Kind::Friend, &job.friend);
        redactor.know_device(&job.friend_id);
        job.set.iter().for_each(|set| redactor.know(Kind::Set, set));
        job.skipped.iter().for_each(|skipped| redactor.know(Kind::Path, &skipped.path));
    }
    redactor.know(Kind::Path, &answers.status.vault.path);
}

fn learn_settings(settings: &Settings, redactor: &mut Redactor) {
    for set in &settings.sets {
        redactor.know(Kind::Set, set.name().as_str());
        set.paths().iter().for_each(|path| redactor.know(Kind::Path, &path.display().to_string()));
        set.friends().for_each(|friend| redactor.know(Kind::Friend, friend));
        set.excludes().iter().for_each(|pattern| learn_pattern(pattern, redactor));
    }
    if settings.vault.path.is_absolute() {
        redactor.know(Kind::Path, &settings.vault.path.display().to_string());
    }
    let network = &settings.network;
    let hosts = settings.listener.advertise.iter().chain(network.mapped.values());
    hosts.for_each(|address| learn_host(&address.to_string(), redactor));
    if let Some(proxy) = &network.proxy {
        learn_host(&proxy.address().to_string(), redactor);
        if let Some((user, password)) = proxy.login() {
            redactor.know(Kind::Text, user);
            redactor.know(Kind::Text, password);
        }
    }
    for hub in &network.hubs {
        learn_host(&hub.address().to_string(), redactor);
        redactor.know_device(&hub.device_id());
    }
}

/// The host of `host:port`. Addresses are recognised by their form.
fn learn_host(address: &str, redactor: &mut Redactor) {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.parse::<std::net::IpAddr>().is_err() && !COMMON.contains(&host) {
        redactor.know(Kind::Host, host);
    }
}

fn learn_pattern(pattern: &str, redactor: &mut Redactor) {
    if pattern.chars().count() >= SHORTEST_PATTERN {
        redactor.know(Kind::Pattern, pattern);
    }
}
