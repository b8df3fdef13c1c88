//! Work that moves from one link to another.

use super::*;

/// Answers when told to, and says over which link it was asked.
fn slow(name: &'static str, ready: watch::Receiver<bool>) -> Arc<dyn Serve> {
    Arc::new(move |request: Request<Body>| -> ServeFuture {
        let mut ready = ready.clone();
        Box::pin(async move {
            let body = collect(request.into_body(), 64 << 20).await.unwrap();
            if request_is_patient(&body) {
                drop(ready.wait_for(|ready| *ready).await);
            }
            Response::new(bytes_body([name.as_bytes(), &body].concat()))
        })
    })
}

fn request_is_patient(body: &[u8]) -> bool {
    body.starts_with(b"wait")
}

async fn ask(link: &Link, body: &'static str) -> Result<Bytes, LinkError> {
    let answer = link.request(post(body)).await?;
    Ok(collect(answer.into_body(), 64 << 20).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_runs_finishes_on_the_old_link_and_what_waits_goes_to_the_new_one() {
    let (go, ready) = watch::channel(false);
    let limits = LinkLimits { open_streams: 4, ..LinkLimits::default() };
    let old = pair_with(limits, slow("old ", ready.clone()), slow("old ", ready.clone()));
    let new = pair_with(LinkLimits::default(), slow("new ", ready.clone()), slow("new ", ready));
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let link = old.dialer.clone();
            tokio::spawn(async move { ask(&link, "wait").await })
        })
        .collect();
    let back = tokio::spawn({
        let link = old.acceptor.clone();
        async move { ask(&link, "wait back").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    old.dialer.drain("a better way", Some(new.dialer.clone()));
    old.acceptor.drain("a better way", Some(new.acceptor.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!old.dialer.is_over(), "something runs on it");
    assert_eq!(ask(&old.dialer, "x").await.unwrap(), "new x");
    go.send_replace(true);
    let mut answers = Vec::new();
    for asked in asking {
        answers.push(asked.await.unwrap().unwrap());
    }
    let on_the_old_one = answers.iter().filter(|answer| *answer == "old wait").count();
    assert_eq!((on_the_old_one, answers.len()), (4, 20), "{answers:?}");
    assert_eq!(back.await.unwrap().unwrap(), "old wait back");
    let over = tokio::time::timeout(Duration::from_secs(8), old.dialer.ended()).await.unwrap();
    assert!(
        matches!(&over, LinkError::ClosedByPeer) || over == LinkError::ClosedHere("a better way".into()),
        "{over:?}"
    );
    assert_eq!(ask(&old.dialer, "x").await.unwrap(), "new x", "also when it is over");
    assert!(!new.dialer.is_over() && !new.acceptor.is_over());
}

#[tokio::test]
async fn a_great_exchange_crosses_the_move_whole() {
    let old = pair_over(16 * 1024);
    let new = pair();
    let body: Vec<u8> = (0..8_000_000_u32).map(|i| (i >> 3).to_le_bytes()[0]).collect();
    let asking = tokio::spawn({
        let (link, body) = (old.dialer.clone(), body.clone());
        async move { round_trip(&link, body).await }
    });
    while old.acceptor.traffic().received < 1 << 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    old.acceptor.drain("a better way", Some(new.acceptor.clone()));
    old.dialer.drain("a better way", Some(new.dialer.clone()));
    assert_eq!(round_trip(&old.dialer, vec![5; 10]).await, vec![5; 10]);
    assert!(asking.await.unwrap() == body);
    assert!(new.dialer.traffic().sent < 100_000, "nothing of it was sent again");
}

#[tokio::test(start_paused = true)]
async fn what_the_other_side_begins_before_it_hears_of_the_move_is_served() {
    let pair = pair();
    pair.dialer.drain("a better way", None);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(round_trip(&pair.acceptor, vec![1; 100_000]).await.len(), 100_000);
    }
    assert_eq!(
        pair.dialer.request(post("")).await.unwrap_err(),
        LinkError::ClosedHere("a better way".into()),
        "nothing new goes out, and there is no other link"
    );
    assert_eq!(pair.acceptor.ended().await, LinkError::ClosedByPeer);
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_is_broken_off_after_ten_minutes() {
    let never: Arc<dyn Serve> =
        Arc::new(|_request: Request<Body>| -> ServeFuture { Box::pin(std::future::pending()) });
    let pair = pair_with(LinkLimits::default(), echo(), never);
    let asking = tokio::spawn({
        let link = pair.dialer.clone();
        async move { link.request(post("")).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    pair.dialer.drain("a better way", None);
    assert_eq!(pair.dialer.ended().await, LinkError::ClosedHere("a better way".into()));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(600) && took < Duration::from_secs(605), "{took:?}");
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_is_known_from_pings() {
    let pair = pair();
    assert_eq!(pair.dialer.round_trip(), None);
    pair.dialer.measure();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(pair.dialer.round_trip(), Some(Duration::ZERO), "in memory, in no time");
    assert_eq!(pair.acceptor.round_trip(), None, "who did not ask");
}
