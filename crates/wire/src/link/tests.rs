use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use http_body_util::{BodyExt, StreamBody};

use crate::body::{bytes_body, collect, empty_body};

fn echo() -> Arc<dyn Serve> {
    Arc::new(|request: Request<Body>| -> ServeFuture {
        Box::pin(async move {
            let body = collect(request.into_body(), 64 << 20).await.unwrap_or_default();
            Response::new(bytes_body(body))
        })
    })
}

struct Pair {
    dialer: Link,
    acceptor: Link,
    drivers: Vec<JoinHandle<LinkError>>,
}

fn pair_with(limits: LinkLimits, dialer: Arc<dyn Serve>, acceptor: Arc<dyn Serve>) -> Pair {
    pair_of(tokio::io::duplex(256 * 1024), limits, dialer, acceptor)
}

fn pair_over(pipe_bytes: usize) -> Pair {
    pair_of(tokio::io::duplex(pipe_bytes), LinkLimits::default(), echo(), echo())
}

fn pair_of(
    (a, b): (DuplexStream, DuplexStream),
    limits: LinkLimits,
    dialer: Arc<dyn Serve>,
    acceptor: Arc<dyn Serve>,
) -> Pair {
    let (a, drive_a) = Link::start(Box::new(a), Side::Dialer, dialer, limits.clone());
    let (b, drive_b) = Link::start(Box::new(b), Side::Acceptor, acceptor, limits);
    b.welcome();
    Pair { dialer: a, acceptor: b, drivers: vec![tokio::spawn(drive_a), tokio::spawn(drive_b)] }
}

fn pair() -> Pair {
    pair_with(LinkLimits::default(), echo(), echo())
}

fn post(body: impl Into<Bytes>) -> Request<Body> {
    Request::post("/x").body(bytes_body(body)).unwrap()
}

async fn round_trip(link: &Link, body: Vec<u8>) -> Bytes {
    let answer = link.request(post(body)).await.unwrap();
    collect(answer.into_body(), 64 << 20).await.unwrap()
}

#[tokio::test]
async fn both_ends_ask_and_answer_at_the_same_time() {
    let pair = pair();
    let big: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let (there, back) =
        tokio::join!(round_trip(&pair.dialer, big.clone()), round_trip(&pair.acceptor, big.clone()));
    assert_eq!(there, big);
    assert_eq!(back, big);
}

