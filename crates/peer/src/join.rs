//! Pairing: the one exchange of a `kith-join/1` connection, in both roles.
//!
//! The dialer holds a one-time certificate that the invite's secret (or the reply line's) gave it; the listener's
//! own certificate is pinned by the device id in the invite. The dialer then proves its real identity over the TLS
//! exporter of this very connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use kith_identity::tls::{self, EXPORTER_LENGTH, ExporterRole};
use kith_identity::{DeviceId, Identity, OneTimeKey};
use kith_wire::{
    Body, BodyError, MESSAGE_LIMIT, Report, VersionRange, boxed, bytes_body, collect, json_body, paths,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::book::{Candidate, Target};
use crate::dial::{DialError, Dialing, Stream, dial, handshake};
use crate::outbound::{NamedBy, Outbound};
use crate::race::{Attempt, Failed, Raced, race};
use crate::way::CandidateKind;

/// Longest time for the exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// Who holds an invite that is closed meets a listener that doesn't recognise him.
const NOT_OPEN: &str = "the invite is not open any more: it has expired, was used already, or was withdrawn";
/// Most bytes of a text in a pairing message.
const LONGEST_TEXT: usize = 255;

/// What the two computers tell each other at pairing.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinMessage {
    /// Protocol versions spoken.
    pub wire: VersionRange,
    /// Program and version.
    pub program: String,
    /// Public id of the invite.
    pub invite: String,
    /// Whether the sender takes the other for one's own computer.
    pub own: bool,
    /// Key that lets the receiver dial in later, hex.
    pub dial_in: String,
    /// Key by which the sender will dial if it has lost everything but its 24 words, hex; empty from those who have none.
    #[serde(default)]
    pub recovery: String,
    /// The sender's half of what the two know and nobody else, hex; empty from those who have none.
    #[serde(default)]
    pub reach: String,
    /// Name, addresses and offered quota.
    pub report: Report,
}

/// Without its keys.
impl fmt::Debug for JoinMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinMessage")
            .field("wire", &self.wire)
            .field("program", &self.program)
            .field("invite", &self.invite)
            .field("own", &self.own)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl JoinMessage {
    /// Refuses what no honest sender says: all of it is kept.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        if [&self.program, &self.invite, &self.dial_in, &self.recovery, &self.reach]
            .iter()
            .any(|text| text.len() > LONGEST_TEXT)
        {
            return Err("the pairing message is longer than the protocol allows".into());
        }
        self.report.check().map_err(|error| error.to_string())
    }
}

#[derive(Serialize, Deserialize)]
struct JoinRequest {
    /// Proof of the dialer's identity over the exporter, hex.
    proof: String,
    message: JoinMessage,
}

/// Why the other side said no.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinRefusal {
    /// A sentence.
    pub reason: String,
}

/// Why pairing over an established connection failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// No address led to the inviter.
    #[error("no address of the other computer answered")]
    NoAddress(Vec<Attempt>),
    /// It answered, and said no.
    #[error("{0}")]
    Refused(String),
    /// The exchange broke off.
    #[error("the pairing broke off: {0}")]
    Broken(String),
}

/// Dials the addresses of an invite (or of a reply line) and exchanges `message` for the other side's.
///
/// # Errors
/// See [`JoinError`].
pub async fn ask(
    outbound: &Outbound,
    identity: &Identity,
    key: &OneTimeKey,
    other: DeviceId,
    addresses: &[String],
    message: &JoinMessage,
) -> Result<(JoinMessage, String), JoinError> {
    let (stream, address) = connect(outbound, identity, key, other, addresses).await?;
    let exchange = exchange(identity, stream, message);
    let answer = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange)
        .await
        .map_err(|_elapsed| JoinError::Broken("the other computer did not answer in time".into()))??;
    Ok((answer, address))
}

