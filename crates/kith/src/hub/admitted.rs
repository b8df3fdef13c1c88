//! Which computers were let in by a token: the one thing that a hub keeps on its disk.
//!
//! One file for each token that was used, `admitted/NUMBER` in the home, with the device id of whoever used it. A file with a dash in the place
//! of the id bars that computer: its token is used up all the same.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kith_identity::{DeviceId, HubToken, HubTokenKey};

use crate::home::{Home, write_atomically};

/// Most tokens of which is known that they were used.
const MOST: usize = 200_000;
/// No such file is longer.
const LONGEST: u64 = 256;
/// Stands in the place of the id of a computer that is not let in any more.
const BARRED: &str = "-";
/// Digits of a token's number.
const NUMBER: usize = 20;

/// Who was let in, in memory and on the disk.
pub(super) struct Admitted {
    directory: PathBuf,
    key: HubTokenKey,
    used: Mutex<Used>,
    /// One change at a time, so that the disk and the memory agree.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Used {
    /// By the number of the token; none: barred.
    tokens: BTreeMap<String, Option<DeviceId>>,
    /// Those who are not barred.
    computers: HashSet<DeviceId>,
}

impl Used {
    fn note(&mut self, number: String, user: Option<DeviceId>) {
        self.computers.extend(user);
        self.tokens.insert(number, user);
    }
}

/// Why a token lets nobody in.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// Made by another hub, or made up.
    #[error("this token is none of this hub's")]
    Foreign,
    /// Too old.
    #[error("the time of this token is over: ask the owner of the hub for another one")]
    Over,
    /// Somebody else has it, too.
    #[error("this token was used by another computer: ask the owner of the hub for another one")]
    Used,
    /// There are too many.
    #[error("this hub has let in as many computers as it can")]
    Full,
    /// The disk.
    #[error("the hub can't write down that this computer was let in: {0}")]
    Disk(#[from] io::Error),
}

impl Admitted {
    /// Reads who was let in. Blocks.
    ///
    /// # Errors
    /// Those of the directory; a file that can't be understood is named.
    pub(super) fn load(home: &Home, key: HubTokenKey) -> anyhow::Result<Self> {
        let directory = home.root().join("admitted");
        std::fs::create_dir_all(&directory).map_err(|error| {
            anyhow::anyhow!("the directory {} can't be made: {error}", directory.display())
        })?;
        let used = Mutex::new(read(&directory)?);
        Ok(Self { directory, key, used, changing: tokio::sync::Mutex::default() })
    }

    /// Reads the directory again, in which somebody may have changed something. Blocks.
    ///
    /// # Errors
    /// As [`Self::load`]; what was known stands then.
    pub(super) fn reload(&self) -> anyhow::Result<()> {
        // Who is let in meanwhile would stand on the disk and be forgotten here.
        let _one_at_a_time = self.changing.blocking_lock();
        let read = read(&self.directory)?;
        *self.used() = read;
        Ok(())
    }

    /// Whether this computer was let in.
    pub(super) fn knows(&self, who: &DeviceId) -> bool {
        self.used().computers.contains(who)
    }

    /// How many were let in.
    pub(super) fn count(&self) -> usize {
        self.used().computers.len()
    }

