//! Commands about friends.

use std::collections::BTreeSet;

use kith_control::view::FriendView;
use kith_control::{Client, FriendChange};

use super::args::{FriendCommand, Json};
use super::error::CliResult;
use super::output::{ago, json, line, note, safe, size, table, time};
use super::status::link;

pub(super) async fn list(client: &Client, Json { json: as_json }: Json) -> CliResult {
    let friends = client.friends().await?;
    if as_json {
        return json(&friends);
    }
    show(&friends);
    Ok(())
}

/// A paragraph for each friend; internal addresses before public ones.
pub(super) fn show(friends: &[FriendView]) {
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
        table(&rows);
    }
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
    let named = |friend: &FriendView| {
        friend.name.eq_ignore_ascii_case(from) || friend.device_id.to_string().eq_ignore_ascii_case(from)
    };
    if friends.iter().any(named) {
        friends.retain(named);
    } else {
        friends.retain(|friend| shown.contains(&friend.name));
    }
    friends
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
