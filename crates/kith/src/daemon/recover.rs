//! Becoming a computer again: 24 words and one friend's address on a blank home.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, FuturesUnordered, StreamExt};
use http::{Request, StatusCode};
use jiff::Timestamp;
use kith_backup::BackupSet;
use kith_control::{Failure, FailureKind, NewestBackup, RecoverRequest, RecoverView};
use kith_identity::{
    ArchiveId, DerivedSecrets, DeviceId, DialInKey, Identity, InstallationId, RecoveryPhrase,
};
use kith_peer::{Outbound, Visit, visit};
use kith_wire::{Hello, Report, VISIT_CAPABILITY, VersionRange, collect, empty_body, paths};
use tracing::{debug, info};

use super::core::{PROGRAM, value};
use super::db::{Db, Table};
use super::failure::{failed, failure, with_sources};
use super::heads::{self, Heads, Known};
use super::installation::superseded;
use super::keys;
use super::numbers::Numbers;
use super::roster::{Friend, KnownFriend};
use super::state_object::{MOST_BYTES, StateDocument};
use crate::home::Home;
use crate::settings::{SettingsSources, edit};

/// Longest wait for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Most older ones that a friend is asked for if the newest is none of ours.
const MOST_OLDER: usize = 64;
/// Longest wait for all other friends together.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Most friends asked after the first.
const MOST_OTHERS: usize = 64;
/// So many of them at once.
const OTHERS_AT_ONCE: usize = 8;
/// Most addresses tried of each.
const MOST_ADDRESSES: usize = 8;

/// Recovers identity, friends and sets into a home that has neither friends nor archives, or into one of this very
/// computer from which another installation has taken over. Nothing is written before a friend has handed out a state
/// object that opens with the words and names him.
///
/// # Errors
/// A sentence with the next step.
pub async fn recover(
    home: &Home,
    sources: &SettingsSources,
    db: &Db,
    request: RecoverRequest,
) -> Result<RecoverView, Failure> {
    let phrase = RecoveryPhrase::parse(&request.words).map_err(|error| {
        failure(FailureKind::Invalid, error, "compare each word with the sheet; the order matters")
    })?;
    let derived = phrase.derive();
    let identity = Identity::from_seed(&derived.identity).map_err(failed)?;
    refuse_unless_blank(home, db, &identity).await?;
    if request.from.is_empty() {
        return Err(failure(
            FailureKind::Invalid,
            "no address to recover from",
            "give --from HOST:PORT of a friend",
        ));
    }
    // The administrator's rules are there before the friends are.
    let outbound = Outbound::new(sources.load().map_err(failed)?.settings().network.outbound_rules());
    let found = find_state(&outbound, &request.from, &identity, &derived).await?;
    // He may be the one who missed the newest: the others are asked, too.
    let found = ask_others(&outbound, found, &identity, &derived).await;
    // Somebody may have paired while the friends were asked.
    refuse_unless_blank(home, db, &identity).await?;
    let newest = newest(&found);
    let known =
        heads::merged(found.iter().flat_map(|found| &found.document.archives), &identity.public_key());
    let incarnation = next_incarnation(db, &found, &identity).await?;
    // A home from which another installation took over knows something itself.
    let local = Heads::load(db.clone(), &identity.public_key()).await.map_err(failed)?;
    store(home, sources, db, &phrase, &found, &Learnt { incarnation, known: &known, local: &local }).await?;
    let document = &newest.document;
    let from = name_in(document, &newest.visit.device);
    info!(device = %identity.device_id().short(), friend = %from, "recovered");
    let sets = sources.load().map_err(failed)?.into_settings().sets;
    let was_asked = |friend: &&Friend| found.iter().any(|found| found.visit.device == friend.device_id);
    let others = document.friends.iter().filter(|friend| !was_asked(friend));
    Ok(RecoverView {
        device_id: identity.device_id(),
        from,
        friends: document.friends.iter().map(|friend| friend.name.clone()).collect(),
        sets: sets.iter().map(|set| set.name().to_string()).collect(),
        state_time: document.time,
        newest_backup: newest_backup(&known, &document.friends),
        asked: found.iter().map(|found| name_in(document, &found.visit.device)).collect(),
        not_asked: others.map(|friend| friend.name.clone()).collect(),
        passed_over: found.iter().filter_map(|found| passed_over(document, found)).collect(),
    })
}

