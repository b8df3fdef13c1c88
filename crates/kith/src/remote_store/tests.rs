use std::collections::VecDeque;
use std::sync::Mutex;

use kith_wire::{bytes_body, collect};

use super::operation::MOST_OBJECT_BYTES;
use super::*;

/// A friend who answers with a script and notes what he was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Response<Body>, CarrierError>>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Carrier for Arc<Script> {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CarrierError> {
        let (head, body) = request.into_parts();
        let sent = collect(body, MOST_OBJECT_BYTES).await.unwrap().len();
        self.asked.lock().unwrap().push(format!("{} {} {sent}", head.method, head.uri));
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer,
            // The script is over: the friend hangs.
            None => std::future::pending().await,
        }
    }

    async fn wait(&self, _patience: Duration) {}
}

/// No status of HTTP: the friend is away.
const AWAY: u16 = 0;

fn answer(status: u16, code: Option<&str>, body: &str) -> Result<Response<Body>, CarrierError> {
    if status == AWAY {
        return Err(CarrierError::Away("the other computer closed the connection".into()));
    }
    let mut response = Response::builder().status(status);
    if let Some(code) = code {
        response = response.header(CODE, code);
    }
    Ok(response.body(bytes_body(body.to_owned())).unwrap())
}

fn away() -> Result<Response<Body>, CarrierError> {
    answer(AWAY, None, "")
}

fn store(
    answers: impl IntoIterator<Item = Result<Response<Body>, CarrierError>>,
) -> (RemoteStore<Arc<Script>>, Arc<Script>) {
    let script = Arc::new(Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() });
    (RemoteStore::new(script.clone(), "a1", Patience(Duration::from_secs(600))), script)
}

#[tokio::test(start_paused = true)]
async fn a_friend_who_went_away_is_waited_for_and_asked_again() {
    let (store, script) = store([away(), answer(502, None, ""), answer(200, None, "")]);
    let waiting = store.waiting();
    store.save(FileKind::Pack, &FileId::ZERO, Bytes::from(vec![7; 200_000])).await.unwrap();
    let asked = script.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|line| line == &format!("POST /a1/data/{} 200000", FileId::ZERO)), "{asked:?}");
    assert!(!*waiting.borrow(), "after success nobody waits");
}

