//! Commands about friends.

use std::collections::BTreeSet;

use kith_control::view::{ConditionView, FriendView};
use kith_control::{Client, FriendChange};

use super::args::{FriendCommand, Json};
use super::error::{CliError, CliResult};
use super::output::{ago, json, line, note, safe, size, table, time};
use super::status::link;

/// How much is told of each friend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// What a list has room for.
    Short,
    /// The rest follows: all that was tried.
    All,
}

/// Most failures of a friend that are shown in the list of all.
const MOST_TRIED: usize = 3;

pub(super) async fn list(client: &Client, name: Option<String>, Json { json: as_json }: Json) -> CliResult {
    let mut friends = client.friends().await?;
    if let Some(name) = &name {
        let named = |friend: &FriendView| is_called(friend, name);
        if !friends.iter().any(named) {
            let known = friends.iter().map(|friend| friend.name.as_str()).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "there are none yet".to_owned() } else { known };
            return Err(CliError::new(
                format!("there is no friend called {:?}", safe(name)),
                &format!("friends are: {}", safe(&known)),
            ));
        }
        friends.retain(named);
    }
    if as_json {
        return json(&friends);
    }
    show(&friends, if name.is_some() { Detail::All } else { Detail::Short });
    if name.is_some() {
        friends.iter().for_each(show_way);
    }
    Ok(())
}

fn is_called(friend: &FriendView, name: &str) -> bool {
    friend.name.eq_ignore_ascii_case(name) || friend.device_id.to_string().eq_ignore_ascii_case(name)
}

/// The way to a friend in detail: since when, how long an answer takes, what was tried in vain.
fn show_way(friend: &FriendView) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    if let Some(since) = friend.path_since {
        let what = if friend.connected { "this way since" } else { "without a link since" };
        rows.push(vec![format!("  {what}"), format!("{} ({})", time(since), ago(since))]);
    }
    if let Some(words) = friend.round_trip_words() {
        rows.push(vec!["  an answer takes".into(), words]);
    }
    if let Some(change) = &friend.last_change {
        let word = |path: &Option<String>| path.clone().unwrap_or_else(|| "no link".to_owned());
        let text =
            format!("{} to {}, {}: {}", word(&change.from), word(&change.to), ago(change.at), change.reason);
        rows.push(vec!["  last change".into(), safe(&text)]);
    }
    table(&rows);
    if friend.attempts.is_empty() {
        return;
    }
    line("  tried in vain:");
    let attempts = friend.attempts.iter().rev().map(|attempt| {
        vec![
            format!("    {}", safe(&attempt.address)),
            safe(&attempt.kind),
            ago(attempt.at),
            safe(&attempt.error),
        ]
    });
    table(&attempts.collect::<Vec<_>>());
}

