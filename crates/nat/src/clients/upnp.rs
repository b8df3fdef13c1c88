//! UPnP: Internet Gateway Device, versions 1 and 2.
//!
//! A device is searched for by SSDP at the gateway and among everybody, its description is read, and its service is asked; what was
//! found is kept for the next requests. Nothing that comes from the network is believed: see [`ssdp`], [`description`] and
//! [`soap`] for what is read, and `endpoint` for which addresses are dialled.

pub mod description;
pub mod notify;
pub mod reading;
pub mod soap;
pub mod ssdp;

mod contest;
mod control;
mod device;
mod endpoint;
mod http;
mod mapping;
mod pinhole;
mod printable;
mod search;
#[cfg(test)]
mod tests;
mod xml;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kith_network::Snapshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::contest::{Contest, Standing};
use self::device::Device;
use self::endpoint::{Endpoint, Rank, is_this_computer};
use self::http::{Failure, Transport};
use self::search::{Places, Search};
use crate::{Answer, Request, Uplink};

/// Most devices that are remembered.
const MOST_DEVICES: usize = 16;
/// Longest time that a search takes with everything that follows from it.
const DISCOVER: Duration = Duration::from_secs(8);
/// Longest time that a request takes, with what it needs to read back.
const REQUEST: Duration = Duration::from_secs(8);
/// Longest time for reading a table of 128 entries.
const ENTRIES: Duration = Duration::from_secs(15);
/// How long a device elsewhere waits for one on the gateway. Also one that the gateway names: a gateway can name itself, and who
/// says to be the gateway may lie.
const GRACE: Duration = Duration::from_millis(600);

/// Asks the UPnP devices behind uplinks, and remembers the device found behind each.
#[derive(Debug, Default)]
pub struct Upnp {
    /// The newest last.
    devices: Mutex<Vec<(Uplink, Arc<Device>)>>,
    /// The network as it is now.
    snapshot: Mutex<Arc<Snapshot>>,
}

impl Upnp {
    /// Asks the gateway of `uplink`; answers within 8 s (15 s for [`Request::Entries`]), whatever the gateway does.
    ///
    /// Anything but [`Request::Discover`] is [`Answer::Closed`] if no device is known there, or not any more.
    pub async fn ask(&self, uplink: &Uplink, request: Request) -> Answer {
        self.ask_at(uplink, request, Places::of(uplink)).await
    }

    /// Tells what the network is now: who is near, and which addresses are this computer's own, which are never asked. Until it
    /// is told, nothing is known but the uplinks.
    pub fn interfaces(&self, snapshot: Arc<Snapshot>) {
        self.devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(_, device)| !is_this_computer(device.location.address.ip(), &snapshot));
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// Forgets the device behind `uplink`.
    pub fn forget(&self, uplink: &Uplink) {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| known != uplink);
    }

    async fn ask_at(&self, uplink: &Uplink, request: Request, places: Places) -> Answer {
        let most = match request {
            Request::Discover => return Box::pin(self.discover(uplink, places)).await,
            Request::Entries { .. } => ENTRIES,
            Request::Map(_) | Request::Unmap(_) | Request::ReadBack { .. } => REQUEST,
        };
        let Some(device) = self.known(uplink) else { return Answer::Closed };
        let answer = Box::pin(device.answer(&Transport::new(uplink, most), &request)).await;
        if answer == Answer::Closed {
            // The port of its services may have changed with a restart: it has to be searched anew.
            self.devices
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|(_, known)| !Arc::ptr_eq(known, &device));
        }
        if !matches!(answer, Answer::Mapped(_) | Answer::Unmapped | Answer::Entry(_) | Answer::Entries(_)) {
            tracing::debug!(%uplink, ?request, ?answer, "asked by UPnP");
        }
        answer
    }

    async fn discover(&self, uplink: &Uplink, places: Places) -> Answer {
        let known = self.known(uplink);
        let snapshot = Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner));
        let location = known.as_ref().map(|known| known.location.clone());
        let opened = candidates(uplink, snapshot, places, location).await;
        let (device, mut answer) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                let answer = failure.into();
                if answer == Answer::Closed {
                    self.forget(uplink);
                }
                tracing::debug!(%uplink, ?answer, "no gateway found by UPnP");
                return answer;
            }
        };
        if let Some(known) = known {
            device.learn(&known);
        }
        if let Answer::Found(found) = &mut answer {
            (found.any_port, found.readable) = (device.any_port(), device.readable());
        }
        tracing::debug!(%uplink, at = %device.location.address, kind = ?device.service.kind, ?answer, "found by UPnP");
        self.remember(uplink, device);
        answer
    }

    fn known(&self, uplink: &Uplink) -> Option<Arc<Device>> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.iter().find(|(known, _)| known == uplink).map(|(_, device)| Arc::clone(device))
    }

    fn remember(&self, uplink: &Uplink, device: Device) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.retain(|(known, _)| known != uplink);
        if devices.len() >= MOST_DEVICES {
            devices.remove(0);
        }
        devices.push((uplink.clone(), Arc::new(device)));
    }
}

