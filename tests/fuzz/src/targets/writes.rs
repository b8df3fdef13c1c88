//! Requests of friends that change what the vault keeps: archives, uploads, deletions, and undoing these.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Method, Request, StatusCode, header};
use kith_vault::AS_OF_HEADER;
use kith_vault::layout::BLOCK;
use sha2::{Digest, Sha256};

use super::place::{Place, SECRET};
use super::requests;
use crate::outcome::{NOTHING, Outcome, judged};

/// What stands between two requests of an input.
const BETWEEN: &[u8] = b"\n---\n";
/// Requests of one input.
const MOST_REQUESTS: usize = 4;
/// Stands in the first line for the archive that is there, and for the name that belongs to the body.
const ARCHIVE: (&[u8], &[u8]) = (b"ARCHIVE", b"000102030405060708090a0b0c0d0e0f");
const HASH: &[u8] = b"HASH";
/// Files of at most a block that an owner may have: three uploads fit, and a fourth one does not.
const FILES: u64 = 3;
/// Owners of one vault; then another one is made.
const MOST_OWNERS: u64 = 1024;
/// After how many of them it is looked whether something is left that is nobody's.
const BETWEEN_LOOKS: u64 = 16;

thread_local! {
    static WORK: RefCell<Option<Work>> = const { RefCell::new(None) };
}

/// A vault, and the number of its newest owner.
struct Work {
    place: Place,
    number: u64,
}

/// Requests in the words of [`requests::read`], one after the other, of an owner who has one empty archive.
pub(super) fn write(bytes: &[u8]) -> Outcome {
    let requests: Vec<_> = pieces(bytes).take(MOST_REQUESTS).filter_map(spelt_out).collect();
    if requests.is_empty() {
        return NOTHING;
    }
    // Not put back by one that breaks a promise: the next one begins anew.
    let work = WORK.take().filter(|work| work.number < MOST_OWNERS);
    let mut work = work.unwrap_or_else(Work::begin);
    let name = format!("OWNER-{}", work.number);
    let mut model = Model::default();
    let mut said = Vec::new();
    for request in requests {
        let asked = Asked::of(&request);
        let (status, code, body) = work.place.answer(&name, request);
        // Two objects of one name and another length: one of them is damaged, and which can't be told.
        let is_other = asked.method == Method::POST
            && model.live.contains(&asked.path)
            && !asked.path.ends_with(&asked.hash);
        assert!(is_other || model.unsure || status != StatusCode::INTERNAL_SERVER_ERROR, "{code:?}");
        assert_eq!(status.is_success(), code.is_none(), "{status} with {code:?}");
        assert!(!body.windows(SECRET.len()).any(|part| part == SECRET), "the secret is answered");
        if status.is_success() {
            model.note(&asked, &body);
        }
        said.push((status.as_u16(), code.unwrap_or_default().len()));
    }
    if model.changed {
        model.check(&work.place, &name);
        work.number += 1;
        if work.number.is_multiple_of(BETWEEN_LOOKS) {
            work.place.check();
        }
        begin(&work.place, work.number);
    }
    WORK.set(Some(work));
    judged(model.changed, &said)
}

impl Work {
    fn begin() -> Self {
        let place = Place::new();
        begin(&place, 0);
        Self { place, number: 0 }
    }
}

/// An owner with an archive in which nothing is.
fn begin(place: &Place, number: u64) {
    let name = format!("OWNER-{number}");
    place.set_quota(&name, FILES * BLOCK);
    place.create(&name, std::str::from_utf8(ARCHIVE.1).expect("it is a name"));
}

fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let end = bytes.windows(BETWEEN.len()).position(|part| part == BETWEEN);
        let (piece, rest) = end.map_or((bytes, &b""[..]), |at| (&bytes[..at], &bytes[at + BETWEEN.len()..]));
        bytes = rest;
        Some(piece)
    })
}

