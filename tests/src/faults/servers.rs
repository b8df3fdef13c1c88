//! What answers in the place of a friend or a proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks whether somebody calls.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a caller may say nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes that are read of a caller.
const MOST_READ: usize = 4096;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// A web page, to whatever was asked.
    Page,
    /// A greeting, before anything was asked.
    Greeting,
    /// That the connection is not allowed, as a proxy.
    Forbidden,
}

impl Says {
    const fn first(self) -> &'static [u8] {
        match self {
            Self::Greeting => b"220 mail.example.org ESMTP ready\r\n",
            Self::Page | Self::Forbidden => b"",
        }
    }

    const fn then(self) -> &'static [u8] {
        match self {
            Self::Page => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 37\r\nConnection: close\r\n\r\n<html><body>Welcome!</body></html>\r\n\r\n"
            }
            Self::Greeting => b"500 5.5.1 command unrecognized\r\n",
            Self::Forbidden => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        }
    }
}

/// A server that says the same to all, until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    at: SocketAddr,
}

impl Server {
    /// Serves whoever comes to this listener.
    pub(super) fn start(listener: TcpListener, says: Says) -> Self {
        let at = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        std::thread::spawn(move || answer(stream, says));
                    }
                    Err(_) => std::thread::sleep(PAUSE),
                }
            }
        });
        Self { ended, thread: Some(thread), at }
    }

    /// Where it listens.
    pub(super) const fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Callers may go whenever they like.
fn answer(mut stream: TcpStream, says: Says) {
    let talk = || -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(says.first())?;
        let mut asked = vec![0; MOST_READ];
        if stream.read(&mut asked)? > 0 {
            stream.write_all(says.then())?;
        }
        Ok(())
    };
    let mut talk = talk;
    drop(talk());
}
