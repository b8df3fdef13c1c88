//! How the names of hosts are looked up.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::dial::{DialError, split};

/// Longest wait for name resolution.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses of one name.
const MOST_ADDRESSES: usize = 8;

/// Looks up the IP addresses of names: the system's way, which asks name servers by UDP, unless another is given. Plain addresses are
/// not looked up.
#[derive(Clone, Default)]
pub struct Names(Option<Arc<LookUp>>);

type LookUp = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

impl Names {
    /// By this, and by nothing else. It is dropped when it takes more than five seconds.
    pub fn new(
        look_up: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(look_up)))
    }

    /// The IP addresses of `host:port`.
    pub(super) async fn resolve(&self, address: &str) -> Result<Vec<SocketAddr>, DialError> {
        let (host, port) = split(address)?;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let addresses: Vec<SocketAddr> =
            match tokio::time::timeout(RESOLVE_TIMEOUT, self.look_up(host, port)).await {
                Err(_elapsed) => {
                    return Err(DialError::NameNotFound(format!(
                        "the name server did not answer for {host} within {} s",
                        RESOLVE_TIMEOUT.as_secs()
                    )));
                }
                Ok(Err(error)) => return Err(DialError::NameNotFound(format!("{host}: {error}"))),
                Ok(Ok(addresses)) => addresses.into_iter().take(MOST_ADDRESSES).collect(),
            };
        if addresses.is_empty() { Err(DialError::NameNotFound(host.to_owned())) } else { Ok(addresses) }
    }

    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.0 {
            None => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            Some(look_up) => {
                let found = look_up(host.to_owned()).await?;
                Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Names(given)" } else { "Names(system)" })
    }
}
