//! What a hub answers one computer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kith_hub::Rendezvous;
use kith_identity::DeviceId;
use kith_wire::{
    Body, Delivered, Hello, HelloAnswer, HelloVerdict, HubAdmission, HubToken, MESSAGE_LIMIT, Observed, Post,
    RENDEZVOUS_LIMIT, SEALED_POST_LIMIT, Serve, ServeFuture, Spoken, WireError, collect, paths,
};
use tracing::{debug, info};

use super::admitted::NotAdmitted;
use super::answer::{empty, json, read, refused};
use super::core::Hub;
use super::seats::{Number, Seated};

/// Serves one connection of a computer.
pub(super) struct Service {
    pub(super) hub: Arc<Hub>,
    pub(super) number: Number,
    pub(super) who: DeviceId,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    /// Messages of one who was not let in.
    knocks: Arc<AtomicU8>,
}

impl Serve for Service {
    fn serve(&self, request: Request<Body>) -> ServeFuture {
        let path = request.uri().path();
        // From where a connection comes is told before hello, too: who only asks for that shall cost nothing else.
        if path == paths::OBSERVED {
            let observed = Observed {
                from: SocketAddr::new(self.remote.ip().to_canonical(), self.remote.port()).to_string(),
            };
            return ready(only(&request, &Method::GET).unwrap_or_else(|| json(&observed)));
        }
        if path == paths::HELLO {
            return self.hello(request);
        }
        let Some(admitted) = self.hub.seated(self.number, &self.who) else {
            return ready(refused(StatusCode::FORBIDDEN, "say hello first"));
        };
        match path {
            paths::PING => ready(empty(StatusCode::NO_CONTENT)),
            // A hub has no use for what friends tell each other, and keeps nothing of it.
            paths::REPORT if request.method() == Method::POST => drained(request),
            paths::ADMISSION => self.admission(request),
            path if Rendezvous::serves(path) && admitted => self.hub.rendezvous().serve(self.who, request),
            paths::POST => self.post_of_guest(request),
            paths::RELAY => self.relay_for_guest(request),
            path if Rendezvous::serves(path) => ready(refused(StatusCode::FORBIDDEN, NOT_LET_IN)),
            _ => ready(empty(StatusCode::NOT_FOUND)),
        }
    }
}

/// Messages that one who was not let in may send over one connection.
const MOST_KNOCKS: u8 = 12;
const NOT_LET_IN: &str = "this hub lets in whom its owner chose: ask him for a line of `kith hub invite`, and put it into network.hubs";

impl Service {
    pub(super) fn new(
        hub: Arc<Hub>,
        (number, who): (Number, DeviceId),
        (remote, local): (SocketAddr, SocketAddr),
    ) -> Self {
        Self { hub, number, who, remote, local, knocks: Arc::default() }
    }

    fn hello(&self, request: Request<Body>) -> ServeFuture {
        let (hub, number, who, remote, local) =
            (self.hub.clone(), self.number, self.who, self.remote, self.local);
        Box::pin(async move {
            if let Some(refusal) = only(&request, &Method::POST) {
                return refusal;
            }
            let Ok(body) = collect(request.into_body(), MESSAGE_LIMIT).await else {
                return refused(StatusCode::BAD_REQUEST, "the hello broke off or is too long");
            };
            let verdict = match judge(&body) {
                Ok(Ok(())) => HelloVerdict::Welcome,
                Ok(Err(_other_version)) => HelloVerdict::Version,
                Err(reason) => return refused(StatusCode::BAD_REQUEST, reason),
            };
            if verdict == HelloVerdict::Welcome {
                match hub.seat(number, who, remote, local) {
                    Seated::Taken(_) => {}
                    Seated::Full => {
                        return refused(
                            StatusCode::SERVICE_UNAVAILABLE,
                            "this hub serves as many computers as it can: use another one",
                        );
                    }
                    Seated::Gone => {
                        return refused(StatusCode::CONFLICT, "hello was said already, or too late");
                    }
                }
            }
            json(&HelloAnswer { verdict, hello: hub.hello(remote.ip()), twin: false })
        })
    }

