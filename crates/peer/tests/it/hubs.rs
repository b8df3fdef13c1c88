//! A hub: told nothing but who calls, and never a friend.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, StatusCode};
use kith_identity::{DeviceId, DialInKey, PairKey};
use kith_peer::{Attempt, Caller, Calls, CarrierKind, Connection, Dialed, Host, Standing};
use kith_wire::{
    Body, Class, Hello, HubAddress, Link, PairTag, Post, Registered, Report, Sealed, ServeFuture, empty_body,
    json_body, paths,
};

use crate::support::{Computer, PATIENCE, Silent};

/// Remembers what it was told.
#[derive(Default)]
struct Noting {
    linked: Mutex<Vec<Hello>>,
    served: Mutex<Vec<String>>,
    seen: Mutex<Vec<(DeviceId, IpAddr)>>,
}

impl Host for Noting {
    fn is_outside(&self, ip: IpAddr) -> bool {
        Silent.is_outside(ip)
    }
    fn hello(&self, to: &DeviceId, seen_from: Option<IpAddr>) -> Hello {
        let mut hello = Silent.hello(to, seen_from);
        hello.report.name = "zelda".into();
        hello.report.internal = vec!["192.168.7.7:4242".into()];
        hello
    }
    fn dial_in_keys(&self, _friend: &DeviceId) -> Vec<DialInKey> {
        Vec::new()
    }
    fn pair_key(&self, _friend: &DeviceId) -> Option<PairKey> {
        None
    }
    fn standing(&self, _friend: &DeviceId, _hello: &Hello) -> Standing {
        Standing::Link
    }
    fn twin(&self, _friend: &DeviceId) {}
    fn linked(&self, _friend: &DeviceId, hello: &Hello, _connection: &Connection) {
        self.linked.lock().unwrap().push(hello.clone());
    }
    fn seen_by_hub(&self, hub: &DeviceId, seen_as: IpAddr) {
        self.seen.lock().unwrap().push((*hub, seen_as));
    }
    fn unlinked(&self, _friend: &DeviceId, _reason: &str) {}
    fn reported(&self, _friend: &DeviceId, _report: Report) {
        self.served.lock().unwrap().push("report".into());
    }
    fn changed(&self, _friend: &DeviceId) {}
    fn serve(&self, caller: Caller, request: Request<Body>) -> ServeFuture {
        self.served.lock().unwrap().push(request.uri().to_string());
        Silent.serve(caller, request)
    }
}

#[derive(Default)]
struct Mail {
    posts: Mutex<Vec<(DeviceId, Post, Option<HubAddress>)>>,
    news: Mutex<Vec<(DeviceId, Registered)>>,
    afresh: AtomicUsize,
}

