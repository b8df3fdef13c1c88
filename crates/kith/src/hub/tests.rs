use std::sync::{Arc, Barrier};

use http::{Request, Response, StatusCode};
use kith_identity::{DeviceId, DialInSecret, Identity, IdentitySeed};
use kith_wire::{
    Body, Link, LinkError, LinkLimits, RENDEZVOUS_LIMIT, Registered, ServeFuture, Side, collect, empty_body,
};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::admitted::Admitted;
use super::core::Hub;
use super::seats::{Number, Seated};
use crate::home::Home;
use crate::settings;

/// A hub that listens nowhere.
pub(super) fn hub(settings: settings::Hub) -> (TempDir, Arc<Hub>) {
    let directory = tempfile::tempdir().unwrap();
    let key = DialInSecret::from_bytes([3; 32]).hub_token_key();
    let admitted = Admitted::load(&Home::at(directory.path()), key).unwrap();
    let identity = Identity::from_seed(&IdentitySeed::from_bytes([9; 32])).unwrap();
    let hub = Hub::new(Arc::new(identity), admitted, settings).unwrap();
    hub.set_port(4287);
    (directory, hub)
}

/// The hub's end of a connection that has not said hello, and the other end.
fn comes(hub: &Hub, who: DeviceId) -> (Number, AbortOnDropHandle<LinkError>, DuplexStream) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let number = hub.next_number();
    let (link, driver) =
        Link::start(Box::new(near), Side::Acceptor, Arc::new(nothing), LinkLimits::default());
    hub.enter(number, who, link);
    (number, AbortOnDropHandle::new(tokio::spawn(driver)), far)
}

fn nothing(_request: Request<Body>) -> ServeFuture {
    Box::pin(std::future::ready(with(StatusCode::NOT_FOUND)))
}

fn with(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(empty_body());
    *answer.status_mut() = status;
    answer
}

fn sits(hub: &Hub, number: Number, who: DeviceId) -> Seated<()> {
    hub.seat(number, who, "203.0.113.1:50000".parse().unwrap(), "198.51.100.1:4287".parse().unwrap())
}

/// A computer that has said hello, for as long as this lives.
pub(super) struct Computer {
    _driver: AbortOnDropHandle<LinkError>,
    far: Option<DuplexStream>,
    _far_driver: Option<AbortOnDropHandle<LinkError>>,
}

impl Computer {
    /// One that never answers.
    pub(super) fn dead(hub: &Hub, who: DeviceId) -> Self {
        let (number, driver, far) = comes(hub, who);
        assert_eq!(sits(hub, number, who), Seated::Taken(Vec::new()));
        Self { _driver: driver, far: Some(far), _far_driver: None }
    }

    /// One that takes news.
    pub(super) fn alive(hub: &Hub, who: DeviceId) -> (Self, mpsc::Receiver<Registered>) {
        let mut computer = Self::dead(hub, who);
        let (sender, news) = mpsc::channel(16);
        let service = Arc::new(move |request: Request<Body>| -> ServeFuture {
            let sender = sender.clone();
            Box::pin(async move {
                let body = collect(request.into_body(), RENDEZVOUS_LIMIT).await.unwrap();
                sender.send(serde_json::from_slice(&body).unwrap()).await.unwrap();
                with(StatusCode::NO_CONTENT)
            })
        });
        let far = Box::new(computer.far.take().unwrap());
        let (_link, driver) = Link::start(far, Side::Dialer, service, LinkLimits::default());
        computer._far_driver = Some(AbortOnDropHandle::new(tokio::spawn(driver)));
        (computer, news)
    }
}

/// Somebody new each time.
fn who(n: u32) -> DeviceId {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    DeviceId::from_bytes(id)
}

/// Does both at the same time.
fn at_once(one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            barrier.wait();
            one();
        });
        barrier.wait();
        other();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_seat_is_connected_and_nobody_else_however_hello_and_goodbye_meet() {
    let (_directory, hub) = hub(settings::Hub::default());
    let connected = || hub.rendezvous().status().connected;
    for n in 0..400 {
        // The link ends while its hello is being answered.
        let (number, _driver, _far) = comes(&hub, who(n));
        at_once(|| drop(sits(&hub, number, who(n))), || hub.left(number, &who(n)));
        hub.left(number, &who(n));
        assert_eq!((hub.count().0, connected()), (0, 0), "a computer that is gone counts as connected");
    }
    for n in 0..400 {
        // An older link ends while the hello of the newer one is being answered.
        let (older, _driver, _far) = comes(&hub, who(n));
        sits(&hub, older, who(n));
        let (newer, _driver, _far) = comes(&hub, who(n));
        at_once(|| drop(sits(&hub, newer, who(n))), || hub.left(older, &who(n)));
        assert_eq!((hub.count().0, connected()), (1, 1), "a computer that is here counts as gone");
        hub.left(newer, &who(n));
        assert_eq!((hub.count().0, connected()), (0, 0));
    }
}
