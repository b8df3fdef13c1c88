//! Whether a router lost its mappings, told by its own clock.

use super::time::Tick;
use crate::{Epoch, Protocol};

/// So many losses in a row, and it is the clock that is wrong: real restarts show as a clock that begins anew as well.
const DISTRUSTED: u8 = 3;
/// After less time than that even a clock that runs wrong looks right.
const TELLING_SECONDS: i64 = 16;

/// The clock of one protocol of one gateway, as it was last seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EpochTrack {
    last: Option<(Epoch, Tick)>,
    /// Tables lost by the documents' rule, in a row.
    losses: u8,
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
        if kept {
            if client_delta >= TELLING_SECONDS {
                self.losses = 0;
            }
            return Table::Kept;
        }
        if self.losses >= DISTRUSTED && !began_anew(server, server_before, client_delta) {
            return Table::Kept;
        }
        self.losses = self.losses.saturating_add(1).min(DISTRUSTED);
        Table::Lost
    }
}

/// Back to near zero: not older than the time that went by, even if it runs twice too fast, and a minute.
const fn began_anew(server: i64, before: i64, client_delta: i64) -> bool {
    server + 1 < before && server <= client_delta.saturating_mul(2).saturating_add(60)
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
