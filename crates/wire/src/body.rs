//! Bodies of HTTP messages: one boxed type for all, with bounded collection and an idle timeout.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
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

/// So many bytes are made room for on the word of whoever announces a body; larger ones grow as they come.
const MOST_TRUSTED: u64 = 32 << 20;

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// If it breaks off or is longer.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut all = Vec::with_capacity(announced(&body).min(limit));
    collect_into(body, limit, &mut all).await?;
    Ok(all.into())
}

/// Appends a whole body of at most `limit` bytes.
///
/// # Errors
/// If it breaks off or is longer.
pub async fn collect_into(body: Body, limit: usize, all: &mut Vec<u8>) -> Result<(), BodyError> {
    let (mut body, end) = (body, all.len().saturating_add(limit));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if all.len() + data.len() > end {
                return Err(Box::new(TooLong(limit)));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(())
}

/// For how many bytes of a body room should be made before it is read: a buffer that grows is copied again and again.
#[must_use]
pub fn announced(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower().min(MOST_TRUSTED)).unwrap_or(0)
}

/// Any body in the one type.
pub fn boxed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Ends a body with an error when less than `least` bytes of it come in `limit` of waiting for them: a sender that stalls, or
/// dribbles, can't hold a stream for ever. What its reader takes for itself doesn't count.
pub fn with_least_progress<B>(body: B, limit: Duration, least: u64) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    Paced { body, limit, least, waited: Duration::ZERO, came: 0, waiting: None }.boxed_unsync()
}

struct Paced<B> {
    body: B,
    limit: Duration,
    least: u64,
    /// How long was waited for the bytes that came.
    waited: Duration,
    came: u64,
    /// Since when is waited now, and the end of patience.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// The body is longer than the reader allows.
#[derive(Debug, thiserror::Error)]
#[error("the message is longer than {0} bytes")]
struct TooLong(usize);

/// The body gave too little for too long.
#[derive(Debug, thiserror::Error)]
#[error("next to nothing was received for {} s", .0.as_secs())]
struct Stalled(Duration);

impl<B> HttpBody for Paced<B>
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
                if let Some((since, _)) = this.waiting.take() {
                    this.waited += since.elapsed();
                }
                if let Some(Ok(frame)) = &frame {
                    this.came += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if this.came >= this.least {
                        (this.came, this.waited) = (0, Duration::ZERO);
                    }
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let patience = this.limit.saturating_sub(this.waited);
                let (_, end) = this
                    .waiting
                    .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(patience))));
                match end.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(Box::new(Stalled(this.limit))))),
                    Poll::Pending => Poll::Pending,
                }
            }
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

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_ends_with_an_error_that_says_how_long() {
        let (_sender, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
        let error = with_least_progress(body, MINUTE, 1).collect().await.unwrap_err();
        assert_eq!(error.to_string(), "next to nothing was received for 60 s");
    }

    /// How long a body is read that sends so many bytes every second, for at most ten minutes.
    async fn read_at(bytes_per_second: usize) -> Result<(), Duration> {
        let (mut sender, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
        let started = Instant::now();
        let sending = tokio::spawn(async move {
            for _ in 0..600 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if sender.send_data(Bytes::from(vec![0; bytes_per_second])).await.is_err() {
                    return;
                }
            }
        });
        let read = with_least_progress(body, MINUTE, 16 * 1024).collect().await;
        sending.abort();
        read.map(drop).map_err(|_| started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_dribbles_ends_as_one_that_stalls() {
        assert!(read_at(1).await.unwrap_err() <= MINUTE + Duration::from_secs(1));
        assert!(read_at(200).await.is_err());
        assert_eq!(read_at(300).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_reader_is_not_the_senders_fault() {
        let (mut sender, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
        let mut body = with_least_progress(body, MINUTE, 16 * 1024);
        tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                sender.send_data(Bytes::from_static(b"x")).await.unwrap();
            }
        });
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
            tokio::time::sleep(2 * MINUTE).await;
        }
        assert_eq!(read, 5);
    }

    #[tokio::test]
    async fn a_body_longer_than_the_limit_is_refused() {
        assert!(collect(bytes_body(vec![0; 11]), 10).await.is_err());
        assert_eq!(collect(bytes_body(vec![7; 10]), 10).await.unwrap().len(), 10);
    }
}
