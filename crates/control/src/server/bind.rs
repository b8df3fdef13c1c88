//! Loopback ports: one number on both families, another one if it is taken.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::ControlError;

/// How often the system is asked for a free port that happens to be free on both families.
const MAX_TRIES: usize = 16;

/// Fixed numbers tried first when the wanted port is taken: a local firewall can be told about those beforehand.
const NEIGHBOURS: [u16; 4] = [10, 20, 30, 40];

/// One port on both loopback addresses.
pub(super) struct LoopbackPair {
    pub(super) v4: TcpListener,
    /// None on a computer without IPv6.
    pub(super) v6: Option<TcpListener>,
    pub(super) port: u16,
}

/// Binds `wanted`, else `wanted` + 10, + 20 ..., else whatever is free.
pub(super) async fn loopback(wanted: u16) -> Result<LoopbackPair, ControlError> {
    let refused = |source| ControlError::Port { port: wanted, source };
    if wanted != 0 {
        let neighbours = NEIGHBOURS.iter().filter_map(|step| wanted.checked_add(*step));
        for port in std::iter::once(wanted).chain(neighbours) {
            match both(port).await {
                Ok(pair) => return Ok(pair),
                // A port below 1024 or one that the system reserves is replaced just like a busy one.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                }
                Err(error) => return Err(refused(error)),
            }
        }
    }
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..MAX_TRIES {
        match both(0).await {
            Ok(pair) => return Ok(pair),
            Err(error) => last = error,
        }
    }
    Err(refused(last))
}

async fn both(port: u16) -> io::Result<LoopbackPair> {
    let v4 = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let port = v4.local_addr()?.port();
    let v6 = match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
        Ok(listener) => Some(listener),
        // Both families or neither: else a name that resolves to ::1 would lead to the other program.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(error) => {
            tracing::debug!(%error, "no IPv6 loopback: IPv4 only");
            None
        }
    };
    Ok(LoopbackPair { v4, v6, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_leads_to_another_one_on_both_families() {
        let holder = both(0).await.unwrap();
        let pair = loopback(holder.port).await.unwrap();
        assert_ne!(pair.port, holder.port);
        assert_eq!(pair.v4.local_addr().unwrap().port(), pair.port);
        if let Some(v6) = &pair.v6 {
            assert_eq!(v6.local_addr().unwrap().port(), pair.port);
        }
    }

    #[tokio::test]
    async fn a_port_taken_on_one_family_only_is_taken() {
        let holder = both(0).await.unwrap();
        let LoopbackPair { v4, v6, port } = holder;
        let Some(v6) = v6 else { return };
        drop(v4);
        let pair = loopback(port).await.unwrap();
        assert_ne!(pair.port, port);
        drop(v6);
    }

    #[tokio::test]
    async fn only_loopback_addresses_are_bound() {
        let pair = loopback(0).await.unwrap();
        for listener in std::iter::once(&pair.v4).chain(&pair.v6) {
            assert!(listener.local_addr().unwrap().ip().is_loopback());
        }
    }
}
