//! A friend whose program is not ours: it holds back, dribbles, floods, or lies. He has shown his key, and said hello.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::body::{bytes_body, collect};
use crate::mux::frame::{ACK, FIN, HEADER_BYTES, Header, Kind, RST, SYN};

const MINUTE: Duration = Duration::from_secs(60);

/// Our end, and the raw bytes of his.
struct Hostile {
    link: Link,
    wire: DuplexStream,
    _driver: AbortOnDropHandle<LinkError>,
}

fn hostile(service: impl Serve) -> Hostile {
    let (ours, wire) = tokio::io::duplex(64 * 1024);
    let (link, driver) =
        Link::start(Box::new(ours), Side::Acceptor, Arc::new(service), LinkLimits::default());
    link.welcome();
    Hostile { link, wire, _driver: AbortOnDropHandle::new(tokio::spawn(driver)) }
}

/// Reads what it is sent to its end, and says how long that was.
fn read_all() -> impl Serve {
    |request: Request<Body>| -> ServeFuture {
        Box::pin(async move {
            match collect(request.into_body(), 64 << 20).await {
                Ok(body) => Response::new(bytes_body(body.len().to_string())),
                Err(error) => Response::new(bytes_body(error.to_string())),
            }
        })
    }
}

/// Answers with so many bytes.
fn answer_with(bytes: usize) -> impl Serve {
    move |_: Request<Body>| -> ServeFuture {
        Box::pin(std::future::ready(Response::new(bytes_body(vec![0; bytes]))))
    }
}

impl Hostile {
    async fn send(&mut self, kind: Kind, flags: u16, stream: u32, length: usize, body: &[u8]) {
        let header = Header::new(kind, flags, stream, u32::try_from(length).unwrap());
        // He may have been shut out already.
        drop(self.wire.write_all(&[&header.encode()[..], body].concat()).await);
    }

    async fn data(&mut self, flags: u16, stream: u32, body: &[u8]) {
        self.send(Kind::Data, flags, stream, body.len(), body).await;
    }

    /// The next frame that comes, with its body.
    async fn frame(&mut self) -> (Header, Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        self.wire.read_exact(&mut header).await.unwrap();
        let header = Header::decode(&header).unwrap();
        let length = if header.kind == Kind::Data { header.length as usize } else { 0 };
        let mut body = vec![0; length];
        self.wire.read_exact(&mut body).await.unwrap();
        (header, body)
    }

