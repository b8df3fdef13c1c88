//! Passes bytes on between two connections, unread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kith_wire::RELAY_READY;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};

use crate::relay::Toll;
use crate::rules::RELAY_IDLE;

/// What is read at once from a connection that says little...
const SMALL: usize = 64 * 1024;
/// ...and from one that says much.
const LARGE: usize = 256 * 1024;
/// So many have the larger buffers at once. Further ones get on with the smaller ones.
pub(crate) const MOST_LARGE: usize = 256;
/// A connection that says nothing for so long holds no memory; one whose other end takes nothing, no more than what is to go there.
const REST: Duration = Duration::from_secs(2);
/// How long the first word may take; it goes into an empty buffer of the kernel.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// How a relayed connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    /// Both sides have said all they had to say.
    #[error("both have closed")]
    Finished,
    /// Nothing went for too long.
    #[error("nothing went between them for too long")]
    Idle,
    /// What one of the two may have in a day is used up.
    #[error("what one of them may have relayed in a day is used up")]
    UsedUp,
    /// One of the connections broke.
    #[error("a connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Joins two connections until both ends are done. Of each direction no more is held here than one buffer: who doesn't read stops the other.
pub(crate) async fn join(mut one: TcpStream, mut other: TcpStream, toll: &Toll) -> Ending {
    for leg in [&mut one, &mut other] {
        match timeout(FIRST_WORD, leg.write_all(RELAY_READY)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_elapsed) => return Ending::Idle,
        }
    }
    let last = LastSign::new();
    let (mut from_one, mut to_one) = one.split();
    let (mut from_other, mut to_other) = other.split();
    let both = async {
        tokio::try_join!(
            pass_on(&mut from_one, &mut to_other, toll, &last),
            pass_on(&mut from_other, &mut to_one, toll, &last),
        )
    };
    tokio::select! {
        ended = both => match ended {
            Ok(_) => Ending::Finished,
            Err(ending) => ending,
        },
        () = last.silence() => Ending::Idle,
    }
}

/// One direction, up to its end, which is passed on too.
async fn pass_on(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    toll: &Toll,
    last: &Arc<LastSign>,
) -> Result<(), Ending> {
    let mut buffer = Vec::new();
    let mut large = None;
    loop {
        if timeout(REST, from.ready(Interest::READABLE)).await.is_err() {
            (buffer, large) = (Vec::new(), None);
            from.ready(Interest::READABLE).await?;
        }
        let size = if large.is_some() { LARGE } else { SMALL };
        let most = toll.most_at_once().map_or(size, |most| most.min(SMALL));
        if buffer.len() < most {
            buffer = vec![0; most];
        }
        let length = match from.try_read(&mut buffer[..most]) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        if length == SMALL && large.is_none() {
            large = toll.large_buffer();
        }
        if !toll.pay(length).await {
            return Err(Ending::UsedUp);
        }
        last.note();
        let mut left = 0..length;
        while !left.is_empty() {
            match timeout(REST, to.write(&buffer[left.clone()])).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(Ok(written)) => {
                    left.start += written;
                    last.note();
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_takes_nothing) => {
                    if left.len() < buffer.len() {
                        buffer = buffer[left].to_vec();
                        left = 0..buffer.len();
                    }
                    if buffer.len() <= SMALL {
                        large = None;
                    }
                }
            }
        }
    }
    // The other end may have gone for good meanwhile; what it had to say was passed on, or is noticed there.
    to.shutdown().await.ok();
    Ok(())
}

/// When something went last, in either direction.
struct LastSign {
    began: Instant,
    /// Milliseconds since then.
    at: AtomicU64,
}

impl LastSign {
    fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), at: AtomicU64::new(0) })
    }

    fn note(&self) {
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at.store(milliseconds, Ordering::Relaxed);
    }

    /// Returns when nothing has gone for too long.
    async fn silence(&self) {
        loop {
            let end = self.began + Duration::from_millis(self.at.load(Ordering::Relaxed)) + RELAY_IDLE;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