impl Calls for Mail {
    fn call(&self, _friend: DeviceId, _worst: Class) -> BoxFuture<'static, Result<Dialed, Vec<Attempt>>> {
        Box::pin(std::future::ready(Err(Vec::new())))
    }
    fn posted(&self, carrier: DeviceId, post: Post, handed_by: Option<HubAddress>) -> bool {
        let is_wanted = post.tag == PairTag::from_bytes([1; 16]);
        self.posts.lock().unwrap().push((carrier, post, handed_by));
        is_wanted
    }
    fn registered(&self, hub: DeviceId, news: Registered) {
        self.news.lock().unwrap().push((hub, news));
    }
    fn afresh(&self) {
        self.afresh.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ask(link: &Link, method: Method, path: &str, header: Option<&str>, body: Body) -> StatusCode {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = header {
        request = request.header(paths::HANDED_BY_HEADER, value);
    }
    link.request(request.body(body).unwrap()).await.unwrap().status()
}

fn post(byte: u8) -> Post {
    Post { tag: PairTag::from_bytes([byte; 16]), message: Sealed::from_bytes(vec![5; 40]) }
}

#[tokio::test]
async fn a_hub_is_told_nothing_but_who_calls_and_is_answered_what_every_link_answers() {
    let (noted, known_to_hub) = (Arc::new(Noting::default()), Arc::new(Noting::default()));
    let alice = Computer::with(1, noted.clone());
    let mut hub = Computer::with(9, known_to_hub.clone());
    let mail = Arc::new(Mail::default());
    alice.peers.set_calls(mail.clone());
    hub.befriend(alice.id(), &[]);
    let at = hub.listen("127.0.0.1", alice.id()).await.to_string();
    let mut changes = alice.peers.carriers_changed();
    alice.peers.set_hubs(&[HubAddress { id: hub.id(), at: at.clone() }], |_chosen| true);
    let link = hub.link_to(&alice).await;
    tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();

    let [carrier] = &alice.peers.carriers()[..] else { panic!("one hub") };
    assert_eq!((carrier.id, carrier.kind), (hub.id(), CarrierKind::Hub));
    assert_eq!(carrier.address.as_deref(), Some(at.as_str()));
    assert!(alice.peers.state(&hub.id()).is_none(), "it is no friend");
    let seen = noted.seen.lock().unwrap().clone();
    assert_eq!(seen, [(hub.id(), "127.0.0.1".parse().unwrap())], "from where the hub sees us is noted");
    let heard = known_to_hub.linked.lock().unwrap()[0].clone();
    assert_eq!((heard.report, heard.program), (Report::default(), String::new()));
    assert_eq!(heard.installation.as_bytes(), &[0; 16], "nor which installation it is");

    assert_eq!(ask(&link, Method::GET, paths::PING, None, empty_body()).await, StatusCode::NO_CONTENT);
    for path in [paths::STATE, paths::STORE, paths::REPORT, paths::DIAL_IN, paths::RENDEZVOUS] {
        assert_eq!(ask(&link, Method::GET, path, None, empty_body()).await, StatusCode::NOT_FOUND, "{path}");
    }
    let other = HubAddress { id: alice.id(), at: "11.0.0.1:443".into() };
    let posted = |byte| json_body(&post(byte)).unwrap();
    assert_eq!(ask(&link, Method::POST, paths::POSTED, None, posted(1)).await, StatusCode::NO_CONTENT);
    let by = other.to_string();
    assert_eq!(ask(&link, Method::POST, paths::POSTED, Some(&by), posted(1)).await, StatusCode::NO_CONTENT);
    assert_eq!(ask(&link, Method::POST, paths::POSTED, None, posted(2)).await, StatusCode::NOT_FOUND);
    assert_eq!(
        ask(&link, Method::POST, paths::POSTED, Some("no hub"), posted(1)).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(ask(&link, Method::POST, paths::POSTED, None, empty_body()).await, StatusCode::BAD_REQUEST);
    {
        let posts = mail.posts.lock().unwrap();
        assert_eq!(posts.len(), 3);
        assert_eq!(posts[1], (hub.id(), post(1), Some(other)));
    }
    let news = Registered { prefix_digits: 2, ..Registered::default() };
    let body = json_body(&news).unwrap();
    assert_eq!(ask(&link, Method::POST, paths::REGISTERED, None, body).await, StatusCode::NO_CONTENT);
    assert_eq!(*mail.news.lock().unwrap(), [(hub.id(), news)]);
    let wrong = json_body(&Registered { prefix_digits: 200, ..Registered::default() }).unwrap();
    assert_eq!(ask(&link, Method::POST, paths::REGISTERED, None, wrong).await, StatusCode::BAD_REQUEST);

    assert!(noted.linked.lock().unwrap().is_empty() && noted.served.lock().unwrap().is_empty());

    alice.peers.set_hubs(&[], |_chosen| true);
    tokio::time::timeout(PATIENCE, link.ended()).await.unwrap();
    assert!(alice.peers.carriers().is_empty());
    alice.peers.reauthenticate();
    assert_eq!(mail.afresh.load(Ordering::Relaxed), 1, "whoever searches is told that it is wanted anew");
}

#[tokio::test]
async fn a_friend_carries_messages_and_has_no_say_in_what_a_hub_decides() {
    let (alice, mut bob) = (Computer::new(1), Computer::new(2));
    let mail = Arc::new(Mail::default());
    bob.peers.set_calls(mail.clone());
    bob.befriend(alice.id(), &[]);
    let address = bob.listen("127.0.0.1", alice.id()).await;
    alice.befriend(bob.id(), &[address]);
    let link = alice.link_to(&bob).await;
    bob.link_to(&alice).await;
    let body = json_body(&post(1)).unwrap();
    let by = HubAddress { id: bob.id(), at: "11.0.0.1:443".into() }.to_string();
    assert_eq!(ask(&link, Method::POST, paths::POSTED, Some(&by), body).await, StatusCode::NO_CONTENT);
    assert_eq!(*mail.posts.lock().unwrap(), [(alice.id(), post(1), None)], "only a hub hands on for others");
    let body = json_body(&Registered::default()).unwrap();
    assert_eq!(ask(&link, Method::POST, paths::REGISTERED, None, body).await, StatusCode::NOT_FOUND);
    assert!(mail.news.lock().unwrap().is_empty());
    assert!(alice.peers.carriers().is_empty(), "bob does not say that he helps");
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_tried_again_and_named() {
    let alice = Computer::new(1);
    let hub = Computer::new(9);
    let closed = {
        let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        door.local_addr().unwrap().to_string()
    };
    alice.peers.set_hubs(&[HubAddress { id: hub.id(), at: closed.clone() }], |_chosen| true);
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            let hubs = alice.peers.hubs();
            if let [(id, state)] = &hubs[..]
                && let Some(error) = &state.last_error
            {
                return (*id, error.clone());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (id, error) = told.await.unwrap();
    assert_eq!(id, hub.id());
    assert!(error.starts_with(&format!("{closed}: refused")), "{error}");
}
