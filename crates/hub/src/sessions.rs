//! Who is to be joined with whom: pure.

use std::collections::HashMap;
use std::hash::Hash;

use kith_identity::{DeviceId, DialInTag, PairTag};
use tokio::time::Instant;

use crate::network::Network;
use crate::rules::{LEG_LIFE, RelayRules};

/// Why nobody is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionRefusal {
    /// All places are taken.
    #[error("this carrier relays as many connections as it can: try another, or again in a minute")]
    Full,
    /// All places of the one who asks are taken.
    #[error("this carrier relays as many connections for this computer as it does for one")]
    FullForOne,
    /// The session has its two, or is over.
    #[error("this session is taken: agree on another")]
    Taken,
}

/// What a leg that arrived leads to.
#[derive(Debug)]
pub(crate) enum Arrived<S> {
    /// It is none that is awaited, or not any more.
    Unknown(S),
    /// The other one is awaited.
    Waits,
    /// Both are there, each with whose it is.
    Both(PairTag, [(DeviceId, S); 2]),
}

/// Who asks, and from which network, where that matters.
pub(crate) type User = (DeviceId, Option<Network>);

/// One of the two.
#[derive(Debug)]
struct Place<S> {
    user: DeviceId,
    network: Option<Network>,
    name: DialInTag,
    until: Instant,
    /// Whether its name was used up, and what it brought.
    leg: Option<S>,
}

#[derive(Debug)]
enum Session<S> {
    Agreed(Vec<Place<S>>),
    Joined([User; 2]),
}

impl<S> Session<S> {
    fn users(&self) -> Vec<User> {
        match self {
            Self::Agreed(places) => places.iter().map(|place| (place.user, place.network)).collect(),
            Self::Joined(users) => users.to_vec(),
        }
    }
}

/// All sessions: agreed by one, agreed by both, joined.
#[derive(Debug)]
pub(crate) struct Sessions<S> {
    /// With their numbers, in the order in which they came.
    all: HashMap<PairTag, (u64, Session<S>)>,
    last: u64,
    /// By the nonces of the names that are awaited.
    names: HashMap<[u8; 16], PairTag>,
    of: HashMap<DeviceId, usize>,
    /// How many places in them each network has.
    crowds: HashMap<Network, usize>,
}

impl<S> Default for Sessions<S> {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            last: 0,
            names: HashMap::new(),
            of: HashMap::new(),
            crowds: HashMap::new(),
        }
    }
}

impl<S> Sessions<S> {
    /// This user wants to be joined in this session, and his leg will bring this name. Who asks again is given another name, and the one
    /// before is worth nothing any more. Where all places are taken, a network that has more of them gives one: the session that ended for
    /// it is returned.
    pub(crate) fn ask(
        &mut self,
        (user, network): User,
        session: PairTag,
        name: DialInTag,
        rules: &RelayRules,
        now: Instant,
    ) -> Result<Option<PairTag>, SessionRefusal> {
        self.handle_timeout(now);
        let place = Place { user, network, name, until: now + LEG_LIFE, leg: None };
        let is_new = match self.all.get_mut(&session) {
            Some((_, Session::Joined(_))) => return Err(SessionRefusal::Taken),
            Some((_, Session::Agreed(places))) => {
                if let Some(again) = places.iter_mut().find(|place| place.user == user) {
                    self.names.remove(again.name.nonce());
                    self.names.insert(*name.nonce(), session);
                    // He is counted by the network from which he came first.
                    *again = Place { network: again.network, ..place };
                    return Ok(None);
                }
                if places.len() > 1 {
                    return Err(SessionRefusal::Taken);
                }
                false
            }
            None => true,
        };
        if self.count_of(&user) >= rules.most_user_sessions {
            return Err(SessionRefusal::FullForOne);
        }
        let is_full = is_new && self.all.len() >= rules.most_sessions;
        let ended = if is_full { Some(self.make_room(network).ok_or(SessionRefusal::Full)?) } else { None };
        self.last += 1;
        let number = self.last;
        match self.all.entry(session).or_insert_with(|| (number, Session::Agreed(Vec::new()))) {
            (_, Session::Agreed(places)) => places.push(place),
            (_, Session::Joined(_)) => return Err(SessionRefusal::Taken),
        }
        self.names.insert(*name.nonce(), session);
        *self.of.entry(user).or_default() += 1;
        if let Some(network) = network {
            *self.crowds.entry(network).or_default() += 1;
        }
        Ok(ended)
    }

