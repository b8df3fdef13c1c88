//! What to do with a connection that has not begun its handshake: pure decisions on what it has sent so far, and when.

use tokio::time::Instant;

use crate::limits::{GREETING_AFTER, HANDSHAKE_DEADLINE, MAX_PEEKED};

/// The first byte of a TLS handshake record, and the first one of its version (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
const VERSION_MAJOR: u8 = 0x03;
const RECORD_HEADER: usize = 5;
/// The longest record that a ClientHello may come in.
const MAX_RECORD: usize = 1 << 14;

const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PATCH ",
    b"TRACE ",
    b"PRI ",
];

/// What the bytes at hand, which stay unread, look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing has come.
    Silence,
    /// The beginning of something that needs more bytes to be told: TLS without its whole first record, or less than a method.
    Beginning {
        /// Whether it is TLS that is beginning.
        tls: bool,
    },
    /// The first record of a TLS handshake is there.
    Hello,
    /// A request of a browser.
    Http {
        /// Whether it wants the head of the answer only.
        head_only: bool,
    },
    /// Anything else.
    Text,
    /// The other side has said all it had to say, which was nothing.
    Closed,
    /// The other side has closed in the middle of its ClientHello.
    CutOff,
}

impl Look {
    /// What it is if nothing more will come.
    pub(crate) fn at_end(self) -> Self {
        match self {
            Self::Silence => Self::Closed,
            Self::Beginning { tls: true } => Self::CutOff,
            Self::Beginning { tls: false } => Self::Text,
            told => told,
        }
    }
}

/// Looks at the bytes that can be read without waiting; `bytes` is empty if the other side has closed.
pub(crate) fn look(bytes: &[u8]) -> Look {
    match bytes {
        [] => Look::Closed,
        [HANDSHAKE_RECORD, rest @ ..] => look_at_record(rest, bytes.len()),
        _ => look_at_text(bytes),
    }
}

fn look_at_record(after_type: &[u8], available: usize) -> Look {
    match *after_type {
        [VERSION_MAJOR, _, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length == 0 || length > MAX_RECORD {
                Look::Text
            } else if available >= (RECORD_HEADER + length).min(MAX_PEEKED) {
                Look::Hello
            } else {
                Look::Beginning { tls: true }
            }
        }
        [] | [VERSION_MAJOR, ..] => Look::Beginning { tls: true },
        _ => Look::Text,
    }
}

fn look_at_text(bytes: &[u8]) -> Look {
    if METHODS.iter().any(|method| bytes.starts_with(method)) {
        Look::Http { head_only: bytes.starts_with(b"HEAD ") }
    } else if METHODS.iter().any(|method| method.starts_with(bytes)) {
        Look::Beginning { tls: false }
    } else {
        Look::Text
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look again when more has come, or at this time.
    Wait(Instant),
    /// Send the greeting, then look again.
    Greet,
    /// Go on to the handshake.
    Handshake,
    /// Answer as to a browser, then close.
    AnswerHttp {
        /// Whether the head of the answer is all.
        head_only: bool,
    },
    /// Send the greeting, then close.
    AnswerText,
    /// Close.
    Close,
}

/// The time before the handshake, from the listener's point of view.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// When the greeting is due; `None` if it was sent, or never will be.
    greet_at: Option<Instant>,
    deadline: Instant,
}

impl Conversation {
    /// Begins when the connection is accepted. Without `greets` nothing is ever sent.
    pub(crate) fn new(accepted: Instant, greets: bool) -> Self {
        Self { greet_at: greets.then(|| accepted + GREETING_AFTER), deadline: accepted + HANDSHAKE_DEADLINE }
    }

    /// When the handshake must be done.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What to do, given what lies there.
    pub(crate) fn next(&mut self, seen: Look, now: Instant) -> Step {
        if now >= self.deadline {
            return Step::Close;
        }
        match seen {
            Look::Hello => Step::Handshake,
            Look::CutOff => Step::Close,
            // Who was greeted and then types has had the answer.
            Look::Http { .. } | Look::Text | Look::Closed if self.greet_at.is_none() => Step::Close,
            Look::Http { head_only } => Step::AnswerHttp { head_only },
            // Scripts that test the port often have no input: they close their half and read.
            Look::Text | Look::Closed => Step::AnswerText,
            Look::Beginning { tls: true } => Step::Wait(self.deadline),
            Look::Beginning { tls: false } => match self.greet_at {
                Some(at) if now >= at => Step::AnswerText,
                at => Step::Wait(at.unwrap_or(self.deadline)),
            },
            Look::Silence => match self.greet_at {
                Some(at) if now >= at => {
                    self.greet_at = None;
                    Step::Greet
                }
                at => Step::Wait(at.unwrap_or(self.deadline)),
            },
        }
    }
}

#[cfg(test)]
mod tests;
