//! What a client is told when it does not get what it asked for.

use std::fmt;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::body::{VaultBody, full};

/// The response header that carries the [`Code`] of a refusal, because an answer to HEAD has no body.
pub const CODE_HEADER: HeaderName = HeaderName::from_static("kith-code");

/// With [`Code::Superseded`]: since when the other installation writes, in milliseconds since 1970-01-01 UTC by the
/// clock of the computer that keeps the archive.
pub const SUPERSEDED_HEADER: HeaderName = HeaderName::from_static("kith-superseded-since");

/// Why something was refused, for programs.
///
/// In the header [`CODE_HEADER`], and in the body as `{"code": "...", "message": "..."}` with a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The owner's quota does not allow it, or nothing was offered (507).
    QuotaExceeded,
    /// The disk is full, or would be fuller than its owner wants (507).
    DiskFull,
    /// This computer takes nothing from this owner at present (403).
    NotAccepted,
    /// The bytes are not those the name promises (400).
    HashMismatch,
    /// The object is larger than any object of its type may be (413).
    TooLarge,
    /// A name has a form it can't have (400).
    BadName,
    /// There is no such archive or object (404).
    NotFound,
    /// It exists with other contents and may not be changed or deleted (403).
    WriteOnce,
    /// Keys are not kept (403).
    KeysRefused,
    /// Another installation of the same computer has taken over; this one can only read (409). The header
    /// [`SUPERSEDED_HEADER`] says since when.
    Superseded,
    /// The disk failed; writes are refused until the vault is opened again (500).
    StorageFailed,
    /// The request is not one of the protocol (400).
    BadRequest,
    /// The request does not announce its length (411).
    LengthRequired,
    /// The method does not exist for this path (405).
    MethodNotAllowed,
    /// The range lies outside of the object (416).
    BadRange,
    /// The protocol has it, but it is not done here (403).
    NotAllowed,
    /// The owner has as many archives as one owner may have (403).
    TooManyArchives,
}

impl Code {
    /// The code as it appears on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QuotaExceeded => "quota-exceeded",
            Self::DiskFull => "disk-full",
            Self::NotAccepted => "not-accepted",
            Self::HashMismatch => "hash-mismatch",
            Self::TooLarge => "too-large",
            Self::BadName => "bad-name",
            Self::NotFound => "not-found",
            Self::WriteOnce => "write-once",
            Self::KeysRefused => "keys-refused",
            Self::Superseded => "superseded",
            Self::StorageFailed => "storage-failed",
            Self::BadRequest => "bad-request",
            Self::LengthRequired => "length-required",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BadRange => "bad-range",
            Self::NotAllowed => "not-allowed",
            Self::TooManyArchives => "too-many-archives",
        }
    }

    /// The HTTP status it comes with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::QuotaExceeded | Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::NotAccepted
            | Self::WriteOnce
            | Self::KeysRefused
            | Self::NotAllowed
            | Self::TooManyArchives => StatusCode::FORBIDDEN,
            Self::HashMismatch | Self::BadName | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Superseded => StatusCode::CONFLICT,
            Self::StorageFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRange => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), header: None }
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        let message = format!("this path answers to {allowed} only");
        let header = Some((header::ALLOW, HeaderValue::from_static(allowed)));
        Self { code: Code::MethodNotAllowed, message, header }
    }

    pub(crate) fn superseded(since: u64) -> Self {
        Self {
            code: Code::Superseded,
            message:
                "this computer was recovered elsewhere, and the other installation writes this archive now: \
                      from here it can be read, not changed"
                    .to_owned(),
            header: Some((SUPERSEDED_HEADER, since.into())),
        }
    }

    pub(crate) fn range(length: u64) -> Self {
        let message = format!("the object has {length} bytes: the range lies outside of it");
        let header =
            HeaderValue::from_str(&format!("bytes */{length}")).ok().map(|v| (header::CONTENT_RANGE, v));
        Self { code: Code::BadRange, message, header }
    }

    pub(crate) fn into_response(self) -> Response<VaultBody> {
        let text = json!({ "code": self.code.as_str(), "message": self.message }).to_string();
        let mut response = Response::new(full(text));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CODE_HEADER, HeaderValue::from_static(self.code.as_str()));
        headers.extend(self.header);
        response
    }
}
