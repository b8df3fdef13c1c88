//! What lies on our own disk, or comes from programs and people of this computer: files that were in other hands, settings,
//! requests to the API.

use std::path::Path;
use std::str::FromStr;

use kith::settings::{Destination, HostPort, HubAddress, Loaded, MappedDestination, ProxyUrl};
use kith_archive::crypto::SealedKey;
use kith_control::view::{FriendView, JobView, StatusView};
use kith_control::{
    BackupRequest, CheckRequest, Event, Failure, FriendChange, InviteRequest, JoinRequest, PauseRequest,
    RecoverRequest, SetRequest, SettingChange, SnapshotQuery, terminal,
};
use kith_vault::readers;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::outcome::{NOTHING, Outcome, judged, refused, taken};

/// The small files of a vault, and the names of what it holds.
pub(super) fn vault_files(bytes: &[u8]) -> Outcome {
    let arrival = readers::arrival(bytes);
    if let Some((kind, digest, arrived)) = arrival {
        let name = data_encoding::HEXLOWER.encode(&digest);
        let again = format!("{arrived} {kind}/{name}\n");
        assert_eq!(readers::arrival(again.as_bytes()), arrival, "written and read again");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return judged(arrival.is_some(), &arrival.is_some());
    };
    let held = readers::held_name(text);
    if let Some((written, deleted)) = &held {
        assert_eq!(readers::held_name(written), Some((written.clone(), *deleted)), "written and read again");
        assert!(
            !written.contains(['/', '\0']) && written.len() <= 64 + 3 * 21,
            "{written:?} is a file's name"
        );
    }
    let clock = readers::hold_clock(text);
    let installations = readers::installations(text);
    match &installations {
        Some(Ok(written)) => {
            assert_eq!(readers::installations(written).as_ref(), Some(&Ok(written.clone())), "read again");
        }
        Some(Err(newer)) => assert!(*newer > 1 && text.starts_with("incarnation "), "version {newer}"),
        None => {}
    }
    let damages = again_by(readers::damages, text);
    if let Some(damages) = &damages {
        // Lines that make no sense are left out, and no line grows.
        assert!(
            damages.lines().count() <= text.lines().count() && damages.len() <= text.len() + 1,
            "{damages}"
        );
    }
    let scrub = again_by(readers::scrub, text);
    let format = readers::format(text);
    assert!(format.is_none() || text.starts_with("kith-vault "), "{text:?} is the format {format:?}");
    let read = [
        arrival.is_some(),
        held.is_some(),
        clock.is_some(),
        installations.is_some(),
        damages.is_some(),
        scrub.is_some(),
        format.is_some(),
    ];
    assert!(read.iter().filter(|read| **read).count() <= 1, "{text:?} is two things: {read:?}");
    let clock = clock.map(|clock| clock.as_millis());
    judged(
        read.contains(&true),
        &(arrival.map(|(kind, ..)| kind.len()), held, clock, installations, damages, scrub, format),
    )
}

/// What is written again, and once more: the same.
fn again_by(read: fn(&str) -> Option<String>, text: &str) -> Option<String> {
    let written = read(text)?;
    assert_eq!(read(&written).as_ref(), Some(&written), "written and read again");
    Some(written)
}

/// A key file, up to the costly work.
pub(super) fn key_file(bytes: &[u8]) -> Outcome {
    let key = SealedKey::parse(bytes);
    if let Ok(key) = &key {
        assert!(key.memory_bytes() <= 256 << 20, "{} bytes of memory", key.memory_bytes());
    }
    judged(key.is_ok(), &key.map(|key| key.memory_bytes()).map_err(|error| error.to_string()))
}

/// What the daemon learned, as its database and the state object of a recovery have it.
pub(super) fn documents(bytes: &[u8]) -> Outcome {
    whys(&kith::daemon::readers::documents(bytes))
}

/// Rows of that database.
pub(super) fn rows(bytes: &[u8]) -> Outcome {
    whys(&kith::daemon::readers::rows(bytes))
}

/// Why something is none of several things.
fn whys(read: &[Option<String>]) -> Outcome {
    let lost = read.iter().flatten().find(|sentence| sentence.starts_with("what was written"));
    assert!(lost.is_none(), "{lost:?}");
    let quotes = |sentence: &Option<String>| sentence.as_ref().map(|sentence| sentence.replace('"', "'"));
    judged(read.contains(&None), &read.iter().map(quotes).collect::<Vec<_>>())
}

/// The settings file.
pub(super) fn settings(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return NOTHING };
    match Loaded::of_text(Path::new("kith.toml"), text) {
        Ok(loaded) => {
            let settings = loaded.settings();
            let (api, app) = (settings.control.port.get(), settings.control.app_port.get());
            assert!(api != app && api >= 1024 && app >= 1024, "{api} and {app}");
            assert!(settings.listener.port.get() >= 1024, "{:?}", settings.listener);
            assert!(settings.vault.hold_days.get() <= 3650, "{:?}", settings.vault);
            taken(settings)
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.starts_with("kith.toml"), "{sentence}");
            refused(&sentence.split(':').count())
        }
    }
}

/// Addresses of all kinds that a person or a friend may write.
pub(super) fn address(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return NOTHING };
    let proxy = text.parse::<ProxyUrl>();
    if let Ok(proxy) = &proxy {
        // A password in it is never shown.
        assert!(format!("{proxy:?}").len() <= text.len() + 64, "{proxy:?}");
    }
    let (host, destination) = (again::<HostPort>(text), again::<Destination>(text));
    let (hub, mapped) = (again::<HubAddress>(text), again::<MappedDestination>(text));
    let taken = host.is_some() || destination.is_some() || hub.is_some() || mapped.is_some() || proxy.is_ok();
    judged(taken, &(host, destination, hub, mapped, proxy.is_ok()))
}

/// Read, written, and read again: the same.
fn again<T: FromStr + std::fmt::Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let value = text.parse::<T>().ok()?;
    let written = value.to_string();
    let read = written.parse::<T>().ok();
    assert_eq!(read.as_ref(), Some(&value), "written as {written:?} and read again");
    Some(value)
}

/// Bodies of requests to the API, and of answers to the command line.
pub(super) fn control(bytes: &[u8]) -> Outcome {
    let forms = [
        form::<InviteRequest>(bytes),
        form::<JoinRequest>(bytes),
        form::<FriendChange>(bytes),
        form::<SetRequest>(bytes),
        form::<BackupRequest>(bytes),
        form::<CheckRequest>(bytes),
        form::<SnapshotQuery>(bytes),
        form::<RecoverRequest>(bytes),
        form::<PauseRequest>(bytes),
        form::<SettingChange>(bytes),
        form::<Failure>(bytes),
        form::<Event>(bytes),
        form::<JobView>(bytes),
        form::<FriendView>(bytes),
        form::<StatusView>(bytes),
    ];
    // What goes to a terminal from any of them.
    let text = String::from_utf8_lossy(bytes);
    let shown = terminal::safe(&text);
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert_eq!(terminal::safe(&shown), shown, "safe twice");
    judged(forms.iter().any(Option::is_some), &(forms, shown.len() == text.len()))
}

fn form<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<usize> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written)
        .unwrap_or_else(|error| panic!("what was written can't be read: {error}"));
    assert_eq!(serde_json::to_vec(&again).ok().as_ref(), Some(&written), "written and read again");
    Some(written.len())
}
