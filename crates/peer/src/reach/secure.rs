//! Proof of who is at the other end of a connection that was punched or relayed: TLS as on every link, from the end of either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_identity::tls::{self, Admission, Admitted};
use kith_identity::{DeviceId, DialInKey, DialInTag, Identity};
use kith_wire::ByteStream;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::dial::{DialError, Dialing, handshake};
use crate::outbound::Outbound;
use crate::socket::{tune, widen};

/// Longest wait for the handshake at the end that serves it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Says whether a tag was made with a key that this computer gave out, and is used for the first time.
pub type Recognises = Arc<dyn Fn(&DialInTag) -> bool + Send + Sync>;

/// Which part we have in a connection with a friend.
#[derive(Clone)]
pub struct Part {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// Who must be there.
    pub friend: DeviceId,
    /// Who speaks first.
    pub role: Role,
}

/// Which end of TLS we are; agreed beforehand.
#[derive(Clone)]
pub enum Role {
    /// We say ClientHello.
    Client {
        /// By which the friend may recognise us, best first.
        keys: Vec<DialInKey>,
    },
    /// We wait for it.
    Server {
        /// Whoever brings another tag is shown nothing.
        recognises: Recognises,
    },
}

/// A connection with the friend.
pub struct Secured {
    /// What a link can be started over.
    pub stream: Box<dyn ByteStream>,
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured")
            .field("remote", &self.remote)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// It was not proved that the friend is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecureError {
    /// We were the client.
    #[error(transparent)]
    Client(#[from] DialError),
    /// Who is there didn't say in time who he is.
    #[error("whoever is there did not prove within {} s who he is", .0.as_secs())]
    Silent(Duration),
    /// Who is there doesn't know how to call this computer.
    #[error("whoever is there doesn't know how to call this computer")]
    NotRecognised,
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The connection broke.
    #[error("the connection broke before it was proved who is there: {0}")]
    Broken(String),
}

/// Proves over a fresh connection that the friend is at its other end. `turn` counts such connections with him: each brings the next of the keys.
///
/// # Errors
/// If he is not; see [`SecureError`]. The connection is closed then.
pub async fn secure(stream: TcpStream, part: &Part, turn: usize) -> Result<Secured, SecureError> {
    let broken = |error: std::io::Error| SecureError::Broken(error.to_string());
    let (remote, local) = (stream.peer_addr().map_err(broken)?, stream.local_addr().map_err(broken)?);
    tune(&stream);
    let stream: Box<dyn ByteStream> = match &part.role {
        Role::Client { keys } => {
            let stream = Box::pin(as_client(stream, part, keys, turn)).await?;
            settle(stream.get_ref().0.get_ref());
            Box::new(stream)
        }
        Role::Server { recognises } => {
            let serving = timeout(HANDSHAKE_TIMEOUT, Box::pin(as_server(stream, part, recognises)));
            let stream = serving.await.unwrap_or(Err(SecureError::Silent(HANDSHAKE_TIMEOUT)))?;
            settle(stream.get_ref().0);
            Box::new(stream)
        }
    };
    Ok(Secured { stream, remote, local })
}

/// From now on it is a link's, and ends as one.
fn settle(stream: &TcpStream) {
    // What is left of a punch: a reset would cut off the last words of a link.
    drop(socket2::SockRef::from(stream).set_linger(None));
    widen(stream);
}

async fn as_client(
    stream: TcpStream,
    part: &Part,
    keys: &[DialInKey],
    turn: usize,
) -> Result<crate::dial::Stream, DialError> {
    let tag = match keys.len() {
        0 => DialInTag::made_up(),
        count => keys[turn % count].tag(),
    };
    let dialing = Dialing {
        outbound: Outbound::default(),
        friend: Some(part.friend),
        config: tls::client_config(&part.identity, part.friend),
        us: part.identity.device_id(),
        keys: Vec::new(),
    };
    handshake(stream, &dialing, &tag).await
}

async fn as_server(
    stream: TcpStream,
    part: &Part,
    recognises: &Recognises,
) -> Result<TlsStream<TcpStream>, SecureError> {
    let (stream, admitted) = accept(stream, &part.identity, Arc::new(Only(part.friend)), recognises).await?;
    match admitted {
        Admitted::Friend(friend) if friend == part.friend => Ok(stream),
        _ => Err(SecureError::Handshake("it is not the one who was called".into())),
    }
}

/// Serves TLS to whoever holds an invite, which he proves by its one-time key, over a connection that was made for him.
///
/// # Errors
/// If he doesn't; see [`SecureError`].
pub(crate) async fn serve_invited(
    stream: TcpStream,
    identity: &Identity,
    one_time: DeviceId,
    recognises: &Recognises,
) -> Result<TlsStream<TcpStream>, SecureError> {
    tune(&stream);
    let serving = Box::pin(accept(stream, identity, Arc::new(OnlyInvited(one_time)), recognises));
    let (stream, admitted) =
        timeout(HANDSHAKE_TIMEOUT, serving).await.unwrap_or(Err(SecureError::Silent(HANDSHAKE_TIMEOUT)))?;
    match admitted {
        Admitted::Invite(found) if found == one_time => Ok(stream),
        _ => Err(SecureError::Handshake("it is not the one who was invited".into())),
    }
}

async fn accept(
    stream: TcpStream,
    identity: &Identity,
    admission: Arc<dyn Admission>,
    recognises: &Recognises,
) -> Result<(TlsStream<TcpStream>, Admitted), SecureError> {
    let failed = |error: std::io::Error| match tls::explain_io(&error) {
        Some(refusal) => SecureError::Handshake(refusal.to_string()),
        None => SecureError::Broken(error.to_string()),
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(failed)?;
    let tag = start.client_hello().server_name().and_then(DialInTag::from_server_name);
    if !tag.is_some_and(|tag| recognises(&tag)) {
        return Err(SecureError::NotRecognised);
    }
    let config = tls::server_config(identity, admission);
    let stream = start.into_stream(config).await.map_err(failed)?;
    let admitted = tls::admitted(stream.get_ref().1);
    admitted.map(|who| (stream, who)).map_err(|error| SecureError::Handshake(error.to_string()))
}

/// Admits one friend and nobody else.
struct Only(DeviceId);

impl Admission for Only {
    fn friend(&self, id: &DeviceId) -> bool {
        *id == self.0
    }

    fn invite(&self, _one_time_id: &DeviceId) -> bool {
        false
    }
}

/// Admits whoever holds one invite and nobody else.
struct OnlyInvited(DeviceId);

impl Admission for OnlyInvited {
    fn friend(&self, _id: &DeviceId) -> bool {
        false
    }

    fn invite(&self, one_time_id: &DeviceId) -> bool {
        *one_time_id == self.0
    }
}

#[cfg(test)]
mod tests;
