//! Asking a friend's computer how it is, and answering that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use kith_doctor::Side;
use kith_identity::DeviceId;
use kith_wire::{Body, Link, MESSAGE_LIMIT, collect, empty_body, paths};

use super::super::core::{Core, lock};
use super::super::host::plain;
use super::super::roster::Friend;

/// Whoever asks again within this time gets the same answer: each one costs connections to his addresses.
const SAME_ANSWER: Duration = Duration::from_secs(4);

/// What friends were answered, and who is being answered.
#[derive(Default)]
pub(in crate::daemon) struct Asked(Mutex<BTreeMap<DeviceId, Arc<tokio::sync::Mutex<LastAnswer>>>>);

/// When a friend was answered last, and what.
type LastAnswer = Option<(Instant, Side)>;

/// What the friend at the other end says of his computer; none if his program is older, or says what no honest one does.
pub(super) async fn ask(link: &Link) -> Option<Side> {
    let request = Request::get(paths::DOCTOR).body(empty_body()).ok()?;
    let answer = link.request(request).await.ok().filter(|answer| answer.status() == StatusCode::OK)?;
    let body = collect(answer.into_body(), MESSAGE_LIMIT).await.ok()?;
    serde_json::from_slice::<Side>(&body).ok().map(Side::tamed)
}

impl Core {
    /// Answers a friend: how this computer is, and what came of trying his addresses from here.
    pub(in crate::daemon) async fn answer_doctor(self: &Arc<Self>, friend: &Friend) -> Response<Body> {
        // Its own task: whoever breaks off and asks again gets the answer to the first question.
        let (core, friend) = (self.clone(), friend.clone());
        let answering = tokio::spawn(async move { core.answer_once(&friend).await });
        answering.await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "the answer broke off"))
    }

    async fn answer_once(self: &Arc<Self>, friend: &Friend) -> Response<Body> {
        let last = {
            let mut asked = lock(&self.asked.0);
            asked.retain(|id, _| *id == friend.device_id || self.roster.contains(id));
            asked.entry(friend.device_id).or_default().clone()
        };
        let mut last = last.lock().await;
        let side = match last.as_ref().filter(|(when, _)| when.elapsed() < SAME_ANSWER) {
            Some((_, side)) => side.clone(),
            None => {
                let side = self.side_for(friend).await;
                *last = Some((Instant::now(), side.clone()));
                side
            }
        };
        kith_wire::json_body(&side)
            .map_or_else(|error| plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()), Response::new)
    }
}
