//! The connections that come in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kith_wire::{ByteStream, Class, Hello, HelloVerdict, Side};
use tokio::sync::oneshot;

use super::{Shared, lock, now};
use crate::host::{Connection, Standing};
use crate::prefer::Keep;
use crate::session::{Accepting, Admitted, Session, seen_as};
use crate::way::{Expected, Way, seen_from};

/// A connection that came in, before its hello.
pub(super) struct Accepted {
    pub(super) stream: Box<dyn ByteStream>,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) way: Option<Way>,
}

impl Shared {
    /// Decides what becomes of a connection whose hello was just heard.
    fn admit(&self, hello: &Hello, class: Class, serial: u64) -> Admitted {
        let host = &self.household.host;
        let twin = lock(&self.runs).is_twin(hello.installation, hello.run);
        let standing = if twin { Standing::Guest } else { host.standing(&self.friend, hello) };
        let beside = match standing {
            Standing::Guest | Standing::Visitor => true,
            Standing::LinkIfNone => lock(&self.claims).is_taken(),
            Standing::Link => false,
        };
        if beside {
            return Admitted { verdict: HelloVerdict::Welcome, standing: guest(standing), twin };
        }
        let ends = (&self.us, &self.friend);
        let keep = lock(&self.claims).claim(serial, (Side::Acceptor, class), ends, now());
        let verdict = match keep {
            Keep::New => HelloVerdict::Welcome,
            Keep::Existing => HelloVerdict::Duplicate,
        };
        Admitted { verdict, standing: Standing::Link, twin }
    }

    /// Waits for the hello of a connection that came in, until `given_up`.
    pub(super) async fn accept(
        self: Arc<Self>,
        accepted: Accepted,
        serial: u64,
        mut given_up: oneshot::Receiver<()>,
    ) -> Option<Session> {
        let Accepted { stream, remote, local, way } = accepted;
        let is_expected = self.calls().punched(&self.friend, remote);
        let expected = if is_expected { Expected::Punched } else { Expected::Anything };
        let judge = move |hello: &Hello| Way::accepted(way, (remote, local), hello.class(), expected);
        let shown = way.map_or_else(|| Some(remote.ip()), |way| seen_from(way, remote));
        let claimant = self.clone();
        let admit = Box::new(move |hello: &Hello| {
            let (_way, class) = judge(hello);
            claimant.admit(hello, class, serial)
        });
        let presence = self.dial_backs.connected(shown);
        let mut accepting = Accepting::start(stream, shown.map(|_| remote), &self.household, admit, presence);
        let mut makes_room = false;
        let heard = tokio::select! {
            heard = accepting.hello() => heard,
            _ = &mut given_up => {
                makes_room = true;
                accepting.give_up()
            }
        };
        let Some(Ok((hello, standing))) = heard else {
            if let Some(Err(error)) = heard {
                self.turn_away(error.to_string());
            }
            // Leaves the answer time to reach the other side before the connection is dropped.
            let parting = tokio::time::timeout(Duration::from_secs(2), accepting.link.ended());
            tokio::select! {
                _ = parting, if !makes_room => {}
                _ = &mut given_up, if !makes_room => {}
                else => {}
            }
            lock(&self.claims).release(serial);
            return None;
        };
        let (way, class) = judge(&hello);
        let connection = Connection {
            side: Side::Acceptor,
            remote,
            local,
            way,
            class,
            dialled: None,
            since: SystemTime::now(),
            seen_as: seen_as(&hello).filter(|_| way.shows_friend()),
            capabilities: hello.capabilities.clone(),
        };
        Some(Session { link: accepting.link, driver: accepting.driver, connection, hello, standing })
    }
}

/// The place of one who is not the link.
const fn guest(standing: Standing) -> Standing {
    match standing {
        Standing::Visitor => Standing::Visitor,
        _ => Standing::Guest,
    }
}
