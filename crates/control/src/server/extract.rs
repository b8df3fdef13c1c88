//! Parts of a request, with refusals in JSON.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::StatusCode;
use http::header;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::answer::Refusal;
use crate::backend::FailureKind;

/// The largest JSON body that is read.
const MAX_JSON_BYTES: usize = 1024 * 1024;

/// How long a JSON body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body. An empty one counts as `{}`, but it must be declared as JSON even then: a form of another site can't do that.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        if !is_json(&request) {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                FailureKind::Invalid,
                "the body must be JSON",
            )
            .with_hint("send `Content-Type: application/json`"));
        }
        let collected = Limited::new(request.into_body(), MAX_JSON_BYTES).collect();
        let bytes = match tokio::time::timeout(BODY_TIMEOUT, collected).await {
            Err(_) => {
                return Err(Refusal::new(
                    StatusCode::REQUEST_TIMEOUT,
                    FailureKind::Invalid,
                    "the body took too long to arrive",
                ));
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(Refusal::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    FailureKind::Invalid,
                    format!("the body is larger than {MAX_JSON_BYTES} bytes"),
                ));
            }
            Ok(Err(_)) => return Err(Refusal::invalid("the body broke off")),
            Ok(Ok(collected)) => collected.to_bytes(),
        };
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            Refusal::invalid(format!("the body is not what this route takes: {error}"))
                .with_hint("GET /v1/openapi.json describes every route")
        })
    }
}

fn is_json(request: &Request) -> bool {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}

/// What stands in the path, decoded.
pub(crate) struct Segment<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Refusal::invalid(format!("the path is not understood: {}", rejection.body_text())))
            }
        }
    }
}

/// What stands behind the question mark.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Refusal::invalid(format!("the query is not understood: {}", rejection.body_text())))
            }
        }
    }
}
