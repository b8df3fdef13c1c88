//! PCP and NAT-PMP against scripted routers on loopback: what is lost, late, false, too much or missing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kith_nat::clients::{nat_pmp, pcp};
use kith_nat::{
    Answer, Epoch, Found, Grant, Lifetime, MapRequest, Nonce, RefusalKind, Request, UnmapRequest,
};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const NONCE: Nonce = Nonce([7; 12]);
const PORT: u16 = 4242;

/// The two protocols under test: how they are asked, and how a router answers in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Pcp,
    NatPmp,
}

const BOTH: [Spoken; 2] = [Spoken::Pcp, Spoken::NatPmp];

impl Spoken {
    async fn ask(self, server: SocketAddr, request: Request) -> Answer {
        match self {
            Self::Pcp => pcp::ask_at(HERE, server, request).await,
            Self::NatPmp => nat_pmp::ask_at(HERE, server, request).await,
        }
    }

    /// What a router answers that grants `external_port` for 600 s, since 5 s.
    fn grants(self, question: &[u8], external_port: u16) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[1] |= 0x80;
        match self {
            Self::Pcp => {
                answer[4..8].copy_from_slice(&600_u32.to_be_bytes());
                answer[8..12].copy_from_slice(&5_u32.to_be_bytes());
                answer[12..24].fill(0);
                answer[42..44].copy_from_slice(&external_port.to_be_bytes());
            }
            Self::NatPmp => {
                answer[4..8].copy_from_slice(&5_u32.to_be_bytes());
                answer[8..10].copy_from_slice(&question[4..6]);
                answer[10..12].copy_from_slice(&external_port.to_be_bytes());
                answer.extend(600_u32.to_be_bytes());
            }
        }
        answer
    }

    /// What a router says who is only there, in answer to `Discover`.
    fn is_there(self) -> Vec<u8> {
        match self {
            Self::Pcp => [&[2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &[0; 12]].concat(),
            Self::NatPmp => vec![0, 128, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0],
        }
    }

    /// Its words for "not allowed", in answer to a mapping.
    fn refuses(self, question: &[u8]) -> Vec<u8> {
        let mut answer = self.grants(question, 0);
        answer[3] = 2;
        answer
    }
}

fn map() -> Request {
    Request::Map(MapRequest {
        internal_port: PORT,
        external_port: PORT,
        external_ip: None,
        lifetime: Lifetime::Seconds(3600),
        nonce: NONCE,
        label: "Kith".to_owned(),
        any_port: true,
        pinhole: None,
    })
}

fn unmap() -> Request {
    Request::Unmap(UnmapRequest {
        internal_port: PORT,
        external_port: PORT,
        nonce: NONCE,
        pinhole: None,
        former: None,
    })
}

fn granted(external_port: u16) -> Answer {
    Answer::Mapped(Grant {
        external_port,
        external_ip: None,
        lifetime: Lifetime::Seconds(600),
        epoch: Some(Epoch(5)),
        pinhole: None,
    })
}

/// A router whose script is `play`: called with its socket and the number, bytes and sender of each question.
struct Router {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Router {
    async fn new<F, Play>(play: Play) -> Self
    where
        Play: Fn(Arc<UdpSocket>, usize, Vec<u8>, SocketAddr) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let socket = Arc::new(UdpSocket::bind(HERE).await.unwrap());
        let address = socket.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut buffer = [0; 2048];
            let mut number = 0;
            // An error is the news that an earlier answer came too late for its asker.
            loop {
                if let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                    number += 1;
                    play(Arc::clone(&socket), number, buffer[..length].to_vec(), from).await;
                }
            }
        });
        Self { address, _task: task }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    socket.send_to(bytes, to).await.unwrap();
}

/// Runs the same check for both protocols at once.
async fn with_both<F: Future<Output = ()>>(check: impl Fn(Spoken) -> F) {
    let [pcp, nat_pmp] = BOTH.map(check);
    tokio::join!(pcp, nat_pmp);
}

