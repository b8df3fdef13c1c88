//! The local side from outside: through its socket, its ports, and as a browser would see it.
mod stand_in;
