//! What lies between the accept loop and an authenticated link: every connection gets a task and a ticket, and the
//! books say whose task ends when there are too many.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kith_identity::tls::Admitted;
use kith_identity::{DeviceId, DialInTag};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::awaited::Table;
use crate::config::ListenerConfig;
use crate::conversation::{Look, look};
use crate::expected::Registry;
use crate::faces::{Faces, UsedTags};
use crate::familiar::Familiar;
use crate::limits::{DROP_BEGINS_AT, EVICTED_ON_EXHAUSTION, MAX_STRANGERS, STALE_KNOWN};
use crate::places::{Order, Places};
use crate::serve::{peek_with, serve};
use crate::strangers::{Penalties, drops_early};
use crate::waiting::{ConnectionId, Prefix, WaitingRoom};

/// A connection that has proved who it is.
#[derive(Debug)]
pub struct Incoming {
    /// Who, and for what.
    pub admitted: Admitted,
    /// The connection, its socket tuned for a link.
    pub stream: TlsStream<TcpStream>,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Which of our addresses it came to.
    pub local: SocketAddr,
}

/// What all connections share.
pub(crate) struct Door {
    pub(crate) faces: Faces,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    greeting: AtomicBool,
    books: Mutex<Books>,
    stranger_places: Semaphore,
    penalties: Mutex<Penalties>,
    used: Mutex<UsedTags>,
    /// Draws a number below 100.
    draw: fn() -> u8,
    left: Notify,
    /// Of the whole listener and not of one of its sockets, which come and go.
    pub(crate) expected: Arc<Registry>,
    pub(crate) awaited: Arc<Table>,
}

#[derive(Default)]
struct Books {
    room: WaitingRoom,
    /// Of those who were recognised.
    places: Places,
    /// Who is to be told that his place is there.
    beginning: HashMap<ConnectionId, oneshot::Sender<()>>,
    familiar: Familiar,
    tasks: HashMap<ConnectionId, AbortHandle>,
    closed: bool,
}

impl Door {
    pub(crate) fn new(
        faces: Faces,
        incoming: mpsc::Sender<Incoming>,
        config: &ListenerConfig,
        draw: fn() -> u8,
    ) -> Arc<Self> {
        Arc::new(Self {
            faces,
            incoming,
            greeting: AtomicBool::new(config.greeting),
            books: Mutex::new(Books { places: Places::new(config.known), ..Books::default() }),
            stranger_places: Semaphore::new(MAX_STRANGERS),
            penalties: Mutex::default(),
            used: Mutex::default(),
            draw,
            left: Notify::new(),
            expected: Arc::default(),
            awaited: Arc::default(),
        })
    }

    /// Takes in a connection; perhaps another one has to go for it. Never waits.
    pub(crate) fn knock(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        let mut books = self.books();
        if books.closed {
            return;
        }
        let seen = peek_with(&stream, look);
        // Whoever has spoken already is a caller: the other end of a punch waits for us.
        let stream = match &seen {
            Err(_nothing_yet) => match self.awaited.hand_out(stream, remote) {
                Some(stream) => stream,
                None => return tracing::debug!(%remote, "a punched connection arrived"),
            },
            Ok(_) => stream,
        };
        let (id, evicted) = match seen {
            Ok(Look::Hello) => books.room.enter_spoken(),
            // Nothing is there yet, or what is there is seen to when its turn comes.
            _ => books.room.enter(Prefix::of(remote.ip())),
        };
        if let Some(evicted) = evicted {
            books.abort(evicted);
        }
        let ticket = Ticket { door: self.clone(), id };
        // The books stay locked until the task is in them, so that it can't leave before it has entered.
        let task = tokio::spawn(serve(stream, remote, ticket));
        books.tasks.insert(id, task.abort_handle());
    }

    /// Whether somebody is recognised by this tag, for the first and only time.
    pub(crate) fn recognises(&self, tag: &DialInTag) -> bool {
        self.faces.callers.recognises(tag) && lock(&self.used).use_up(tag)
    }

    /// Whether a connection with this tag was promised to be joined with another, for the first and only time.
    pub(crate) fn awaits_leg(&self, tag: &DialInTag) -> bool {
        self.faces.legs.is_some() && self.faces.callers.leg(tag) && lock(&self.used).use_up(tag)
    }

    /// Notes that a stranger from there asks for what leads to nothing; false if he is not to be served.
    pub(crate) fn tolerates(&self, remote: SocketAddr) -> bool {
        lock(&self.penalties).offend(Prefix::of(remote.ip()), Instant::now())
    }

