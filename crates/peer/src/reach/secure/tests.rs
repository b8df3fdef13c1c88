use kith_identity::{DialInRing, IdentitySeed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn identity(byte: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap())
}

fn key(byte: u8) -> DialInKey {
    DialInKey::from_bytes([byte; 32])
}

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

fn client(us: u8, friend: u8, keys: &[u8]) -> Part {
    let role = Role::Client { keys: keys.iter().map(|&byte| key(byte)).collect() };
    Part { identity: identity(us), friend: identity(friend).device_id(), role }
}

/// Knows callers by key 7.
fn server(us: u8, friend: u8) -> Part {
    let ring = DialInRing::new([&key(7)]);
    let role = Role::Server { recognises: Arc::new(move |tag| ring.recognises(tag)) };
    Part { identity: identity(us), friend: identity(friend).device_id(), role }
}

async fn meet(
    client: Part,
    server: Part,
    turn: usize,
) -> (Result<Secured, SecureError>, Result<Secured, SecureError>) {
    let (one, other) = connection().await;
    tokio::join!(Box::pin(secure(one, &client, turn)), Box::pin(secure(other, &server, turn)))
}

#[tokio::test]
async fn two_friends_prove_themselves_and_words_pass_both_ways() {
    let (one, other) = meet(client(1, 2, &[7]), server(2, 1), 0).await;
    let (mut one, mut other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.local, one.remote), (other.remote, other.local));
    for _ in 0..2 {
        one.stream.write_all(b"word").await.unwrap();
        one.stream.flush().await.unwrap();
        let mut heard = [0; 4];
        other.stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"word");
        std::mem::swap(&mut one, &mut other);
    }
}

#[tokio::test]
async fn each_turn_brings_the_next_key() {
    let (one, other) = meet(client(1, 2, &[8, 7]), server(2, 1), 0).await;
    assert_eq!(other.unwrap_err(), SecureError::NotRecognised);
    assert_eq!(one.unwrap_err(), SecureError::Client(DialError::BrokenOff));
    let (one, other) = meet(client(1, 2, &[8, 7]), server(2, 1), 1).await;
    assert!(one.is_ok() && other.is_ok());
    let (one, other) = meet(client(1, 2, &[8, 7]), server(2, 1), 3).await;
    assert!(one.is_ok() && other.is_ok());
}

#[tokio::test]
async fn whoever_brings_no_known_tag_is_shown_nothing() {
    for keys in [&[][..], &[8]] {
        let (one, other) = meet(client(1, 2, keys), server(2, 1), 0).await;
        assert_eq!(other.unwrap_err(), SecureError::NotRecognised);
        // He can't say who was there.
        assert_eq!(one.unwrap_err(), SecureError::Client(DialError::BrokenOff));
    }
}

#[tokio::test]
async fn another_friend_is_not_the_one_who_was_called() {
    let (one, other) = meet(client(3, 2, &[7]), server(2, 1), 0).await;
    assert!(matches!(other.unwrap_err(), SecureError::Handshake(_)));
    // Of TLS 1.3 the client is done before it is judged.
    if let Ok(mut one) = one {
        assert!(one.stream.read_u8().await.is_err());
    }
    let (one, _) = meet(client(1, 2, &[7]), server(3, 1), 0).await;
    let found = identity(3).device_id();
    assert_eq!(one.unwrap_err(), SecureError::Client(DialError::OtherDevice { found }));
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_left_in_time_at_either_end() {
    let (ours, _silent) = connection().await;
    let begun = tokio::time::Instant::now();
    let error = Box::pin(secure(ours, &server(2, 1), 0)).await.unwrap_err();
    assert_eq!((error, begun.elapsed().as_secs()), (SecureError::Silent(HANDSHAKE_TIMEOUT), 10));
    let (ours, _silent) = connection().await;
    let error = Box::pin(secure(ours, &client(1, 2, &[7]), 0)).await.unwrap_err();
    assert!(matches!(error, SecureError::Client(DialError::Silent(_))), "{error}");
}

#[tokio::test]
async fn two_servers_and_two_clients_come_to_nothing() {
    let (one, other) = connection().await;
    let (one_part, other_part) = (client(1, 2, &[7]), client(2, 1, &[7]));
    let (one, other) =
        tokio::join!(Box::pin(secure(one, &one_part, 0)), Box::pin(secure(other, &other_part, 0)));
    assert!(one.is_err() && other.is_err());
}

/// What a relay does to the bytes from the one who began, and to those from the other.
type Tamper = fn(usize, usize, &mut [u8]);

/// After so long without a byte a relay lets go that has changed one: the rest that an end waits for may never come.
const IDLE: Duration = Duration::from_millis(250);
/// A relay that changes nothing ends with its connections, and waits for them far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Carries one direction, changed by `tamper`, which is told how far the piece lies from the beginning.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    (flip, tamper): (usize, Tamper),
    idle: Duration,
) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(Ok(length @ 1..)) = timeout(idle, from.read(&mut piece)).await {
        tamper(heard.len(), flip, &mut piece[..length]);
        heard.extend_from_slice(&piece[..length]);
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    heard
}

fn pass(_at: usize, _flip: usize, _piece: &mut [u8]) {}