    /// Ends a session for somebody from this network: of the network that has most places, if it has at least two more, one of the user
    /// who has most there; first those that lead to nothing yet, and the newest of them.
    fn make_room(&mut self, network: Option<Network>) -> Option<PairTag> {
        let mine = self.crowds.get(&network?).copied().unwrap_or_default();
        let (crowd, count) = self.crowds.iter().max_by_key(|(network, count)| (**count, **network))?;
        if *count <= mine + 1 {
            return None;
        }
        let most = |session: &Session<S>| {
            let users = session.users().into_iter().filter(|(_, from)| *from == Some(*crowd));
            users.map(|(user, _)| self.count_of(&user)).max()
        };
        let ranked = self.all.iter().filter_map(|(id, (number, session))| {
            Some(((most(session)?, matches!(session, Session::Agreed(_)), *number), *id))
        });
        let (_, id) = ranked.max_by_key(|(rank, _)| *rank)?;
        self.end(&id);
        Some(id)
    }

    /// Whether a leg of this name is awaited.
    pub(crate) fn awaits(&self, name: &DialInTag, now: Instant) -> bool {
        self.place(name).is_some_and(|place| place.until > now)
    }

    /// A leg of this name is there.
    pub(crate) fn arrive(&mut self, name: &DialInTag, leg: S, now: Instant) -> Arrived<S> {
        if !self.awaits(name, now) {
            return Arrived::Unknown(leg);
        }
        let Some(session) = self.names.remove(name.nonce()) else { return Arrived::Unknown(leg) };
        let Some((_, Session::Agreed(places))) = self.all.get_mut(&session) else {
            return Arrived::Unknown(leg);
        };
        if let Some(place) = places.iter_mut().find(|place| place.name == *name) {
            place.leg = Some(leg);
        }
        let mut legs: Vec<(DeviceId, S)> = Vec::new();
        if places.len() == 2 && places.iter().all(|place| place.leg.is_some()) {
            let users = [(places[0].user, places[0].network), (places[1].user, places[1].network)];
            legs.extend(places.drain(..).filter_map(|place| Some((place.user, place.leg?))));
            if let Some((_, agreed)) = self.all.get_mut(&session) {
                *agreed = Session::Joined(users);
            }
        }
        match <[(DeviceId, S); 2]>::try_from(legs) {
            Ok(legs) => Arrived::Both(session, legs),
            Err(_) => Arrived::Waits,
        }
    }

    /// A session is over.
    pub(crate) fn end(&mut self, session: &PairTag) {
        let Some((_, ended)) = self.all.remove(session) else { return };
        if let Session::Agreed(places) = &ended {
            for place in places {
                self.names.remove(place.name.nonce());
            }
        }
        for (user, network) in ended.users() {
            less(&mut self.of, &user);
            if let Some(network) = network {
                less(&mut self.crowds, &network);
            }
        }
    }

    /// Drops what a user agreed to alone or with others; returns the sessions that are joined and must be ended.
    pub(crate) fn forget(&mut self, user: &DeviceId) -> Vec<PairTag> {
        self.end_those(|session| session.users().iter().any(|(other, _)| other == user))
    }

    /// The same for all users.
    pub(crate) fn forget_all(&mut self) -> Vec<PairTag> {
        self.end_those(|_| true)
    }

    /// Drops what was agreed and led to nothing in time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_over = |session: &Session<S>| match session {
            Session::Agreed(places) => places.iter().all(|place| place.until <= now),
            Session::Joined(_) => false,
        };
        self.end_those(is_over);
    }

    /// When that is to be looked at next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let end = |session: &Session<S>| match session {
            Session::Agreed(places) => places.iter().map(|place| place.until).max(),
            Session::Joined(_) => None,
        };
        self.all.values().filter_map(|(_, session)| end(session)).min()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// How many with this user.
    pub(crate) fn count_of(&self, user: &DeviceId) -> usize {
        self.of.get(user).copied().unwrap_or_default()
    }

    fn place(&self, name: &DialInTag) -> Option<&Place<S>> {
        match self.all.get(self.names.get(name.nonce())?)? {
            // A leg that came is awaited no more: its name was taken out.
            (_, Session::Agreed(places)) => places.iter().find(|place| place.name == *name),
            (_, Session::Joined(_)) => None,
        }
    }

    fn end_those(&mut self, which: impl Fn(&Session<S>) -> bool) -> Vec<PairTag> {
        let ended: Vec<(PairTag, bool)> = self
            .all
            .iter()
            .filter(|(_, (_, session))| which(session))
            .map(|(id, (_, session))| (*id, matches!(session, Session::Joined(_))))
            .collect();
        for (session, _) in &ended {
            self.end(session);
        }
        ended.into_iter().filter(|(_, joined)| *joined).map(|(session, _)| session).collect()
    }
}

/// One less of them.
fn less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

#[cfg(test)]
mod tests;
