//! Bodies of HTTP messages: one boxed type for all, with bounded collection and an idle timeout.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use serde::Serialize;
use tokio::time::{Instant, Sleep};

/// A streaming body, in either direction.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;
/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body without a byte.
#[must_use]
pub fn empty_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of these bytes.
pub fn bytes_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of this value as JSON.
///
/// # Errors
/// If the value has no JSON form.
pub fn json_body<T: Serialize>(value: &T) -> Result<Body, serde_json::Error> {
    serde_json::to_vec(value).map(bytes_body)
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// If it breaks off or is longer.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut body = body;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if all.len() + data.len() > limit {
                return Err(Box::new(TooLong(limit)));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}

/// Any body in the one type.
pub fn boxed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Ends a body with an error when it gives no frame for `limit`: a stalled sender can't hold a stream for ever.
pub fn with_idle_timeout<B>(body: B, limit: Duration) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    IdleTimeout { body, limit, sleep: Box::pin(tokio::time::sleep(limit)) }.boxed_unsync()
}

struct IdleTimeout<B> {
    body: B,
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

/// The body is longer than the reader allows.
#[derive(Debug, thiserror::Error)]
#[error("the message is longer than {0} bytes")]
struct TooLong(usize);

/// The body gave nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing was received for {} s", .0.as_secs())]
struct Stalled(Duration);

impl<B> HttpBody for IdleTimeout<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.sleep.as_mut().reset(Instant::now() + this.limit);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match this.sleep.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Box::new(Stalled(this.limit))))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_ends_with_an_error_that_says_how_long() {
        let (_sender, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
        let error = with_idle_timeout(body, Duration::from_secs(60)).collect().await.unwrap_err();
        assert_eq!(error.to_string(), "nothing was received for 60 s");
    }

    #[tokio::test]
    async fn a_body_longer_than_the_limit_is_refused() {
        assert!(collect(bytes_body(vec![0; 11]), 10).await.is_err());
        assert_eq!(collect(bytes_body(vec![7; 10]), 10).await.unwrap().len(), 10);
    }
}
