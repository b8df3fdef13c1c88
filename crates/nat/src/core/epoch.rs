//! Whether a router lost its mappings, told by its own clock.

use super::time::Tick;
use crate::{Epoch, Protocol};

/// The clock of one protocol of one gateway, as it was last seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EpochTrack {
    last: Option<(Epoch, Tick)>,
}

/// What an epoch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// It can be the table that we know.
    Kept,
    /// The router began a new one: every mapping is gone.
    Lost,
}

impl EpochTrack {
    /// Judges an epoch that an answer held, and remembers it.
    pub(super) fn judge(&mut self, protocol: Protocol, epoch: Epoch, now: Tick) -> Table {
        let Some((before, then)) = self.last.replace((epoch, now)) else {
            return Table::Kept;
        };
        let (server, server_before) = (i64::from(epoch.0), i64::from(before.0));
        let client_delta = i64::try_from(now.seconds() - then.seconds()).unwrap_or(i64::MAX / 2);
        let kept = match protocol {
            Protocol::NatPmp => natpmp(server, server_before, client_delta),
            Protocol::Pcp | Protocol::Upnp => pcp(server, server_before, client_delta),
        };
        if kept { Table::Kept } else { Table::Lost }
    }
}

/// RFC 6887, section 8.5: not back by more than a second, and both clocks within one part in sixteen and two seconds.
const fn pcp(server: i64, before: i64, client_delta: i64) -> bool {
    if server + 1 < before {
        return false;
    }
    let server_delta = server - before;
    !(client_delta + 2 < server_delta - server_delta / 16
        || server_delta + 2 < client_delta - client_delta / 16)
}

/// RFC 6886, section 3.6: at least seven eighths of the time went by, with two seconds of grace.
const fn natpmp(server: i64, before: i64, client_delta: i64) -> bool {
    server + 2 >= before + client_delta / 8 * 7 + client_delta % 8 * 7 / 8
}