/// A paragraph for each friend; internal addresses before public ones.
pub(super) fn show(friends: &[FriendView], detail: Detail) {
    if friends.is_empty() {
        line("no friends yet: `kith invite` here and `kith join` on the other computer");
    }
    for friend in friends {
        let own = if friend.own { " (own computer)" } else { "" };
        line(format!("{}{own}   {}", safe(&friend.name), link(friend)));
        let list = |addresses: &[String]| {
            if addresses.is_empty() {
                "not known".to_owned()
            } else {
                addresses.iter().map(|address| safe(address)).collect::<Vec<_>>().join(", ")
            }
        };
        let mut rows = vec![
            vec!["  internal".into(), list(&friend.internal)],
            vec!["  public".into(), list(&friend.public)],
        ];
        if !friend.configured.is_empty() {
            rows.push(vec!["  added by hand".into(), list(&friend.configured)]);
        }
        rows.push(vec!["  device id".into(), friend.device_id.to_string()]);
        rows.push(vec!["  ours there".into(), there(friend)]);
        let paused = if friend.paused { ", paused" } else { "" };
        rows.push(vec!["  theirs here".into(), format!("{}{paused}", size(friend.stored_here_bytes))]);
        if let Some(message) = &friend.archive.message {
            rows.push(vec!["  ERROR".into(), safe(message)]);
        }
        let backup = friend.last_backup.map_or_else(|| "none yet".to_owned(), ago);
        rows.push(vec!["  last backup".into(), backup]);
        if let Some(reachability) = &friend.reachability {
            rows.push(vec!["  history".into(), safe(&reachability.sentence)]);
        }
        if let Some(condition) = &friend.condition {
            rows.push(vec!["  their backups".into(), their_backups(condition)]);
            rows.extend(condition.free_bytes.map(|free| vec!["  free there".into(), size(free)]));
            if condition.outbound_only {
                rows.push(vec!["  calls".into(), "takes none, and only makes them (outbound-only)".into()]);
            }
        }
        if friend.damaged_there > 0 {
            let text = format!(
                "{} objects of ours are damaged there: `kith backup` repairs what it can",
                friend.damaged_there
            );
            rows.push(vec!["  damage there".into(), text]);
        }
        if friend.damaged_here > 0 {
            let text = format!("{} objects of theirs are damaged on this disk", friend.damaged_here);
            rows.push(vec!["  damage here".into(), text]);
        }
        if let Some(recovered) = friend.recovered {
            rows.push(vec!["  recovered".into(), format!("on another computer on {}", time(recovered))]);
        }
        if let Some(trouble) = &friend.trouble {
            rows.push(vec![
                "  trouble there".into(),
                format!("nothing is stored at present: {}", safe(trouble)),
            ]);
        }
        if let Some(words) = &friend.safety_words {
            rows.push(vec!["  safety words".into(), words.clone()]);
        }
        if let Some(error) = &friend.last_error {
            rows.push(vec!["  why".into(), safe(error)]);
        }
        if detail == Detail::Short {
            rows.extend(tried(friend));
        }
        if let Some(better) = &friend.better {
            rows.push(vec!["  better".into(), safe(better)]);
        }
        table(&rows);
    }
}

/// Of a friend without a link what was tried last, a line for each candidate, the newest first.
fn tried(friend: &FriendView) -> Vec<Vec<String>> {
    if friend.connected {
        return Vec::new();
    }
    let mut lines: Vec<String> = friend
        .attempts
        .iter()
        .rev()
        .take(MOST_TRIED)
        .map(|attempt| format!("{}: {}, {}", safe(&attempt.address), safe(&attempt.error), ago(attempt.at)))
        .collect();
    let more = friend.attempts.len().saturating_sub(MOST_TRIED);
    if more > 0 {
        lines.push(format!("and {more} more: `kith friends {}`", safe(&friend.name)));
    }
    let head = |at| if at == 0 { "  tried in vain" } else { "" };
    (0..).zip(lines).map(|(at, line)| vec![head(at).to_owned(), line]).collect()
}

/// Says what is wrong with our archives at these friends; true if anything is. `from` is a friend as the person named him.
pub(super) async fn accuse(client: &Client, from: Option<&str>, shown: &BTreeSet<String>) -> CliResult<bool> {
    let mut wrong = false;
    for friend in in_question(client.friends().await?, from, shown) {
        if let Some(message) = &friend.archive.message {
            wrong = true;
            note(format!("error: {}", safe(message)));
            if let Some(hint) = &friend.archive.hint {
                note(format!("hint: {}", safe(hint)));
            }
        }
    }
    Ok(wrong)
}

/// The friends that a question is about: the one named, also by a former name, else all.
pub(super) fn in_question(
    mut friends: Vec<FriendView>,
    from: Option<&str>,
    shown: &BTreeSet<String>,
) -> Vec<FriendView> {
    let Some(from) = from else { return friends };
    let named = |friend: &FriendView| is_called(friend, from);
    if friends.iter().any(named) {
        friends.retain(named);
    } else {
        friends.retain(|friend| shown.contains(&friend.name));
    }
    friends
}