/// That newer state objects of a friend were not used: they may be by somebody else, or by a newer Kith.
fn passed_over(document: &StateDocument, found: &Found) -> Option<String> {
    let (name, reason) = (name_in(document, &found.visit.device), found.passed_over.as_ref()?);
    let time = found.document.time;
    Some(format!(
        "what {name} was given last can't be used ({reason}); what he was given at {time} is used instead"
    ))
}

/// A friend, and what he keeps of our state.
struct Found {
    visit: Visit,
    document: StateDocument,
    /// Why newer ones of his were not used, if there are any.
    passed_over: Option<String>,
}

/// The copy with the highest number was written last.
fn newest(found: &[Found]) -> &Found {
    // There is at least the one that was found first.
    found.iter().max_by_key(|found| found.document.sequence).unwrap_or(&found[0])
}

fn name_in(document: &StateDocument, device: &DeviceId) -> String {
    let friend = document.friends.iter().find(|friend| friend.device_id == *device);
    friend.map_or_else(|| device.short(), |friend| friend.name.clone())
}

fn newest_backup(known: &BTreeMap<ArchiveId, Known>, friends: &[Friend]) -> Option<NewestBackup> {
    let made = friends.iter().filter_map(|friend| Some((friend, known.get(&friend.archive)?)));
    let made = made.flat_map(|(friend, known)| known.kept.values().map(move |made| (made, friend)));
    let (made, friend) = made.max_by_key(|(made, _)| made.time)?;
    Some(NewestBackup { time: made.time, friend: friend.name.clone(), set: made.set.clone() })
}

/// Asks the friends that the newest copy names, as long as newer copies name more of them. One success was enough to go
/// on: what does not answer in time is taken over when it is met.
async fn ask_others(
    outbound: &Outbound,
    first: Found,
    identity: &Identity,
    derived: &DerivedSecrets,
) -> Vec<Found> {
    let mut asked = BTreeSet::from([first.visit.device]);
    let mut found = vec![first];
    let deadline = tokio::time::Instant::now() + OTHERS_TIMEOUT;
    loop {
        let others: Vec<Friend> = newest(&found)
            .document
            .friends
            .iter()
            .filter(|friend| asked.insert(friend.device_id))
            .take(MOST_OTHERS)
            .cloned()
            .collect();
        if others.is_empty() {
            return found;
        }
        let answers = stream::iter(others).map(|friend| ask_friend(outbound, friend, identity, derived));
        let mut answers = std::pin::pin!(answers.buffer_unordered(OTHERS_AT_ONCE));
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            match answer {
                Ok(answer) => found.push(answer),
                Err(problem) => debug!(%problem, "a friend could not be asked"),
            }
        }
        if tokio::time::Instant::now() >= deadline {
            return found;
        }
    }
}

/// Asks one friend under all his addresses at once; the first that leads to him counts.
async fn ask_friend(
    outbound: &Outbound,
    friend: Friend,
    identity: &Identity,
    derived: &DerivedSecrets,
) -> Result<Found, String> {
    let known = KnownFriend::from(friend.clone());
    let addresses = known.addresses().into_iter().take(MOST_ADDRESSES);
    let hello = hello();
    // What he told us opens his port even if he has lost what we told him.
    let keys: Vec<DialInKey> = known.dial_in_key().into_iter().chain(recovery_keys(derived)).collect();
    let (hello, keys) = (&hello, &keys);
    let visits =
        addresses.map(|address| async move { visit(outbound, &address, identity, keys, hello).await });
    let mut visits: FuturesUnordered<_> = visits.collect();
    let mut problem = "no address of him is known".to_owned();
    while let Some(outcome) = visits.next().await {
        match outcome {
            Ok(visit) if visit.device == friend.device_id => {
                return fetch(visit, derived).await;
            }
            Ok(_) => problem = "another computer answered".to_owned(),
            Err(error) => problem = explain_dial(&error),
        }
    }
    Err(format!("{}: {problem}", friend.name))
}

