//! What this hub answers another one: what lies here, and nothing that would have to be fetched elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{Method, Request, Response, StatusCode};
use kith_identity::DeviceId;
use kith_identity::tls::{Admission, Admitted};
use kith_listener::Incoming;
use kith_wire::{
    Body, Delivered, Found, HUBS_LIMIT, HubHello, Link, LinkLimits, MOST_PREFIXES, Post, RENDEZVOUS_LIMIT,
    SEALED_POST_LIMIT, Search, Serve, ServeFuture, Side, Vouch, Vouched, paths,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use super::Peer;
use super::budget::Budgets;
use crate::hub::answer::{empty, json, read, refused};
use crate::hub::core::Hub;

/// Lets in the hubs that the settings name, and nobody else.
pub(in crate::hub) struct PeerAdmission(pub(in crate::hub) Vec<DeviceId>);

impl Admission for PeerAdmission {
    fn friend(&self, id: &DeviceId) -> bool {
        self.0.contains(id)
    }

    fn invite(&self, _one_time_id: &DeviceId) -> bool {
        false
    }
}

/// Takes over the connections of other hubs, one of each: the newer replaces the older.
pub(in crate::hub) async fn receive(hub: Arc<Hub>, mut incoming: mpsc::Receiver<Incoming>) {
    let mut links: HashMap<DeviceId, Link> = HashMap::new();
    // Kept here, so that who comes again gets nothing by it.
    let mut budgets: HashMap<DeviceId, Arc<Mutex<Budgets>>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let Incoming { admitted, stream, .. } = tokio::select! {
            Some(_over) = tasks.join_next() => continue,
            incoming = incoming.recv() => match incoming {
                Some(incoming) => incoming,
                None => return,
            },
        };
        let Admitted::Friend(who) = admitted else { continue };
        let Some(peer) = hub.peers().and_then(|peers| peers.peer(&who)).cloned() else { continue };
        let budget =
            budgets.entry(who).or_insert_with(|| Arc::new(Mutex::new(Budgets::full(Instant::now()))));
        let link = Arc::new(OnceLock::new());
        let service =
            Arc::new(PeerService { hub: hub.clone(), peer, budget: budget.clone(), link: link.clone() });
        let (handle, driver) = Link::start(Box::new(stream), Side::Acceptor, service, LinkLimits::default());
        link.get_or_init(|| handle.clone());
        if let Some(older) = links.insert(who, handle) {
            older.close("another connection takes this place");
        }
        tasks.spawn(driver);
    }
}

struct PeerService {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    budget: Arc<Mutex<Budgets>>,
    link: Arc<OnceLock<Link>>,
}

impl Serve for PeerService {
    fn serve(&self, request: Request<Body>) -> ServeFuture {
        let (hub, peer) = (self.hub.clone(), self.peer.clone());
        let link = self.link.clone();
        let is_vouch = request.uri().path() == paths::HUB_VOUCH;
        if !self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(is_vouch, Instant::now()) {
            debug!(hub = %peer.id, "another hub asks too often");
            return Box::pin(std::future::ready(refused(
                StatusCode::TOO_MANY_REQUESTS,
                "this hub is asked too often",
            )));
        }
        Box::pin(async move {
            let method = request.method().clone();
            let answered = match request.uri().path() {
                paths::PING => Ok(empty(StatusCode::NO_CONTENT)),
                _ if method != Method::POST => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
                paths::HUB_HELLO => greet(&hub, &peer, &link, request).await,
                paths::POST => post(&hub, &peer, request).await,
                paths::RECORDS => records(&hub, request).await,
                paths::HUB_VOUCH => vouch(&hub, request).await,
                _ => Ok(empty(StatusCode::NOT_FOUND)),
            };
            answered.unwrap_or_else(|refusal| refusal)
        })
    }
}

type Answered = Result<Response<Body>, Response<Body>>;

async fn greet(hub: &Hub, peer: &Peer, link: &OnceLock<Link>, request: Request<Body>) -> Answered {
    let told: HubHello = read(request, HUBS_LIMIT).await?;
    told.check().map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    if let Some(link) = link.get() {
        link.welcome();
    }
    peer.heard(told, hub);
    Ok(json(&super::hello(hub)))
}

async fn post(hub: &Hub, peer: &Peer, request: Request<Body>) -> Answered {
    let post: Post = read(request, RENDEZVOUS_LIMIT).await?;
    if post.message.as_bytes().len() > SEALED_POST_LIMIT {
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long"));
    }
    Ok(json(&Delivered { to: hub.hand_over_from(peer.address(), post).await }))
}

async fn records(hub: &Hub, request: Request<Body>) -> Answered {
    let search: Search = read(request, RENDEZVOUS_LIMIT).await?;
    if search.prefixes.len() > MOST_PREFIXES {
        return Err(refused(
            StatusCode::BAD_REQUEST,
            format!("a search names at most {MOST_PREFIXES} prefixes"),
        ));
    }
    match hub.rendezvous().find(&search) {
        Ok(records) => Ok(json(&Found { records })),
        Err(reason) => Err(refused(StatusCode::BAD_REQUEST, reason)),
    }
}

async fn vouch(hub: &Hub, request: Request<Body>) -> Answered {
    let Vouch { who } = read(request, HUBS_LIMIT).await?;
    Ok(json(&Vouched { registered: hub.is_registered(&who) }))
}