/// What a friend tells of his own backups, to whomever they go.
fn their_backups(condition: &ConditionView) -> String {
    let last = match condition.last_backup {
        Some(last) if last.complete => format!("last {}", ago(last.time)),
        Some(last) => format!("last {}, with files left out", ago(last.time)),
        None => "none yet".to_owned(),
    };
    let paused = condition.paused_until.map(|until| format!("paused until {}", time(until)));
    [Some(last), condition.at_work(), paused].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn there(friend: &FriendView) -> String {
    let stored = friend.stored_there_bytes.map_or_else(|| "not known".to_owned(), size);
    match friend.offered_bytes {
        Some(offered) => format!("{stored} of {}", size(offered)),
        None if friend.stored_there_bytes.is_some() => format!("{stored}; nothing is accepted at present"),
        None => stored,
    }
}

pub(super) async fn change(client: &Client, command: FriendCommand) -> CliResult {
    let none = FriendChange::default;
    let (name, change, what) = match command {
        FriendCommand::Remove { name } => {
            client.remove_friend(&name).await?;
            line(format!("{} is forgotten; what is stored here for him stays in the vault", safe(&name)));
            return Ok(());
        }
        FriendCommand::Rename { name, new } => {
            let what = format!("{} is now called {}", safe(&name), safe(&new));
            (name, FriendChange { name: Some(new), ..none() }, what)
        }
        FriendCommand::Pause { name } => {
            let what = format!("nothing is taken from {} for now", safe(&name));
            (name, FriendChange { paused: Some(true), ..none() }, what)
        }
        FriendCommand::Resume { name } => {
            let what = format!("{} may store again", safe(&name));
            (name, FriendChange { paused: Some(false), ..none() }, what)
        }
        FriendCommand::Quota { name, size: quota } => {
            let what = format!("{} may store up to {}", safe(&name), size(quota.bytes()));
            (name, FriendChange { quota_bytes: Some(quota.bytes()), ..none() }, what)
        }
        FriendCommand::Address { name, address } => {
            let what = format!("{} is tried for {} from now on", safe(&address), safe(&name));
            (name, FriendChange { add_address: Some(address), ..none() }, what)
        }
        FriendCommand::AcceptLoss { name } => {
            let what = format!("what is missing at {} is not asked for any more", safe(&name));
            (name, FriendChange { accept_loss: Some(true), ..none() }, what)
        }
    };
    client.change_friend(&name, &change).await?;
    line(what);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn friend(changes: &serde_json::Value) -> FriendView {
        let mut friend = json!({
            "name": "bert", "device_id": kith_identity::DeviceId::from_bytes([1; 32]).to_string(), "own": false, "connected": false,
            "attempts": [], "internal": [], "public": [], "configured": [], "paused": false, "stored_here_bytes": 0,
            "held_here_bytes": 0, "damaged_here": 0, "damaged_there": 0,
            "archive": { "verdict": "complete", "newest": [], "missing": [], "missing_count": 0, "foreign": [] },
        });
        for (key, value) in changes.as_object().unwrap() {
            friend[key] = value.clone();
        }
        serde_json::from_value(friend).unwrap()
    }

    #[test]
    fn the_line_of_a_friend_has_the_way_where_since_when_and_how_long_an_answer_takes() {
        let since = "2026-11-21T20:14:00Z";
        let relayed = friend(&json!({
            "connected": true, "path": "relayed", "relayed_by": "hub.example", "address": "11.0.0.1:443", "path_since": since,
            "round_trip_ms": 41,
        }));
        let since = time(since.parse().unwrap());
        assert_eq!(
            link(&relayed),
            format!(
                "connected, relayed by hub.example, slower, at 11.0.0.1:443, since {since}, 41 ms there and back"
            )
        );
        assert_eq!(tried(&relayed), Vec::<Vec<String>>::new());
        assert!(
            link(&friend(&json!({ "last_seen": "2020-01-01T00:00:00Z" })))
                .starts_with("not connected, seen ")
        );
    }

    #[test]
    fn of_a_friend_without_a_link_the_newest_failures_are_listed_and_the_rest_is_counted() {
        let attempts: Vec<_> = (1..=5)
            .map(|byte| {
                json!({ "address": format!("11.0.0.{byte}:4242"), "kind": "public", "error": "refused", "at": "2020-01-01T00:00:00Z" })
            })
            .collect();
        let rows = tried(&friend(&json!({ "attempts": attempts })));
        assert_eq!(rows.len(), MOST_TRIED + 1);
        assert!(
            rows[0][0] == "  tried in vain" && rows[0][1].starts_with("11.0.0.5:4242: refused, "),
            "{rows:?}"
        );
        assert_eq!(rows[3], ["", "and 2 more: `kith friends bert`"]);
    }
}