/// The keys by which friends recognise one who has nothing but the words: what they were told since release 0.1, and what those go by
/// who were not met since.
fn recovery_keys(derived: &DerivedSecrets) -> [DialInKey; 2] {
    [derived.state.recovery_dial_in_key(), derived.dial_in.key(0).recovery_of_older()]
}

/// Without a name: the friend keeps the one it knows.
fn hello() -> Hello {
    Hello {
        wire: VersionRange::OURS,
        program: PROGRAM.to_owned(),
        installation: InstallationId::generate(),
        incarnation: 0,
        since: 0,
        proof: String::new(),
        run: None,
        class: None,
        // So that the installation that writes now, if there is one, is left alone.
        capabilities: vec![VISIT_CAPABILITY.to_owned()],
        you_are: String::new(),
        time: Timestamp::now().as_second(),
        report: Report::default(),
    }
}

/// What a recovery found out.
struct Learnt<'a> {
    incarnation: u64,
    known: &'a BTreeMap<ArchiveId, Known>,
    local: &'a Heads,
}

/// Greater than that of every installation we can know of: of those whose states were found, of the newest ones that the
/// friends have met (they may not have left a state object yet), and of the one that took over from this home.
async fn next_incarnation(db: &Db, found: &[Found], identity: &Identity) -> Result<u64, Failure> {
    // What is not signed with our key is a friend's invention.
    let met = found.iter().filter_map(|found| found.visit.hello.report.newest.as_ref());
    let met = met.filter(|newest| newest.is_of(&identity.device_id())).map(|newest| newest.incarnation);
    let told = found.iter().map(|found| found.document.incarnation);
    let other = superseded(db).await.map_err(failed)?.map(|other| other.by.incarnation);
    Ok(number_after(met.chain(other), told))
}

/// Numbers of which friends have proofs, and those in state objects: a friend refuses what is too far ahead of the newest that he
/// has seen, so no document may lead us there.
fn number_after(met: impl Iterator<Item = u64>, told: impl Iterator<Item = u64>) -> u64 {
    let none = InstallationId::from_bytes([0; 16]);
    let met = met.filter(|number| *number < u64::MAX / 2).max().unwrap_or_default();
    let told = told.filter(|number| super::installation::incarnation(*number, &none).is_plausible_after(met));
    told.fold(met, u64::max) + 1
}

async fn refuse_unless_blank(home: &Home, db: &Db, identity: &Identity) -> Result<(), Failure> {
    let friends: Vec<Friend> = db.all(Table::Friends).await.map_err(failed)?;
    if !friends.is_empty() && !wants_to_write_again(home, db, identity).await? {
        return Err(failure(
            FailureKind::Conflict,
            format!(
                "this Kith at {} has friends already, and recovering would replace who it is",
                home.root().display()
            ),
            "recover into a blank home: `kith --home NEW_DIRECTORY recover --from HOST:PORT`",
        ));
    }
    Ok(())
}

/// Whether this home is the computer of the words, and another installation has taken over from it.
async fn wants_to_write_again(home: &Home, db: &Db, identity: &Identity) -> Result<bool, Failure> {
    if superseded(db).await.map_err(failed)?.is_none() {
        return Ok(false);
    }
    let home = home.clone();
    match tokio::task::spawn_blocking(move || keys::load(&home)).await {
        Ok(keys) => Ok(keys.map_err(failed)?.identity.device_id() == identity.device_id()),
        Err(_ending) => Ok(false),
    }
}

