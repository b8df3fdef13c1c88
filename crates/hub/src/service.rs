//! What is asked of a carrier, and its answers.

use std::sync::atomic::Ordering;

use http::{Method, Request, Response, StatusCode};
use kith_identity::{DeviceId, DialInTag, PairTag};
use kith_wire::{
    Body, Delivered, Found, MOST_PREFIXES, Post, REGISTRATION_LIMIT, RENDEZVOUS_LIMIT, Refused, Registered,
    Registration, RelayLeg, RelayRequest, SEALED_POST_LIMIT, Search, ServeFuture, collect, empty_body,
    json_body, paths,
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::debug;

use crate::records::Room;
use crate::rendezvous::{Rendezvous, State};
use crate::rules::LEG_LIFE;
use crate::sessions::SessionRefusal;
use crate::users::Asked;

/// Why a request is refused.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self(status, reason.into())
    }

    fn too_often() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "this computer asks too often: it may again in a minute")
    }
}

impl Rendezvous {
    /// Whether requests of this path are answered here.
    #[must_use]
    pub fn serves(path: &str) -> bool {
        matches!(path, paths::RENDEZVOUS | paths::RECORDS | paths::POST | paths::RELAY)
    }

    /// Answers a request of a computer that is known and linked.
    #[must_use]
    pub fn serve(&self, who: DeviceId, request: Request<Body>) -> ServeFuture {
        let this = self.clone();
        Box::pin(async move {
            let answer = this.answer(who, request).await;
            answer.unwrap_or_else(|Refusal(status, reason)| {
                this.0.refused.fetch_add(1, Ordering::Relaxed);
                debug!(friend = %who, reason, "what a carrier was asked for is refused");
                let mut response = json(&Refused { reason });
                *response.status_mut() = status;
                response
            })
        })
    }

    async fn answer(&self, who: DeviceId, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match (path.as_str(), method) {
            (paths::RENDEZVOUS, Method::PUT) => self.register(who, request).await,
            (paths::RECORDS, Method::POST) => self.search(who, request).await,
            (paths::POST, Method::POST) => self.post(who, request).await,
            (paths::RELAY, Method::POST) => self.relay(who, request).await,
            (path, _) if Self::serves(path) => {
                let mut answer = Response::new(empty_body());
                *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                Ok(answer)
            }
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such service")),
        }
    }

    async fn register(&self, who: DeviceId, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        self.admit(&who, Asked::Registration)?;
        let said: Registration = read(request, REGISTRATION_LIMIT).await?;
        said.check().map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let (assigned, moves) = (self.0.courier.assigned(&who), self.0.courier.moves());
        let digits_beyond = self.0.courier.digits_beyond();
        let registered = {
            let now = Instant::now();
            let mut state = self.0.state();
            // It may have been removed while it said all that.
            let entered = state.users.known(&who).ok_or_else(full)?;
            let most_bytes = state.rules.most_record_bytes;
            let network = state.users.network(&who);
            state.records.replace((&entered, network), said.records, most_bytes, now);
            state.mailboxes.watch(&entered, said.watch);
            let relay = state.rules.relay.as_ref().map(|rules| state.relay.terms(&who, rules, now));
            // What is searched here is searched at the others too, and is hidden among what lies there.
            let prefix_digits = state.records.prefix_digits().max(digits_beyond);
            Registered { prefix_digits, relay, assigned, moves }
        };
        self.0.sooner.notify_one();
        Ok(json(&registered))
    }

    async fn search(&self, who: DeviceId, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        self.admit(&who, Asked::Search)?;
        let search: Search = read(request, RENDEZVOUS_LIMIT).await?;
        let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
        if search.prefixes.len() > MOST_PREFIXES {
            return Err(bad(format!("a search names at most {MOST_PREFIXES} prefixes")));
        }
        let beyond = self.0.courier.find_beyond(search.clone());
        let digits_beyond = self.0.courier.digits_beyond();
        let (mut records, bytes) = {
            let now = Instant::now();
            let mut state = self.0.state();
            // One less, for there may have been fewer records when he was told how many.
            let least = state.records.prefix_digits().max(digits_beyond).saturating_sub(1);
            let (records, bytes) = state.records.find(&search, least.into(), now).map_err(bad)?;
            state.users.answered(&who, bytes, now);
            (records, bytes)
        };
        let room = Room::after(bytes);
        records.extend(room.fill(beyond.await));
        Ok(json(&Found { records }))
    }

    async fn post(&self, who: DeviceId, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        self.admit(&who, Asked::Post)?;
        let post: Post = read(request, RENDEZVOUS_LIMIT).await?;
        if post.message.as_bytes().len() > SEALED_POST_LIMIT {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long"));
        }
        let mut to = self.hand_over(post.clone()).await;
        if to == 0 {
            to = self.0.courier.carry_beyond(post).await;
        }
        Ok(json(&Delivered { to }))
    }

    async fn relay(&self, who: DeviceId, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        self.admit(&who, Asked::Relay)?;
        let RelayRequest { session } = read(request, RENDEZVOUS_LIMIT).await?;
        let name = self.agree(who, session)?;
        self.0.sooner.notify_one();
        let lives = u32::try_from(LEG_LIFE.as_secs()).unwrap_or(u32::MAX);
        Ok(json(&RelayLeg { name: name.to_text(), lives }))
    }

    /// A place in a session for a user who may have one.
    fn agree(&self, who: DeviceId, session: PairTag) -> Result<DialInTag, Refusal> {
        let now = Instant::now();
        let mut state = self.0.state();
        let State { rules, users, relay, .. } = &mut *state;
        let Some(rules) = &rules.relay else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this computer relays nothing: its owner doesn't allow it",
            ));
        };
        if relay.left(&who, now) == Some(0) {
            let reason =
                "what this computer may have relayed in a day is used up: a direct connection needs no relay";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, reason));
        }
        let name = DialInTag::made_up();
        let asked = relay.sessions.ask((who, users.network(&who)), session, name, rules, now);
        let gave_way = asked.map_err(|refusal| {
            let status = match refusal {
                SessionRefusal::Taken => StatusCode::CONFLICT,
                SessionRefusal::Full => StatusCode::SERVICE_UNAVAILABLE,
                SessionRefusal::FullForOne => StatusCode::TOO_MANY_REQUESTS,
            };
            Refusal::new(status, refusal.to_string())
        })?;
        if let Some(session) = gave_way {
            relay.gave_way(&session);
        }
        Ok(name)
    }

    /// Whether one may ask for this now.
    fn admit(&self, who: &DeviceId, asked: Asked) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut state = self.0.state();
        state.enter(who, now).ok_or_else(full)?;
        if state.users.allows(who, asked, now) { Ok(()) } else { Err(Refusal::too_often()) }
    }
}

fn full() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "this carrier serves as many computers as it can: use another",
    )
}

async fn read<T: DeserializeOwned>(request: Request<Body>, limit: usize) -> Result<T, Refusal> {
    let body = collect(request.into_body(), limit).await.map_err(|error| {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the request was not read: {error}"))
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the request makes no sense: {error}"))
    })
}

fn json<T: serde::Serialize>(value: &T) -> Response<Body> {
    match json_body(value) {
        Ok(body) => Response::new(body),
        // Not so: all of these have a JSON form.
        Err(_) => {
            let mut answer = Response::new(empty_body());
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            answer
        }
    }
}