    fn admission(&self, request: Request<Body>) -> ServeFuture {
        let (hub, number, who) = (self.hub.clone(), self.number, self.who);
        Box::pin(async move {
            if let Some(refusal) = only(&request, &Method::PUT) {
                return refusal;
            }
            let said: HubAdmission = match read(request, RENDEZVOUS_LIMIT).await {
                Ok(said) => said,
                Err(refusal) => return refusal,
            };
            // Where everybody is let in there is nothing to write down.
            if hub.is_open() {
                return empty(StatusCode::NO_CONTENT);
            }
            let Ok(token) = said.token.parse::<HubToken>() else {
                return refused(StatusCode::BAD_REQUEST, "this is no token");
            };
            let now = Timestamp::now().as_second().unsigned_abs();
            match hub.admitted().admit(&token, who, now).await {
                Ok(()) => {
                    if hub.admit(number, &who) {
                        info!(device = %who, token = token.number(), "a computer was let in");
                    }
                    empty(StatusCode::NO_CONTENT)
                }
                Err(error) => {
                    debug!(device = %who, %error, "a token lets nobody in");
                    let status = match error {
                        NotAdmitted::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
                        NotAdmitted::Full => StatusCode::SERVICE_UNAVAILABLE,
                        _ => StatusCode::FORBIDDEN,
                    };
                    refused(status, error.to_string())
                }
            }
        })
    }

    /// Whoever holds an invite of somebody who was let in knows under which tag that one awaits him: by that he is vouched for.
    fn post_of_guest(&self, request: Request<Body>) -> ServeFuture {
        let (hub, number, who, knocks) = (self.hub.clone(), self.number, self.who, self.knocks.clone());
        Box::pin(async move {
            if let Some(refusal) = only(&request, &Method::POST) {
                return refusal;
            }
            let before = knocks.fetch_add(1, Ordering::Relaxed);
            if before >= MOST_KNOCKS {
                if before == MOST_KNOCKS {
                    info!(device = %who, "a computer that was not let in has knocked too often");
                }
                knocks.store(MOST_KNOCKS + 1, Ordering::Relaxed);
                return refused(StatusCode::TOO_MANY_REQUESTS, NOT_LET_IN);
            }
            let post: Post = match read(request, RENDEZVOUS_LIMIT).await {
                Ok(post) => post,
                Err(refusal) => return refusal,
            };
            if post.message.as_bytes().len() > SEALED_POST_LIMIT {
                return refused(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long");
            }
            let to = hub.rendezvous().hand_over(post).await;
            if to > 0 {
                debug!(device = %who, "a computer that was not let in is awaited by one that was");
                hub.vouch(number, &who);
            }
            json(&Delivered { to })
        })
    }

    /// Whoever is awaited here by somebody who was let in, or is registered with another hub that this one exchanges with, may be joined
    /// here with somebody who is registered here.
    fn relay_for_guest(&self, request: Request<Body>) -> ServeFuture {
        let (hub, number, who) = (self.hub.clone(), self.number, self.who);
        Box::pin(async move {
            if !hub.vouched(number, &who).await {
                return refused(StatusCode::FORBIDDEN, NOT_LET_IN);
            }
            hub.rendezvous().serve(who, request).await
        })
    }
}

/// What a hello comes to: a version that is spoken here or not, or no hello at all.
fn judge(body: &[u8]) -> Result<Result<(), WireError>, String> {
    if let Err(error) = Spoken::check_hello(body) {
        return Ok(Err(error));
    }
    let hello: Hello = serde_json::from_slice(body).map_err(|error| format!("not a hello: {error}"))?;
    Ok(hello.check().map(|_version| ()))
}

fn only(request: &Request<Body>, method: &Method) -> Option<Response<Body>> {
    (request.method() != method).then(|| empty(StatusCode::METHOD_NOT_ALLOWED))
}

fn ready(answer: Response<Body>) -> ServeFuture {
    Box::pin(std::future::ready(answer))
}

fn drained(request: Request<Body>) -> ServeFuture {
    Box::pin(async move {
        match collect(request.into_body(), MESSAGE_LIMIT).await {
            Ok(_unread) => empty(StatusCode::NO_CONTENT),
            Err(_) => refused(StatusCode::BAD_REQUEST, "the report broke off or is too long"),
        }
    })
}