/// Asks one address after the other.
async fn find_state(
    outbound: &Outbound,
    addresses: &[String],
    identity: &Identity,
    derived: &DerivedSecrets,
) -> Result<Found, Failure> {
    let hello = hello();
    let keys = recovery_keys(derived);
    let mut problems = Vec::new();
    for address in addresses {
        let outcome = match visit(outbound, address, identity, &keys, &hello).await {
            Ok(visit) => fetch(visit, derived).await,
            Err(error) => Err(explain_dial(&error)),
        };
        match outcome {
            Ok(found) => return Ok(found),
            Err(problem) => problems.push(format!("{address}: {problem}")),
        }
    }
    Err(failure(
        FailureKind::Failed,
        format!("nobody could hand out what is needed to recover: {}", problems.join("; ")),
        "check address and words; `kith probe HOST PORT` tests the way to the friend",
    ))
}

fn explain_dial(error: &kith_peer::DialError) -> String {
    match error {
        kith_peer::DialError::RefusedUs(_) | kith_peer::DialError::NotRecognised => {
            "it does not know the computer of these words: are they the right words, and is this the right friend?"
                .to_owned()
        }
        other => other.to_string(),
    }
}

/// The newest state object that opens with the words and names the friend. Somebody else may have left one after ours.
async fn fetch(visit: Visit, derived: &DerivedSecrets) -> Result<Found, String> {
    let deadline = tokio::time::Instant::now() + FETCH_TIMEOUT;
    let (mut problem, mut last) = (None, None);
    for back in 0..MOST_OLDER {
        let asked = tokio::time::timeout_at(deadline, fetch_one(&visit, back)).await;
        let asked = asked.unwrap_or_else(|_elapsed| Err("it did not answer in time".to_owned()));
        let sealed = match asked {
            Ok(sealed) if last.as_ref() != Some(&sealed) => sealed,
            Ok(_same_again) => break,
            Err(reason) => return Err(problem.unwrap_or(reason)),
        };
        match open(&visit, derived, &sealed) {
            Ok(document) => return Ok(Found { visit, document, passed_over: problem }),
            Err(reason) => drop(problem.get_or_insert(reason)),
        }
        last = Some(sealed);
    }
    Err(problem.unwrap_or_else(|| "it keeps no state object of this computer".to_owned()))
}

/// The newest state object but `back` newer ones.
async fn fetch_one(visit: &Visit, back: usize) -> Result<Bytes, String> {
    let path = if back == 0 { paths::STATE.to_owned() } else { format!("{}?back={back}", paths::STATE) };
    let request = Request::get(path).body(empty_body()).map_err(|error| error.to_string())?;
    let answer = visit.link.request(request).await.map_err(|error| error.to_string())?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Err("it knows this computer, but keeps no state object of it".into());
    }
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    collect(answer.into_body(), MOST_BYTES).await.map_err(|error| error.to_string())
}

fn open(visit: &Visit, derived: &DerivedSecrets, sealed: &[u8]) -> Result<StateDocument, String> {
    let opened = derived.state.open(sealed).map_err(|error| with_sources(&error))?;
    let document = StateDocument::parse(&opened)?;
    // Any certificate was accepted: only now is it known that this is a friend of the computer that we are.
    if document.friends.iter().any(|friend| friend.device_id == visit.device) {
        Ok(document)
    } else {
        Err(format!("the state object it handed out does not name it ({}) as a friend", visit.device))
    }
}