/// The request with what stands for something else put in.
fn spelt_out(bytes: &[u8]) -> Option<Request<Bytes>> {
    let line_end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(line_end);
    let body = bytes.windows(2).position(|pair| pair == b"\n\n").map_or(&b""[..], |at| &bytes[at + 2..]);
    let hash = HEXLOWER.encode(&Sha256::digest(body));
    let line = replaced(&replaced(line, ARCHIVE.0, ARCHIVE.1), HASH, hash.as_bytes());
    requests::read(&[&line, rest].concat())
}

fn replaced(whole: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    match whole.windows(what.len()).position(|part| part == what) {
        Some(at) => [&whole[..at], by, &whole[at + what.len()..]].concat(),
        None => whole.to_vec(),
    }
}

/// What a request asks for.
struct Asked {
    method: Method,
    path: String,
    query: String,
    as_of: Option<u64>,
    part: bool,
    /// SHA-256 of the body.
    hash: String,
}

impl Asked {
    fn of(request: &Request<Bytes>) -> Self {
        let (headers, uri) = (request.headers(), request.uri());
        let as_of = headers.get(AS_OF_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            method: request.method().clone(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            as_of,
            part: headers.contains_key(header::RANGE),
            hash: HEXLOWER.encode(&Sha256::digest(request.body())),
        }
    }
}

/// What an owner must have after what was answered.
#[derive(Debug, Default)]
struct Model {
    live: BTreeSet<String>,
    held: Vec<String>,
    /// Something was answered that changes what is there.
    changed: bool,
    /// Deletions after some time were undone: what is live then depends on the clock.
    unsure: bool,
}

impl Model {
    /// A request was answered with success.
    fn note(&mut self, asked: &Asked, body: &[u8]) {
        let Asked { method, path, as_of, .. } = asked;
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_there = self.live.contains(path) || self.unsure;
        if *method == Method::POST && name.is_empty() {
            self.note_archive(asked, body);
        } else if *method == Method::POST {
            assert!(name == "config" || name == asked.hash || is_there, "{path} is something else");
            assert!(!path.contains("/keys/") && as_of.is_none(), "{path} is kept");
            self.live.insert(path.clone());
        } else if *method == Method::DELETE {
            assert!(is_there && as_of.is_none() && name != "config", "{path} is deleted as of {as_of:?}");
            self.live.remove(path);
            if !path.contains("/locks/") {
                self.held.push(path.clone());
            }
        } else if name.len() == 64 && as_of.is_none() {
            assert!(is_there, "{path} is read and is not there");
            let whole = *method == Method::GET && !asked.part;
            assert!(!whole || name == HEXLOWER.encode(&Sha256::digest(body)), "{path} has other bytes");
        }
        self.changed |= *method == Method::POST || *method == Method::DELETE;
    }

    fn note_archive(&mut self, asked: &Asked, body: &[u8]) {
        if asked.query.split('&').any(|pair| pair == "create=true") {
            return;
        }
        let undeleted: serde_json::Value = serde_json::from_slice(body).expect("a report of what is undone");
        assert!(undeleted["bytes"].is_u64(), "{undeleted}");
        if asked.as_of != Some(0) {
            self.unsure = true;
            return;
        }
        // All that was deleted comes back, but where it is again.
        for path in std::mem::take(&mut self.held) {
            if !path.starts_with(&asked.path) || !self.live.insert(path.clone()) {
                self.held.push(path);
            }
        }
    }

    /// The vault counts the same.
    fn check(&self, place: &Place, owner: &str) {
        if self.unsure {
            return;
        }
        let usage = place.usage(owner);
        let blocks = |count: usize| BLOCK * u64::try_from(count).unwrap_or(u64::MAX);
        let (live, held) = (blocks(self.live.len()), blocks(self.held.len()));
        assert_eq!((usage.live_bytes, usage.held_bytes), (live, held), "{self:?}");
        assert!(self.live.len() as u64 <= FILES && live + held <= 2 * FILES * BLOCK, "{self:?}");
    }
}
