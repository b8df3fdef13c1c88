//! One stream, as the connection sees it: what has come, what is to go, and how much more of either is allowed.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;

/// What may be sent on a new stream before the other side allows more.
pub(crate) const BASE_WINDOW: u32 = 256 * 1024;
/// Bytes that a stream takes to be sent before its writer must wait.
pub(crate) const SEND_QUEUE: usize = 128 * 1024;
/// Pieces that are smaller are gathered in chunks of this size, so that many tiny frames take no more room than their bytes.
const CHUNK: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    /// Whether the other side opened it.
    pub(crate) theirs: bool,
    /// The other side knows of it, or was told.
    pub(crate) known: bool,
    /// The first frame that we send must take the stream that they opened.
    pub(crate) ack_due: bool,
    /// It was broken off, by either side.
    pub(crate) broken: bool,
    /// The other side must be told that it was broken off.
    pub(crate) reset_due: bool,
    /// Nobody here reads or writes it any more.
    pub(crate) abandoned: bool,
    /// It stands in the list of those that have something to say beside data.
    pub(crate) signalling: bool,
    /// It stands in one of the lists of those that can send data.
    pub(crate) queued: bool,
    /// Since when, and since how many bytes sent, it gets on too slowly.
    pub(crate) slow_since: Option<(Instant, u64)>,
}

/// What has come in and is not read yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    whole: VecDeque<Bytes>,
    /// Where small pieces are gathered.
    gathering: BytesMut,
    pub(crate) bytes: usize,
    /// What the other side may still send.
    pub(crate) credit: u32,
    /// What it may send at most without being allowed more.
    pub(crate) window: u32,
    /// What was read and not allowed anew yet.
    pub(crate) consumed: u32,
    /// When the other side was last allowed more, or would have been for the first time.
    pub(crate) told: Option<Instant>,
    pub(crate) finished: bool,
    pub(crate) reader: Option<Waker>,
}

/// What is to go out.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) pieces: VecDeque<Bytes>,
    pub(crate) bytes: usize,
    /// What may still be sent.
    pub(crate) credit: u32,
    pub(crate) sent: u64,
    pub(crate) finish: bool,
    pub(crate) finished: bool,
    pub(crate) writer: Option<Waker>,
}

impl Flow {
    pub(crate) fn new(theirs: bool) -> Self {
        Self {
            incoming: Incoming {
                whole: VecDeque::new(),
                gathering: BytesMut::new(),
                bytes: 0,
                credit: BASE_WINDOW,
                window: BASE_WINDOW,
                consumed: 0,
                told: None,
                finished: false,
                reader: None,
            },
            outgoing: Outgoing { credit: BASE_WINDOW, ..Outgoing::default() },
            theirs,
            known: theirs,
            ack_due: theirs,
            broken: false,
            reset_due: false,
            abandoned: false,
            signalling: false,
            queued: false,
            slow_since: None,
        }
    }

    /// Whether there is data that may be sent, or an end to tell of.
    pub(crate) const fn can_send(&self) -> bool {
        let outgoing = &self.outgoing;
        !self.broken
            && !outgoing.finished
            && ((outgoing.bytes > 0 && outgoing.credit > 0) || (outgoing.bytes == 0 && outgoing.finish))
    }

    /// Whether nothing is left to do.
    pub(crate) const fn is_over(&self) -> bool {
        self.abandoned
            && !self.reset_due
            && (self.broken || (self.outgoing.finished && self.incoming.finished))
    }

