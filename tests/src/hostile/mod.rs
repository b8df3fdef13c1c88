//! A friend who lies.
//!
//! A [`HostileFriend`] takes the place of a real friend after the pairing: it has his key and answers at his port, and passes
//! what is asked of him to his real daemon, which has moved to another port. On the way back every answer goes through a
//! [`Mischief`], which may change, withhold, delay or invent it, down to the bytes of the HTTP message on its stream. So the owner's daemon,
//! its command line, the connection, the friend's vault and his disk are all real, and only the lie is a test's.

mod answer;
mod asked;
mod front;
mod mutation;
mod stream;

pub use answer::{Answer, Pace};
pub use asked::{Asked, Place};
pub use front::{Deed, Honest, HostileFriend, Mischief};
pub use mutation::{Mutation, Mutator};
