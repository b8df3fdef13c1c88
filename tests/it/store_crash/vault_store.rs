//! The archive's store straight on a vault, without a network between.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use kith_archive::{FileId, FileKind, Store, StoreError, StoredFile};
use kith_vault::{CODE_HEADER, Owner, Vault};

use super::Acknowledged;
use super::simulated::SimulatedDisk;

/// A store that notes what was acknowledged.
pub(super) struct VaultStore {
    vault: Vault,
    owner: Owner,
    disk: Option<Arc<SimulatedDisk>>,
    acknowledged: Acknowledged,
}

impl VaultStore {
    pub(super) fn new(
        vault: Vault,
        owner: Owner,
        disk: Option<Arc<SimulatedDisk>>,
        acknowledged: Acknowledged,
    ) -> Self {
        Self { vault, owner, disk, acknowledged }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        range: Option<&Range<u64>>,
        data: Bytes,
    ) -> (StatusCode, String, Bytes) {
        let mut request = Request::builder().method(method).uri(format!("/a/{path}"));
        request = request.header(header::ACCEPT, "application/vnd.x.restic.rest.v2");
        if let Some(range) = range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let answer = self.vault.handle(&self.owner, request.body(Full::new(data)).unwrap()).await;
        let (head, body) = answer.into_parts();
        let code = head.headers.get(CODE_HEADER).map(|code| code.to_str().unwrap().to_owned());
        (head.status, code.unwrap_or_default(), body.collect().await.unwrap().to_bytes())
    }
}

fn path(kind: FileKind, id: &FileId) -> String {
    if kind == FileKind::Config { "config".to_owned() } else { format!("{}/{id}", kind.dir_name()) }
}

fn refused(kind: FileKind, id: &FileId, code: &str, body: &[u8]) -> StoreError {
    match code {
        "not-found" => StoreError::NotFound { kind, id: *id },
        "disk-full" => StoreError::Full,
        _ => StoreError::Refused {
            what: format!("{kind} {id}"),
            reason: String::from_utf8_lossy(body).into_owned(),
        },
    }
}

#[async_trait]
impl Store for VaultStore {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        if kind == FileKind::Config {
            let (status, ..) = self.ask(Method::HEAD, "config", None, Bytes::new()).await;
            return Ok((status == StatusCode::OK)
                .then_some(StoredFile { id: FileId::ZERO, size: 0 })
                .into_iter()
                .collect());
        }
        let directory = format!("{}/", kind.dir_name());
        let (status, code, body) = self.ask(Method::GET, &directory, None, Bytes::new()).await;
        if code == "not-found" {
            return Ok(Vec::new());
        }
        if status != StatusCode::OK {
            return Err(refused(kind, &FileId::ZERO, &code, &body));
        }
        let listed: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        let file = |file: &serde_json::Value| StoredFile {
            id: file["name"].as_str().unwrap().parse().unwrap(),
            size: file["size"].as_u64().unwrap(),
        };
        Ok(listed.iter().map(file).collect())
    }

    async fn load(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        let (status, code, body) = self.ask(Method::GET, &path(kind, id), range.as_ref(), Bytes::new()).await;
        if !status.is_success() {
            return Err(refused(kind, id, &code, &body));
        }
        match range {
            Some(range) if range.end - range.start != body.len() as u64 => {
                Err(StoreError::Corrupt { kind, id: *id, reason: "it is too short".to_owned() })
            }
            _ => Ok(body),
        }
    }

    async fn save(&self, kind: FileKind, id: &FileId, data: Bytes) -> Result<(), StoreError> {
        if kind == FileKind::Config {
            let (status, code, body) = self.ask(Method::POST, "?create=true", None, Bytes::new()).await;
            if !status.is_success() {
                return Err(refused(kind, id, &code, &body));
            }
        }
        let (status, code, body) = self.ask(Method::POST, &path(kind, id), None, data).await;
        if !status.is_success() {
            return Err(refused(kind, id, &code, &body));
        }
        let position = self.disk.as_ref().map_or(0, |disk| disk.position());
        self.acknowledged.lock().unwrap().push((position, kind, *id));
        Ok(())
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        let (status, code, body) = self.ask(Method::DELETE, &path(kind, id), None, Bytes::new()).await;
        if status.is_success() { Ok(()) } else { Err(refused(kind, id, &code, &body)) }
    }
}
