//! Storing an object: bytes arrive on async threads, are hashed and written on blocking ones, and get their name last.

use std::fs;
use std::io::{self, Read};
use std::pin::Pin;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::archive::{Place, failed_disk};
use crate::body::BoxError;
use crate::disk::TemporaryFile;
use crate::handle::{blocking, ended};
use crate::names::{Object, ObjectName, ObjectType};
use crate::refusal::{Code, Refusal};
use crate::reservation::Reservation;

/// So many bytes are collected before a blocking thread writes them. While it does, as many again are collected:
/// an upload has at most twice this much in memory, and what the last piece brings.
const BATCH_BYTES: usize = 512 << 10;

/// The most pieces of a batch, so that many tiny ones can't keep many large receive buffers alive.
const BATCH_PIECES: usize = 256;

/// Stores `object`, which was announced with `length` bytes. When this returns `Ok` it is durable.
pub(crate) async fn store<B>(
    place: Place,
    object: Object,
    length: u64,
    body: &mut Pin<Box<B>>,
) -> Result<(), Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match blocking(move || admit(place, object, length)).await? {
        Admission::Present => Ok(()),
        Admission::Upload(upload) => {
            let upload = receive(upload, length, body).await?;
            blocking(move || upload.commit()).await
        }
    }
}

enum Admission {
    /// It is there already, durably.
    Present,
    Upload(Box<Upload>),
}

/// Decides whether the bytes are wanted at all, before the first one is read.
fn admit(place: Place, object: Object, length: u64) -> Result<Admission, Refusal> {
    place.check_writable()?;
    if length > object.max_bytes() {
        let message = format!("{object} would have {length} bytes: the most is {}", object.max_bytes());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    if object != Object::Config && place.path(&object).symlink_metadata().is_ok() {
        check_present(&place, &object, length)?;
        return Ok(Admission::Present);
    }
    let reservation = Reservation::take(&place, &object, length)?;
    let file = place.disk.temporary().map_err(|error| place.failed("make a file", &error))?;
    let hasher = Sha256::new();
    Ok(Admission::Upload(Box::new(Upload { place, object, length, file, hasher, reservation })))
}

/// Makes sure that a named object which is there already can be relied on.
fn check_present(place: &Place, object: &Object, length: u64) -> Result<(), Refusal> {
    // Another request may have renamed it just now.
    let _guard = place.await_renames();
    place.check_writable()?;
    match place.path(object).symlink_metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() == length => Ok(()),
        _ => Err(Refusal::new(
            Code::StorageFailed,
            format!("{object} is stored already with another length: one of the two copies is damaged"),
        )),
    }
}

/// An object on its way to the disk.
struct Upload {
    place: Place,
    object: Object,
    length: u64,
    file: TemporaryFile,
    hasher: Sha256,
    reservation: Reservation,
}

impl Upload {
    /// Writes a batch. Blocking.
    fn write(mut self: Box<Self>, batch: &[Bytes]) -> Result<Box<Self>, Refusal> {
        for piece in batch {
            self.hasher.update(piece);
            if let Err(error) = self.file.write_all(piece) {
                let refusal = self.place.failed("write a file", &error);
                self.file.discard();
                return Err(refusal);
            }
            self.reservation.wrote(piece.len() as u64);
        }
        Ok(self)
    }

    /// Proves the bytes, makes them durable and gives them their name. Blocking.
    fn commit(self: Box<Self>) -> Result<(), Refusal> {
        let Self { place, object, length, file, hasher, reservation } = *self;
        let arrived = place.disk.now();
        let prepared = prove(&object, hasher).and_then(|()| {
            place.check_writable()?;
            file.sync(arrived).map_err(|_| failed_disk("sync a file"))?;
            place.make_parent(&place.path(&object))
        });
        if let Err(refusal) = prepared {
            file.discard();
            return Err(refusal);
        }
        let path = place.path(&object);
        {
            let _guard = if object.refers_to_others() { place.await_renames() } else { place.begin_rename() };
            // What it refers to may have failed while it waited.
            if let Err(refusal) = place.check_writable() {
                file.discard();
                return Err(refusal);
            }
            let same_config = object == Object::Config && same_contents(file.path(), &path);
            match file.place(&path) {
                Ok(()) => {
                    reservation.settle();
                    if let Object::Named(kind, name) = &object
                        && ObjectType::HELD.contains(kind)
                    {
                        place.note_arrivals(*kind, &[(name.clone(), arrived)])?;
                    }
                    return place.sync_parent(&path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if object == Object::Config && !same_config {
                        let message =
                            "the config of an archive is written once, and this one differs from it";
                        return Err(Refusal::new(Code::WriteOnce, message));
                    }
                }
                Err(error) => return Err(place.failed("rename a file", &error)),
            }
        }
        check_present(&place, &object, length)
    }
}

fn prove(object: &Object, hasher: Sha256) -> Result<(), Refusal> {
    let Object::Named(_, name) = object else { return Ok(()) };
    let found = ObjectName::from_digest(&hasher.finalize());
    if found == *name {
        return Ok(());
    }
    let message =
        format!("the bytes received for {object} have the SHA-256 {found}: they were damaged, or misnamed");
    Err(Refusal::new(Code::HashMismatch, message))
}

/// Two small files have the same bytes.
fn same_contents(new: &std::path::Path, present: &std::path::Path) -> bool {
    let read = |path| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(Object::Config.max_bytes() + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    matches!((read(new), read(present)), (Ok(new), Ok(present)) if new == present)
}

/// Where the upload is: here, or on a blocking thread.
enum Step {
    Ready(Box<Upload>),
    Writing(JoinHandle<Result<Box<Upload>, Refusal>>),
}

impl Step {
    async fn ready(self) -> Result<Box<Upload>, Refusal> {
        match self {
            Self::Ready(upload) => Ok(upload),
            Self::Writing(job) => job.await.map_err(|_| ended())?,
        }
    }
}

/// Reads the body to its end, writing behind.
async fn receive<B>(upload: Box<Upload>, length: u64, body: &mut Pin<Box<B>>) -> Result<Box<Upload>, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut step = Step::Ready(upload);
    let mut received = 0;
    loop {
        let batch = collect(body, &mut received, length).await;
        let upload = step.ready().await?;
        match batch {
            Ok(batch) if batch.is_empty() => return Ok(upload),
            Ok(batch) => step = Step::Writing(spawn_blocking(move || upload.write(&batch))),
            Err(refusal) => {
                blocking(move || {
                    upload.file.discard();
                    Ok(())
                })
                .await?;
                return Err(refusal);
            }
        }
    }
}

/// The next pieces of the body; none at its end.
async fn collect<B>(body: &mut Pin<Box<B>>, received: &mut u64, length: u64) -> Result<Vec<Bytes>, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let bad = |message: String| Refusal::new(Code::BadRequest, message);
    let mut batch = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES && batch.len() < BATCH_PIECES {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let error: BoxError = error.into();
                return Err(bad(format!("the upload broke off after {received} of {length} bytes: {error}")));
            }
            None if *received == length => return Ok(batch),
            None => return Err(bad(format!("the upload ended after {received} of {length} bytes"))),
        };
        let Ok(piece) = frame.into_data() else { continue };
        *received += piece.len() as u64;
        if *received > length {
            return Err(bad(format!("the upload has more than the {length} bytes announced")));
        }
        if !piece.is_empty() {
            bytes += piece.len();
            batch.push(piece);
        }
    }
    Ok(batch)
}
