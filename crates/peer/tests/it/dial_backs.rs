//! One computer has itself called by the other.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use kith_identity::{DialBackNonce, Identity};
use kith_peer::{AskDialBackError, Asker, Outbound, ask_dial_back, ask_dial_back_from};
use kith_wire::{
    Body, DIAL_BACK_CAPABILITY, DialBackAnswer, DialBackOutcome, DialBackRefusal, Link, LinkLimits,
    ServeFuture, Side, bytes_body, empty_body, paths,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::*;

/// What stands for the asker's listener: it takes one call.
async fn porch(ip: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The bytes of one call.
async fn called(porch: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = timeout(PATIENCE, porch.accept()).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

fn brings(bytes: &[u8], nonce: DialBackNonce) -> bool {
    let name = nonce.server_name();
    bytes.windows(name.len()).any(|window| window == name.as_bytes())
}

fn outcomes(answer: &DialBackAnswer) -> Vec<DialBackOutcome> {
    answer.results.iter().map(|result| result.outcome).collect()
}

async fn assert_called_over(link: &Link) {
    let (porch, address) = porch("127.0.0.1").await;
    let nonce = DialBackNonce::generate();
    let question = [address];
    let asked = ask_dial_back(link, &question, nonce, PATIENCE);
    let (answer, bytes) = tokio::join!(asked, called(&porch));
    let answer = answer.unwrap();
    assert_eq!(outcomes(&answer), [DialBackOutcome::Sent]);
    assert_eq!(answer.of(address.ip()), Some(&answer.results[0]));
    assert!(brings(&bytes, nonce));
    assert!(bytes.len() <= 2048);
}

/// Without a key: the doors here know no tags.
fn asker<'a>(identity: &'a Identity, outbound: &'a Outbound) -> Asker<'a> {
    Asker { identity, keys: &[], outbound }
}

#[tokio::test]
async fn a_friend_calls_back_whoever_of_the_two_has_dialled() {
    let (alice, bob) = alice_and_bob().await;
    assert!(alice.connection_to(&bob).can(DIAL_BACK_CAPABILITY));
    assert!(!alice.connection_to(&bob).can("flying"));
    assert_called_over(&alice.link_to(&bob).await).await;
    assert_called_over(&bob.link_to(&alice).await).await;
}

#[tokio::test]
async fn a_friend_calls_no_address_that_we_do_not_come_from_and_not_again_at_once() {
    let (alice, bob) = alice_and_bob().await;
    let link = alice.link_to(&bob).await;
    let (porch, address) = porch("127.0.0.1").await;
    let ask = |address: SocketAddr| {
        let link = link.clone();
        async move { ask_dial_back(&link, &[address], DialBackNonce::generate(), PATIENCE).await.unwrap() }
    };
    for elsewhere in
        ["127.0.0.2:4242", "192.0.2.1:4242", "[::1]:4242", "0.0.0.0:4242", "255.255.255.255:4242"]
    {
        let answer = ask(elsewhere.parse().unwrap()).await;
        assert_eq!(outcomes(&answer), [DialBackOutcome::NotAllowed], "{elsewhere}");
    }
    let (answer, bytes) = tokio::join!(ask(address), called(&porch));
    assert_eq!((outcomes(&answer), bytes.is_empty()), (vec![DialBackOutcome::Sent], false));
    assert_eq!(outcomes(&ask(address).await), [DialBackOutcome::TooSoon]);
}

#[tokio::test]
async fn what_has_the_wrong_form_is_neither_asked_nor_carried_out() {
    let (alice, bob) = alice_and_bob().await;
    let link = alice.link_to(&bob).await;
    let ask = |addresses: Vec<SocketAddr>| {
        let link = link.clone();
        async move { ask_dial_back(&link, &addresses, DialBackNonce::generate(), PATIENCE).await.unwrap_err() }
    };
    let refused = |error| match error {
        AskDialBackError::Order(refusal) => refusal,
        other => panic!("{other}"),
    };
    assert_eq!(refused(ask(Vec::new()).await), DialBackRefusal::NoAddress);
    let address = "127.0.0.1:22".parse().unwrap();
    assert_eq!(refused(ask(vec![address]).await), DialBackRefusal::PrivilegedPort(22));
    assert_eq!(refused(ask(vec![address; 2]).await), DialBackRefusal::TooManyAddresses);

    let nonce = DialBackNonce::generate();
    for (method, body, status) in [
        (
            Method::POST,
            format!(r#"{{"addresses":["localhost:4242"],"nonce":"{nonce}"}}"#),
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            format!(r#"{{"addresses":["127.0.0.1:22"],"nonce":"{nonce}"}}"#),
            StatusCode::BAD_REQUEST,
        ),
        (Method::POST, r#"{"addresses":["127.0.0.1:4242"],"nonce":"1"}"#.into(), StatusCode::BAD_REQUEST),
        (
            Method::POST,
            format!(
                r#"{{"addresses":["127.0.0.1:4242","127.0.0.1:4243","127.0.0.1:4244"],"nonce":"{nonce}"}}"#
            ),
            StatusCode::BAD_REQUEST,
        ),
        (Method::POST, "x".repeat(5000), StatusCode::BAD_REQUEST),
        (Method::POST, "[]".into(), StatusCode::BAD_REQUEST),
        (Method::GET, String::new(), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let request = Request::builder().method(method).uri(paths::DIAL_BACK).body(bytes_body(body.clone()));
        let answer = link.request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{body}");
    }
}

#[tokio::test]
async fn the_other_family_is_asked_for_over_a_connection_of_its_own_and_the_link_stays() {
    if !has_ipv6() {
        return;
    }
    let (alice, mut bob) = alice_and_bob().await;
    let bobs_other = bob.listen("::1", alice.id()).await;
    let (porch_v4, v4) = porch("127.0.0.1").await;
    let (porch_v6, v6) = porch("::1").await;
    let link = alice.link_to(&bob).await;
    let nonce = DialBackNonce::generate();

    let only_the_links = ask_dial_back(&link, &[v6], nonce, PATIENCE).await.unwrap();
    assert_eq!(outcomes(&only_the_links), [DialBackOutcome::NotAllowed]);

    let question = [v4, v6];
    let outbound = Outbound::default();
    let asked = ask_dial_back_from(
        asker(&alice.identity, &outbound),
        bob.id(),
        bobs_other,
        Some(v6.ip()),
        &question,
        nonce,
        PATIENCE,
    );
    let (answer, by_v4, by_v6) = tokio::join!(Box::pin(asked), called(&porch_v4), called(&porch_v6));
    assert_eq!(outcomes(&answer.unwrap()), [DialBackOutcome::Sent; 2]);
    assert!(brings(&by_v4, nonce) && brings(&by_v6, nonce));
    assert!(!link.is_over());
    assert!(alice.connection_to(&bob).remote.is_ipv4());

    // The connection is over, and with it what it allowed.
    let later = ask_dial_back(&link, &[v6], nonce, PATIENCE).await.unwrap();
    assert_eq!(outcomes(&later), [DialBackOutcome::NotAllowed]);
}

#[tokio::test]
async fn nobody_asks_over_a_connection_of_its_own_who_is_no_friend() {
    let (alice, mut bob) = alice_and_bob().await;
    let bobs = bob.listen("127.0.0.1", alice.id()).await;
    let mallory = identity(3);
    let question = ["127.0.0.1:4242".parse().unwrap()];
    let outbound = Outbound::default();
    let asked = ask_dial_back_from(
        asker(&mallory, &outbound),
        bob.id(),
        bobs,
        None,
        &question,
        DialBackNonce::generate(),
        PATIENCE,
    );
    let error = Box::pin(asked).await.unwrap_err();
    assert!(matches!(error, AskDialBackError::Link(_)), "{error}");
}

#[tokio::test]
async fn an_older_program_a_silent_one_and_a_mad_one_are_told_apart() {
    async fn error_of(answer: fn() -> ServeFuture, patience: std::time::Duration) -> AskDialBackError {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let service = Arc::new(move |_request: Request<Body>| answer());
        let refuse = Arc::new(|_request: Request<Body>| -> ServeFuture {
            Box::pin(std::future::ready(Response::new(empty_body())))
        });
        let (link, driver) = Link::start(Box::new(ours), Side::Dialer, refuse, LinkLimits::default());
        let (_theirs, their_driver) =
            Link::start(Box::new(theirs), Side::Acceptor, service, LinkLimits::default());
        let mut drivers = tokio::task::JoinSet::new();
        drivers.spawn(driver);
        drivers.spawn(their_driver);
        let question = ["11.0.0.1:4242".parse().unwrap()];
        ask_dial_back(&link, &question, DialBackNonce::generate(), patience).await.unwrap_err()
    }
    fn says(status: StatusCode, text: &'static str) -> ServeFuture {
        let mut response = Response::new(bytes_body(text));
        *response.status_mut() = status;
        Box::pin(std::future::ready(response))
    }
    let older = error_of(|| says(StatusCode::NOT_FOUND, ""), PATIENCE).await;
    assert!(matches!(older, AskDialBackError::NotSpoken), "{older}");
    let unwilling = error_of(|| says(StatusCode::FORBIDDEN, ""), PATIENCE).await;
    assert!(matches!(unwilling, AskDialBackError::Refused { status: StatusCode::FORBIDDEN }), "{unwilling}");
    let mad = error_of(|| says(StatusCode::OK, "[1]"), PATIENCE).await;
    assert!(matches!(mad, AskDialBackError::Nonsense(_)), "{mad}");
    let mad = error_of(
        || {
            says(
                StatusCode::OK,
                r#"{"results":[{"address":"a","outcome":"sent","detail":null},
                    {"address":"a","outcome":"sent","detail":null},{"address":"a","outcome":"sent","detail":null}]}"#,
            )
        },
        PATIENCE,
    )
    .await;
    assert!(matches!(mad, AskDialBackError::Nonsense(_)), "{mad}");
    tokio::time::pause();
    let silent = error_of(|| Box::pin(std::future::pending()), PATIENCE).await;
    assert!(matches!(silent, AskDialBackError::NoAnswer(PATIENCE)), "{silent}");
}
