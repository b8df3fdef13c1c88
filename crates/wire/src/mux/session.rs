//! The state of a connection and its rules, without input and output: yamux as published by HashiCorp, with windows that
//! grow, and with bounds on everything that the other side can make us keep.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::allowance::Allowance;
use super::flow::{BASE_WINDOW, Flow, SEND_QUEUE};
use super::frame::{ACK, FIN, Farewell, Header, HeaderError, Kind, RST, SYN};
use crate::link::{LinkLimits, Side};

/// Largest frame until the other side was greeted.
pub(crate) const STRANGERS_FRAME: u32 = 64 * 1024;
/// Largest frame.
pub(crate) const LARGEST_FRAME: u32 = 1024 * 1024;
/// Streams that the other side opens until it was greeted.
const STRANGERS_STREAMS: usize = 4;
/// A stream is served ahead of others until it has sent this much: questions and short answers overtake bulk data.
const URGENT: u64 = 64 * 1024;
/// A reader that gets on slowly is told of so often, which is a sign of life for who sends and hears nothing else.
const TOLD_AFTER: Duration = Duration::from_secs(1);
/// A reader is woken at once when so much waits for him.
const EAGER: usize = 128 * 1024;
/// Streams that the other side may break off in one go. Each may have set work in motion.
const RESETS: u32 = 256;
/// Streams that we break off before opening others waits: half of what the other side bears.
const OUR_RESETS: u32 = RESETS / 2;

/// What the other side did against the rules. It ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Breach {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("it sent a frame of {0} bytes, and {1} are allowed")]
    FrameTooLarge(u32, u32),
    #[error("it sent more on a stream than it was allowed to")]
    CreditExceeded,
    #[error("it allowed more to be sent on a stream than can be counted")]
    CreditOverflow,
    #[error("it opened more than {0} streams at once")]
    TooManyStreams(usize),
    #[error("it opened the stream {0}, which is not its to open or is open already")]
    WrongStream(u32),
    #[error("it broke off too many streams one after the other")]
    TooManyResets,
}

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next header.
    Header,
    /// So many bytes of a stream, and perhaps its end.
    Body { stream: u32, length: u32, last: bool },
    /// Nothing: the other side said goodbye, with its reason as a number (0: none).
    End(u32),
}

/// Bounds that follow from the [limits of a link](LinkLimits).
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Streams that we open.
    ours: usize,
    /// Streams that they open. One that they have ended may still be open for us, so there are more than they may have.
    theirs: usize,
    /// Sum of what all windows may have beyond their first size.
    growth: u32,
    frame_bytes: usize,
    slow_after: Duration,
    least_progress: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    bounds: Bounds,
    greeted: bool,
    next_id: u32,
    their_parity: u32,
    flows: BTreeMap<u32, Flow>,
    accepted: VecDeque<u32>,
    /// Streams whose readers are to be woken; as many as there are frames in a turn at most.
    fed: Vec<u32>,
    signals: VecDeque<u32>,
    urgent: VecDeque<u32>,
    bulk: VecDeque<u32>,
    pong: Option<u32>,
    ping: Option<u32>,
    /// Pings that were sent.
    pings: u32,
    /// The latest of them, until it is answered.
    asked: Option<(u32, Instant)>,
    /// How long answers took, the later ones counting for more.
    round_trip: Option<Duration>,
    farewell: Option<Farewell>,
    /// Streams that they have opened so far.
    taken: u64,
    /// We open no more streams.
    draining: bool,
    /// We say goodbye, or have said so: nothing new is begun, and what is long is broken off.
    ending: bool,
    /// How far a stream's window has grown: new ones begin there.
    learned: u32,
    /// What all windows have beyond their first size.
    grown: u32,
    /// Streams that the other side may still break off.
    resets: Allowance,
    /// Streams that we may still break off before it takes us for a nuisance.
    our_resets: Allowance,
    over: bool,
    driver: Option<Waker>,
}

