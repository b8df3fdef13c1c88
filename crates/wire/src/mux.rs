//! The yamux connection and the one task that drives it.

use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, ConnectionError, Mode};

use crate::link::{LinkLimits, Side};
use crate::metered::Metered;

/// What a link runs over: a stream whose other end has been authenticated.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

type Io = Compat<Metered<Box<dyn ByteStream>>>;

/// Asks the driver for a new stream.
pub(crate) type OpenRequest = oneshot::Sender<Result<yamux::Stream, ConnectionError>>;

/// What the driver met.
pub(crate) enum Happening {
    /// The other side opened a stream.
    Inbound(yamux::Stream),
    /// The connection is over.
    Over(Option<ConnectionError>),
}

pub(crate) struct Mux {
    connection: Connection<Io>,
    opens: mpsc::Receiver<OpenRequest>,
}

impl Mux {
    pub(crate) fn new(
        stream: Metered<Box<dyn ByteStream>>,
        side: Side,
        limits: &LinkLimits,
        opens: mpsc::Receiver<OpenRequest>,
    ) -> Self {
        let mut config = Config::default();
        // Both setters check one against the other: lower the count before the window.
        config.set_max_num_streams(limits.most_streams());
        config.set_max_connection_receive_window(Some(limits.receive_window));
        config.set_split_send_size(limits.frame_bytes);
        let mode = match side {
            Side::Dialer => Mode::Client,
            Side::Acceptor => Mode::Server,
        };
        Self { connection: Connection::new(stream.compat(), config, mode), opens }
    }

    /// Drives everything until something happens that the link must act on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        while let Poll::Ready(Some(answer)) = self.opens.poll_recv(cx) {
            // Never pending: the link's own count of open streams stays far below the backlog where it would be.
            let Poll::Ready(opened) = self.connection.poll_new_outbound(cx) else {
                drop(answer);
                break;
            };
            drop(answer.send(opened));
        }
        self.connection.poll_next_inbound(cx).map(|inbound| match inbound {
            Some(Ok(stream)) => Happening::Inbound(stream),
            Some(Err(error)) => Happening::Over(Some(error)),
            None => Happening::Over(None),
        })
    }

    /// Says goodbye: pending frames are sent, then the connection is closed.
    pub(crate) async fn close(&mut self) {
        drop(std::future::poll_fn(|cx| self.connection.poll_close(cx)).await);
    }
}