/// Runs a check until nothing came too late in two runs of three. What else it asserts holds in every run: the machine is busy by
/// turns, a client that is slow is slow most times. After two runs that agree there is no third.
async fn in_time<F: Future<Output = Vec<String>>>(check: impl Fn() -> F) {
    let (mut in_time, mut runs) = (0, Vec::new());
    while in_time < 2 {
        let late = check().await;
        if late.is_empty() {
            in_time += 1;
        } else {
            runs.push(late);
        }
        assert!(runs.len() < 2, "too late in two runs: {runs:?}");
    }
}

/// What is to be said of something that took longer than it should.
fn later(what: &str, took: Duration, longest: Duration) -> Option<String> {
    (took >= longest).then(|| format!("{what} took {took:?}, not less than {longest:?}"))
}

#[tokio::test]
async fn an_answer_to_the_first_question_is_heard() {
    with_both(|spoken| async move {
        let router = Router::new(move |socket, number, question, from| async move {
            send(&socket, &spoken.grants(&question, 5000 + number as u16), from).await;
        });
        assert_eq!(spoken.ask(router.await.address, map()).await, granted(5001), "{spoken:?}");
    })
    .await;
}

#[tokio::test]
async fn lost_questions_are_asked_again() {
    async fn check(spoken: Spoken) -> Vec<String> {
        let router = Router::new(move |socket, number, question, from| async move {
            if number >= 3 {
                send(&socket, &spoken.grants(&question, 5000 + number as u16), from).await;
            }
        });
        let began = Instant::now();
        assert_eq!(spoken.ask(router.await.address, map()).await, granted(5003), "{spoken:?}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(750), "{spoken:?}: {took:?}");
        later("the third answer", took, Duration::from_millis(1700)).into_iter().collect()
    }
    with_both(|spoken| in_time(move || check(spoken))).await;
}

#[tokio::test]
async fn a_router_that_is_there_is_found() {
    with_both(|spoken| async move {
        let router = Router::new(move |socket, _, _, from| async move {
            send(&socket, &spoken.is_there(), from).await;
        });
        let found = Found { epoch: Some(Epoch(5)), any_port: true, ..Found::default() };
        assert_eq!(spoken.ask(router.await.address, Request::Discover).await, Answer::Found(found));
    })
    .await;
}

#[tokio::test]
async fn what_does_not_answer_the_question_is_passed_over() {
    with_both(|spoken| async move {
        let router = Router::new(move |socket, _, question, from| async move {
            let right = spoken.grants(&question, 5000);
            // The late answer to a question before this one, about another port.
            let mut other_port = spoken.grants(&question, 6001);
            let internal_port = if spoken == Spoken::Pcp { 41 } else { 9 };
            other_port[internal_port] ^= 1;
            let mut other_kind = spoken.is_there();
            other_kind.resize(right.len(), 0);
            let cut = right[..right.len() - 4].to_vec();
            let mut about_udp = spoken.grants(&question, 6002);
            match spoken {
                Spoken::Pcp => about_udp[36] = 17,
                Spoken::NatPmp => about_udp[1] = 129,
            }
            let huge = vec![spoken.is_there()[0]; 1400];
            for wrong in [other_port, other_kind, cut, about_udp, huge, question, Vec::new()] {
                send(&socket, &wrong, from).await;
            }
            send(&socket, &right, from).await;
        });
        assert_eq!(spoken.ask(router.await.address, map()).await, granted(5000), "{spoken:?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_by_somebody_else_is_not_heard() {
    with_both(|spoken| async move {
        let router = Router::new(move |socket, _, question, from| async move {
            let stranger = UdpSocket::bind(HERE).await.unwrap();
            send(&stranger, &spoken.grants(&question, 6666), from).await;
            sleep(Duration::from_millis(50)).await;
            send(&socket, &spoken.grants(&question, 5000), from).await;
        });
        assert_eq!(spoken.ask(router.await.address, map()).await, granted(5000), "{spoken:?}");
    })
    .await;
}

/// Sends garbage to the asker for so long that all its patience would be used up.
async fn flood(socket: Arc<UdpSocket>, to: SocketAddr) {
    let garbage = [0xa5; 60];
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        for _ in 0..50 {
            // It fails when the asker has closed this port.
            if socket.send_to(&garbage, to).await.is_err() {
                return;
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_flood_does_not_drown_the_answer_to_the_next_try() {
    with_both(|spoken| async move {
        let router = Router::new(move |socket, number, question, from| async move {
            match number {
                1 => drop(tokio::spawn(flood(socket, from))),
                _ => send(&socket, &spoken.grants(&question, 5000 + number as u16), from).await,
            }
        });
        assert_eq!(spoken.ask(router.await.address, map()).await, granted(5002), "{spoken:?}");
    })
    .await;
}

#[tokio::test]
async fn a_router_that_only_floods_is_silent_and_takes_no_more_time() {
    async fn check(spoken: Spoken) -> Vec<String> {
        let router = Router::new(move |socket, _, _, from| async move {
            tokio::spawn(flood(socket, from));
        });
        let began = Instant::now();
        assert_eq!(spoken.ask(router.await.address, map()).await, Answer::Silent, "{spoken:?}");
        later("silence", began.elapsed(), Duration::from_secs(5)).into_iter().collect()
    }
    with_both(|spoken| in_time(move || check(spoken))).await;
}

#[tokio::test]
async fn silence_is_silence_after_five_questions_in_four_seconds() {
    async fn check(spoken: Spoken) -> Vec<String> {
        let (sender, mut times) = tokio::sync::mpsc::channel(16);
        let router = Router::new(move |_, _, question, _| {
            let sender = sender.clone();
            async move {
                sender.send((Instant::now(), question)).await.unwrap();
            }
        });
        let server = router.await;
        let began = Instant::now();
        assert_eq!(spoken.ask(server.address, map()).await, Answer::Silent, "{spoken:?}");
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(4), "{spoken:?}: {took:?}");
        let mut late: Vec<String> = later("silence", took, Duration::from_secs(5)).into_iter().collect();

        let mut first = None;
        for due in [0, 250, 750, 1750, 3750].map(Duration::from_millis) {
            // The last one may still be on its way to a router that is let run too late.
            let heard = timeout(Duration::from_secs(30), times.recv()).await;
            let (at, question) = heard.expect("a question too few").unwrap();
            let after = at.duration_since(began);
            assert!(after >= due, "{spoken:?}: {after:?} instead of {due:?}");
            late.extend(later("a question", after, due + Duration::from_millis(800)));
            assert_eq!(first.get_or_insert_with(|| question.clone()), &question, "the same each time");
        }
        drop(server);
        assert_eq!(times.recv().await, None, "a question too many");
        late
    }
    with_both(|spoken| in_time(move || check(spoken))).await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_at_is_closed() {
    async fn check(spoken: Spoken) -> Vec<String> {
        let gone = UdpSocket::bind(HERE).await.unwrap().local_addr().unwrap();
        let mut late = Vec::new();
        for request in [Request::Discover, map(), unmap()] {
            let began = Instant::now();
            assert_eq!(spoken.ask(gone, request).await, Answer::Closed, "{spoken:?}");
            // The system answers only so many ICMP errors at once: it may take more than one try.
            late.extend(later("news of a closed port", began.elapsed(), Duration::from_secs(3)));
        }
        late
    }
    with_both(|spoken| in_time(move || check(spoken))).await;
}

#[tokio::test]
async fn a_refusal_is_a_refusal() {
    with_both(|spoken| async move {
        let router = Router::new(move |socket, _, question, from| async move {
            send(&socket, &spoken.refuses(&question), from).await;
        });
        let address = router.await;
        for request in [map(), unmap()] {
            match spoken.ask(address.address, request).await {
                Answer::Refused(refusal) => {
                    assert_eq!((refusal.kind, refusal.code), (RefusalKind::NotAuthorized, 2), "{spoken:?}");
                }
                other => panic!("{spoken:?}: {other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_router_of_the_other_protocol_is_told_apart() {
    // Each answers a question of the other in its own words.
    for (spoken, words) in [
        (Spoken::Pcp, vec![0, 0x81, 0, 1, 0, 0, 0, 5]),
        (Spoken::NatPmp, [&[2, 0x82, 0, 1][..], &[0; 20]].concat()),
    ] {
        let router = Router::new(move |socket, _, _, from| {
            let words = words.clone();
            async move { send(&socket, &words, from).await }
        });
        match spoken.ask(router.await.address, map()).await {
            Answer::Refused(refusal) => {
                assert_eq!((refusal.kind, refusal.code), (RefusalKind::Unsupported, 1), "{spoken:?}");
            }
            other => panic!("{spoken:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn every_result_of_nat_pmp_has_its_meaning() {
    for (code, kind) in [
        (1, RefusalKind::Unsupported),
        (2, RefusalKind::NotAuthorized),
        (3, RefusalKind::NetworkFailure),
        (4, RefusalKind::NoResources),
        (5, RefusalKind::Unsupported),
        (6, RefusalKind::Other),
        (700, RefusalKind::Other),
    ] {
        let [high, low] = u16::to_be_bytes(code);
        let router = Router::new(move |socket, _, question, from| async move {
            send(&socket, &[0, question[1] | 0x80, high, low, 0, 0, 0, 5], from).await;
        });
        let router = router.await;
        for request in [Request::Discover, map(), unmap()] {
            match Spoken::NatPmp.ask(router.address, request).await {
                Answer::Refused(refusal) => assert_eq!((refusal.kind, refusal.code), (kind, code)),
                other => panic!("{code}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_mapping_of_no_time_or_no_port_is_no_mapping() {
    with_both(|spoken| async move {
        let router = Router::new(move |socket, _, question, from| async move {
            let no_port = spoken.grants(&question, 0);
            send(&socket, &no_port, from).await;
        });
        let answer = spoken.ask(router.await.address, map()).await;
        assert!(matches!(answer, Answer::Nonsense(_)), "{spoken:?}: {answer:?}");

        let router = Router::new(move |socket, _, question, from| async move {
            let mut no_time = spoken.grants(&question, 5000);
            let at = if spoken == Spoken::Pcp { 4 } else { 12 };
            no_time[at..at + 4].fill(0);
            send(&socket, &no_time, from).await;
        });
        let router = router.await;
        let answer = spoken.ask(router.address, map()).await;
        assert!(matches!(answer, Answer::Nonsense(_)), "{spoken:?}: {answer:?}");
        assert_eq!(spoken.ask(router.address, unmap()).await, Answer::Unmapped, "{spoken:?}");
    })
    .await;
}

#[tokio::test]
async fn what_the_protocols_have_no_words_for_is_not_asked() {
    let port_zero = Request::Unmap(UnmapRequest {
        internal_port: 0,
        external_port: 1,
        nonce: NONCE,
        pinhole: None,
        former: None,
    });
    with_both(|spoken| {
        let port_zero = port_zero.clone();
        async move {
            let router = Router::new(|_, _, _, _| async { panic!("asked") });
            let server = router.await.address;
            for request in [
                Request::ReadBack { external_port: PORT },
                Request::Entries { label: String::new() },
                port_zero,
            ] {
                let answer = spoken.ask(server, request).await;
                assert!(matches!(answer, Answer::Refused(_)), "{spoken:?}: {answer:?}");
            }
        }
    })
    .await;
    let v6: SocketAddr = "[::1]:0".parse().unwrap();
    let answer = nat_pmp::ask_at(v6, "[::1]:5351".parse().unwrap(), Request::Discover).await;
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
}

#[tokio::test]
async fn pcp_speaks_ipv6() {
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let asked = tokio::spawn(async move { pcp::ask_at("[::1]:0".parse().unwrap(), server, map()).await });
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    let mut answer = Spoken::Pcp.grants(&buffer[..length], PORT);
    answer[44..60].copy_from_slice(&"2a01:77::23".parse::<std::net::Ipv6Addr>().unwrap().octets());
    socket.send_to(&answer, from).await.unwrap();
    match asked.await.unwrap() {
        Answer::Mapped(grant) => assert_eq!(grant.external_ip, Some("2a01:77::23".parse().unwrap())),
        other => panic!("{other:?}"),
    }
}
