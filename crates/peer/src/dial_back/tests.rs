use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that does this with the first connection, and what came of it.
async fn server<F, T>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinHandle<T>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let (listener, address) = bind().await;
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await
    });
    (address, served)
}

async fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn order(addresses: &[SocketAddr]) -> DialBackOrder {
    DialBackOrder::new(addresses, DialBackNonce::generate()).unwrap()
}

fn outcomes(answer: &DialBackAnswer) -> Vec<DialBackOutcome> {
    answer.results.iter().map(|result| result.outcome).collect()
}

/// All is played on one computer: nothing of it counts as inside.
const fn everywhere(_: IpAddr) -> bool {
    true
}

async fn serve(dial_backs: &DialBacks, order: &DialBackOrder) -> DialBackAnswer {
    dial_backs.serve(order, everywhere).await
}

fn friend_on_loopback() -> (Arc<DialBacks>, Presence) {
    let dial_backs = Arc::new(DialBacks::default());
    let presence = dial_backs.connected("127.0.0.1".parse().ok());
    (dial_backs, presence)
}

#[tokio::test]
async fn a_call_brings_one_client_hello_with_the_nonce_and_nothing_else() {
    let (address, served) = server(read_all).await;
    let nonce = DialBackNonce::generate();
    let met = call(address, None, &nonce).await;
    assert_eq!((met.outcome, met.detail), (DialBackOutcome::Sent, None));

    let bytes = served.await.unwrap();
    assert!(bytes.len() <= 2048, "{} bytes", bytes.len());
    let record = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    assert_eq!((bytes[0], bytes.len()), (0x16, 5 + record), "one handshake record");
    let message = u32::from_be_bytes([0, bytes[6], bytes[7], bytes[8]]) as usize;
    assert_eq!((bytes[5], record), (1, 4 + message), "one ClientHello");
    let name = nonce.server_name();
    assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_called_refused() {
    let (listener, address) = bind().await;
    drop(listener);
    let met = call(address, None, &DialBackNonce::generate()).await;
    assert_eq!((met.outcome, met.detail), (DialBackOutcome::Refused, None));
}

/// The kernel answers nobody while the queue of connections that were not accepted is full.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_address_that_stays_silent_is_given_up_after_four_seconds() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_queue = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let met = call(address, None, &DialBackNonce::generate()).await;
    assert_eq!((met.outcome, met.detail), (DialBackOutcome::NoResponse, None));
    assert_eq!(begun.elapsed().as_secs(), 4);
}

#[tokio::test]
async fn a_server_that_sends_without_end_gets_rid_of_little_and_is_left_soon() {
    let (address, served) = server(|mut stream| async move {
        // What waits in the sender's own kernel is no burden to the caller.
        socket2::SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
        let mut sent = 0_usize;
        while sent < 10 * 1024 * 1024 && stream.write_all(&[b'x'; 1024]).await.is_ok() {
            sent += 1024;
        }
        sent
    })
    .await;
    let met = call(address, None, &DialBackNonce::generate()).await;
    assert_eq!(met.outcome, DialBackOutcome::Sent);
    assert!(met.detail.unwrap().starts_with("somebody answered"));
    let sent = served.await.unwrap();
    assert!(sent < 512 * 1024, "{sent} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drips_or_says_nothing_is_left_after_a_second() {
    let drip = |mut stream: TcpStream| async move {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(call::LINGER / 10).await;
        }
    };
    let (address, served) = server(drip).await;
    let begun = Instant::now();
    assert_eq!(call(address, None, &DialBackNonce::generate()).await.outcome, DialBackOutcome::Sent);
    assert!(begun.elapsed() <= call::LINGER * 2, "{:?}", begun.elapsed());
    served.await.unwrap();

    let (address, served) = server(|mut stream: TcpStream| async move {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let begun = Instant::now();
    let met = call(address, None, &DialBackNonce::generate()).await;
    assert_eq!(met.outcome, DialBackOutcome::Sent);
    assert_eq!(met.detail.unwrap(), "the connection stayed open without a word");
    assert_eq!(begun.elapsed().as_millis() / 10, call::LINGER.as_millis() / 10);
    served.abort();
}

#[tokio::test]
async fn an_address_from_which_no_connection_comes_is_not_called() {
    let (dial_backs, presence) = friend_on_loopback();
    let (listener, address) = bind().await;
    let neighbour = SocketAddr::new("127.0.0.2".parse().unwrap(), address.port());
    assert_eq!(outcomes(&serve(&dial_backs, &order(&[neighbour])).await), [DialBackOutcome::NotAllowed]);
    drop(presence);
    assert_eq!(outcomes(&serve(&dial_backs, &order(&[address])).await), [DialBackOutcome::NotAllowed]);
    // Nothing came: what is accepted next is our own.
    let ours = TcpStream::connect(address).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, ours.local_addr().unwrap());
}

#[tokio::test]
async fn a_friend_who_comes_through_a_forwarder_on_this_computer_is_not_called() {
    let (dial_backs, _presence) = friend_on_loopback();
    let (listener, address) = bind().await;
    let network = kith_network::Snapshot::take();
    let answer = dial_backs.serve(&order(&[address]), |ip| is_outside(ip, &network)).await;
    assert_eq!(outcomes(&answer), [DialBackOutcome::NotAllowed]);
    assert!(answer.results[0].detail.as_ref().unwrap().contains("would prove nothing"));
    assert_eq!(answer.check(), Ok(()));
    let ours = TcpStream::connect(address).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, ours.local_addr().unwrap());
}

#[tokio::test]
async fn a_second_request_within_ten_seconds_is_not_carried_out() {
    let (dial_backs, _presence) = friend_on_loopback();
    let (address, served) = server(read_all).await;
    assert_eq!(outcomes(&serve(&dial_backs, &order(&[address])).await), [DialBackOutcome::Sent]);
    served.await.unwrap();
    let again = serve(&dial_backs, &order(&[address])).await;
    assert_eq!(outcomes(&again), [DialBackOutcome::TooSoon]);
    assert_eq!(again.results[0].detail.as_deref(), Some("it calls again in 10 s"));
    assert_eq!(again.check(), Ok(()));
}

#[tokio::test]
async fn no_more_requests_are_carried_out_at_once_than_there_are_places() {
    let places = Semaphore::new(1);
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    let (address, served) = server(|stream| async move {
        begun.send(()).unwrap();
        ends.await.unwrap();
        drop(stream);
    })
    .await;
    let (one, _present) = friend_on_loopback();
    let (other, _present_too) = friend_on_loopback();
    let first = order(&[address]);
    let while_the_first_runs = async {
        begins.await.unwrap();
        let answer = other.serve_within(&places, &order(&[address]), everywhere).await;
        assert_eq!(outcomes(&answer), [DialBackOutcome::TooSoon]);
        end.send(()).unwrap();
    };
    let (answer, ()) = tokio::join!(one.serve_within(&places, &first, everywhere), while_the_first_runs);
    assert_eq!(outcomes(&answer), [DialBackOutcome::Sent]);
    served.await.unwrap();

    // Having been turned away does not count.
    let (address, served) = server(read_all).await;
    let answer = other.serve_within(&places, &order(&[address]), everywhere).await;
    assert_eq!(outcomes(&answer), [DialBackOutcome::Sent]);
    served.await.unwrap();
}
