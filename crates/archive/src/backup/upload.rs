//! Stores full packs, several at a time, and the index of those that are stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::BackupError;
use super::packer::FullPack;
use super::progress::add;
use super::stop::Stopped;
use super::worker::Shared;
use crate::repository::{IndexFile, IndexedPack, MOST_BLOBS_PER_FILE};
use crate::store::FileKind;

/// An index is written after so many packs ...
const INDEX_PACKS: usize = 64;
/// ... or after this time: a run that is killed loses no more than what came since.
const INDEX_INTERVAL: Duration = Duration::from_secs(30);
/// How long a run that was stopped waits for packs that are on their way, and then for its last index.
const LAST_WORD: Duration = Duration::from_millis(300);

/// Stores packs as they come.
pub(super) struct Upload {
    shared: Arc<Shared>,
    packs: mpsc::Receiver<FullPack>,
    in_flight: usize,
    flights: JoinSet<Result<IndexedPack, BackupError>>,
    index: IndexFile,
    blobs: usize,
    last_index: Instant,
}

impl Upload {
    pub(super) fn new(shared: Arc<Shared>, packs: mpsc::Receiver<FullPack>, in_flight: usize) -> Self {
        Self {
            shared,
            packs,
            in_flight,
            flights: JoinSet::new(),
            index: IndexFile::default(),
            blobs: 0,
            last_index: Instant::now(),
        }
    }

    /// Returns when all packs and their index are durable. If something can't be stored, the backup is stopped: no snapshot
    /// may be written then.
    pub(super) async fn run(mut self) -> Result<(), Stopped> {
        let Err(error) = self.store_packs().await else { return Ok(()) };
        let stopped = match error {
            BackupError::Cancelled => Stopped,
            error => self.shared.stop.fail(error),
        };
        // What has been stored should not be sent again by the next run.
        if timeout(LAST_WORD, self.finish_flights()).await.is_err() {
            self.flights.abort_all();
        }
        match timeout(LAST_WORD, self.write_index()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the index of an interrupted run can't be written"),
            Err(_) => tracing::debug!("no time was left to write the index of an interrupted run"),
        }
        Err(stopped)
    }

    /// Waits for the packs that are on their way; some may fail.
    async fn finish_flights(&mut self) {
        while let Some(stored) = self.flights.join_next().await {
            if let Ok(Ok(pack)) = stored {
                self.index.packs.push(pack);
            }
        }
    }

    async fn store_packs(&mut self) -> Result<(), BackupError> {
        let shared = Arc::clone(&self.shared);
        let mut open = true;
        while open || !self.flights.is_empty() {
            tokio::select! {
                biased;
                () = shared.stop.token().cancelled() => return Err(BackupError::Cancelled),
                Some(stored) = self.flights.join_next() => self.stored(stored).await?,
                pack = self.packs.recv(), if open && self.flights.len() < self.in_flight => match pack {
                    Some(pack) => self.send(pack),
                    None => open = false,
                },
                () = tokio::time::sleep_until(self.last_index + INDEX_INTERVAL) => self.write_index().await?,
            }
        }
        self.write_index().await
    }

    fn send(&mut self, pack: FullPack) {
        let shared = Arc::clone(&self.shared);
        self.flights.spawn(async move {
            let size = pack.data.len() as u64;
            shared
                .repository
                .store()
                .save(FileKind::Pack, &pack.id, pack.data)
                .await
                .map_err(|source| BackupError::Store { what: format!("pack {}", pack.id.short()), source })?;
            add(&shared.counters.stored_bytes, size);
            drop(pack.permit);
            Ok(pack.content)
        });
    }

    async fn stored(
        &mut self,
        stored: Result<Result<IndexedPack, BackupError>, tokio::task::JoinError>,
    ) -> Result<(), BackupError> {
        let pack = stored.map_err(|_| BackupError::Interrupted)??;
        self.shared.repository.insert_pack(&pack);
        self.shared.packer.settle(&pack);
        let blobs = pack.handles().count();
        if self.blobs + blobs > MOST_BLOBS_PER_FILE {
            self.write_index().await?;
        }
        self.blobs += blobs;
        self.index.packs.push(pack);
        if self.index.packs.len() >= INDEX_PACKS { self.write_index().await } else { Ok(()) }
    }

    async fn write_index(&mut self) -> Result<(), BackupError> {
        self.last_index = Instant::now();
        if self.index.packs.is_empty() {
            return Ok(());
        }
        self.blobs = 0;
        let index = std::mem::take(&mut self.index);
        self.shared.repository.save_index(index).await.map(drop).map_err(|error| match error {
            crate::RepositoryError::Store(source) => {
                BackupError::Store { what: "the index".to_owned(), source }
            }
            other => other.into(),
        })
    }
}
