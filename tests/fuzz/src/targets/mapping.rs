//! PCP and NAT-PMP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use kith_nat::clients::pcp::codec::{self, Map, Message, Question};
use kith_nat::clients::{announcements, nat_pmp, pcp};
use kith_nat::{Answer, Hint, Lifetime, Nonce, Protocol};
use kith_network::{Address, Interface, InterfaceKind, Snapshot};
use natpmp::{AsyncUdpSocket, Response, new_natpmp_async_with};

use crate::outcome::{NOTHING, Outcome, judged, taken};

/// The longest datagram of PCP (RFC 6887, section 7).
const LONGEST: usize = 1100;
const DAY: u32 = 86_400;
const PORT: u16 = 4242;
const US: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 23));
/// The nonce of the answers in the corpus.
const NONCE: Nonce = Nonce([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);

pub(super) fn pcp(datagram: &[u8]) -> Outcome {
    let message = codec::decode(datagram);
    if let Ok(message) = &message {
        assert!(datagram.len() <= LONGEST, "{} bytes are a message", datagram.len());
        if let Some(bytes) = written(message) {
            assert_eq!(codec::decode(&bytes).as_ref(), Ok(message), "written and read again");
        }
    }
    let map = |lifetime| {
        Question::Map(Map {
            nonce: NONCE,
            internal_port: PORT,
            external_port: PORT,
            external_ip: None,
            lifetime,
        })
    };
    let answers =
        [Question::Announce, map(3600), map(0)].map(|question| pcp::understand(&question, datagram));
    for answer in answers.iter().flatten() {
        assert!(message.is_ok(), "{answer:?} was understood from what is no message");
        check(answer);
    }
    let [announced, mapped, unmapped] = &answers;
    assert!(
        !matches!(announced, Some(Answer::Mapped(_) | Answer::Unmapped)),
        "{announced:?} to an announcement"
    );
    assert!(
        !matches!(mapped, Some(Answer::Found(_) | Answer::Unmapped)),
        "{mapped:?} to a wish for a mapping"
    );
    assert!(!matches!(unmapped, Some(Answer::Found(_) | Answer::Mapped(_))), "{unmapped:?} to a removal");
    judged(message.is_ok(), &(message.map_err(|error| error.to_string()), answers))
}

/// The answer of a server that says this.
fn written(message: &Message) -> Option<Vec<u8>> {
    let (header, question) = match message {
        Message::Announce(header) => (header, Question::Announce),
        Message::Map(header, Some(mapped)) => {
            let map = Map {
                nonce: mapped.nonce,
                internal_port: mapped.internal_port,
                external_port: mapped.external_port,
                external_ip: Some(mapped.external_ip),
                lifetime: 0,
            };
            (header, Question::Map(map))
        }
        Message::Map(_, None) | Message::OtherVersion { .. } => return None,
    };
    let mut bytes = codec::encode(US, &question);
    bytes[1] |= 0x80;
    bytes[3] = header.result;
    bytes[4..8].copy_from_slice(&header.lifetime.to_be_bytes());
    bytes[8..12].copy_from_slice(&header.epoch.to_be_bytes());
    bytes[12..24].fill(0);
    Some(bytes)
}

/// What is promised of every answer.
fn check(answer: &Answer) {
    match answer {
        Answer::Mapped(grant) => {
            assert_ne!(grant.external_port, 0, "a mapping of port 0");
            assert!(matches!(grant.lifetime, Lifetime::Seconds(1..=DAY)), "{:?}", grant.lifetime);
            let ip = grant.external_ip;
            let never = ip.is_some_and(|ip| ip.is_unspecified() || ip.is_loopback() || ip.is_multicast());
            assert!(!never, "{ip:?} is no address of a far side");
            assert!(ip.is_none_or(|ip| ip == ip.to_canonical()), "{ip:?} is an IPv4 address in disguise");
        }
        Answer::Refused(refusal) => assert!(refusal.words.chars().count() <= 120, "{:?}", refusal.words),
        Answer::Nonsense(why) => assert!(why.len() <= 120, "{why:?}"),
        _ => {}
    }
}

pub(super) fn nat_pmp(datagram: &[u8]) -> Outcome {
    use nat_pmp::packet::{Question, announcement, result};
    let questions = [Question::Address, Question::Map { internal_port: PORT }];
    let read = questions.map(|question| {
        let code = result(question, datagram)?;
        let response = crate_reads(datagram);
        match (&response, question) {
            (Ok(Response::Gateway(_)), Question::Address) if code == 0 => {}
            (Ok(Response::TCP(mapping)), Question::Map { internal_port }) if code == 0 => {
                assert_eq!(mapping.private_port(), internal_port, "a mapping of another port");
            }
            (Err(_), _) if code != 0 => {}
            _ => panic!("result {code} of {question:?} is {response:?} to the crate"),
        }
        Some((code, response.is_ok()))
    });
    if let Some(epoch) = announcement(datagram) {
        assert_eq!(datagram[4..8], epoch.0.to_be_bytes(), "the clock");
    }
    let news = announcement(datagram);
    judged(news.is_some() || read.iter().any(Option::is_some), &(read, news))
}

/// What the `natpmp` crate makes of a datagram that it is shown.
fn crate_reads(datagram: &[u8]) -> Result<Response, natpmp::Error> {
    let client = new_natpmp_async_with(Shown(datagram.to_vec()), Ipv4Addr::new(192, 168, 1, 1));
    let mut reading = pin!(client.read_response_or_retry());
    match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => response,
        Poll::Pending => panic!("the crate waits for something else than the socket"),
    }
}

/// A socket that brings one datagram, again and again.
struct Shown(Vec<u8>);

#[async_trait]
impl AsyncUdpSocket for Shown {
    async fn connect(&self, _address: &str) -> io::Result<()> {
        Ok(())
    }

    async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        Ok(length)
    }
}

pub(super) fn announcement(datagram: &[u8]) -> Outcome {
    let senders = ["192.168.1.1:5351", "[fe80::1%7]:5351", "10.9.9.9:5351"];
    let hints = senders.map(|sender| {
        let sender: SocketAddr = sender.parse().expect("the addresses above are addresses");
        let hint = announcements::read(sender, network(), datagram)?;
        let Hint::Announced { from, index, protocol, epoch } = &hint else {
            panic!("{hint:?} from a datagram")
        };
        assert_eq!(*from, sender.ip(), "said to be from");
        assert!(epoch.is_some(), "news without a clock");
        match sender.to_string().as_str() {
            "192.168.1.1:5351" => assert_eq!(*index, Some(3)),
            "[fe80::1%7]:5351" => assert_eq!((*index, *protocol), (Some(7), Protocol::Pcp)),
            _ => assert_eq!(*index, None),
        }
        Some(hint)
    });
    if hints.iter().all(Option::is_none) { NOTHING } else { taken(&hints) }
}

fn network() -> &'static Snapshot {
    static NETWORK: OnceLock<Snapshot> = OnceLock::new();
    NETWORK.get_or_init(|| Snapshot {
        interfaces: vec![Interface {
            index: 3,
            name: "eth0".to_owned(),
            kind: InterfaceKind::Physical,
            addresses: vec![Address { ip: US, prefix: 24, temporary: false }],
        }],
        ..Snapshot::default()
    })
}