impl Session {
    pub(crate) fn new(side: Side, limits: &LinkLimits) -> Self {
        let ours = limits.open_streams;
        let theirs = limits.streams_served();
        let base = (ours + theirs).saturating_mul(BASE_WINDOW as usize);
        let growth = limits.receive_window.saturating_sub(base);
        Self {
            bounds: Bounds {
                ours,
                theirs,
                growth: u32::try_from(growth).unwrap_or(u32::MAX),
                frame_bytes: limits.frame_bytes,
                slow_after: limits.slow_after,
                least_progress: limits.least_progress,
            },
            // Whom we dialled has shown the key that we looked for.
            greeted: side == Side::Dialer,
            // A client's streams have odd numbers.
            next_id: if side == Side::Dialer { 1 } else { 2 },
            their_parity: if side == Side::Dialer { 0 } else { 1 },
            flows: BTreeMap::new(),
            accepted: VecDeque::new(),
            fed: Vec::new(),
            signals: VecDeque::new(),
            urgent: VecDeque::new(),
            bulk: VecDeque::new(),
            pong: None,
            ping: None,
            pings: 0,
            asked: None,
            round_trip: None,
            farewell: None,
            taken: 0,
            draining: false,
            ending: false,
            learned: BASE_WINDOW,
            grown: 0,
            resets: Allowance::new(RESETS),
            our_resets: Allowance::new(OUR_RESETS),
            over: false,
            driver: None,
        }
    }

    /// From now on the wider bounds apply: the other side is welcome.
    pub(crate) fn greet(&mut self) {
        self.greeted = true;
    }

    // --- What the other side sends.

    /// Takes the header of a frame.
    pub(crate) fn receive(&mut self, header: Header, now: Instant) -> Result<Next, Breach> {
        match header.kind {
            Kind::Data => self.receive_data(header, now),
            Kind::Window => self.receive_window(header, now).map(|()| Next::Header),
            Kind::Ping => {
                if !header.has(ACK) {
                    // Of several that wait for an answer the latest gets one: that is a sign of life, too.
                    self.pong = Some(header.length);
                } else if let Some((_, asked)) = self.asked.take_if(|(number, _)| *number == header.length) {
                    self.note_round_trip(now.saturating_duration_since(asked));
                }
                Ok(Next::Header)
            }
            Kind::GoAway => Ok(Next::End(header.length)),
        }
    }

    fn receive_data(&mut self, header: Header, now: Instant) -> Result<Next, Breach> {
        let (id, length) = (header.stream, header.length);
        let most = if self.greeted { LARGEST_FRAME } else { STRANGERS_FRAME };
        if length > most {
            return Err(Breach::FrameTooLarge(length, most));
        }
        if header.has(SYN) {
            self.opened_by_them(id, 0)?;
        }
        if let Some(flow) = self.flows.get_mut(&id) {
            let incoming = &mut flow.incoming;
            incoming.credit = incoming.credit.checked_sub(length).ok_or(Breach::CreditExceeded)?;
        }
        if header.has(RST) {
            self.reset_by_them(id, now)?;
        }
        let last = header.has(FIN);
        if length == 0 {
            if last {
                self.finished_by_them(id);
            }
            return Ok(Next::Header);
        }
        Ok(Next::Body { stream: id, length, last })
    }

    fn receive_window(&mut self, header: Header, now: Instant) -> Result<(), Breach> {
        let id = header.stream;
        if header.has(SYN) {
            self.opened_by_them(id, header.length)?;
        } else if let Some(flow) = self.flows.get_mut(&id) {
            let credit = flow.outgoing.credit.checked_add(header.length);
            flow.outgoing.credit = credit.ok_or(Breach::CreditOverflow)?;
            self.schedule(id);
        }
        if header.has(RST) {
            self.reset_by_them(id, now)?;
        }
        if header.has(FIN) {
            self.finished_by_them(id);
        }
        Ok(())
    }

    fn opened_by_them(&mut self, id: u32, credit: u32) -> Result<(), Breach> {
        // In any order: a stream is told of with its first byte, and who opened it first need not have that first.
        if id == 0 || id % 2 != self.their_parity || self.flows.contains_key(&id) {
            return Err(Breach::WrongStream(id));
        }
        let most = if self.greeted { self.bounds.theirs } else { STRANGERS_STREAMS };
        let open = self.flows.values().filter(|flow| flow.theirs && !flow.broken).count();
        if open >= most || self.accepted.len() >= most {
            return Err(Breach::TooManyStreams(most));
        }
        let mut flow = Flow::new(true);
        flow.outgoing.credit = BASE_WINDOW.checked_add(credit).ok_or(Breach::CreditOverflow)?;
        self.flows.insert(id, flow);
        self.accepted.push_back(id);
        self.taken += 1;
        self.begin_window(id);
        Ok(())
    }

    fn reset_by_them(&mut self, id: u32, now: Instant) -> Result<(), Breach> {
        let Some(flow) = self.flows.get_mut(&id) else { return Ok(()) };
        flow.break_off();
        let theirs = flow.theirs;
        self.tidy(id);
        if !theirs {
            return Ok(());
        }
        self.resets.refill(now);
        if !self.resets.take() {
            return Err(Breach::TooManyResets);
        }
        Ok(())
    }