    /// Notes from where a friend got in.
    pub(crate) fn note_friend(&self, friend: DeviceId, remote: SocketAddr) {
        self.books().familiar.note(friend, remote.ip());
    }

    /// Gives up some of those that have been silent for longest; returns how many.
    pub(crate) fn make_room(&self) -> usize {
        let mut books = self.books();
        let silent = books.room.oldest_silent(EVICTED_ON_EXHAUSTION);
        for id in &silent {
            books.room.leave(*id);
            books.abort(*id);
        }
        silent.len()
    }

    /// Switches the greeting for connections from now on.
    pub(crate) fn set_greeting(&self, on: bool) {
        self.greeting.store(on, Ordering::Relaxed);
    }

    /// Takes in nobody any more and ends what has not been handed over.
    pub(crate) fn close(&self) {
        let mut books = self.books();
        books.closed = true;
        for task in books.tasks.values() {
            task.abort();
        }
    }

    /// Waits until nobody is left who has not been handed over.
    pub(crate) async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.books().is_empty() {
                return;
            }
            left.await;
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can leave what is in it half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Books {
    fn abort(&mut self, id: ConnectionId) {
        if let Some(task) = self.tasks.remove(&id) {
            task.abort();
        }
    }

    fn carry_out(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                // Who has gone meanwhile leaves, and with that gives back his place.
                Order::Begin(id) => drop(self.beginning.remove(&id).map(|begin| begin.send(()))),
                Order::Close(id) => {
                    self.beginning.remove(&id);
                    self.room.leave(id);
                    self.abort(id);
                }
            }
        }
    }

    /// Gives back the place of one who was recognised.
    fn give_back(&mut self, id: ConnectionId) {
        self.beginning.remove(&id);
        let orders = self.places.leave(id, Instant::now());
        self.carry_out(orders);
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.room.is_empty()
    }
}

/// A connection's entry in the books, for as long as it is not authenticated.
pub(crate) struct Ticket {
    door: Arc<Door>,
    id: ConnectionId,
}

impl Ticket {
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn greets(&self) -> bool {
        self.door.greeting.load(Ordering::Relaxed)
    }

    /// The ClientHello is there, or the handshake is over: waiting, but not silent.
    pub(crate) fn spoken(&self) {
        let mut books = self.door.books();
        books.room.speak(self.id);
        books.give_back(self.id);
    }

    /// Waits for a place among the handshakes of those who are known, which is given back by [`Ticket::spoken`] or at the end. False if he
    /// doesn't get one.
    pub(crate) async fn known_place(&self, remote: SocketAddr) -> bool {
        let (begin, mut begun) = oneshot::channel();
        {
            let mut books = self.door.books();
            let source = books.familiar.source(remote.ip());
            books.room.recognise(self.id);
            books.beginning.insert(self.id, begin);
            let orders = books.places.ask(self.id, source, Instant::now());
            books.carry_out(orders);
        }
        loop {
            let now = Instant::now();
            let again = self.door.books().places.poll_timeout(now).unwrap_or(now + STALE_KNOWN);
            tokio::select! {
                begun = &mut begun => return begun.is_ok(),
                () = tokio::time::sleep_until(again) => {
                    let mut books = self.door.books();
                    let orders = books.places.handle_timeout(Instant::now());
                    books.carry_out(orders);
                }
            }
        }
    }

    /// A place among the strangers' handshakes, if there is one and chance is with him. Whoever has had his for too long makes room, for
    /// the next.
    pub(crate) fn stranger_place(&self) -> Option<SemaphorePermit<'_>> {
        let places = &self.door.stranger_places;
        let busy = MAX_STRANGERS - places.available_permits();
        if busy >= DROP_BEGINS_AT {
            self.end_stale_handshake();
            if drops_early(busy, (self.door.draw)()) {
                return None;
            }
        }
        let place = places.try_acquire().ok()?;
        self.door.books().room.begin_handshake(self.id, Instant::now());
        Some(place)
    }

    /// Ends the oldest handshake of a stranger if it is stale.
    fn end_stale_handshake(&self) {
        let mut books = self.door.books();
        if let Some(id) = books.room.stale_handshake(Instant::now()) {
            books.room.leave(id);
            books.abort(id);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut books = self.door.books();
        books.room.leave(self.id);
        books.tasks.remove(&self.id);
        books.give_back(self.id);
        if books.is_empty() {
            self.door.left.notify_waiters();
        }
    }
}
