//! The telnet test: is the port of another computer open, and what answers there?

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kith_identity::{DeviceId, DialInKey, DialInTag, Identity, tls};
use tokio_rustls::TlsConnector;

use crate::dial::{DialError, explain};
use crate::greeting::SkipGreeting;
use crate::outbound::{NamedBy, Outbound, Way};

/// Longest wait for an answer on the open connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Most keys that are tried at one address, each with a connection of its own.
pub const MOST_PROBE_KEYS: usize = 4;

/// What the test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// A Kith answers.
    Connected {
        /// Which computer it says it is; it has proved it by its certificate. None if it doesn't know the prober, and so says nothing.
        device: Option<DeviceId>,
    },
    /// A RST came back.
    Refused,
    /// Nothing came back.
    NoResponse,
    /// The network said no.
    Unreachable(String),
    /// The name has no address.
    NameNotFound(String),
    /// The port is open, but it is not a Kith that answers.
    NotKith(String),
    /// A Kith answers, but not the expected one.
    OtherDevice {
        /// Which; none if it doesn't say.
        found: Option<DeviceId>,
    },
}

/// The test of one IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The address tried; none when the name was not found.
    pub address: Option<SocketAddr>,
    /// What came of it.
    pub result: ProbeResult,
    /// Time that name resolution took.
    pub resolve: Duration,
    /// Time until the TCP connection stood.
    pub connect: Option<Duration>,
    /// Time until it had answered.
    pub answer: Option<Duration>,
}

/// Tests `host:port`, each of its IP addresses. A computer shows who it is to one who calls by one of its `keys`, of which at most
/// [`MOST_PROBE_KEYS`] are tried, one after the other. `made_for_it` is shown to whatever answers: an identity that was made for the
/// test.
pub async fn probe(
    outbound: &Outbound,
    address: &str,
    made_for_it: &Identity,
    keys: &[DialInKey],
    expected: Option<DeviceId>,
) -> Vec<Probe> {
    let started = Instant::now();
    let resolved = outbound.ways(expected.as_ref(), address, NamedBy::Person).await;
    let took = started.elapsed();
    match resolved {
        Err(error) => {
            let result = match error {
                DialError::NameNotFound(reason) => ProbeResult::NameNotFound(reason),
                other => ProbeResult::Unreachable(other.to_string()),
            };
            vec![Probe { address: None, result, resolve: took, connect: None, answer: None }]
        }
        Ok(ways) => {
            let tests = ways.iter().map(|way| probe_one(outbound, way, made_for_it, keys, expected, took));
            futures::future::join_all(tests).await
        }
    }
}

async fn probe_one(
    outbound: &Outbound,
    way: &Way,
    made_for_it: &Identity,
    keys: &[DialInKey],
    expected: Option<DeviceId>,
    resolve: Duration,
) -> Probe {
    let mut tags: Vec<DialInTag> = keys.iter().take(MOST_PROBE_KEYS).map(DialInKey::tag).collect();
    if tags.is_empty() {
        tags.push(DialInTag::made_up());
    }
    let mut last = None;
    for tag in tags {
        let probe = probe_with(outbound, way, made_for_it, &tag, expected, resolve).await;
        let decided = match &probe.result {
            ProbeResult::Connected { device: None } | ProbeResult::OtherDevice { found: None } => false,
            // As whoever is no stranger doesn't meet it.
            ProbeResult::NotKith(reason) => *reason != DialError::BrokenOff.to_string(),
            _ => true,
        };
        last = Some(probe);
        if decided {
            break;
        }
    }
    let nothing = ProbeResult::NoResponse;
    last.unwrap_or(Probe { address: Some(way.hop), result: nothing, resolve, connect: None, answer: None })
}

async fn probe_with(
    outbound: &Outbound,
    way: &Way,
    made_for_it: &Identity,
    tag: &DialInTag,
    expected: Option<DeviceId>,
    resolve: Duration,
) -> Probe {
    let mut probe = Probe {
        address: Some(way.hop),
        result: ProbeResult::NoResponse,
        resolve,
        connect: None,
        answer: None,
    };
    let started = Instant::now();
    let stream = match outbound.connect(way).await {
        Ok(stream) => stream,
        Err(error) => {
            probe.result = match error {
                DialError::Refused => ProbeResult::Refused,
                DialError::NoResponse(_) => ProbeResult::NoResponse,
                other => ProbeResult::Unreachable(other.to_string()),
            };
            return probe;
        }
    };
    probe.connect = Some(started.elapsed());
    let connector = TlsConnector::from(tls::probe_client_config(made_for_it));
    let handshake = connector.connect(tag.server_name(), SkipGreeting::new(stream));
    let outcome = tokio::time::timeout(ANSWER_TIMEOUT, handshake).await;
    probe.answer = Some(started.elapsed());
    probe.result = match outcome {
        Err(_elapsed) => ProbeResult::NotKith(format!(
            "the connection was accepted, but nothing came within {} s",
            ANSWER_TIMEOUT.as_secs()
        )),
        Ok(Ok(stream)) if tls::protocol_agreed(stream.get_ref().1).is_err() => {
            ProbeResult::NotKith("it speaks TLS, but not Kith's protocol".into())
        }
        Ok(Ok(stream)) => match tls::peer_device_id(stream.get_ref().1) {
            found if expected.is_some() && expected != found => ProbeResult::OtherDevice { found },
            device => ProbeResult::Connected { device },
        },
        Ok(Err(error)) => match explain(&error, made_for_it.device_id()) {
            DialError::NotKith(reason) => ProbeResult::NotKith(reason),
            other => ProbeResult::NotKith(other.to_string()),
        },
    };
    probe
}