fn flip(at: usize, flip: usize, piece: &mut [u8]) {
    if let Some(byte) = flip.checked_sub(at).and_then(|place| piece.get_mut(place)) {
        *byte ^= 0x40;
    }
}

/// Two connections that a relay joins; what it does to each direction, and after how long without a byte it lets go.
async fn relayed(
    forth: (usize, Tamper),
    back: (usize, Tamper),
    idle: Duration,
) -> (TcpStream, TcpStream, tokio::task::JoinHandle<Vec<u8>>) {
    let ((one, left), (other, right)) = (connection().await, connection().await);
    let ((left_in, left_out), (right_in, right_out)) = (left.into_split(), right.into_split());
    let relay = tokio::spawn(async move {
        let (heard, _) =
            tokio::join!(carry(left_in, right_out, forth, idle), carry(right_in, left_out, back, idle));
        heard
    });
    (one, other, relay)
}

const WORDS: &[u8; 40] = b"words that nobody between may alter once";

/// What comes out at the other end, in both directions; none where the two did not get so far.
async fn exchanged(one: TcpStream, other: TcpStream) -> [Option<Vec<u8>>; 2] {
    let (client, server) = (client(1, 2, &[7]), server(2, 1));
    let talk = |secured: Result<Secured, SecureError>| async {
        let mut stream = secured.ok()?.stream;
        stream.write_all(WORDS).await.ok()?;
        stream.flush().await.ok()?;
        let mut heard = vec![0; WORDS.len()];
        stream.read_exact(&mut heard).await.ok()?;
        Some((stream, heard))
    };
    // Neither is closed before both are done: the other one may still read.
    let (one, other) = tokio::join!(async { talk(Box::pin(secure(one, &client, 0)).await).await }, async {
        talk(Box::pin(secure(other, &server, 0)).await).await
    });
    [one, other].map(|done| done.map(|(_stream, heard)| heard))
}

#[tokio::test]
async fn of_what_a_relay_changes_nothing_is_heard_at_whatever_byte() {
    let (one, other, relay) = relayed((0, pass), (0, pass), PATIENCE).await;
    assert!(exchanged(one, other).await.iter().all(|heard| heard.as_deref() == Some(WORDS)));
    let length = relay.await.unwrap().len();
    assert!(length > 1000, "{length}");
    let mut trials = tokio::task::JoinSet::new();
    for place in (0..length).step_by(61) {
        for is_forth in [true, false] {
            trials.spawn(async move {
                let (forth, back) = if is_forth {
                    ((place, flip as Tamper), (0, pass as Tamper))
                } else {
                    ((0, pass as Tamper), (place, flip as Tamper))
                };
                let (one, other, _relay) = relayed(forth, back, IDLE).await;
                (place, is_forth, exchanged(one, other).await)
            });
        }
    }
    let mut broken = 0;
    let trials = trials.join_all().await;
    for (place, is_forth, heard) in &trials {
        assert!(
            heard.iter().flatten().all(|heard| heard == WORDS),
            "byte {place}, forth {is_forth}: {heard:?}"
        );
        broken += usize::from(heard.iter().any(Option::is_none));
    }
    // The other direction is shorter: a byte that never comes can't be changed.
    assert!(broken * 10 >= trials.len() * 6, "{broken} of {} broke", trials.len());
}

#[tokio::test]
async fn a_relay_that_joins_the_wrong_two_reflects_or_plays_back_what_it_heard_proves_nothing() {
    // It has two pairs, and joins one of the first with one of the second.
    let (one, other, _relay) = relayed((0, pass), (0, pass), PATIENCE).await;
    let (first, second) = (client(1, 2, &[7]), server(4, 3));
    let (one, other) = tokio::join!(Box::pin(secure(one, &first, 0)), Box::pin(secure(other, &second, 0)));
    assert_eq!(
        one.unwrap_err(),
        SecureError::Client(DialError::OtherDevice { found: identity(4).device_id() })
    );
    assert!(other.is_err());

    // It gives back what it is sent.
    let (ours, mirror) = connection().await;
    let (mut from, mut to) = mirror.into_split();
    let reflecting = tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
    assert!(Box::pin(secure(ours, &first, 0)).await.is_err());
    reflecting.abort();

    // It plays the words of a whole connection to the same server once more.
    let (one, other, relay) = relayed((0, pass), (0, pass), PATIENCE).await;
    assert!(exchanged(one, other).await.iter().all(Option::is_some));
    let heard = relay.await.unwrap();
    let (played, ours) = connection().await;
    let (mut answers, mut play) = played.into_split();
    let playing = tokio::spawn(async move {
        let (hello, rest) = heard.split_at(5 + usize::from(u16::from_be_bytes([heard[3], heard[4]])));
        play.write_all(hello).await.ok();
        answers.readable().await.ok();
        play.write_all(rest).await.ok();
        let mut said = Vec::new();
        answers.read_to_end(&mut said).await.ok();
    });
    let error = Box::pin(secure(ours, &server(2, 1), 0)).await.unwrap_err();
    assert!(matches!(error, SecureError::Handshake(_) | SecureError::Broken(_)), "{error}");
    playing.abort();
}
