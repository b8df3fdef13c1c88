//! Connections that a friend's end makes while ours does the same, and who waits for them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::limits::MAX_AWAITED;

/// Where a connection is handed out, with the address that it comes from.
pub type PunchSender = mpsc::Sender<(TcpStream, SocketAddr)>;

/// Too many are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_AWAITED} punched connections are waited for at the listener already")]
pub struct AwaitError;

/// A connection from one address that is waited for until this is dropped. Ports may change meanwhile.
#[derive(Debug)]
pub struct AwaitedPunch {
    serial: u64,
    table: Arc<Table>,
}

impl Drop for AwaitedPunch {
    fn drop(&mut self) {
        self.table.entries().awaited.retain(|entry| entry.serial != self.serial);
    }
}

/// All that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Mutex<Entries>,
    /// Grows with each wait that begins.
    begun: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    awaited: Vec<Entry>,
    last_serial: u64,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    from: SocketAddr,
    to: PunchSender,
}

impl Table {
    pub(crate) fn wait_for(
        self: &Arc<Self>,
        from: SocketAddr,
        to: PunchSender,
    ) -> Result<AwaitedPunch, AwaitError> {
        let mut entries = self.entries();
        if entries.awaited.len() >= MAX_AWAITED {
            return Err(AwaitError);
        }
        entries.last_serial += 1;
        let serial = entries.last_serial;
        entries.awaited.push(Entry { serial, from: plain(from), to });
        drop(entries);
        self.begun.send_replace(serial);
        Ok(AwaitedPunch { serial, table: self.clone() })
    }

    /// Hands out a connection that comes from just where one is waited for; gives it back if it doesn't, or if nobody takes it.
    pub(crate) fn hand_out(&self, stream: TcpStream, remote: SocketAddr) -> Option<TcpStream> {
        self.hand_out_where(stream, remote, |from| from == plain(remote))
    }

    /// Hands out a connection that comes from the IP address from which one is waited for, by whatever port.
    pub(crate) fn hand_out_like(&self, stream: TcpStream, remote: SocketAddr) -> Option<TcpStream> {
        self.hand_out_where(stream, remote, |from| from.ip() == plain(remote).ip())
    }

    /// Returns when a wait for connections from just there begins: the other end may have been the earlier one.
    pub(crate) async fn begins(&self, remote: SocketAddr) {
        let mut begun = self.begun.subscribe();
        while !self.entries().awaited.iter().any(|entry| entry.from == plain(remote)) {
            if begun.changed().await.is_err() {
                // Not so while the table is there.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether one is waited for from this IP address.
    pub(crate) fn expects(&self, ip: IpAddr) -> bool {
        self.entries().awaited.iter().any(|entry| entry.from.ip() == ip.to_canonical())
    }

    fn hand_out_where(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        fits: impl Fn(SocketAddr) -> bool,
    ) -> Option<TcpStream> {
        let entries = self.entries();
        let mut left = stream;
        for entry in entries.awaited.iter().filter(|entry| fits(entry.from)) {
            match entry.to.try_send((left, remote)) {
                Ok(()) => return None,
                Err(error) => left = error.into_inner().0,
            }
        }
        Some(left)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code that holds the lock can leave the table half-written.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn stream() -> (TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (made, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        drop(made);
        accepted.unwrap()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_is_waited_for_is_handed_out_once_and_the_rest_given_back() {
        let table = Arc::new(Table::default());
        let (stream, remote) = stream().await;
        let stream = table.hand_out(stream, remote).expect("nobody waits");
        let (to, mut arriving) = mpsc::channel(1);
        let guard = table.wait_for(remote, to.clone()).unwrap();
        let elsewhere = SocketAddr::new(remote.ip(), remote.port() ^ 1);
        let stream = table.hand_out(stream, elsewhere).expect("another port");
        assert!(table.hand_out(stream, remote).is_none());
        assert_eq!(arriving.recv().await.unwrap().1, remote);
        drop(guard);
        let (stream, remote) = self::stream().await;
        assert!(table.hand_out(stream, remote).is_some());
        assert!(!table.expects(remote.ip()));
    }

    #[tokio::test]
    async fn by_another_port_only_who_comes_from_the_same_ip_address_is_handed_out() {
        let table = Arc::new(Table::default());
        let (to, mut arriving) = mpsc::channel(1);
        let _guard = table.wait_for(address("[::ffff:11.0.0.1]:4242"), to).unwrap();
        let (stream, _) = stream().await;
        assert!(table.expects("11.0.0.1".parse().unwrap()));
        assert!(!table.expects("11.0.0.2".parse().unwrap()));
        let stream = table.hand_out_like(stream, address("11.0.0.2:4242")).expect("another address");
        assert!(table.hand_out_like(stream, address("11.0.0.1:5555")).is_none());
        assert_eq!(arriving.recv().await.unwrap().1, address("11.0.0.1:5555"));
    }

    #[tokio::test]
    async fn neither_waits_nor_connections_pile_up() {
        let table = Arc::new(Table::default());
        let (to, arriving) = mpsc::channel(1);
        let from = address("11.0.0.1:4242");
        let mut guards: Vec<_> =
            (0..MAX_AWAITED).map(|_| table.wait_for(from, to.clone()).unwrap()).collect();
        assert_eq!(table.wait_for(from, to.clone()).unwrap_err(), AwaitError);
        let (one, _) = stream().await;
        assert!(table.hand_out(one, from).is_none());
        let (other, _) = stream().await;
        let other = table.hand_out(other, from).expect("nobody has taken the first one");
        drop(arriving);
        assert!(table.hand_out(other, from).is_some(), "nobody takes any");
        guards.pop();
        table.wait_for(from, to).unwrap();
    }
}