    /// Lets a computer in for good. `now` is in Unix seconds.
    ///
    /// # Errors
    /// See [`NotAdmitted`]; it is not let in then.
    pub(super) async fn admit(&self, token: &HubToken, who: DeviceId, now: u64) -> Result<(), NotAdmitted> {
        if !self.key.accepts(token) {
            return Err(NotAdmitted::Foreign);
        }
        let _one_at_a_time = self.changing.lock().await;
        let number = token.number();
        match self.used().tokens.get(&number) {
            Some(user) if *user == Some(who) => return Ok(()),
            Some(_) => return Err(NotAdmitted::Used),
            None => {}
        }
        if token.ends() <= now {
            return Err(NotAdmitted::Over);
        }
        if self.used().tokens.len() >= MOST {
            return Err(NotAdmitted::Full);
        }
        let path = self.directory.join(&number);
        let content = format!("{who}\n");
        // Durable first: a token that has let in one computer never lets in another.
        tokio::task::spawn_blocking(move || write_atomically(&path, content.as_bytes(), 0o600))
            .await
            .map_err(io::Error::other)??;
        self.used().note(number, Some(who));
        Ok(())
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // No code that holds the lock can leave the map half-written.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(directory: &Path) -> anyhow::Result<Used> {
    let mut used = Used::default();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_number = name.len() == NUMBER && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        // What was being written when the program was killed has another name.
        if !is_number {
            continue;
        }
        anyhow::ensure!(
            used.tokens.len() < MOST,
            "there are more than {MOST} files in {}",
            directory.display()
        );
        let damaged = || {
            let path = entry.path();
            anyhow::anyhow!("{} has no device id in it; a dash bars whoever used that token", path.display())
        };
        anyhow::ensure!(entry.metadata()?.len() <= LONGEST, damaged());
        let text = std::fs::read_to_string(entry.path())?;
        let user = match text.trim() {
            BARRED => None,
            id => Some(id.parse().map_err(|_| damaged())?),
        };
        used.note(name, user);
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kith_identity::DialInSecret;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key() -> HubTokenKey {
        DialInSecret::from_bytes([3; 32]).hub_token_key()
    }

    fn who(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    #[tokio::test]
    async fn a_token_lets_in_one_computer_for_good_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path());
        let token = key().token(NOW + 60);
        let admitted = Admitted::load(&home, key()).unwrap();
        assert!(!admitted.knows(&who(1)));
        admitted.admit(&token, who(1), NOW).await.unwrap();
        for admitted in [admitted, Admitted::load(&home, key()).unwrap()] {
            assert!(admitted.knows(&who(1)) && !admitted.knows(&who(2)) && admitted.count() == 1);
            assert!(matches!(admitted.admit(&token, who(2), NOW).await, Err(NotAdmitted::Used)));
            // He may not have heard the answer.
            admitted.admit(&token, who(1), NOW + 3600).await.unwrap();
        }
    }

    #[tokio::test]
    async fn tokens_of_others_and_old_ones_let_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let admitted = Admitted::load(&Home::at(directory.path()), key()).unwrap();
        let foreign = DialInSecret::from_bytes([4; 32]).hub_token_key().token(NOW + 60);
        assert!(matches!(admitted.admit(&foreign, who(1), NOW).await, Err(NotAdmitted::Foreign)));
        let token = key().token(NOW);
        assert!(matches!(admitted.admit(&token, who(1), NOW).await, Err(NotAdmitted::Over)));
        assert!(!admitted.knows(&who(1)));
        admitted.admit(&token, who(1), NOW - 1).await.unwrap();
        // The disk fails: nobody is let in by what is not written down.
        std::fs::remove_dir_all(directory.path().join("admitted")).unwrap();
        let token = key().token(NOW);
        assert!(matches!(admitted.admit(&token, who(2), NOW - 1).await, Err(NotAdmitted::Disk(_))));
        assert!(!admitted.knows(&who(2)));
    }

    async fn reload(admitted: &Arc<Admitted>) -> anyhow::Result<()> {
        let admitted = admitted.clone();
        tokio::task::spawn_blocking(move || admitted.reload()).await.unwrap()
    }

    #[tokio::test]
    async fn nothing_is_read_while_somebody_is_being_let_in() {
        let directory = tempfile::tempdir().unwrap();
        let admitted = Arc::new(Admitted::load(&Home::at(directory.path()), key()).unwrap());
        let changing = admitted.changing.lock().await;
        let reading = tokio::spawn({
            let admitted = admitted.clone();
            async move { reload(&admitted).await }
        });
        // As an admission does it: first the disk, then the memory.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert!(!reading.is_finished(), "the directory was read in the middle of an admission");
        drop(changing);
        reading.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_dash_bars_a_computer_and_what_makes_no_sense_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let admitted = Admitted::load(&Home::at(directory.path()), key()).unwrap();
        let token = key().token(NOW);
        admitted.admit(&token, who(1), NOW - 1).await.unwrap();
        let file = directory.path().join("admitted").join(token.number());
        std::fs::write(&file, "-\n").unwrap();
        std::fs::write(directory.path().join("admitted/.tmp"), "half").unwrap();
        let admitted = Arc::new(admitted);
        reload(&admitted).await.unwrap();
        assert!(!admitted.knows(&who(1)) && admitted.count() == 0);
        assert!(matches!(admitted.admit(&token, who(1), NOW - 1).await, Err(NotAdmitted::Used)));
        std::fs::write(&file, "junk").unwrap();
        let error = reload(&admitted).await.unwrap_err().to_string();
        assert!(error.contains(&token.number()) && error.contains("no device id"), "{error}");
        assert!(!admitted.knows(&who(1)));
    }
}
