//! What a friend answers when we ask for our archive.

use std::cell::RefCell;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use kith::remote_store::{Carrier, CarrierError, Patience, RemoteStore};
use kith_archive::store::FileId;
use kith_archive::{FileKind, Store};
use kith_wire::{Body, bytes_body};
use tokio::runtime::{Builder, Runtime};

use crate::outcome::{NOTHING, Outcome, judged};

const STATUS: [u16; 8] = [200, 206, 404, 400, 409, 500, 503, 507];
const CODES: [&str; 6] = ["", "not-found", "quota-exceeded", "disk-full", "hash-mismatch", "superseded"];

/// The first byte chooses what is asked, the second one how it is answered; the rest is the body.
pub(super) fn answer(bytes: &[u8]) -> Outcome {
    let [asked, how, body @ ..] = bytes else { return NOTHING };
    let code = CODES[usize::from(*how / 8) % CODES.len()];
    // What passes is waited for, and here no clock can be turned: that is tested in virtual time, beside the store.
    let status = match STATUS[usize::from(*how) % STATUS.len()] {
        503 if code.is_empty() => 500,
        status => status,
    };
    let answers = Always { status, code, body: Bytes::copy_from_slice(body) };
    let store = RemoteStore::new(answers, "000102030405060708090a0b0c0d0e0f", Patience(Duration::ZERO));
    let id = FileId::of(body);
    let came = run(async {
        match asked % 5 {
            0 => {
                let listed = store.list(FileKind::Snapshot).await;
                if let Ok(list) = &listed {
                    assert!(list.len() * 75 <= body.len(), "{} objects in {} bytes", list.len(), body.len());
                }
                listed.map(|list| list.len())
            }
            1 => store
                .load(FileKind::Pack, &id, Some(3..19))
                .await
                .inspect(|part| assert_eq!(part.len(), 16))
                .map(|part| part.len()),
            2 => store
                .load(FileKind::Index, &id, None)
                .await
                .inspect(|whole| assert_eq!(whole, body))
                .map(|whole| whole.len()),
            3 => store.save(FileKind::Pack, &id, Bytes::from_static(b"pack")).await.map(|()| 0),
            _ => store.undelete(7).await.map(|_undeleted| 0),
        }
    });
    let came = came.map_err(|error| {
        let sentence = error.to_string();
        assert!(sentence.len() <= 2048 + 2 * body.len(), "{sentence}");
        sentence.replace('"', "'")
    });
    judged(came.is_ok(), &came)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(Builder::new_current_thread().enable_time().build().expect("the system lets a runtime begin"));
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(work))
}

/// A friend who says the same to everything.
struct Always {
    status: u16,
    code: &'static str,
    body: Bytes,
}

#[async_trait]
impl Carrier for Always {
    async fn send(&self, _request: Request<Body>) -> Result<Response<Body>, CarrierError> {
        let mut answer = Response::new(bytes_body(self.body.clone()));
        *answer.status_mut() =
            StatusCode::from_u16(self.status).map_err(|error| CarrierError::Final(error.to_string()))?;
        if !self.code.is_empty() {
            answer.headers_mut().insert("kith-code", http::HeaderValue::from_static(self.code));
        }
        Ok(answer)
    }

    async fn wait(&self, _patience: Duration) {}
}
