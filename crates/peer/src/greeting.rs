//! Discards the one line of greeting that a listener may send before it speaks TLS.
//!
//! A listener that hears nothing for two seconds greets in plain text and goes on waiting for TLS. When our
//! ClientHello was held up on the way, that line arrives before the ServerHello.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest greeting, its line end included.
pub const LONGEST_GREETING: usize = 256;

/// A stream whose first line is left out if it is text.
pub struct SkipGreeting<T> {
    inner: T,
    state: State,
}

enum State {
    /// Nothing was read yet, or only a part of the greeting.
    Before { skipped: Vec<u8> },
    /// Bytes that came with the end of the greeting, to be given out first.
    Rest { rest: Vec<u8>, given: usize },
    /// Everything passes.
    Through,
}

/// What stands in front of the stream when it is not TLS.
#[derive(Debug, thiserror::Error)]
#[error("it does not speak TLS; it says: {text:?}")]
pub(crate) struct NotTls {
    pub(crate) text: String,
}

impl<T> SkipGreeting<T> {
    /// Nothing of the stream was read yet.
    pub const fn new(inner: T) -> Self {
        Self { inner, state: State::Before { skipped: Vec::new() } }
    }

    pub(crate) const fn get_ref(&self) -> &T {
        &self.inner
    }
}

/// Content types of TLS records: change cipher spec, alert, handshake, application data (RFC 8446, 5.1).
const fn begins_a_tls_record(byte: u8) -> bool {
    matches!(byte, 0x14..=0x17)
}

impl<T: AsyncRead + Unpin> AsyncRead for SkipGreeting<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Through => return Pin::new(&mut this.inner).poll_read(cx, buf),
                State::Rest { rest, given } => {
                    let part = (rest.len() - *given).min(buf.remaining());
                    buf.put_slice(&rest[*given..*given + part]);
                    *given += part;
                    if *given == rest.len() {
                        this.state = State::Through;
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Before { skipped } => {
                    let mut chunk = [0; LONGEST_GREETING];
                    let mut chunk = ReadBuf::new(&mut chunk);
                    ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
                    if chunk.filled().is_empty() {
                        if skipped.is_empty() {
                            this.state = State::Through;
                            return Poll::Ready(Ok(()));
                        }
                        return Poll::Ready(Err(not_tls(skipped)));
                    }
                    skipped.extend_from_slice(chunk.filled());
                    if begins_a_tls_record(skipped[0]) {
                        this.state = State::Rest { rest: std::mem::take(skipped), given: 0 };
                    } else if let Some(end) = skipped.windows(2).position(|pair| pair == b"\r\n")
                        && end + 2 <= LONGEST_GREETING
                    {
                        let rest = skipped.split_off(end + 2);
                        if rest.first().is_some_and(|byte| !begins_a_tls_record(*byte)) {
                            skipped.extend_from_slice(&rest);
                            return Poll::Ready(Err(not_tls(skipped)));
                        }
                        this.state =
                            if rest.is_empty() { State::Through } else { State::Rest { rest, given: 0 } };
                    } else if skipped.len() >= LONGEST_GREETING {
                        return Poll::Ready(Err(not_tls(skipped)));
                    }
                }
            }
        }
    }
}

fn not_tls(text: &[u8]) -> std::io::Error {
    let end = text.len().min(80);
    let text = String::from_utf8_lossy(&text[..end]).trim_end().to_owned();
    std::io::Error::new(std::io::ErrorKind::InvalidData, NotTls { text })
}

impl<T: AsyncWrite + Unpin> AsyncWrite for SkipGreeting<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn through(pieces: &[&[u8]]) -> std::io::Result<Vec<u8>> {
        let mut builder = tokio_test_io(pieces);
        let mut out = Vec::new();
        builder.read_to_end(&mut out).await?;
        Ok(out)
    }

    fn tokio_test_io(pieces: &[&[u8]]) -> SkipGreeting<impl AsyncRead + Unpin + use<>> {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, std::io::Error>(std::io::Cursor::new(piece.to_vec())))
            .collect();
        SkipGreeting::new(tokio_util::io::StreamReader::new(futures::stream::iter(pieces)))
    }

    #[tokio::test]
    async fn a_stream_that_begins_with_tls_passes_untouched() {
        assert_eq!(through(&[b"\x16\x03\x03", b"abc\r\n"]).await.unwrap(), b"\x16\x03\x03abc\r\n");
    }

    #[tokio::test]
    async fn one_line_of_greeting_is_left_out_however_it_is_cut() {
        let expected = b"\x16\x03\x03hello";
        assert_eq!(through(&[b"you come from x\r\n\x16\x03\x03hello"]).await.unwrap(), expected);
        assert_eq!(
            through(&[b"you come", b" from x\r", b"\n", b"\x16\x03\x03hello"]).await.unwrap(),
            expected
        );
    }

    #[tokio::test]
    async fn a_second_line_or_a_line_without_end_is_not_tls() {
        for pieces in [&[b"one\r\ntwo\r\n".as_slice()][..], &[&[b'a'; 300]], &[b"short".as_slice()]] {
            let error = through(pieces).await.unwrap_err();
            assert!(error.to_string().starts_with("it does not speak TLS"), "{error}");
        }
    }
}
