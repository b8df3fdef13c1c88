//! Becoming a computer again: 24 words and one friend's address on a blank home.

use http::{Request, StatusCode};
use jiff::Timestamp;
use kith_control::{Failure, FailureKind, RecoverRequest, RecoverView};
use kith_identity::{DerivedSecrets, Identity, InstallationId, RecoveryPhrase};
use kith_peer::{Visit, visit};
use kith_wire::{Hello, Report, VersionRange, collect, empty_body, paths};
use tracing::info;

use super::core::{PROGRAM, value};
use super::db::{Db, Table};
use super::failure::{failed, failure, with_sources};
use super::keys;
use super::roster::Friend;
use super::state_object::StateDocument;
use crate::home::Home;
use crate::settings::{SettingsSources, edit};

/// Largest state object.
const MOST_STATE_BYTES: usize = 1024 * 1024;
/// By how much a recovery raises the sequence of the state object.
const SEQUENCE_LEAP: u64 = 1_000_000;
/// Longest wait for it.
const FETCH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Recovers identity, friends and sets into a home that has neither friends nor archives. Nothing is written before
/// a friend has handed out a state object that opens with the words and names him.
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
    refuse_unless_blank(home, db).await?;
    if request.from.is_empty() {
        return Err(failure(
            FailureKind::Invalid,
            "no address to recover from",
            "give --from HOST:PORT of a friend",
        ));
    }
    let derived = phrase.derive();
    let identity = Identity::from_seed(&derived.identity).map_err(failed)?;
    let (visit, document) = find_state(&request.from, &identity, &derived).await?;
    let from = document.friends.iter().find(|friend| friend.device_id == visit.device);
    let from_name = from.map_or_else(|| visit.device.short(), |friend| friend.name.clone());
    // Somebody may have paired while the friend was asked.
    refuse_unless_blank(home, db).await?;
    store(home, sources, db, &phrase, &document, &visit).await?;
    info!(device = %identity.device_id().short(), friend = %from_name, "recovered");
    let sets = sources.load().map_err(failed)?.into_settings().sets;
    Ok(RecoverView {
        device_id: identity.device_id(),
        from: from_name,
        friends: document.friends.iter().map(|friend| friend.name.clone()).collect(),
        sets: sets.iter().map(|set| set.name().to_string()).collect(),
        state_time: document.time,
    })
}

async fn refuse_unless_blank(home: &Home, db: &Db) -> Result<(), Failure> {
    let friends: Vec<Friend> = db.all(Table::Friends).await.map_err(failed)?;
    if !friends.is_empty() {
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

/// Asks one address after the other.
async fn find_state(
    addresses: &[String],
    identity: &Identity,
    derived: &DerivedSecrets,
) -> Result<(Visit, StateDocument), Failure> {
    let hello = Hello {
        wire: VersionRange::OURS,
        program: PROGRAM.to_owned(),
        installation: InstallationId::generate(),
        incarnation: 0,
        capabilities: Vec::new(),
        you_are: String::new(),
        time: Timestamp::now().as_second(),
        // Without a name: the friend keeps the one it knows.
        report: Report::default(),
    };
    let mut problems = Vec::new();
    for address in addresses {
        let outcome = match visit(address, identity, &hello).await {
            Ok(visit) => fetch(&visit, derived).await.map(|document| (visit, document)),
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
        kith_peer::DialError::RefusedUs(_) => {
            "it does not know the computer of these words: are they the right words, and is this the right friend?"
                .to_owned()
        }
        other => other.to_string(),
    }
}

async fn fetch(visit: &Visit, derived: &DerivedSecrets) -> Result<StateDocument, String> {
    let request = Request::get(paths::STATE).body(empty_body()).map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(FETCH_TIMEOUT, visit.link.request(request))
        .await
        .map_err(|_elapsed| "it did not answer in time".to_owned())?
        .map_err(|error| error.to_string())?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Err("it knows this computer, but keeps no state object of it".into());
    }
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    let sealed = collect(answer.into_body(), MOST_STATE_BYTES).await.map_err(|error| error.to_string())?;
    let opened = derived.state.open(&sealed).map_err(|error| with_sources(&error))?;
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
    document: &StateDocument,
    visit: &Visit,
) -> Result<(), Failure> {
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
    let sequence = document.sequence.saturating_add(SEQUENCE_LEAP);
    let mut documents = vec![
        value(value::INSTALLATION, serde_json::to_value(InstallationId::generate()))?,
        value(value::INCARNATION, serde_json::to_value(document.incarnation + 1))?,
        value(value::STATE_SEQUENCE, serde_json::to_value(sequence))?,
        value(value::RECOVERY_SHOWN, serde_json::to_value(true))?,
    ];
    for friend in &document.friends {
        let mut friend = friend.clone();
        friend.last_seen = None;
        if friend.device_id == visit.device {
            friend.addresses.last_good = Some(visit.address.clone());
        }
        let key = friend.device_id.to_string();
        documents.push((Table::Friends, key, json(serde_json::to_value(&friend))?));
    }
    db.put_all(documents).await.map_err(failed)?;
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
    let directory = tempfile::tempdir().map_err(failed)?;
    let old_home = Home::at(directory.path());
    crate::home::write_atomically(&old_home.settings_file(), lost.as_bytes(), 0o600).map_err(failed)?;
    let old = SettingsSources::files(directory.path(), &old_home).load().map_err(failed)?;
    let known = sources.load().map_err(failed)?.into_settings().sets;
    for set in &old.settings().sets {
        if !known.iter().any(|other| other.name() == set.name()) {
            edit::add_set(sources, set).map_err(failed)?;
        }
    }
    Ok(())
}
