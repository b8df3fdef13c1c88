//! An answer as it goes out, byte by byte.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pace {
    /// As fast as it goes.
    #[default]
    Full,
    /// Nothing more after so many bytes of the body, with the stream left open.
    StallAt(usize),
    /// A byte of the body at a time.
    Drip(Duration),
    /// The stream is closed after so many bytes of the body.
    CutStreamAt(usize),
    /// The whole connection is broken after so many bytes of the body.
    CutLinkAt(usize),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those of its length.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
    /// The length to be claimed, if another than that of the body.
    pub claimed_length: Option<u64>,
    /// Sent instead of the status line, the headers and the body.
    pub raw: Option<Bytes>,
    /// How it is sent.
    pub pace: Pace,
}

impl Answer {
    /// An answer of these bytes.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            claimed_length: None,
            raw: None,
            pace: Pace::Full,
        }
    }

    /// The same with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with a further header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same at another pace.
    #[must_use]
    pub const fn at(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.claimed_length.unwrap_or(self.body.len() as u64);
        head.push_str(&format!("content-length: {length}\r\nconnection: close\r\n\r\n"));
        head.into_bytes()
    }

    /// Sends it. Gives back whether the connection is to be broken.
    pub(super) async fn send(self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<bool> {
        if let Some(raw) = &self.raw {
            stream.write_all(raw).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        stream.write_all(&self.head()).await?;
        let part = |length: usize| &self.body[..length.min(self.body.len())];
        match self.pace {
            Pace::Full => stream.write_all(&self.body).await?,
            Pace::StallAt(length) => {
                stream.write_all(part(length)).await?;
                stream.flush().await?;
                return std::future::pending().await;
            }
            Pace::Drip(pause) => {
                for byte in &self.body {
                    stream.write_all(&[*byte]).await?;
                    stream.flush().await?;
                    tokio::time::sleep(pause).await;
                }
            }
            Pace::CutStreamAt(length) => stream.write_all(part(length)).await?,
            Pace::CutLinkAt(length) => {
                stream.write_all(part(length)).await?;
                stream.flush().await?;
                return Ok(true);
            }
        }
        stream.shutdown().await?;
        Ok(false)
    }
}