    /// Reads, and answers pings, until a frame of this stream ends it; what it said, and how long that took.
    async fn until_ended(&mut self, stream: u32) -> (Vec<u8>, Duration) {
        let begun = Instant::now();
        let mut said = Vec::new();
        loop {
            let (header, body) = self.frame().await;
            if header.kind == Kind::Ping && !header.has(ACK) {
                self.send(Kind::Ping, ACK, 0, header.length as usize, &[]).await;
            }
            if header.stream == stream {
                said.extend_from_slice(&body);
                if header.has(FIN) || header.has(RST) {
                    return (said, begun.elapsed());
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_at_a_time_is_not_waited_for() {
    let mut he = hostile(read_all());
    he.data(SYN, 1, b"POST").await;
    let mut dribble = tokio::time::interval(Duration::from_secs(1));
    let begun = Instant::now();
    let ended = loop {
        tokio::select! {
            _ = dribble.tick() => he.data(0, 1, b"x").await,
            (header, _) = he.frame() => if header.stream == 1 && (header.has(FIN) || header.has(RST)) {
                break begun.elapsed();
            },
        }
    };
    assert!(ended <= Duration::from_secs(31), "{ended:?}");
    assert!(!he.link.is_over());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_a_byte_at_a_time_is_not_waited_for() {
    let mut he = hostile(read_all());
    he.data(SYN, 1, b"POST /x HTTP/1.1\r\nhost: kith\r\ncontent-length: 1000000\r\n\r\n").await;
    let mut dribble = tokio::time::interval(Duration::from_secs(1));
    let begun = Instant::now();
    let said = loop {
        tokio::select! {
            _ = dribble.tick() => he.data(0, 1, b"x").await,
            (header, body) = he.frame() => if header.kind == Kind::Data && !body.is_empty() {
                break String::from_utf8(body).unwrap();
            },
        }
    };
    assert!(said.contains("next to nothing was received for 60 s"), "{said}");
    assert!(begun.elapsed() <= MINUTE + Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(!he.link.is_over());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_taken_a_byte_at_a_time_is_broken_off() {
    let mut he = hostile(answer_with(4 << 20));
    he.data(SYN, 1, b"GET /x HTTP/1.1\r\nhost: kith\r\n\r\n").await;
    let mut dribble = tokio::time::interval(Duration::from_secs(1));
    let (begun, mut got) = (Instant::now(), 0);
    let ended = loop {
        tokio::select! {
            _ = dribble.tick() => he.send(Kind::Window, 0, 1, 1, &[]).await,
            (header, body) = he.frame() => {
                got += body.len();
                if header.stream == 1 && header.has(RST) {
                    break begun.elapsed();
                }
            },
        }
    };
    // What he may have at once, and a byte for each that he allowed.
    assert!((256 << 10..=(256 << 10) + 200).contains(&got), "{got}");
    assert!(ended > MINUTE && ended <= 2 * MINUTE, "{ended:?}");
    assert!(!he.link.is_over());
}

#[tokio::test(start_paused = true)]
async fn one_who_asks_and_reads_nothing_is_dropped() {
    let mut he = hostile(answer_with(1 << 20));
    let begun = Instant::now();
    for n in 0..8 {
        he.data(SYN, 1 + 2 * n, b"GET /x HTTP/1.1\r\nhost: kith\r\n\r\n").await;
    }
    let link = he.link.clone();
    // He keeps talking, so he is not silent.
    let talking = async {
        loop {
            he.send(Kind::Window, 0, 1, 1, &[]).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    tokio::select! {
        () = talking => {}
        reason = link.ended() => assert_eq!(reason, LinkError::Slow(MINUTE)),
    }
    assert!(begun.elapsed() >= MINUTE && begun.elapsed() <= MINUTE + 2 * SWEEP, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn pings_that_are_never_read_cost_nothing_and_end_the_link() {
    let mut he = hostile(read_all());
    let link = he.link.clone();
    let flood = async {
        loop {
            for _ in 0..100 {
                he.send(Kind::Ping, SYN, 0, 1, &[]).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = flood => {}
        reason = link.ended() => assert!(matches!(reason, LinkError::Slow(_) | LinkError::Dead(_)), "{reason}"),
    }
}

#[tokio::test]
async fn lies_about_lengths_numbers_and_windows_end_the_link_with_a_reason() {
    let lies: [(Header, &str); 4] = [
        (
            Header::new(Kind::Data, SYN, 1, u32::MAX),
            "it sent a frame of 4294967295 bytes, and 1048576 are allowed",
        ),
        (Header::new(Kind::Data, SYN, 1, 300 << 10), "it sent more on a stream than it was allowed to"),
        (
            Header::new(Kind::Window, SYN, 1, u32::MAX),
            "it allowed more to be sent on a stream than can be counted",
        ),
        (
            Header::new(Kind::Data, SYN, 2, 0),
            "it opened the stream 2, which is not its to open or is open already",
        ),
    ];
    for (lie, reason) in lies {
        let mut he = hostile(read_all());
        he.wire.write_all(&lie.encode()).await.unwrap();
        assert_eq!(he.link.ended().await, LinkError::Broken(reason.into()));
        // He is told that it was his fault.
        assert_eq!(he.frame().await.0, Header::new(Kind::GoAway, 0, 0, 1));
    }
}

#[tokio::test]
async fn one_who_says_that_we_broke_the_rules_is_quoted() {
    let mut he = hostile(read_all());
    he.wire.write_all(&Header::new(Kind::GoAway, 0, 0, 1).encode()).await.unwrap();
    let reason = he.link.ended().await;
    assert_eq!(reason, LinkError::Accused(1));
    assert!(reason.to_string().contains("breaks the rules"), "{reason}");
}

#[tokio::test]
async fn a_great_many_streams_at_once_end_the_link() {
    let mut he = hostile(|_: Request<Body>| -> ServeFuture { Box::pin(std::future::pending()) });
    for n in 0..60 {
        he.data(SYN, 1 + 2 * n, b"GET /x HTTP/1.1\r\nhost: kith\r\n\r\n").await;
    }
    let reason = he.link.ended().await;
    assert_eq!(reason, LinkError::Broken("it opened more than 48 streams at once".into()));
}

#[tokio::test(start_paused = true)]
async fn before_he_is_welcome_four_streams_are_all() {
    let (ours, wire) = tokio::io::duplex(64 * 1024);
    let service = Arc::new(|_: Request<Body>| -> ServeFuture { Box::pin(std::future::pending()) });
    let (link, driver) = Link::start(Box::new(ours), Side::Acceptor, service, LinkLimits::default());
    let mut he = Hostile { link, wire, _driver: AbortOnDropHandle::new(tokio::spawn(driver)) };
    for n in 0..5 {
        he.data(SYN, 1 + 2 * n, b"x").await;
    }
    assert_eq!(he.link.ended().await, LinkError::Broken("it opened more than 4 streams at once".into()));
}

#[tokio::test]
async fn an_honest_exchange_of_raw_frames_is_served() {
    let mut he = hostile(read_all());
    he.data(SYN, 1, b"POST /x HTTP/1.1\r\nhost: kith\r\ncontent-length: 3\r\n\r\nabc").await;
    let (said, _) = he.until_ended(1).await;
    assert!(said.ends_with(b"\r\n\r\n3"), "{}", String::from_utf8_lossy(&said));
}
