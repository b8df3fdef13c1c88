//! What every link serves by itself; the rest is the program's.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use kith_wire::{
    Body, DIAL_BACK_LIMIT, DeviceId, DialBackRequest, Hello, HelloAnswer, HubAddress, MESSAGE_LIMIT,
    Observed, ParseHubError, Post, RENDEZVOUS_LIMIT, Registered, Report, Serve, ServeFuture, Spoken,
    bytes_body, collect, empty_body, json_body, paths,
};
use tokio::sync::watch;

use crate::calls;
use crate::carriers::CarrierKind;
use crate::dial_back::Presence;
use crate::host::{Caller, Host};
use crate::session::{Gate, HELLO_TIMEOUT};

/// Answers a friend's requests.
pub(crate) struct FriendService {
    pub(crate) friend: DeviceId,
    pub(crate) kind: CarrierKind,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) calls: calls::Caller,
    pub(crate) gate: Gate,
    pub(crate) presence: Presence,
    /// Which installation speaks; known once its hello was heard.
    pub(crate) caller: watch::Receiver<Option<Caller>>,
    /// From where his connection comes, if he made it and nobody stands between.
    pub(crate) from: Option<SocketAddr>,
}

impl Serve for FriendService {
    fn serve(&self, request: Request<Body>) -> ServeFuture {
        let path = request.uri().path();
        if path == paths::HELLO {
            return self.hello(request);
        }
        // Asked also over connections that are no link: one from another address than the link's, which proved whose it is by its
        // key.
        if path == paths::DIAL_BACK {
            return self.dial_back(request);
        }
        // Asked over connections from the port that he wants to be seen, which are no links either.
        if path == paths::OBSERVED {
            return Box::pin(std::future::ready(Observed::answer(request.method(), self.from)));
        }
        if !self.gate.is_open() {
            return done(StatusCode::FORBIDDEN, "say hello first");
        }
        match path {
            paths::PING => Box::pin(std::future::ready(empty(StatusCode::NO_CONTENT))),
            paths::POSTED => self.posted(request),
            paths::REGISTERED if self.kind == CarrierKind::Hub && request.method() == Method::POST => {
                self.registered(request)
            }
            paths::REPORT if request.method() == Method::POST => self.report(request),
            _ => self.ask_host(request),
        }
    }
}

impl FriendService {
    /// Whoever was dialled may ask before his answer to our hello has been read.
    fn ask_host(&self, request: Request<Body>) -> ServeFuture {
        let (host, mut caller) = (self.host.clone(), self.caller.clone());
        if let Some(caller) = *caller.borrow() {
            return host.serve(caller, request);
        }
        Box::pin(async move {
            let known = tokio::time::timeout(HELLO_TIMEOUT, caller.wait_for(Option::is_some)).await;
            let known = known.ok().and_then(Result::ok).and_then(|caller| *caller);
            match known {
                Some(caller) => host.serve(caller, request).await,
                None => text(StatusCode::FORBIDDEN, "say hello first"),
            }
        })
    }

