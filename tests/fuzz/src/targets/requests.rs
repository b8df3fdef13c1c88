//! Requests of friends to the vault: methods, paths, headers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use kith_vault::{CODE_HEADER, Owner, Vault, VaultConfig};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::outcome::{NOTHING, outcome};

/// What lies beside the vault and in another owner's archive, and must never be answered.
const SECRET: &[u8] = b"not for you";
/// What the owner keeps.
const KEPT: &[u8] = b"the first object of all";
const OWNER: &str = "5555555555555555555555555555555555555555555555555555";
const OTHER: &str = "6666666666666666666666666666666666666666666666666666";
const ARCHIVE: &str = "000102030405060708090a0b0c0d0e0f";

/// `METHOD PATH`, header fields, an empty line and the body. Reading only: writing is the work of a disk, not of a reader.
pub(super) fn request(bytes: &[u8]) -> u64 {
    let Some(request) = read(bytes) else { return NOTHING };
    PLACE.with(|place| {
        let (status, code, body) = place.answer(OWNER, request);
        assert!(!contains(&body, SECRET), "the secret is answered");
        assert!(body.len() <= 64 * 1024, "{} bytes are answered", body.len());
        assert_eq!(status.is_success(), code.is_none(), "{status} with {code:?}");
        assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{status}: {code:?}");
        outcome(&(status.as_u16(), format_args!("{}", code.unwrap_or_default()), body.len()))
    })
}

/// The request, if it is one that HTTP itself lets through, and changes nothing on the disk.
fn read(bytes: &[u8]) -> Option<Request<Full<Bytes>>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.next()?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let method = Method::from_bytes(&line[..space]).ok()?;
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.get(2..).unwrap_or_default())));
    *request.uri_mut() = Uri::try_from(&line[space + 1..]).ok()?;
    if method == Method::POST || method == Method::DELETE {
        return None;
    }
    *request.method_mut() = method;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(request)
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

thread_local! {
    static PLACE: Place = Place::new();
}

/// A vault with an archive of two owners.
struct Place {
    runtime: Runtime,
    vault: Vault,
    /// Goes with the thread.
    _directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        std::fs::write(directory.path().join("secret"), SECRET).expect("it can be written");
        let runtime =
            Builder::new_current_thread().enable_all().build().expect("the system lets a runtime begin");
        let config = VaultConfig { free_space_floor: 0, ..VaultConfig::new(directory.path().join("vault")) };
        let vault = runtime.block_on(Vault::open(config)).expect("a new vault can be opened");
        let place = Self { runtime, vault, _directory: directory };
        for (owner, content) in [(OWNER, KEPT), (OTHER, SECRET)] {
            place.vault.set_quota(&Owner::parse(owner).expect("it is a name of an owner"), Some(1 << 20));
            let name = data_encoding::HEXLOWER.encode(&Sha256::digest(content));
            let paths = [
                (format!("/{ARCHIVE}/?create=true"), &b""[..]),
                (format!("/{ARCHIVE}/config"), content),
                (format!("/{ARCHIVE}/data/{name}"), content),
            ];
            for (path, content) in paths {
                let mut request = Request::new(Full::new(Bytes::copy_from_slice(content)));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = Uri::try_from(path).expect("it is a path");
                request.headers_mut().insert(http::header::CONTENT_LENGTH, content.len().into());
                let (status, code, _) = place.answer(owner, request);
                assert!(status.is_success(), "{status} {code:?}");
            }
        }
        place
    }

    fn answer(&self, owner: &str, request: Request<Full<Bytes>>) -> (StatusCode, Option<String>, Bytes) {
        let owner = Owner::parse(owner).expect("it is a name of an owner");
        self.runtime.block_on(async {
            let response = self.vault.handle(&owner, request).await;
            let code = response.headers().get(&CODE_HEADER);
            let code = code.map(|code| String::from_utf8_lossy(code.as_bytes()).into_owned());
            let status = response.status();
            let body = response.into_body().collect().await.expect("the disk can be read").to_bytes();
            (status, code, body)
        })
    }
}