#[tokio::test(start_paused = true)]
async fn patience_has_an_end() {
    let (store, _) = store((0..10_000).map(|_| away()));
    let started = Instant::now();
    let error = store.load(FileKind::Index, &FileId::ZERO, None).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(600) && waited < Duration::from_secs(620), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_friend_who_moves_no_byte_is_asked_twice_and_given_up_within_a_minute() {
    let script = Arc::new(Script::default());
    // However long he would be waited for if he were away.
    let store = RemoteStore::new(script.clone(), "a1", Patience(Duration::from_secs(24 * 3600)));
    let started = Instant::now();
    let id = FileId::of(b"a pack");
    let error = store.load(FileKind::Pack, &id, Some(0..10)).await.unwrap_err();
    assert!(matches!(error, StoreError::Stalled { .. }), "{error:?}");
    for said in [format!("pack {}", id.short()), "no byte was moved for 25 s".to_owned()] {
        assert!(error.to_string().contains(&said), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(55), "{:?}", started.elapsed());
    assert_eq!(script.asked.lock().unwrap().len(), 2);

    let started = Instant::now();
    let error = store.save(FileKind::Pack, &id, Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, StoreError::Stalled { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(55), "{:?}", started.elapsed());
    assert_eq!(script.asked.lock().unwrap().len(), 3, "what may have been taken is not sent again");
}

/// Answers everything but one object.
struct AllButOne(FileId);

#[async_trait]
impl Carrier for AllButOne {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CarrierError> {
        if request.uri().path().contains(&self.0.to_string()) {
            return std::future::pending().await;
        }
        answer(200, None, "content")
    }

    async fn wait(&self, _patience: Duration) {}
}

#[tokio::test(start_paused = true)]
async fn one_object_that_does_not_come_is_withheld_while_others_come() {
    let (bad, good) = (FileId::of(b"bad"), FileId::of(b"good"));
    let store = RemoteStore::new(AllButOne(bad), "a1", Patience(Duration::from_secs(600)));
    let others = async {
        loop {
            store.load(FileKind::Index, &good, None).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let error = tokio::select! {
        outcome = store.load(FileKind::Index, &bad, None) => outcome.unwrap_err(),
        never = others => never,
    };
    assert!(matches!(error, StoreError::Withheld { id, .. } if id == bad), "{error:?}");
}

/// A body of one byte a second.
struct Drip(tokio::time::Interval);

impl http_body::Body for Drip {
    type Data = Bytes;
    type Error = kith_wire::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_tick(cx).map(|_| Some(Ok(http_body::Frame::data(Bytes::from_static(b"x")))))
    }
}

/// Sends the beginning of everything, and no more.
struct OnlyBeginnings;

#[async_trait]
impl Carrier for OnlyBeginnings {
    async fn send(&self, _: Request<Body>) -> Result<Response<Body>, CarrierError> {
        let beginning = futures::stream::iter([Ok::<_, kith_wire::BodyError>(http_body::Frame::data(
            Bytes::from(vec![7; 50_000]),
        ))]);
        let body = futures::StreamExt::chain(beginning, futures::stream::pending());
        let response = Response::new(kith_wire::boxed(Streamed(Box::pin(body))));
        Ok(response)
    }

    async fn wait(&self, _patience: Duration) {}
}

type Frames = dyn futures::Stream<Item = Result<http_body::Frame<Bytes>, kith_wire::BodyError>> + Send;

struct Streamed(std::pin::Pin<Box<Frames>>);

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = kith_wire::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.0.as_mut().poll_next(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn beginnings_without_an_end_are_no_progress() {
    let store = RemoteStore::new(OnlyBeginnings, "a1", Patience(Duration::from_secs(600)));
    let started = Instant::now();
    let error = store.load(FileKind::Pack, &FileId::of(b"one"), None).await.unwrap_err();
    assert!(matches!(error, StoreError::Stalled { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(55), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_friend_who_stalls_at_every_other_object_is_soon_given_up() {
    let bad = FileId::of(b"bad");
    let store = RemoteStore::new(AllButOne(bad), "a1", Patience(Duration::from_secs(600)));
    let others = async {
        loop {
            store.load(FileKind::Index, &FileId::ZERO, None).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let started = Instant::now();
    let tried = async {
        for withheld in 0..MOST_GIVEN_UP {
            let error = store.load(FileKind::Pack, &bad, Some(0..10)).await.unwrap_err();
            assert!(matches!(error, StoreError::Withheld { .. }), "{withheld}: {error:?}");
        }
        store.load(FileKind::Pack, &bad, Some(0..10)).await.unwrap_err()
    };
    let error = tokio::select! {
        error = tried => error,
        never = others => never,
    };
    assert!(matches!(error, StoreError::Stalled { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(130), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_is_no_progress() {
    let drip = Drip(tokio::time::interval(Duration::from_secs(1)));
    let (store, _) = store([Ok(Response::new(kith_wire::boxed(drip)))]);
    let started = Instant::now();
    let error = store.load(FileKind::Index, &FileId::ZERO, None).await.unwrap_err();
    assert!(matches!(error, StoreError::Stalled { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(55), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_always_breaks_is_not_tried_for_ever() {
    let broken = || Err(CarrierError::Broken("the exchange failed: invalid HTTP version".into()));
    let (store, script) = store((0..10_000).map(|_| broken()));
    let error = store.load(FileKind::Pack, &FileId::ZERO, Some(0..10)).await.unwrap_err();
    assert!(matches!(error, StoreError::Withheld { .. }), "{error:?}");
    assert_eq!(script.asked.lock().unwrap().len(), MOST_BREAKS);
}

/// 64 KiB a second for so many seconds; then the body breaks off, or nothing more comes.
fn slow(seconds: u64, breaks_off: bool) -> Response<Body> {
    let steps = futures::stream::unfold(0, move |second| async move {
        if second < seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let piece = http_body::Frame::data(Bytes::from(vec![7; 64 * 1024]));
            return Some((Ok::<_, kith_wire::BodyError>(piece), second + 1));
        }
        if !breaks_off {
            std::future::pending::<()>().await;
        }
        Some((Err("the link was closed".into()), second))
    });
    Response::new(kith_wire::boxed(Streamed(Box::pin(steps))))
}

/// Reads an object after these answers.
async fn read_after(
    answers: impl IntoIterator<Item = Result<Response<Body>, CarrierError>>,
) -> (Result<Bytes, StoreError>, Duration) {
    let (store, _) = store(answers);
    let started = Instant::now();
    let read = store.load(FileKind::Pack, &FileId::of(b"one"), Some(0..10_000_000)).await;
    (read, started.elapsed())
}

fn whole() -> Response<Body> {
    Response::builder().status(206).body(bytes_body(vec![7_u8; 10_000_000])).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_that_breaks_off_late_is_asked_for_again_when_the_friend_is_back() {
    let answers = std::iter::once(Ok(slow(55, true))).chain((0..6).map(|_| away())).chain([Ok(whole())]);
    let (read, _) = read_after(answers).await;
    assert_eq!(read.unwrap().len(), 10_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_falls_silent_is_waited_for_until_the_friend_is_back() {
    // The read stalls; the link is found dead during the next try; then the friend is away for a while.
    let answers = [slow(55, false), slow(0, true)]
        .map(Ok)
        .into_iter()
        .chain((0..6).map(|_| away()))
        .chain([Ok(whole())]);
    let (read, _) = read_after(answers).await;
    assert_eq!(read.unwrap().len(), 10_000_000);
}

#[tokio::test(start_paused = true)]
async fn time_away_does_not_count_as_silence() {
    let answers = (0..40).map(|_| away()).chain([answer(503, None, "later"), Ok(whole())]);
    let (read, took) = read_after(answers).await;
    assert_eq!(read.unwrap().len(), 10_000_000);
    assert!(took > MOST_QUIET, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn stalls_and_breaks_together_take_no_longer_than_a_minute_either() {
    // Nothing for 25 s, a break after 20 s, and nothing again.
    let late_break = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Err::<http_body::Frame<Bytes>, kith_wire::BodyError>("the link was closed".into())
    };
    let body = Streamed(Box::pin(futures::stream::once(late_break)));
    let (read, took) = read_after([Ok(slow(0, false)), Ok(Response::new(kith_wire::boxed(body)))]).await;
    let error = read.unwrap_err();
    assert!(matches!(error, StoreError::Stalled { .. }), "{error:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_friend_who_only_says_later_is_given_up_within_a_minute() {
    let (store, _) = store((0..10_000).map(|_| answer(503, None, "later")));
    let started = Instant::now();
    let error = store.list(FileKind::Pack).await.unwrap_err();
    assert!(matches!(error, StoreError::Stalled { .. }), "{error:?}");
    assert!(error.to_string().contains("the list of the pack files"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_object_that_is_not_handed_over_does_not_stand_for_all() {
    let check = async |status, code, one_of_many: bool| {
        let (store, _) = store([answer(status, code, "\u{1b}[2Jnothing for you")]);
        let error = store.load(FileKind::Pack, &FileId::ZERO, Some(0..10)).await.unwrap_err();
        assert_eq!(error.is_about_the_object(), one_of_many, "{status}: {error:?}");
    };
    check(500, Some("storage-failed"), true).await;
    check(301, None, true).await;
    check(200, None, true).await;
    check(404, None, true).await;
    check(403, None, false).await;
    check(401, None, false).await;
}

#[tokio::test]
async fn refusals_keep_their_meaning_and_their_words() {
    let body = r#"{"code":"x","message":"100 of 100 GB are used"}"#;
    let check = async |status, code, expected: fn(&StoreError) -> bool| {
        let (store, _) = store([answer(status, code, body)]);
        let error = store.save(FileKind::Pack, &FileId::ZERO, Bytes::from_static(b"x")).await.unwrap_err();
        assert!(expected(&error), "{status} {code:?}: {error:?}");
    };
    check(
        507,
        Some("quota-exceeded"),
        |e| matches!(e, StoreError::QuotaExceeded { message } if message == "100 of 100 GB are used"),
    )
    .await;
    check(507, Some("disk-full"), |e| matches!(e, StoreError::Full)).await;
    check(409, Some("superseded"), |e| matches!(e, StoreError::Superseded { since_ms: None })).await;
    check(400, Some("hash-mismatch"), |e| matches!(e, StoreError::Corrupt { .. })).await;
    check(
        403,
        Some("not-accepted"),
        |e| matches!(e, StoreError::Refused { reason, .. } if reason == "100 of 100 GB are used"),
    )
    .await;
    check(404, Some("not-found"), |e| matches!(e, StoreError::NotFound { .. })).await;
}

#[tokio::test]
async fn an_answer_of_another_length_than_asked_for_is_not_taken() {
    let (store, _) = store([answer(206, None, "short")]);
    let error = store.load(FileKind::Pack, &FileId::ZERO, Some(0..10)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_longer_than_the_range_asked_for_is_still_understood() {
    let body = r#"{"code":"not-found","message":"there is no such pack in this archive"}"#;
    let (store, script) = store([answer(404, Some("not-found"), body)]);
    let error = store.load(FileKind::Pack, &FileId::ZERO, Some(0..10)).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    assert_eq!(script.asked.lock().unwrap().len(), 1, "nobody was taken to be away");
}

#[tokio::test]
async fn an_archive_is_asked_for_before_its_config_is_stored() {
    let (store, script) = store([answer(200, None, ""), answer(200, None, "")]);
    store.save(FileKind::Config, &FileId::ZERO, Bytes::from_static(b"sealed")).await.unwrap();
    let asked = script.asked.lock().unwrap().clone();
    assert_eq!(asked, ["POST /a1/?create=true 0", "POST /a1/config 6"]);
}

#[tokio::test]
async fn a_list_leaves_out_names_of_other_tools() {
    let id = "ab".repeat(32);
    let list = format!(r#"[{{"name":"{id}","size":5}},{{"name":"notes.txt","size":9}}]"#);
    let (store, _) = store([answer(200, None, &list)]);
    let files = store.list(FileKind::Pack).await.unwrap();
    assert_eq!(files, [StoredFile { id: id.parse().unwrap(), size: 5 }]);
}