    fn hello(&self, request: Request<Body>) -> ServeFuture {
        let (friend, host, gate) = (self.friend, self.host.clone(), self.gate.clone());
        Box::pin(async move {
            if request.method() != Method::POST {
                return empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let Ok(body) = collect(request.into_body(), MESSAGE_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the hello broke off or is too long");
            };
            let said = match Spoken::check_hello(&body) {
                Err(error) => Err(error),
                Ok(()) => match serde_json::from_slice::<Hello>(&body) {
                    Ok(said) => Ok(said),
                    Err(error) => return text(StatusCode::BAD_REQUEST, &format!("not a hello: {error}")),
                },
            };
            let Some((verdict, seen_from, twin)) = gate.judge(said.as_ref().map_err(Clone::clone)) else {
                return text(StatusCode::CONFLICT, "hello was said already");
            };
            let answer = HelloAnswer { verdict, hello: host.hello(&friend, seen_from), twin };
            json(&answer)
        })
    }

    fn dial_back(&self, request: Request<Body>) -> ServeFuture {
        let (dial_backs, host) = (self.presence.dial_backs(), self.host.clone());
        Box::pin(async move {
            if request.method() != Method::POST {
                return empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let Ok(body) = collect(request.into_body(), DIAL_BACK_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the request broke off or is too long");
            };
            match serde_json::from_slice::<DialBackRequest>(&body) {
                Ok(request) => match request.check() {
                    Ok(order) => json(&dial_backs.serve(&order, |ip| host.is_outside(ip)).await),
                    Err(refusal) => text(StatusCode::BAD_REQUEST, &refusal.to_string()),
                },
                Err(error) => text(StatusCode::BAD_REQUEST, &format!("not a dial-back: {error}")),
            }
        })
    }

    fn posted(&self, request: Request<Body>) -> ServeFuture {
        let (carrier, kind, calls) = (self.friend, self.kind, self.calls.now());
        Box::pin(async move {
            if request.method() != Method::POST {
                return empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            let handed_by = match handed_by(request.headers()).filter(|_| kind == CarrierKind::Hub) {
                Some(Err(error)) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
                known => known.and_then(Result::ok),
            };
            let Ok(body) = collect(request.into_body(), RENDEZVOUS_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the message broke off or is too long");
            };
            match serde_json::from_slice::<Post>(&body) {
                Ok(post) => match calls.posted(carrier, post, handed_by) {
                    true => empty(StatusCode::NO_CONTENT),
                    false => text(StatusCode::NOT_FOUND, "nobody here awaits it"),
                },
                Err(error) => text(StatusCode::BAD_REQUEST, &format!("not a message: {error}")),
            }
        })
    }

    /// News of a registration: a hub's word, and of nobody else.
    fn registered(&self, request: Request<Body>) -> ServeFuture {
        let (hub, calls) = (self.friend, self.calls.now());
        Box::pin(async move {
            let Ok(body) = collect(request.into_body(), RENDEZVOUS_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the news broke off or are too long");
            };
            match serde_json::from_slice::<Registered>(&body) {
                Ok(news) => match news.check() {
                    Ok(()) => {
                        calls.registered(hub, news);
                        empty(StatusCode::NO_CONTENT)
                    }
                    Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
                },
                Err(error) => text(StatusCode::BAD_REQUEST, &format!("not a registration: {error}")),
            }
        })
    }

    fn report(&self, request: Request<Body>) -> ServeFuture {
        let (friend, host) = (self.friend, self.host.clone());
        Box::pin(async move {
            let Ok(body) = collect(request.into_body(), MESSAGE_LIMIT).await else {
                return text(StatusCode::BAD_REQUEST, "the report broke off or is too long");
            };
            match serde_json::from_slice::<Report>(&body) {
                Ok(report) => match report.check() {
                    Ok(()) => {
                        host.reported(&friend, report);
                        empty(StatusCode::NO_CONTENT)
                    }
                    Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
                },
                Err(error) => text(StatusCode::BAD_REQUEST, &format!("not a report: {error}")),
            }
        })
    }
}

/// Which hub handed a message to the one that it came by.
fn handed_by(headers: &HeaderMap) -> Option<Result<HubAddress, ParseHubError>> {
    let value = headers.get(paths::HANDED_BY_HEADER)?;
    Some(value.to_str().map_err(|_unreadable| ParseHubError).and_then(str::parse))
}

fn done(status: StatusCode, reason: &'static str) -> ServeFuture {
    Box::pin(std::future::ready(text(status, reason)))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty_body());
    *response.status_mut() = status;
    response
}

fn text(status: StatusCode, reason: &str) -> Response<Body> {
    let mut response = Response::new(bytes_body(reason.to_owned()));
    *response.status_mut() = status;
    response
}

fn json<T: serde::Serialize>(value: &T) -> Response<Body> {
    match json_body(value) {
        Ok(body) => Response::new(body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