    /// Gives up what waits in both directions; who waits for it is woken.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
        self.outgoing.pieces.clear();
        self.outgoing.bytes = 0;
        self.wake();
    }

    pub(crate) fn wake_reader(&mut self) {
        if let Some(reader) = self.incoming.reader.take() {
            reader.wake();
        }
    }

    pub(crate) fn wake(&mut self) {
        for waker in [self.incoming.reader.take(), self.outgoing.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Incoming {
    /// Takes what has come. `piece` is left empty; whether its memory is, too, depends on what is cheaper.
    pub(crate) fn push(&mut self, piece: &mut BytesMut) {
        self.bytes += piece.len();
        // Handed on as it is if it is large, fills what was allocated for it, and leaves no chunk behind that is nearly empty.
        let is_full = piece.len() >= CHUNK / 2 && piece.len() >= piece.capacity() / 8 * 7;
        if is_full && (self.gathering.is_empty() || self.gathering.len() >= CHUNK / 2) {
            self.close_chunk();
            self.whole.push_back(piece.split().freeze());
        } else {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                if self.gathering.capacity() == 0 {
                    self.gathering = BytesMut::with_capacity(CHUNK);
                }
                let room = self.gathering.capacity() - self.gathering.len();
                let (fits, more) = rest.split_at(rest.len().min(room));
                self.gathering.extend_from_slice(fits);
                rest = more;
                if self.gathering.len() == self.gathering.capacity() {
                    self.close_chunk();
                }
            }
            piece.clear();
        }
    }

    fn close_chunk(&mut self) {
        if !self.gathering.is_empty() {
            self.whole.push_back(std::mem::take(&mut self.gathering).freeze());
        }
    }

    /// At most `most` of the bytes that came first; none if there are none.
    pub(crate) fn pop(&mut self, most: usize) -> Bytes {
        if self.whole.is_empty() {
            self.close_chunk();
        }
        let Some(first) = self.whole.front_mut() else { return Bytes::new() };
        let part = if first.len() <= most {
            self.whole.pop_front().unwrap_or_default()
        } else {
            first.split_to(most)
        };
        self.bytes -= part.len();
        part
    }

    /// Nobody will read it.
    pub(crate) fn discard(&mut self) {
        self.whole.clear();
        self.gathering = BytesMut::new();
        self.bytes = 0;
    }
}

impl Outgoing {
    /// Takes up to `most` bytes out, in order.
    pub(crate) fn take(&mut self, most: usize, out: &mut VecDeque<Bytes>) {
        let mut left = most;
        while left > 0 {
            let Some(first) = self.pieces.front_mut() else { break };
            let part = if first.remaining() <= left {
                self.pieces.pop_front().unwrap_or_default()
            } else {
                first.split_to(left)
            };
            left -= part.len();
            self.bytes -= part.len();
            out.push_back(part);
        }
        if self.bytes <= SEND_QUEUE / 2
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_came_in() {
        let mut incoming = Flow::new(true).incoming;
        let mut next = 0_u8;
        let mut expected = Vec::new();
        for size in [1, 20_000, 5, 8_192, 8_191, 16_384, 3, 40_000, 1] {
            let piece: Vec<u8> = (0..size)
                .map(|_| {
                    next = next.wrapping_add(1);
                    next
                })
                .collect();
            expected.extend_from_slice(&piece);
            incoming.push(&mut BytesMut::from(&piece[..]));
        }
        assert_eq!(incoming.bytes, expected.len());
        let mut read = Vec::new();
        while incoming.bytes > 0 {
            read.extend_from_slice(&incoming.pop(7_001));
        }
        assert_eq!(read, expected);
    }

    #[test]
    fn a_flood_of_tiny_frames_takes_no_more_room_than_its_bytes() {
        let mut incoming = Flow::new(true).incoming;
        for _ in 0..BASE_WINDOW {
            incoming.push(&mut BytesMut::from(&b"x"[..]));
        }
        assert_eq!(incoming.whole.len() + usize::from(!incoming.gathering.is_empty()), 16);
    }

    #[test]
    fn frames_of_any_sizes_take_at_most_twice_the_room_of_their_bytes() {
        for sizes in [&[1, 8_192][..], &[1, 16_384], &[8_191, 8_192], &[1, 1, 8_193], &[3_000, 16_384, 8_192]]
        {
            let mut incoming = Flow::new(true).incoming;
            let mut room = 0;
            for size in sizes.iter().cycle().take(1_000) {
                let (whole, gathers) = (incoming.whole.len(), incoming.gathering.capacity() > 0);
                let mut piece = BytesMut::with_capacity(*size);
                piece.resize(*size, 0);
                incoming.push(&mut piece);
                // What was handed on as it was, and the chunks that were begun.
                let as_it_was = usize::from(piece.capacity() == 0) * size;
                let begun = incoming.whole.len() - whole - usize::from(as_it_was > 0);
                let gathers_now = incoming.gathering.capacity() > 0;
                room += as_it_was + (begun + usize::from(gathers_now) - usize::from(gathers)) * CHUNK;
            }
            assert!(room <= 2 * incoming.bytes, "{sizes:?}: {room} for {}", incoming.bytes);
            assert!(room >= incoming.bytes, "{sizes:?}: {room} for {}", incoming.bytes);
        }
    }
}
