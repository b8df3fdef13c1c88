//! Small answers of the hub's services, and reading what was asked.

use http::{Request, Response, StatusCode};
use kith_wire::{Body, Refused, bytes_body, collect, empty_body, json_body};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(empty_body());
    *answer.status_mut() = status;
    answer
}

pub(super) fn json<T: Serialize>(value: &T) -> Response<Body> {
    // All that is answered has a JSON form.
    json_body(value).map_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR), Response::new)
}

/// A refusal with its reason, a sentence.
pub(super) fn refused(status: StatusCode, reason: impl Into<String>) -> Response<Body> {
    let mut answer = json(&Refused { reason: reason.into() });
    *answer.status_mut() = status;
    answer
}

/// The plain words of a service that needs no JSON.
pub(super) fn text(status: StatusCode, content: String) -> Response<Body> {
    let mut answer = Response::new(bytes_body(content));
    *answer.status_mut() = status;
    answer
}

/// What was asked, or the answer to what can't be read.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request<Body>,
    limit: usize,
) -> Result<T, Response<Body>> {
    let Ok(body) = collect(request.into_body(), limit).await else {
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the request broke off or is too long"));
    };
    serde_json::from_slice(&body)
        .map_err(|error| refused(StatusCode::BAD_REQUEST, format!("the request makes no sense: {error}")))
}
