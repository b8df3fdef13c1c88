//! What is asked of carriers, over their links.

use std::time::Duration;

use http::{Method, Request};
use kith_wire::{
    Delivered, FOUND_LIMIT, Found, HubAdmission, Link, Post, RENDEZVOUS_LIMIT, Refused, Registered,
    Registration, RelayLeg, RelayRequest, Search, collect, json_body, paths,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for the answer to a post, which the carrier hands over before it answers.
const POST_PATIENCE: Duration = Duration::from_secs(12);

/// A carrier did not do what it was asked for; a part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    /// The link, or no answer in time.
    #[error("{0}")]
    Link(String),
    /// It refuses, in its words.
    #[error("it refused: {0}")]
    Refused(String),
    /// What it answers makes no sense.
    #[error("its answer makes no sense: {0}")]
    Nonsense(String),
}

impl AskError {
    /// What the carrier says, or what is wrong, without who says it.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Refused(reason) => reason.clone(),
            other => other.to_string(),
        }
    }
}

/// Tells a carrier all that it is to keep.
pub(super) async fn register(link: &Link, registration: &Registration) -> Result<Registered, AskError> {
    let asked =
        ask::<Registered>(link, (Method::PUT, paths::RENDEZVOUS), registration, RENDEZVOUS_LIMIT, PATIENCE);
    let answer = asked.await?;
    answer.check().map_err(|error| AskError::Nonsense(error.to_string()))?;
    Ok(answer)
}

/// Shows a hub that its owner has chosen us.
pub(super) async fn be_admitted(link: &Link, admission: &HubAdmission) -> Result<(), AskError> {
    let asked = exchange(link, (Method::PUT, paths::ADMISSION), admission, RENDEZVOUS_LIMIT, PATIENCE);
    asked.await.map(drop)
}

/// Searches records.
pub(super) async fn search(link: &Link, search: &Search) -> Result<Found, AskError> {
    ask(link, (Method::POST, paths::RECORDS), search, FOUND_LIMIT, PATIENCE).await
}

/// Has a message handed over; to how many.
pub(super) async fn post(link: &Link, post: &Post) -> Result<u32, AskError> {
    let asked = ask::<Delivered>(link, (Method::POST, paths::POST), post, RENDEZVOUS_LIMIT, POST_PATIENCE);
    Ok(asked.await?.to)
}

/// Asks for a place at a relay.
pub(super) async fn relay(link: &Link, request: &RelayRequest) -> Result<RelayLeg, AskError> {
    ask(link, (Method::POST, paths::RELAY), request, RENDEZVOUS_LIMIT, PATIENCE).await
}

async fn ask<T: DeserializeOwned>(
    link: &Link,
    how: (Method, &'static str),
    body: &impl Serialize,
    limit: usize,
    patience: Duration,
) -> Result<T, AskError> {
    let answer = exchange(link, how, body, limit, patience).await?;
    serde_json::from_slice(&answer).map_err(|error| AskError::Nonsense(error.to_string()))
}

/// The body of an answer that is no refusal.
async fn exchange(
    link: &Link,
    (method, path): (Method, &'static str),
    body: &impl Serialize,
    limit: usize,
    patience: Duration,
) -> Result<Vec<u8>, AskError> {
    let nonsense = |error: &dyn std::fmt::Display| AskError::Nonsense(error.to_string());
    let body = json_body(body).map_err(|error| nonsense(&error))?;
    let request = Request::builder().method(method).uri(path).body(body).map_err(|error| nonsense(&error))?;
    let exchange = async {
        let answer = link.request(request).await.map_err(|error| AskError::Link(error.to_string()))?;
        let status = answer.status();
        let body =
            collect(answer.into_body(), limit).await.map_err(|error| AskError::Link(error.to_string()))?;
        if !status.is_success() {
            let told = serde_json::from_slice::<Refused>(&body).map(|refused| refused.reason);
            return Err(AskError::Refused(told.unwrap_or_else(|_no_reason| status.to_string())));
        }
        Ok(body.to_vec())
    };
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or_else(|_elapsed| Err(AskError::Link(format!("no answer within {} s", patience.as_secs()))))
}
