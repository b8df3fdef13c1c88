//! The app in the browser, with everything its page needs.
//!
//! The shell (one page, one style sheet, a few modules) is the same for everybody and holds no data. Data come as HTML fragments,
//! rendered here so that every name is escaped in one place, and only with the token that a one-time code was exchanged for.

mod activity;
mod computer;
mod doctor;
mod format;
mod forms;
mod fragments;
mod friends;
mod jobs;
mod live;
mod near;
mod network;
mod notices;
mod outward;
mod parts;
mod sets;
mod settings;
mod verdict;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::backend::{Failure, FailureKind};
use crate::server::{JsonBody, Refusal, Shared, event_stream};

/// A file of the shell.
struct Asset {
    path: &'static str,
    media: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 13] = [
    Asset { path: "/", media: "text/html; charset=utf-8", text: include_str!("assets/index.html") },
    Asset { path: "/app.css", media: "text/css; charset=utf-8", text: include_str!("assets/app.css") },
    Asset { path: "/doctor.css", media: "text/css; charset=utf-8", text: include_str!("assets/doctor.css") },
    Asset { path: "/icon.svg", media: "image/svg+xml", text: include_str!("assets/icon.svg") },
    Asset { path: "/main.js", media: SCRIPT, text: include_str!("assets/main.js") },
    Asset { path: "/api.js", media: SCRIPT, text: include_str!("assets/api.js") },
    Asset { path: "/view.js", media: SCRIPT, text: include_str!("assets/view.js") },
    Asset { path: "/live.js", media: SCRIPT, text: include_str!("assets/live.js") },
    Asset { path: "/actions.js", media: SCRIPT, text: include_str!("assets/actions.js") },
    Asset { path: "/doctor.js", media: SCRIPT, text: include_str!("assets/doctor.js") },
    Asset { path: "/command.js", media: SCRIPT, text: include_str!("assets/command.js") },
    Asset { path: "/words.js", media: SCRIPT, text: include_str!("assets/words.js") },
    Asset { path: "/box.js", media: SCRIPT, text: include_str!("assets/box.js") },
];

const SESSION: &str = "/session";

/// What the app's port answers without a token: the shell, and the exchange of a code for a token.
pub(crate) fn is_public(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => ASSETS.iter().any(|asset| asset.path == path),
        Method::POST => path == SESSION,
        _ => false,
    }
}

/// The app's own routes. The API's are on the same port beside them.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for asset in &ASSETS {
        router = router.route(asset.path, get(|| async { serve(asset) }));
    }
    router
        .route(SESSION, post(open_session))
        .route("/events", get(events))
        .route("/fragments/diagnosis", post(fragments::diagnosis))
        .route("/fragments/{section}", get(fragments::fragment))
        .method_not_allowed_fallback(no_such_method)
        .with_state(Arc::clone(shared))
}

fn serve(asset: &'static Asset) -> Response {
    ([(header::CONTENT_TYPE, asset.media)], asset.text).into_response()
}

async fn no_such_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, FailureKind::Invalid, "this route does not take this method")
}

/// A one-time code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

/// What the page keeps.
#[derive(Serialize)]
struct SessionToken {
    token: String,
}

async fn open_session(
    State(kith): State<Arc<Shared>>,
    JsonBody(Code { code }): JsonBody<Code>,
) -> Result<Json<SessionToken>, Refusal> {
    if !kith.exchange_limit.take() {
        return Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            FailureKind::Refused,
            "too many attempts to open the app",
        )
        .with_hint("wait a few seconds, then run `kith open` again"));
    }
    if !kith.codes.redeem(&code) {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            FailureKind::Refused,
            "this link has been used already or is older than 30 seconds",
        )
        .with_hint("run `kith open` again"));
    }
    let token = kith.sessions.open().map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    Ok(Json(SessionToken { token }))
}

/// Names of the sections that have become stale.
async fn events(State(kith): State<Arc<Shared>>) -> Result<Response, Refusal> {
    event_stream(&kith, live::StaleSections::new(&kith))
}