#[tokio::test]
async fn more_requests_than_streams_wait_for_their_turn() {
    let busiest = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let (seen, current) = (busiest.clone(), now);
    let service: Arc<dyn Serve> = Arc::new(move |_request: Request<Body>| -> ServeFuture {
        let (seen, current) = (seen.clone(), current.clone());
        Box::pin(async move {
            seen.fetch_max(current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            current.fetch_sub(1, Ordering::SeqCst);
            Response::new(empty_body())
        })
    });
    let limits = LinkLimits { open_streams: 4, ..LinkLimits::default() };
    let pair = pair_with(limits, echo(), service);
    let all = futures::future::join_all((0..200).map(|_| pair.dialer.request(post("")))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(busiest.load(Ordering::SeqCst) <= 4);
}

#[tokio::test]
async fn closing_one_end_is_an_orderly_end_for_the_other() {
    let pair = pair();
    assert_eq!(round_trip(&pair.dialer, vec![1]).await, vec![1]);
    pair.dialer.close("the person asked");
    assert_eq!(pair.dialer.ended().await, LinkError::ClosedHere("the person asked".into()));
    assert_eq!(pair.acceptor.ended().await, LinkError::ClosedByPeer);
    assert!(pair.acceptor.is_over());
    assert_eq!(pair.acceptor.request(post("")).await.unwrap_err(), LinkError::ClosedByPeer);
}

#[tokio::test]
async fn the_end_of_the_other_program_ends_waiting_requests() {
    let never: Arc<dyn Serve> =
        Arc::new(|_request: Request<Body>| -> ServeFuture { Box::pin(std::future::pending()) });
    let pair = pair_with(LinkLimits::default(), echo(), never);
    let waiting = tokio::spawn({
        let link = pair.dialer.clone();
        async move { link.request(post("")).await.map(|_| ()) }
    });
    tokio::task::yield_now().await;
    pair.drivers[1].abort();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, LinkError::ClosedByPeer | LinkError::Broken(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_despite_pings_is_dead_after_thirty_seconds() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (link, driver) = Link::start(Box::new(ours), Side::Dialer, echo(), LinkLimits::default());
    tokio::spawn(driver);
    let started = Instant::now();
    assert_eq!(link.ended().await, LinkError::Dead(Duration::from_secs(30)));
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited <= Duration::from_secs(36), "{waited:?}");
    drop(theirs);
}

#[tokio::test(start_paused = true)]
async fn two_idle_ends_keep_each_other_alive() {
    let pair = pair();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!pair.dialer.is_over() && !pair.acceptor.is_over());
    assert!(pair.dialer.silent_for() < Duration::from_secs(30));
}

#[tokio::test]
async fn dropping_an_answer_unread_leaves_the_link_usable() {
    let pair = pair();
    for _ in 0..100 {
        drop(pair.dialer.request(post(vec![0; 200_000])).await.unwrap());
    }
    assert_eq!(round_trip(&pair.dialer, vec![9; 10]).await, vec![9; 10]);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_thousand_answers_unread_makes_requests_wait_and_breaks_nothing() {
    let pair = pair();
    for _ in 0..1_000 {
        drop(pair.dialer.request(post(vec![0; 200_000])).await.unwrap());
    }
    assert_eq!(round_trip(&pair.dialer, vec![9; 10]).await, vec![9; 10]);
}

#[tokio::test]
async fn ends_that_send_much_and_owe_each_other_answers_to_pings_both_go_on() {
    // A narrow pipe, which is full in both directions all the time.
    let pair = pair_over(16 * 1024);
    let talk = async |link: &Link| {
        for _ in 0..8 {
            assert_eq!(round_trip(link, vec![7; 3 << 20]).await.len(), 3 << 20);
        }
    };
    let ping = async {
        loop {
            for link in [&pair.dialer, &pair.acceptor] {
                link.mux.lock().send_ping(Instant::now());
            }
            tokio::task::yield_now().await;
        }
    };
    let talks = async { tokio::join!(talk(&pair.dialer), talk(&pair.acceptor)) };
    tokio::select! {
        _both = talks => {}
        () = ping => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("they wait for each other"),
    }
}

#[tokio::test]
async fn a_link_is_closed_in_an_orderly_way_in_the_middle_of_long_transfers() {
    let Pair { dialer, acceptor, .. } = pair_over(16 * 1024);
    let chunks = futures::stream::repeat_with(|| Ok(http_body::Frame::data(Bytes::from(vec![1; 64 << 10]))));
    let endless = Request::post("/x").body(StreamBody::new(chunks).boxed_unsync()).unwrap();
    let asking = tokio::spawn({
        let link = dialer.clone();
        async move { link.request(endless).await.map(drop) }
    });
    while acceptor.traffic().received < 4 << 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    dialer.close("enough");
    assert_eq!(acceptor.ended().await, LinkError::ClosedByPeer);
    assert_eq!(dialer.ended().await, LinkError::ClosedHere("enough".into()));
    assert_eq!(asking.await.unwrap(), Err(LinkError::ClosedHere("enough".into())));
}

#[tokio::test]
async fn garbage_instead_of_frames_breaks_the_link_and_nothing_else() {
    use tokio::io::AsyncWriteExt;
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let (link, driver) = Link::start(Box::new(ours), Side::Acceptor, echo(), LinkLimits::default());
    tokio::spawn(driver);
    theirs.write_all(&[0xff; 4096]).await.unwrap();
    assert!(matches!(link.ended().await, LinkError::Broken(_)));
}

/// The same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> usize {
        // xorshift64, Marsaglia 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below).unwrap()
    }
}

#[tokio::test]
async fn exchanges_of_all_sizes_arrive_whole_through_pipes_of_all_widths() {
    let mut numbers = Numbers(7);
    for width in [1, 11, 13, 97, 4_096, 70_001, 1 << 20] {
        let (a, b) = tokio::io::duplex(width);
        let (a, drive_a) = Link::start(Box::new(a), Side::Dialer, echo(), LinkLimits::default());
        let (b, drive_b) = Link::start(Box::new(b), Side::Acceptor, echo(), LinkLimits::default());
        b.welcome();
        let _drivers = [drive_a, drive_b].map(|driver| AbortOnDropHandle::new(tokio::spawn(driver)));
        let most = if width < 100 { 4 } else { 1_000_000 };
        let exchanges = (0..60).map(|n| {
            let link = if n % 2 == 0 { a.clone() } else { b.clone() };
            let most = [1, 200, 20_000, most][numbers.next(4)];
            let body: Vec<u8> = (0..numbers.next(most)).map(|_| numbers.next(256).to_le_bytes()[0]).collect();
            // Some are given up in the middle.
            let given_up = numbers.next(5) == 0;
            async move {
                if given_up {
                    drop(tokio::time::timeout(Duration::from_millis(1), link.request(post(body))).await);
                } else {
                    assert!(round_trip(&link, body.clone()).await == body);
                }
            }
        });
        futures::future::join_all(exchanges).await;
        assert!(!a.is_over() && !b.is_over());
    }
}
mod moving;