    /// Takes bytes of a stream that their header announced.
    pub(crate) fn receive_body(&mut self, id: u32, piece: &mut BytesMut) {
        match self.flows.get_mut(&id) {
            Some(flow) if !flow.abandoned && !flow.broken && !flow.incoming.finished => {
                flow.incoming.push(piece);
                if flow.incoming.bytes >= EAGER {
                    flow.wake_reader();
                } else if self.fed.last() != Some(&id) {
                    self.fed.push(id);
                }
            }
            // It was on its way when the stream ended here.
            _ => piece.clear(),
        }
    }

    /// They send nothing more on a stream.
    pub(crate) fn finished_by_them(&mut self, id: u32) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.incoming.finished = true;
            flow.wake_reader();
            self.tidy(id);
        }
    }

    /// Wakes whoever has something to read now. Once in a turn of the driver, and not with every piece: to wake another thread
    /// costs more than what is in one.
    pub(crate) fn wake_readers(&mut self) {
        for id in std::mem::take(&mut self.fed) {
            if let Some(flow) = self.flows.get_mut(&id) {
                flow.wake_reader();
            }
        }
    }

    /// A stream that they have opened.
    pub(crate) fn accept(&mut self) -> Option<u32> {
        self.accepted.pop_front()
    }

    // --- What we send.

    /// Opens a stream; none while there are too many, or after too many that were broken off here.
    pub(crate) fn open(&mut self) -> Option<u32> {
        if self.ending || self.draining || self.our_resets.left == 0 {
            return None;
        }
        if self.flows.values().filter(|flow| !flow.theirs).count() >= self.bounds.ours {
            return None;
        }
        let id = self.next_id;
        self.next_id = id.checked_add(2)?;
        self.flows.insert(id, Flow::new(false));
        self.begin_window(id);
        Some(id)
    }

    /// Asks for a sign of life.
    pub(crate) fn send_ping(&mut self, now: Instant) {
        self.pings = self.pings.wrapping_add(1);
        self.ping = Some(self.pings);
        self.asked = Some((self.pings, now));
        self.wake_driver();
    }

    /// An eighth of the news, seven of what was known (as RFC 6298, 2.3).
    fn note_round_trip(&mut self, took: Duration) {
        self.round_trip = Some(self.round_trip.map_or(took, |known| (known * 7 + took) / 8));
    }

    /// How long the other side takes to answer, as far as was seen.
    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// From now on no streams are opened here. Those that are open go on, and what the other side opens is taken.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.wake_driver();
    }

    pub(crate) const fn is_draining(&self) -> bool {
        self.draining
    }

    /// How many streams they have opened so far; none while any is open, in either direction.
    pub(crate) fn idle_after(&self) -> Option<u64> {
        self.flows.is_empty().then_some(self.taken)
    }

    /// The last word. Short messages that wait are sent before it, and nothing after it.
    pub(crate) fn send_farewell(&mut self, farewell: Farewell) {
        self.farewell = Some(farewell);
        self.ending = true;
    }

    /// Puts frames into `out` until it holds `enough` bytes, or there is nothing to send.
    pub(crate) fn fill(&mut self, out: &mut Outbox, enough: usize) {
        if self.ending && self.farewell.is_none() {
            return;
        }
        if let Some(number) = self.pong.take() {
            out.header(Header::new(Kind::Ping, ACK, 0, number));
        }
        if let Some(number) = self.ping.take() {
            out.header(Header::new(Kind::Ping, SYN, 0, number));
        }
        while out.bytes < enough
            && let Some(id) = self.signals.pop_front()
        {
            self.signal(id, out);
        }
        while out.bytes < enough
            && let Some(id) = self.next_to_send()
        {
            self.send_some(id, out);
        }
        if out.bytes < enough
            && let Some(farewell) = self.farewell.take()
        {
            out.header(Header::new(Kind::GoAway, 0, 0, farewell as u32));
        }
    }

    fn next_to_send(&mut self) -> Option<u32> {
        self.urgent.pop_front().or_else(|| if self.ending { None } else { self.bulk.pop_front() })
    }

    /// Tells what is to be told of a stream beside data: that it was broken off, or how much more may come.
    fn signal(&mut self, id: u32, out: &mut Outbox) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.signalling = false;
        if std::mem::take(&mut flow.reset_due) {
            out.header(Header::new(Kind::Window, flow.opening_flags() | RST, id, 0));
        } else if !flow.broken && !flow.incoming.finished && flow.incoming.consumed > 0 && flow.known {
            let more = std::mem::take(&mut flow.incoming.consumed);
            flow.incoming.credit += more;
            out.header(Header::new(Kind::Window, flow.opening_flags(), id, more));
        }
        self.tidy(id);
    }

    fn send_some(&mut self, id: u32, out: &mut Outbox) {
        let frame_bytes = self.bounds.frame_bytes;
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.queued = false;
        if !flow.can_send() {
            return;
        }
        let mut flags = flow.opening_flags();
        let was_known = std::mem::replace(&mut flow.known, true);
        let outgoing = &mut flow.outgoing;
        let length = outgoing.bytes.min(frame_bytes).min(outgoing.credit as usize);
        let counted = u32::try_from(length).unwrap_or(u32::MAX);
        outgoing.credit -= counted;
        outgoing.sent += length as u64;
        if length == outgoing.bytes && outgoing.finish {
            outgoing.finished = true;
            flags |= FIN;
        }
        out.header(Header::new(Kind::Data, flags, id, counted));
        outgoing.take(length, &mut out.pieces);
        out.bytes += length;
        if !was_known && flow.incoming.consumed > 0 {
            self.signal_later(id);
        }
        self.schedule(id);
        self.tidy(id);
    }

    fn schedule(&mut self, id: u32) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if flow.queued || !flow.can_send() {
            return;
        }
        flow.queued = true;
        if flow.outgoing.sent < URGENT {
            self.urgent.push_back(id);
        } else {
            self.bulk.push_back(id);
        }
        self.wake_driver();
    }

    fn signal_later(&mut self, id: u32) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if !std::mem::replace(&mut flow.signalling, true) {
            self.signals.push_back(id);
        }
        self.wake_driver();
    }

    // --- Windows.

    /// A new stream begins with the window that earlier ones needed.
    fn begin_window(&mut self, id: u32) {
        let more = (self.learned - BASE_WINDOW).min(self.growth_left());
        if more > 0
            && let Some(flow) = self.flows.get_mut(&id)
        {
            flow.incoming.window += more;
            flow.incoming.consumed += more;
            self.grown += more;
            if flow.known {
                self.signal_later(id);
            }
        }
    }

    fn growth_left(&self) -> u32 {
        if self.greeted { self.bounds.growth.saturating_sub(self.grown) } else { 0 }
    }

    /// So many bytes were read. The other side is allowed as many again once half of the window is used up, or a while after it
    /// was told last: whoever sends over a slow line hears nothing else, and must not take us for dead. If half of it was used up
    /// in less time than that, and the reader waits for more, the window is what holds the sender back, and it grows.
    fn consumed(&mut self, id: u32, bytes: usize, now: Instant) {
        let left = self.growth_left();
        let most = self.bounds.growth / 2;
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let incoming = &mut flow.incoming;
        incoming.consumed = incoming.consumed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        let told = *incoming.told.get_or_insert(now);
        let half = incoming.consumed >= incoming.window / 2;
        if incoming.finished || !(half || now.saturating_duration_since(told) >= TOLD_AFTER) {
            return;
        }
        incoming.told = Some(now);
        if half && incoming.bytes <= incoming.window as usize / 4 {
            let beyond = incoming.window - BASE_WINDOW;
            let more = incoming.window.min(most.saturating_sub(beyond)).min(left);
            incoming.window += more;
            incoming.consumed += more;
            self.grown += more;
            self.learned = self.learned.max(incoming.window);
        }
        self.signal_later(id);
    }

    // --- The two ends of a stream, as those see them who use it here.

    /// The next bytes of a stream, at most `most`; none at its end.
    pub(crate) fn poll_read(
        &mut self,
        id: u32,
        most: usize,
        now: Instant,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        let over = self.over;
        let Some(flow) = self.flows.get_mut(&id) else { return Poll::Ready(Err(broken_off())) };
        let part = flow.incoming.pop(most);
        if !part.is_empty() {
            self.consumed(id, part.len(), now);
            return Poll::Ready(Ok(part));
        }
        if flow.incoming.finished {
            return Poll::Ready(Ok(Bytes::new()));
        }
        if flow.broken || over {
            return Poll::Ready(Err(broken_off()));
        }
        flow.incoming.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// How many bytes a stream takes.
    pub(crate) fn poll_room(&mut self, id: u32, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        let (over, ending) = (self.over, self.ending);
        let Some(flow) = self.flows.get_mut(&id) else { return Poll::Ready(Err(broken_off())) };
        let is_long = flow.outgoing.sent >= URGENT;
        if flow.broken || over || (ending && is_long) || flow.outgoing.finish {
            return Poll::Ready(Err(broken_off()));
        }
        let room = SEND_QUEUE.saturating_sub(flow.outgoing.bytes);
        if room == 0 {
            flow.outgoing.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(room))
    }

    /// Takes bytes to be sent, no more than there is [room](Self::poll_room) for.
    pub(crate) fn write(&mut self, id: u32, piece: Bytes) {
        if let Some(flow) = self.flows.get_mut(&id)
            && !flow.broken
        {
            flow.outgoing.bytes += piece.len();
            flow.outgoing.pieces.push_back(piece);
            self.schedule(id);
        }
    }

    /// Nothing more will be written.
    pub(crate) fn finish(&mut self, id: u32) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.outgoing.finish = true;
            self.schedule(id);
        }
    }

    /// Nobody reads or writes the stream any more. What was written is still sent if the end was, too.
    pub(crate) fn abandon(&mut self, id: u32) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.abandoned = true;
        flow.incoming.discard();
        if !flow.outgoing.finish {
            self.reset(id);
        }
        self.tidy(id);
    }

    fn reset(&mut self, id: u32) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if !flow.broken {
            let (known, theirs) = (flow.known, flow.theirs);
            flow.reset_due = known;
            flow.break_off();
            if known {
                self.signal_later(id);
            }
            if known && !theirs {
                // At nothing left, opening waits.
                self.our_resets.take();
            }
        }
    }

    /// Forgets a stream with which nothing is left to do.
    fn tidy(&mut self, id: u32) {
        if let Some(flow) = self.flows.get(&id)
            && flow.is_over()
        {
            self.grown -= flow.incoming.window - BASE_WINDOW;
            self.flows.remove(&id);
            // Who waits for a place to open another one is the driver.
            self.wake_driver();
        }
    }

    // --- Time, and the end.

    /// Gives back the room that streams needed, if there is none at present; says so. An empty map or queue keeps what it once had.
    pub(crate) fn rest(&mut self) -> bool {
        if !self.flows.is_empty() {
            return false;
        }
        self.flows = BTreeMap::new();
        self.fed = Vec::new();
        for queue in [&mut self.accepted, &mut self.signals, &mut self.urgent, &mut self.bulk] {
            // What is left in one is of streams that are over, and is passed over when its turn comes.
            queue.shrink_to_fit();
        }
        true
    }

    /// Breaks off streams on which the other side takes too little, and those that it doesn't end though we did long ago.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.our_resets.refill(now) {
            // Somebody may wait for a stream.
            self.wake_driver();
        }
        let Bounds { slow_after, least_progress, .. } = self.bounds;
        let mut slow = Vec::new();
        for (id, flow) in &mut self.flows {
            let waits = flow.outgoing.bytes > 0 || (flow.abandoned && flow.outgoing.finished);
            if flow.broken || !waits {
                flow.slow_since = None;
                continue;
            }
            let sent = flow.outgoing.sent;
            let (since, from) = *flow.slow_since.get_or_insert((now, sent));
            if sent - from >= least_progress {
                flow.slow_since = Some((now, sent));
            } else if !flow.queued && now.saturating_duration_since(since) >= slow_after {
                slow.push(*id);
            }
        }
        for id in slow {
            self.reset(id);
            self.tidy(id);
        }
    }

    /// The connection is over: whoever waits is told.
    pub(crate) fn end(&mut self) {
        self.over = true;
        self.flows.values_mut().for_each(Flow::wake);
    }

    /// Who is to be woken when there is something to send.
    pub(crate) fn set_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}

impl Flow {
    /// The flags that the first frame of a stream carries.
    fn opening_flags(&mut self) -> u16 {
        if std::mem::take(&mut self.ack_due) {
            ACK
        } else if self.known {
            0
        } else {
            SYN
        }
    }
}

/// Frames on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) pieces: VecDeque<Bytes>,
    pub(crate) bytes: usize,
}

impl Outbox {
    fn header(&mut self, header: Header) {
        let bytes = header.encode();
        self.bytes += bytes.len();
        self.pieces.push_back(Bytes::copy_from_slice(&bytes));
    }
}

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the stream was broken off")
}

#[cfg(test)]
mod tests;
