//! The decisions: what is sent when and where, and what is made of what is heard. Clock, randomness and sockets are outside.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kith_identity::TagUse;

use crate::announcement::{self, Announcement, Instance, MOST_TAGS, Packet, TAGS_ROUNDED_TO};
use crate::bounds::Allowance;
use crate::discovery::Found;
use crate::finder::Finder;
use crate::neighbours::Neighbour;
use crate::place::{Place, PlaceId};
use crate::schedule::{ANNOUNCING, ASKING, Burst};
use crate::tag::LanTag;
use crate::wanted::{Friend, Wanted};

/// Most packets with tags at a time. Who has more friends than go into them announces himself to some in one hour and to others in the next.
const MOST_PACKETS: usize = 8;
/// Between two answers in one place (RFC 6762, section 6).
const BETWEEN_ANSWERS: Duration = Duration::from_secs(1);
/// An answer waits from the one to the other, so that not all who answer do so at once (RFC 6762, section 6).
const ANSWER_DELAY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(120)];
/// New tags are announced at a random moment within this time, so that not all computers of a network do so at once.
const TAG_JITTER: Duration = Duration::from_secs(60);
/// The clock is looked at after this time at the latest: somebody may set it.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(600);
/// Between two announcements to everybody, while a person looks for computers nearby.
const OPEN_AGAIN: Duration = Duration::from_secs(5);
/// Between two searches that the program asks for.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send a packet to everybody there.
    Send {
        /// Where.
        to: PlaceId,
        /// What.
        packet: Vec<u8>,
    },
    /// Tell the program.
    Tell(Found),
}

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Seconds since 1970.
    pub(crate) unix: u64,
}

/// The state machine.
pub(crate) struct Engine {
    /// Gives random bytes.
    draw: Box<dyn FnMut() -> [u8; 8] + Send>,
    wanted: Option<Wanted>,
    places: Vec<Place>,
    /// Names of the packets with tags, in their order.
    names: Vec<Instance>,
    /// Name of what everybody may know, while it is announced.
    open_name: Option<Instance>,
    /// Names to be taken back.
    leaving: Vec<Instance>,
    tags: Tags,
    padding: Padding,
    finder: Finder,
    announcing: Burst,
    asking: Burst,
    /// When what everybody may know is announced again.
    open_again: Option<Instant>,
    answers: BTreeMap<PlaceId, Instant>,
    announced: BTreeMap<PlaceId, Instant>,
    looked: Option<Instant>,
    allowance: Allowance,
}

/// What is announced to friends in this hour.
#[derive(Default)]
struct Tags {
    hour: u64,
    tags: Vec<LanTag>,
    /// When those of the next hour are announced; set when it has begun.
    change: Option<Instant>,
    /// When to look at the clock.
    look: Option<Instant>,
}

/// Tags of nobody, which stand beside the others for as long as those stay the same: where they change alone, whoever hears both
/// announcements knows the others.
#[derive(Default)]
struct Padding {
    hour: u64,
    tags: Vec<LanTag>,
}

impl Engine {
    pub(crate) fn new(draw: Box<dyn FnMut() -> [u8; 8] + Send>, now: Instant) -> Self {
        Self {
            draw,
            wanted: None,
            places: Vec::new(),
            names: Vec::new(),
            open_name: None,
            leaving: Vec::new(),
            tags: Tags::default(),
            padding: Padding::default(),
            finder: Finder::default(),
            announcing: Burst::new(ANNOUNCING),
            asking: Burst::new(ASKING),
            open_again: None,
            answers: BTreeMap::new(),
            announced: BTreeMap::new(),
            looked: None,
            allowance: Allowance::new(now),
        }
    }

    /// The places where something is to be sent and heard.
    pub(crate) fn active(&self) -> &[Place] {
        if self.is_on() { &self.places } else { &[] }
    }

