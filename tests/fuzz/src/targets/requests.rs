//! Requests of friends to the vault that read: methods, paths, headers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};

use super::place::{Place, SECRET};
use crate::outcome::{NOTHING, Outcome, judged};

/// What the owner keeps.
const KEPT: &[u8] = b"the first object of all";
/// What the owner kept, and can be seen as of a time before it was deleted.
const DELETED: &[u8] = b"the second one";
const OWNER: &str = "5555555555555555555555555555555555555555555555555555";
const OTHER: &str = "6666666666666666666666666666666666666666666666666666";
const ARCHIVE: &str = "000102030405060708090a0b0c0d0e0f";
const QUOTA: u64 = 1 << 20;

/// `METHOD PATH`, header fields, an empty line and the body. What changes the disk is tried by [`super::writes`].
pub(super) fn request(bytes: &[u8]) -> Outcome {
    let Some(request) = read(bytes) else { return NOTHING };
    if request.method() == Method::POST || request.method() == Method::DELETE {
        return NOTHING;
    }
    PLACE.with(|place| {
        let (status, code, body) = place.answer(OWNER, request);
        assert!(!body.windows(SECRET.len()).any(|part| part == SECRET), "the secret is answered");
        assert!(body.len() <= 64 * 1024, "{} bytes are answered", body.len());
        assert_eq!(status.is_success(), code.is_none(), "{status} with {code:?}");
        assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{status}: {code:?}");
        judged(
            status.is_success(),
            &(status.as_u16(), format_args!("{}", code.unwrap_or_default()), body.len()),
        )
    })
}

/// The request, if it is one that HTTP itself lets through.
pub(super) fn read(bytes: &[u8]) -> Option<Request<Bytes>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.next()?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::new(Bytes::copy_from_slice(body.get(2..).unwrap_or_default()));
    *request.method_mut() = Method::from_bytes(&line[..space]).ok()?;
    *request.uri_mut() = Uri::try_from(&line[space + 1..]).ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(request)
}

thread_local! {
    static PLACE: Place = furnished();
}

/// A vault with an archive of two owners.
fn furnished() -> Place {
    let place = Place::new();
    for (owner, content) in [(OWNER, KEPT), (OTHER, SECRET)] {
        place.set_quota(owner, QUOTA);
        place.create(owner, ARCHIVE);
        place.succeed(owner, Method::POST, &format!("/{ARCHIVE}/config"), content);
        place.store(owner, ARCHIVE, content);
    }
    let deleted = place.store(OWNER, ARCHIVE, DELETED);
    place.succeed(OWNER, Method::DELETE, &format!("/{ARCHIVE}/data/{deleted}"), b"");
    place
}
