//! The recovery sheet, key files for stock restic, and recovering.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use kith_archive::MasterKey;
use kith_archive::crypto::KeyFile;
use kith_control::RecoverRequest;
use zeroize::Zeroizing;

use super::Place;
use super::error::{CliError, CliResult};
use super::joining::read_secret_line;
use super::output::{line, note, safe, time};
use crate::daemon::db::{Db, Table};
use crate::daemon::{KnownFriend, keys, value};
use crate::home::{DaemonLock, Home};
use crate::settings::SettingsSources;

pub(super) async fn show(place: &Place, yes: bool, words_only: bool) -> CliResult {
    let home = place.home()?;
    home.check_readable()?;
    if !keys::exist(&home) {
        return Err(CliError::new(
            format!("the home {} has no identity yet", home.root().display()),
            "the first `kith daemon` makes one",
        ));
    }
    if !yes && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        note("Whoever sees the 24 words can read every backup of this computer. Is nobody looking?");
        let answer = read_secret_line("Type yes to show them: ").await?;
        if !answer.eq_ignore_ascii_case("yes") {
            return Err(CliError::new("nothing was shown", "run it again and type yes, or add --yes"));
        }
    }
    let phrase = keys::phrase(&home)?;
    let words = phrase.words();
    if words_only {
        line(Zeroizing::new(words.join(" ")).as_str());
    } else {
        sheet(&home, &words).await?;
    }
    // The reminder in the app ends when they have been seen.
    let path = home.state_db();
    if path.exists() {
        let db = tokio::task::spawn_blocking(move || Db::open(&path)).await;
        if let Ok(db) = db {
            db?.put(Table::Values, value::RECOVERY_SHOWN, &true).await?;
        }
    }
    Ok(())
}

async fn sheet(home: &Home, words: &[&str]) -> CliResult {
    let id = keys::load(home)?.identity.device_id();
    line("KITH RECOVERY SHEET");
    line(format!("printed {}", time(Timestamp::now())));
    line("");
    line(
        "With these 24 words and any one friend below, everything that was backed up comes back on any computer.",
    );
    line(
        "Whoever has them can read it all: keep the sheet where you keep your passport, and not in a computer.",
    );
    line("");
    for (row, chunk) in words.chunks(4).enumerate() {
        let numbered = chunk.iter().enumerate().map(|(i, word)| format!("{:>2} {word:<10}", row * 4 + i + 1));
        line(numbered.collect::<String>().trim_end());
    }
    line("");
    line(format!("device id  {id}"));
    for friend in known_friends(home).await? {
        line(format!("friend     {}  {}", safe(&friend.name), friend.device_id));
        line(format!("           archive {}", friend.archive));
        for address in friend.addresses() {
            line(format!("           {}", safe(&address)));
        }
    }
    line("");
    line("On the new computer:  kith recover --from ADDRESS   (type the words when asked), then");
    line("                      kith daemon, and  kith restore latest --target DIRECTORY");
    Ok(())
}

pub(super) async fn known_friends(home: &Home) -> CliResult<Vec<KnownFriend>> {
    let path = home.state_db();
    if !path.exists() {
        return Ok(Vec::new());
    }
    match tokio::task::spawn_blocking(move || Db::open(&path)).await {
        Ok(db) => Ok(db?.all(Table::Friends).await?),
        Err(_ending) => Ok(Vec::new()),
    }
}

pub(super) async fn restic_key(place: &Place, friend: &str, out: &Path) -> CliResult {
    let home = place.home()?;
    home.check_readable()?;
    let friends = known_friends(&home).await?;
    let same = |known: &&KnownFriend| known.name == friend || known.device_id.to_string() == friend;
    let known = friends.iter().find(same).ok_or_else(|| {
        CliError::new(format!("there is no friend called {friend:?}"), "`kith friends` lists them")
    })?;
    let archive = known.archive;
    let root = keys::archive_root(&home)?;
    let master = MasterKey::from_bytes(root.master_key(&archive).as_bytes())
        .map_err(|error| CliError::new(format!("the archive's key can't be used: {error}"), "report this"))?;
    let mut random = Zeroizing::new([0_u8; 20]);
    getrandom::fill(&mut *random).map_err(|error| {
        CliError::new(format!("the system gives no random numbers: {error}"), "try again")
    })?;
    // 160 bits: nobody guesses it, whatever the cost of a guess.
    let password = Zeroizing::new(BASE32_NOPAD.encode(&*random));
    let file = {
        let password = password.clone();
        let made =
            tokio::task::spawn_blocking(move || KeyFile::export(&master, &password, Timestamp::now())).await;
        match made {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => {
                return Err(CliError::new(format!("the key file can't be made: {error}"), "report this"));
            }
            Err(_ending) => return Err(CliError::said(super::Code::Failed)),
        }
    };
    let written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let written = written.and_then(|mut out| out.write_all(&file.bytes).and_then(|()| out.sync_all()));
    written.map_err(|error| {
        CliError::new(
            format!("{} can't be written: {error}", out.display()),
            "choose a name that does not exist yet",
        )
    })?;
    note(format!(
        "Copy the directory {archive} of this computer at {}, put this file into it as keys/{} and open it with stock \
         restic. The password:",
        safe(&known.name),
        file.name
    ));
    line(password.as_str());
    Ok(())
}

pub(super) async fn recover(place: &Place, from: Vec<String>) -> CliResult {
    let words = read_secret_line("Type the 24 words of the lost computer, then press Enter: ").await?;
    let request = RecoverRequest { words, from };
    let view = match place.client().await {
        Ok(client) => client.recover(&request).await?,
        Err(error) if error.code == super::Code::NotRunning => without_daemon(place, request).await?,
        Err(error) => return Err(error),
    };
    line(format!("this computer is {} again", view.device_id));
    line(format!("found at {}, as of {}", safe(&view.from), time(view.state_time)));
    match &view.newest_backup {
        Some(newest) => line(format!(
            "the newest backup known is of {} at {}: is that the last one you remember?",
            time(newest.time),
            safe(&newest.friend)
        )),
        None => line("no backup is known of"),
    }
    if !view.not_asked.is_empty() {
        line(format!(
            "not asked, because not reachable now: {}; what they know is taken over when they are met",
            safe(&view.not_asked.join(", "))
        ));
    }
    for sentence in &view.passed_over {
        line(format!("careful: {}. Friends and sets that are newer may be missing", safe(sentence)));
    }
    line(format!("friends: {}", safe(&view.friends.join(", "))));
    line(format!(
        "sets: {}",
        if view.sets.is_empty() { "none".to_owned() } else { safe(&view.sets.join(", ")) }
    ));
    line("now: `kith daemon`, then `kith snapshots` and `kith restore latest --target DIRECTORY`");
    Ok(())
}

async fn without_daemon(place: &Place, request: RecoverRequest) -> CliResult<kith_control::RecoverView> {
    let home = Home::resolve(place.flag.clone(), &place.environment)?;
    home.prepare()?;
    let lock = DaemonLock::acquire(&home)?;
    let sources = SettingsSources::of_process(&home)?;
    let path = home.state_db();
    let db = match tokio::task::spawn_blocking(move || Db::open(&path)).await {
        Ok(db) => db?,
        Err(_ending) => return Err(CliError::said(super::Code::Failed)),
    };
    let view = crate::daemon::recover::recover(&home, &sources, &db, request).await?;
    drop(lock);
    Ok(view)
}