    /// All places, whether or not anything is sent there.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    fn is_on(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| wanted.anything() || !self.leaving.is_empty())
    }

    /// Something else is wanted; none: nothing at all.
    pub(crate) fn set_wanted(&mut self, wanted: Option<Wanted>, now: Now) {
        if wanted == self.wanted {
            return;
        }
        let was_on = self.is_on();
        let before = std::mem::replace(&mut self.wanted, wanted);
        if !self.wanted.as_ref().is_some_and(Wanted::anything) {
            let said: Vec<Instance> = self.names.drain(..).chain(self.open_name.take()).collect();
            self.silence();
            if was_on && self.wanted.is_some() {
                // Nothing is to be said any more, and it is allowed to say so.
                self.leaving = said;
            }
            return;
        }
        if !was_on {
            self.names.clear();
        }
        let friends =
            |wanted: &Option<Wanted>| wanted.as_ref().map(|w| w.friends.clone()).unwrap_or_default();
        let (old, new) = (friends(&before), friends(&self.wanted));
        if !was_on || old != new {
            self.finder.set_friends(&new, now.unix);
        }
        let about = |wanted: &Option<Wanted>| wanted.as_ref().and_then(|wanted| wanted.about.clone());
        if about(&before) != about(&self.wanted) {
            self.leaving.extend(self.open_name.take());
            if about(&self.wanted).is_some() {
                self.open_name = Some(self.draw_name());
            }
        }
        self.make_tags(now);
        self.announcing.start(now.instant);
        if !was_on || new.iter().any(|friend| !old.contains(friend)) || self.open_name.is_some() {
            self.asking.start(now.instant);
        }
        self.open_again = self.open_name.is_some().then(|| now.instant + OPEN_AGAIN);
    }

    /// The network is another, or the computer has slept: there may be others who have not heard of us, and names by which we were known in
    /// another network are not taken along.
    pub(crate) fn set_places(&mut self, places: Vec<Place>, now: Now) {
        self.places = places;
        self.names.clear();
        self.leaving.clear();
        if self.open_name.is_some() {
            self.open_name = Some(self.draw_name());
        }
        self.answers.clear();
        self.announced.clear();
        self.finder.forget_places();
        if self.is_on() {
            self.make_tags(now);
            self.announcing.start(now.instant);
            self.asking.start(now.instant);
        }
    }

    /// Asks who is there, for a friend may have come whose announcement got lost.
    pub(crate) fn look(&mut self, now: Instant) {
        let lately = self.looked.is_some_and(|at| now.saturating_duration_since(at) < BETWEEN_LOOKS);
        if self.is_on() && !lately && self.asking.at().is_none() {
            self.looked = Some(now);
            self.asking.start(now);
        }
    }

    /// A packet has come to a place.
    pub(crate) fn handle_packet(
        &mut self,
        place: PlaceId,
        from: SocketAddr,
        bytes: &[u8],
        now: Now,
    ) -> Vec<Command> {
        let Some(place) = self.active().iter().find(|known| known.id == place).cloned() else {
            return Vec::new();
        };
        let source = from.ip().to_canonical();
        if !place.is_near(source) || !self.allowance.admits(source, now.instant) {
            return Vec::new();
        }
        match announcement::read(bytes) {
            Some(Packet::Question { known }) => {
                self.note_question(place.id, &known, now.instant);
                Vec::new()
            }
            Some(Packet::Told { there, gone }) => {
                let heard = there.iter().filter_map(|one| self.hear(&place, from, one, now.instant));
                let mut found: Vec<Found> = heard.collect();
                if self.open_name.is_some() {
                    found.extend(gone.into_iter().map(Found::Gone));
                }
                found.into_iter().map(Command::Tell).collect()
            }
            None => Vec::new(),
        }
    }

    fn note_question(&mut self, place: PlaceId, known: &[Instance], now: Instant) {
        let ours = self.names.iter().chain(&self.open_name);
        if !ours.into_iter().any(|name| !known.contains(name)) {
            return;
        }
        let [least, most] = ANSWER_DELAY;
        let delay = least + (most - least).mul_f64(self.share());
        let soonest = self.announced.get(&place).map(|at| *at + BETWEEN_ANSWERS);
        let at = soonest.map_or(now + delay, |soonest| soonest.max(now + delay));
        self.answers.entry(place).or_insert(at);
    }

    fn hear(&mut self, place: &Place, from: SocketAddr, one: &Announcement, now: Instant) -> Option<Found> {
        if self.names.contains(&one.instance) || self.open_name.as_ref() == Some(&one.instance) {
            return None;
        }
        let addresses = place.targets(from.ip(), &one.addresses, one.port);
        if let Some(id) = self.finder.recognise(&one.tags) {
            let addresses = self.finder.seen(id, &addresses, now)?;
            return Some(Found::Friend { id, addresses });
        }
        let about = one.about.clone()?;
        let looking = self.open_name.is_some() && self.wanted.as_ref()?.us != about.device_id;
        looking.then(|| Found::Neighbour(Neighbour { instance: one.instance.clone(), about, addresses }))
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if !self.is_on() {
            return None;
        }
        let times =
            [self.announcing.at(), self.asking.at(), self.open_again, self.tags.change, self.tags.look];
        times.into_iter().flatten().chain(self.answers.values().copied()).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now) -> Vec<Command> {
        let mut commands = Vec::new();
        if !self.is_on() {
            return commands;
        }
        self.follow_the_clock(now);
        for name in std::mem::take(&mut self.leaving) {
            self.send_everywhere(&announcement::goodbye(&name), &mut commands);
        }
        if self.announcing.take(now.instant) {
            for place in self.places.clone() {
                self.announce(&place, now.instant, &mut commands);
            }
        }
        let due = |at: &Instant| *at <= now.instant;
        let answered: Vec<PlaceId> =
            self.answers.iter().filter(|(_, at)| due(at)).map(|(id, _)| *id).collect();
        for id in answered {
            self.answers.remove(&id);
            if let Some(place) = self.places.iter().find(|place| place.id == id).cloned() {
                self.announce(&place, now.instant, &mut commands);
            }
        }
        if self.open_again.as_ref().is_some_and(due) {
            self.open_again = Some(now.instant + OPEN_AGAIN);
            for place in &self.places {
                commands.extend(self.open_packet(place).map(|packet| Command::Send { to: place.id, packet }));
            }
        }
        if self.asking.take(now.instant) {
            self.send_everywhere(&announcement::question(), &mut commands);
        }
        commands
    }

    /// Tags of another hour are announced, and awaited.
    fn follow_the_clock(&mut self, now: Now) {
        if self.tags.look.is_none_or(|at| at > now.instant)
            && self.tags.change.is_none_or(|at| at > now.instant)
        {
            return;
        }
        let friends = self.wanted.as_ref().map(|wanted| wanted.friends.as_slice()).unwrap_or_default();
        self.finder.refresh(friends, now.unix);
        if self.tags.change.is_some_and(|at| at <= now.instant) {
            self.make_tags(now);
            self.announcing.start(now.instant);
        } else if self.tags.change.is_none() && hour(now.unix) != self.tags.hour {
            self.tags.change = Some(now.instant + TAG_JITTER.mul_f64(self.share()));
        }
        self.tags.look = Some(now.instant + until_look(now.unix));
    }

    /// What is announced to friends from now on.
    fn make_tags(&mut self, now: Now) {
        let Some(wanted) = &self.wanted else { return };
        let hour = hour(now.unix);
        let window = window(&wanted.friends, hour);
        let mut tags: Vec<LanTag> =
            window.map(|friend| LanTag::of(&friend.pair, &wanted.us, now.unix)).collect();
        if self.padding.hour != hour {
            self.padding = Padding { hour, tags: Vec::new() };
        }
        let missing = tags.len().next_multiple_of(TAGS_ROUNDED_TO) - tags.len();
        while self.padding.tags.len() < missing {
            let tag = LanTag((self.draw)());
            self.padding.tags.push(tag);
        }
        tags.extend(&self.padding.tags[..missing]);
        // In an order that says nothing of who they are for, or which are for nobody.
        tags.sort_unstable();
        while self.names.len() < tags.len().div_ceil(MOST_TAGS) {
            let name = self.draw_name();
            self.names.push(name);
        }
        let superfluous = self.names.split_off(tags.len().div_ceil(MOST_TAGS));
        self.leaving.extend(superfluous);
        self.tags = Tags { hour, tags, change: None, look: Some(now.instant + until_look(now.unix)) };
    }

    fn announce(&mut self, place: &Place, now: Instant, commands: &mut Vec<Command>) {
        let Some(wanted) = &self.wanted else { return };
        let addresses = place.announced(wanted);
        let Some(port) = wanted.port.filter(|_| !addresses.is_empty()) else { return };
        self.announced.insert(place.id, now);
        for (instance, tags) in self.names.iter().zip(self.tags.tags.chunks(MOST_TAGS)) {
            let (instance, addresses, tags) = (instance.clone(), addresses.clone(), tags.to_vec());
            let packet = Announcement { instance, port, addresses, tags, about: None }.to_packet();
            commands.push(Command::Send { to: place.id, packet });
        }
        commands.extend(self.open_packet(place).map(|packet| Command::Send { to: place.id, packet }));
    }

    /// What everybody may know, if a person has opened it.
    fn open_packet(&self, place: &Place) -> Option<Vec<u8>> {
        let wanted = self.wanted.as_ref()?;
        let (instance, about) = (self.open_name.clone()?, wanted.about.clone());
        let addresses = place.announced(wanted);
        let port = wanted.port.filter(|_| !addresses.is_empty())?;
        Some(Announcement { instance, port, addresses, tags: Vec::new(), about }.to_packet())
    }

    fn send_everywhere(&self, packet: &[u8], commands: &mut Vec<Command>) {
        commands
            .extend(self.places.iter().map(|place| Command::Send { to: place.id, packet: packet.to_vec() }));
    }

    fn silence(&mut self) {
        self.announcing.stop();
        self.asking.stop();
        self.names.clear();
        self.open_name = None;
        self.leaving.clear();
        self.open_again = None;
        self.answers.clear();
        self.announced.clear();
        self.finder = Finder::default();
        self.tags = Tags::default();
    }

    fn draw_name(&mut self) -> Instance {
        Instance::new((self.draw)())
    }

    /// A random number from 0 to 1.
    fn share(&mut self) -> f64 {
        let [a, b, c, d, ..] = (self.draw)();
        f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
    }
}

const fn hour(unix: u64) -> u64 {
    unix / TagUse::Lan.period()
}

/// When to look at the clock again: when the hour is over.
fn until_look(unix: u64) -> Duration {
    let period = TagUse::Lan.period();
    Duration::from_secs(period - unix % period).min(LOOK_AT_CLOCK)
}

/// The friends who are announced to in this hour: all, or as many as there is room for, and others in the next.
fn window(friends: &[Friend], hour: u64) -> impl Iterator<Item = &Friend> {
    let room = MOST_PACKETS * MOST_TAGS;
    let turns = friends.len().div_ceil(room).max(1);
    let turn = usize::try_from(hour % u64::try_from(turns).unwrap_or(1)).unwrap_or_default();
    friends.iter().skip(turn * room).take(room)
}