async fn store(
    home: &Home,
    sources: &SettingsSources,
    db: &Db,
    phrase: &RecoveryPhrase,
    found: &[Found],
    Learnt { incarnation, known, local }: &Learnt<'_>,
) -> Result<(), Failure> {
    let document = &newest(found).document;
    let (home_there, sources_there) = (home.clone(), sources.clone());
    let (phrase_bytes, settings) = (phrase.to_entropy(), document.settings.clone());
    // All friends at once, and last: a recovery that is cut off leaves a home without friends, and can be repeated.
    let written = tokio::task::spawn_blocking(move || -> Result<(), Failure> {
        take_over_settings(&home_there, &sources_there, settings.as_deref())?;
        keys::write(&home_there, &RecoveryPhrase::from_entropy(*phrase_bytes)).map_err(failed)
    });
    written
        .await
        .map_err(|_ending| failure(FailureKind::Failed, "the program ends", "repeat the recovery"))??;
    let json = |document: serde_json::Result<serde_json::Value>| document.map_err(failed);
    let value = |name: &str, document| Ok::<_, Failure>((Table::Values, name.to_owned(), json(document)?));
    // Other friends may keep newer state objects than this one: theirs must not make ours look stale.
    let numbers = |taken| {
        Numbers::beyond(taken).map_err(|error| failure(FailureKind::Failed, error, "repeat the recovery"))
    };
    // At the friends ours are newer in any case, by the incarnation.
    let numbers = match numbers(document.sequence)? {
        Some(numbers) => Some(numbers),
        None => numbers(0)?,
    };
    let mut documents = vec![
        value(value::INSTALLATION, serde_json::to_value(InstallationId::generate()))?,
        value(value::INCARNATION, serde_json::to_value(incarnation))?,
        value(value::INSTALLED_SINCE, serde_json::to_value(Timestamp::now().as_millisecond()))?,
        (Table::Values, value::SUPERSEDED.to_owned(), serde_json::Value::Null),
        value(
            value::DIAL_IN,
            serde_json::to_value(super::dial_in::Counters::after_recovery(document.dial_in)),
        )?,
        value(value::RECOVERY_SHOWN, serde_json::to_value(true))?,
    ];
    documents.extend(numbers.into_iter().flat_map(Numbers::documents));
    for friend in &document.friends {
        let mut friend = friend.clone();
        friend.last_seen = None;
        if let Some(found) = found.iter().find(|found| found.visit.device == friend.device_id) {
            friend.addresses.last_good = Some(found.visit.address.clone());
        }
        let key = friend.device_id.to_string();
        documents.push((Table::Friends, key, json(serde_json::to_value(&friend))?));
    }
    for (archive, known) in *known {
        let before = local.of(archive);
        let mut after = (*before).clone();
        after.merge(known);
        documents.extend(heads::documents(*archive, &before, &after).map_err(failed)?);
    }
    db.replace_all(Table::Friends, documents).await.map_err(failed)?;
    Ok(())
}

/// The settings of the lost computer, if this home has none of its own; its sets in any case.
fn take_over_settings(home: &Home, sources: &SettingsSources, lost: Option<&str>) -> Result<(), Failure> {
    let Some(lost) = lost else { return Ok(()) };
    let file = home.settings_file();
    if !file.exists() {
        return crate::home::write_atomically(&file, lost.as_bytes(), 0o600).map_err(|error| {
            failure(
                FailureKind::Failed,
                format!("{} can't be written: {error}", file.display()),
                "check the disk",
            )
        });
    }
    for set in &sets_missing(sources, Some(lost))? {
        edit::add_set(sources, set).map_err(failed)?;
    }
    Ok(())
}

/// The sets of another copy of the settings that these ones lack. Blocks.
///
/// # Errors
/// One of the two can't be read.
pub(super) fn sets_missing(
    sources: &SettingsSources,
    other: Option<&str>,
) -> Result<Vec<BackupSet>, Failure> {
    let Some(other) = other else { return Ok(Vec::new()) };
    let directory = tempfile::tempdir().map_err(failed)?;
    let home = Home::at(directory.path());
    crate::home::write_atomically(&home.settings_file(), other.as_bytes(), 0o600).map_err(failed)?;
    let other = SettingsSources::files(directory.path(), &home).load().map_err(failed)?;
    let known = sources.load().map_err(failed)?.into_settings().sets;
    let mut sets = other.into_settings().sets;
    sets.retain(|set| !known.iter().any(|other| other.name() == set.name()));
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_takes_a_number_that_friends_believe_whatever_a_document_says() {
        let check = |met: &[u64], told: &[u64], expected: u64| {
            let number = number_after(met.iter().copied(), told.iter().copied());
            assert_eq!(number, expected, "{met:?} {told:?}");
        };
        check(&[], &[], 1);
        check(&[3, 5], &[4], 6);
        check(&[3], &[7], 8);
        check(&[3], &[u64::MAX], 4);
        check(&[3], &[u64::MAX, 7], 8);
        check(&[u64::MAX, 3], &[2], 4);
        check(&[1 << 40], &[2], (1 << 40) + 1);
    }
}