/// Exchanges `message` for the other side's over a connection that was made for it, at whose other end the inviter is to be.
///
/// # Errors
/// See [`JoinError`].
pub async fn ask_over(
    stream: TcpStream,
    identity: &Identity,
    key: &OneTimeKey,
    other: DeviceId,
    message: &JoinMessage,
) -> Result<JoinMessage, JoinError> {
    let dialing = Dialing {
        outbound: Outbound::default(),
        friend: Some(other),
        config: tls::join_client_config(key, other),
        us: identity.device_id(),
        keys: Vec::new(),
    };
    let exchange = async {
        let stream = handshake(stream, &dialing, &key.dial_in_key().tag()).await;
        exchange(identity, stream.map_err(|error| JoinError::Broken(error.to_string()))?, message).await
    };
    tokio::time::timeout(EXCHANGE_TIMEOUT, Box::pin(exchange))
        .await
        .unwrap_or_else(|_elapsed| Err(JoinError::Broken("the other computer did not answer in time".into())))
}

/// Dials addresses as the holder of a one-time key; says which one led there.
pub(crate) async fn connect(
    outbound: &Outbound,
    identity: &Identity,
    key: &OneTimeKey,
    other: DeviceId,
    addresses: &[String],
) -> Result<(Stream, String), JoinError> {
    let dialing = Dialing {
        outbound: outbound.clone(),
        friend: Some(other),
        config: tls::join_client_config(key, other),
        us: identity.device_id(),
        keys: vec![key.dial_in_key().clone()],
    };
    let candidates = addresses
        .iter()
        .enumerate()
        .map(|(i, address)| {
            let delay = Duration::from_millis(100).saturating_mul(u32::try_from(i).unwrap_or(u32::MAX));
            Candidate::address(address, CandidateKind::Invited, delay)
        })
        .collect();
    let dialing = &dialing;
    let dial = |candidate: Candidate| async move {
        match candidate.target {
            Target::Address(address) => Ok((dial(&address, NamedBy::Others, dialing).await?, address)),
            Target::Call => Err(Failed::Each(Vec::new())),
        }
    };
    let Raced { won, failed: attempts } = race(candidates, dial).await;
    let Some((_, (made, address))) = won else {
        let refused = attempts.iter().find_map(|attempt| match &attempt.error {
            DialError::RefusedUs(reason) | DialError::OtherVersion(reason) => Some(reason.clone()),
            _ => None,
        });
        // What doesn't recognise the invite may be another computer that has the address now: then the other way round works.
        return Err(match refused {
            Some(reason) => JoinError::Refused(reason),
            None => JoinError::NoAddress(attempts),
        });
    };
    Ok((made.stream, address))
}

async fn exchange(
    identity: &Identity,
    stream: Stream,
    message: &JoinMessage,
) -> Result<JoinMessage, JoinError> {
    let broken = |error: &dyn fmt::Display| JoinError::Broken(error.to_string());
    let request = JoinRequest { proof: proof(identity, &stream)?, message: message.clone() };
    let request = Request::post(paths::JOIN)
        .header(header::HOST, "kith")
        .header(header::CONTENT_TYPE, "application/json")
        .body(json_body(&request).map_err(|error| broken(&error))?)
        .map_err(|error| broken(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let _connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        // Its failure shows in the exchange.
        drop(connection.await);
    }));
    let answer = sender.send_request(request).await.map_err(|error| match refusal(&error) {
        Some(refused) => JoinError::Refused(refused),
        None => broken(&error),
    })?;
    let status = answer.status();
    let body = collect(boxed(answer.into_body()), MESSAGE_LIMIT).await.map_err(|error| broken(&error))?;
    if status == StatusCode::OK {
        let message: JoinMessage = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
        message.check().map_err(|error| broken(&error))?;
        Ok(message)
    } else {
        let refusal: Result<JoinRefusal, _> = serde_json::from_slice(&body);
        Err(JoinError::Refused(refusal.map_or_else(|_| format!("it answered {status}"), |r| r.reason)))
    }
}

/// Proof of our identity for this very connection, hex.
pub(crate) fn proof(identity: &Identity, stream: &Stream) -> Result<String, JoinError> {
    let exporter = tls::exporter(stream.get_ref().1).map_err(|error| JoinError::Broken(error.to_string()))?;
    Ok(HEXLOWER.encode(&tls::exporter_proof(identity, &exporter, ExporterRole::Dialer)))
}