/// Searches, opens all that is found side by side, and takes the first good one on the gateway, or after some grace the best one.
async fn candidates(
    uplink: &Uplink,
    snapshot: Arc<Snapshot>,
    places: Places,
    known: Option<Endpoint>,
) -> Result<(Device, Answer), Failure> {
    let transport = Transport::new(uplink, DISCOVER);
    let mut search = Search::start(uplink, snapshot, places)
        .inspect_err(|error| tracing::debug!(%uplink, %error, "a search can't begin"))
        .ok();
    let mut opening = JoinSet::new();
    let tried_before = known.clone();
    let open = |opening: &mut JoinSet<_>, location: Endpoint, rank: Rank| {
        let (uplink, transport) = (uplink.clone(), transport.clone());
        let searched = tried_before.as_ref() != Some(&location);
        opening.spawn(async move {
            let opened = Device::open(location, &uplink, &transport).await;
            // Who answers a search is there: that he falls silent then is not the silence of nobody.
            let fallen_silent =
                || Failure::Nonsense("it answers a search, and does not describe itself".into());
            (
                rank,
                opened.map_err(|failure| match failure {
                    Failure::Silent if searched => fallen_silent(),
                    failure => failure,
                }),
            )
        });
    };
    if let Some(known) = known {
        let here = known.address.ip() == uplink.gateway.to_canonical();
        open(&mut opening, known, if here { Rank::Gateway } else { Rank::Other });
    }
    let mut contest = Contest::new();
    let mut until = transport.deadline();
    while search.is_some() || !opening.is_empty() {
        tokio::select! {
            // What was found goes before what may be found.
            biased;
            Some(opened) = opening.join_next(), if !opening.is_empty() => match opened {
                Ok((rank, Ok((device, answer)))) => {
                    if !contest.has_one() {
                        until = until.min(Instant::now() + GRACE);
                    }
                    let refuses = !matches!(answer, Answer::Found(_));
                    contest.enter(Standing { refuses, rank }, (device, answer));
                    if contest.is_decided() {
                        break;
                    }
                }
                Ok((rank, Err(failure))) => {
                    tracing::debug!(%uplink, ?rank, ?failure, "a device can't be used");
                    contest.fail(rank, failure);
                }
                Err(error) => tracing::debug!(%uplink, %error, "a device could not be looked at"),
            },
            found = async { search.as_mut()?.next().await }, if search.is_some() => match found {
                Some((location, _)) if Some(&location) == tried_before.as_ref() => {}
                Some((location, rank)) => open(&mut opening, location, rank),
                None => search = None,
            },
            () = sleep_until(until) => break,
        }
    }
    contest.result()
}