/// Who proves his identity for a connection.
pub(crate) fn proved(proof: &str, exporter: &[u8; EXPORTER_LENGTH]) -> Result<DeviceId, String> {
    let proof =
        HEXLOWER.decode(proof.as_bytes()).map_err(|_error| "the proof of identity is not hexadecimal")?;
    tls::verify_exporter_proof(&proof, exporter, ExporterRole::Dialer)
        .map_err(|_invalid| "the proof of identity does not hold for this connection".into())
}

/// A TLS alert about the one-time certificate comes only after our end has finished the handshake.
pub(crate) fn refusal(error: &hyper::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && tls::explain_io(io).is_some()
        {
            return Some(NOT_OPEN.to_owned());
        }
        source = inner.source();
    }
    None
}

/// Judges a pairing request at the listening end: the one-time certificate's id, the proved device id, the message.
pub trait JoinJudge: Send + Sync {
    /// The answer, or the sentence of a refusal.
    ///
    /// # Errors
    /// The refusal.
    fn judge(
        &self,
        one_time: DeviceId,
        joiner: DeviceId,
        message: JoinMessage,
    ) -> impl Future<Output = Result<JoinMessage, JoinRefusal>> + Send;
}

/// Serves the one exchange of a pairing connection.
pub async fn serve<S, J>(stream: S, exporter: [u8; EXPORTER_LENGTH], one_time: DeviceId, judge: Arc<J>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    J: JoinJudge + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let judge = judge.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(request, exporter, one_time, &*judge).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(EXCHANGE_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    drop(tokio::time::timeout(2 * EXCHANGE_TIMEOUT, serving).await);
}

async fn answer<J: JoinJudge>(
    request: Request<Incoming>,
    exporter: [u8; EXPORTER_LENGTH],
    one_time: DeviceId,
    judge: &J,
) -> Response<Body> {
    if request.method() != Method::POST || request.uri().path() != paths::JOIN {
        return refuse(StatusCode::NOT_FOUND, "nothing but a pairing is served here");
    }
    match judge_request(request, exporter, one_time, judge).await {
        Ok(message) => json_body(&message).map_or_else(
            |error| refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            Response::new,
        ),
        Err(reason) => refuse(StatusCode::FORBIDDEN, &reason),
    }
}

async fn judge_request<J: JoinJudge>(
    request: Request<Incoming>,
    exporter: [u8; EXPORTER_LENGTH],
    one_time: DeviceId,
    judge: &J,
) -> Result<JoinMessage, String> {
    let body = collect(boxed(request.into_body()), MESSAGE_LIMIT)
        .await
        .map_err(|error: BodyError| format!("the request broke off: {error}"))?;
    let request: JoinRequest =
        serde_json::from_slice(&body).map_err(|error| format!("not a pairing request: {error}"))?;
    request.message.check()?;
    VersionRange::OURS.agree(request.message.wire).map_err(|error| error.to_string())?;
    let joiner = proved(&request.proof, &exporter)?;
    judge.judge(one_time, joiner, request.message).await.map_err(|refusal| refusal.reason)
}

pub(crate) fn refuse(status: StatusCode, reason: &str) -> Response<Body> {
    let refusal = JoinRefusal { reason: reason.to_owned() };
    let body = json_body(&refusal).unwrap_or_else(|_never| bytes_body(reason.to_owned()));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use kith_identity::{IdentitySeed, InviteSecret};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_that_breaks_off_is_one_that_does_not_answer() {
        let identity = |byte| Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let key = OneTimeKey::for_invite(&InviteSecret::from_bytes([7; 16])).unwrap();
        let message = JoinMessage {
            wire: VersionRange::OURS,
            program: String::new(),
            invite: String::new(),
            own: false,
            dial_in: String::new(),
            recovery: String::new(),
            reach: String::new(),
            report: Report::default(),
        };
        let addresses = [address];
        let (joiner, inviter) = (identity(1), identity(2).device_id());
        let close = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Unread bytes make it a reset.
                stream.peek(&mut [0]).await.unwrap();
            }
        };
        let outbound = Outbound::default();
        tokio::select! {
            asked = ask(&outbound, &joiner, &key, inviter, &addresses, &message) => {
                let error = asked.map(drop).unwrap_err();
                assert!(matches!(&error, JoinError::NoAddress(attempts) if attempts.len() == 1), "{error:?}");
            }
            () = close => {}
        }
    }
}
