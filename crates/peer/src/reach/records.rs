//! Where we are, for friends to find, and where they are. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use kith_identity::{PairKey, PairTag, Sealed, TagUse};
use kith_wire::{
    AddressRecord, Deposit, DeviceId, MOST_PREFIXES, MOST_RECORDS, MOST_WATCHED, RECORD_LIFE,
    REGISTRATION_LIMIT, RecordError, Registration, SEALED_RECORD_LIMIT,
};
use serde::{Deserialize, Serialize};

use crate::book::{AddressBook, is_local_name};
use crate::carriers::CarrierKind;

/// Most addresses of one kind in a record.
const MOST_ADDRESSES: usize = 16;
/// Between two searches for the same friend, unless the network changes.
pub(crate) const BETWEEN_SEARCHES: Duration = Duration::from_secs(10);
/// The same, for one who is linked by a relay: he tells most of his addresses himself, and answers of carriers are long.
const BETWEEN_SEARCHES_OF_LINKED: Duration = Duration::from_secs(10 * 60);
/// Tags under which one friend's record may lie: today's, yesterday's and tomorrow's, for clocks differ.
const TAGS: usize = 3;
/// Most friends of one search.
pub(crate) const MOST_SOUGHT: usize = MOST_PREFIXES / TAGS;
/// Most deposits under one tag that are looked at: carriers may hand out what they like.
const MOST_CANDIDATES: usize = 8;
/// What JSON makes of a deposit, beside its record in base64, at most.
const DEPOSIT_OVERHEAD: usize = 160;
/// A tag in JSON, at most.
const TAG_BYTES: usize = 40;

/// What this computer says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Addresses inside its network, `ip:port`.
    pub internal: Vec<String>,
    /// From outside, `host:port`.
    pub public: Vec<String>,
    /// Of its router, where they are not public, `ip:port`.
    pub wan: Vec<String>,
    /// Hubs with which it is registered, `kith://DEVICEID@host:port`.
    pub hubs: Vec<String>,
    /// No connection ever comes in.
    pub outbound_only: bool,
}

/// Our own record.
#[derive(Debug, Default)]
pub(crate) struct Own {
    said: Option<(Whereabouts, AddressRecord)>,
}

impl Own {
    /// The record to be signed, if the last one does not say it any more. `last` is the highest number given so far; the clock counts in
    /// as well, so that numbers grow even if that was forgotten.
    pub(crate) fn due(
        &mut self,
        whereabouts: &Whereabouts,
        last: u64,
        unix_ms: u64,
    ) -> Option<AddressRecord> {
        let now = unix_ms / 1000;
        if let Some((said, record)) = &self.said {
            // A clock that was set back has signed for a time that is to come.
            let is_fresh = record.issued <= now && now - record.issued < RECORD_LIFE / 2;
            if said == whereabouts && is_fresh {
                return None;
            }
        }
        let some = |list: &[String]| list.iter().take(MOST_ADDRESSES).cloned().collect::<Vec<_>>();
        let record = AddressRecord {
            sequence: last.saturating_add(1).max(unix_ms),
            issued: now,
            expires: now.saturating_add(RECORD_LIFE),
            internal: some(&whereabouts.internal),
            public: some(&whereabouts.public),
            wan: some(&whereabouts.wan),
            hubs: some(&whereabouts.hubs),
            outbound_only: whereabouts.outbound_only,
        };
        self.said = Some((whereabouts.clone(), record.clone()));
        Some(record)
    }
}

/// All that a carrier is to keep for us: our record for each friend, and the tags of messages from them and from those who hold an invite. Those that don't fit are left out.
pub(crate) fn registration(
    us: &DeviceId,
    friends: &[(DeviceId, PairKey)],
    invites: &[PairKey],
    signed: Option<&[u8]>,
    unix: u64,
) -> Registration {
    let lives = u32::try_from(RECORD_LIFE).unwrap_or(u32::MAX);
    let friends = &friends[..friends.len().min(MOST_RECORDS).min(MOST_WATCHED / TAGS)];
    let watched = invites.iter().chain(friends.iter().map(|(_, pair)| pair)).take(MOST_WATCHED / TAGS);
    let watch: Vec<PairTag> = watched.flat_map(|pair| pair.tags(TagUse::Post, us, unix)).collect();
    let mut bytes = watch.len() * TAG_BYTES + DEPOSIT_OVERHEAD;
    let mut records = Vec::new();
    for (_, pair) in friends {
        let Some(signed) = signed else { break };
        let record = pair.seal(TagUse::Record, us, signed);
        let length = record.as_bytes().len();
        bytes += length.div_ceil(3) * 4 + DEPOSIT_OVERHEAD;
        if length <= SEALED_RECORD_LIMIT && bytes < REGISTRATION_LIMIT {
            records.push(Deposit { tag: pair.tag(TagUse::Record, us, unix), record, lives });
        }
    }
    Registration { records, watch }
}

/// The newest record of a friend that was believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRecord {
    /// What it says.
    pub record: AddressRecord,
    /// By which it is told from another one of the same number.
    pub mark: String,
}

/// A record is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordRefusal {
    /// Sealed by somebody else, or changed.
    #[error("the record was not sealed by this friend")]
    Sealed,
    /// Not signed by him, or not for now.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// He has said newer things.
    #[error("the record has number {number}, and number {seen} was seen before: somebody sends an old one")]
    Older {
        /// Of this one.
        number: u64,
        /// Of the newest one.
        seen: u64,
    },
    /// Two of the same number.
    #[error("two records with number {0} say different things")]
    Forked(u64),
}

/// Judges what lies under a friend's tag. `None`: it is the one that is known.
pub(crate) fn judge(
    pair: &PairKey,
    friend: &DeviceId,
    sealed: &Sealed,
    seen: Option<&SeenRecord>,
    unix: u64,
) -> Result<Option<SeenRecord>, RecordRefusal> {
    let signed = pair.open(TagUse::Record, friend, sealed).ok_or(RecordRefusal::Sealed)?;
    let record = AddressRecord::verify(&signed, friend, unix)?;
    let mark = mark(&signed);
    // What has expired can't come back: from then on any number is as good.
    if let Some(seen) = seen.filter(|seen| unix < seen.record.expires) {
        let (number, newest) = (record.sequence, seen.record.sequence);
        if number < newest {
            return Err(RecordRefusal::Older { number, seen: newest });
        }
        if number == newest {
            return if mark == seen.mark { Ok(None) } else { Err(RecordRefusal::Forked(number)) };
        }
    }
    Ok(Some(SeenRecord { record, mark }))
}

/// Half of the signature, which follows the key: nobody but the signer makes two for one text, or one for two.
fn mark(signed: &[u8]) -> String {
    HEXLOWER.encode(signed.get(32..64).unwrap_or_default())
}

/// The addresses of a record that may be dialled. A friend has no say in what is dialled on this very computer.
pub(crate) fn book(record: &AddressRecord) -> AddressBook {
    let worth_dialling = |list: &[String]| -> Vec<String> {
        list.iter().filter(|address| may_be_dialled(address)).take(MOST_ADDRESSES).cloned().collect()
    };
    AddressBook {
        internal: worth_dialling(&record.internal),
        public: worth_dialling(&record.public),
        routers: worth_dialling(&record.wan),
        ..AddressBook::default()
    }
}

pub(crate) fn may_be_dialled(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => {
            let ip = address.ip().to_canonical();
            address.port() != 0 && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
        }
        Err(_) => crate::dial::split(address).is_ok_and(|(host, _)| !is_local_name(host)),
    }
}

/// The tags under which the records of friends lie, by tag.
pub(crate) fn sought(friends: &[(DeviceId, PairKey)], unix: u64) -> BTreeMap<PairTag, DeviceId> {
    let tags = friends
        .iter()
        .take(MOST_SOUGHT)
        .flat_map(|(friend, pair)| pair.tags(TagUse::Record, friend, unix).map(|tag| (tag, *friend)));
    tags.collect()
}

/// Most digits of a tag that a carrier is told, however many it wants: a friend keeps some thousand records at most, a hub less than half
/// a million, and one digit less than they want does for both.
const fn most_digits(kind: CarrierKind) -> u8 {
    match kind {
        CarrierKind::Friend => 1,
        CarrierKind::Hub => 3,
    }
}

/// How tags are searched at a carrier that wants so many digits: in an order that says nothing.
pub(crate) fn prefixes(tags: &BTreeMap<PairTag, DeviceId>, kind: CarrierKind, wanted: u8) -> Vec<String> {
    let digits = usize::from(wanted.min(most_digits(kind)));
    let cut = |tag: &PairTag| tag.to_string().chars().take(digits).collect::<String>();
    let prefixes: BTreeSet<String> = tags.keys().map(cut).collect();
    prefixes.into_iter().take(MOST_PREFIXES).collect()
}

/// Of what a carrier found, what may be a friend's.
pub(crate) fn candidates<'a>(
    tags: &BTreeMap<PairTag, DeviceId>,
    found: &'a [Deposit],
) -> Vec<(DeviceId, &'a Sealed)> {
    let mut counts: BTreeMap<PairTag, usize> = BTreeMap::new();
    let mut candidates = Vec::new();
    for deposit in found {
        let Some(friend) = tags.get(&deposit.tag) else { continue };
        let count = counts.entry(deposit.tag).or_default();
        *count += 1;
        if *count <= MOST_CANDIDATES {
            candidates.push((*friend, &deposit.record));
        }
    }
    candidates
}

/// When to search for whom.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    last: BTreeMap<DeviceId, Instant>,
    wanted: BTreeSet<DeviceId>,
}

impl Searches {
    /// No address led to him.
    pub(crate) fn want(&mut self, friend: DeviceId) {
        self.wanted.insert(friend);
    }

    /// He is linked, and a better way is looked for.
    pub(crate) fn want_better(&mut self, friend: DeviceId, now: Instant) {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < BETWEEN_SEARCHES_OF_LINKED;
        if !self.last.get(&friend).is_some_and(is_recent) {
            self.want(friend);
        }
    }

    /// The others are found, or no friends any more.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&DeviceId) -> bool) {
        self.wanted.retain(is_wanted);
    }

    /// Whoever is wanted may be searched at once.
    pub(crate) fn handle_network_change(&mut self) {
        self.last.clear();
    }

    /// Others relay what he says: he is there since, and has told them where. If he is wanted, he may be searched at once.
    pub(crate) fn handle_relayed(&mut self, friend: &DeviceId) {
        self.last.remove(friend);
    }

    /// Whom to search now: never the same friend twice within [`BETWEEN_SEARCHES`].
    pub(crate) fn due(&mut self, now: Instant) -> Vec<DeviceId> {
        let due: Vec<DeviceId> = self
            .wanted
            .iter()
            .filter(|friend| !self.was_searched(friend, now))
            .take(MOST_SOUGHT)
            .copied()
            .collect();
        self.last.retain(|_, at| now.saturating_duration_since(*at) < BETWEEN_SEARCHES);
        for friend in &due {
            self.wanted.remove(friend);
            self.last.insert(*friend, now);
        }
        due
    }

    /// When [`Searches::is_due`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let at = |friend| self.last.get(friend).map(|at: &Instant| *at + BETWEEN_SEARCHES);
        // Without an earlier search: at once, which is any time that is over.
        let any_past = || self.last.values().copied().min();
        self.wanted.iter().filter_map(|friend| at(friend).or_else(any_past)).min()
    }

    /// Whether somebody may be searched now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.wanted.iter().any(|friend| !self.was_searched(friend, now))
    }

    fn was_searched(&self, friend: &DeviceId, now: Instant) -> bool {
        self.last.get(friend).is_some_and(|at| now.saturating_duration_since(*at) < BETWEEN_SEARCHES)
    }
}

#[cfg(test)]
mod tests {
    use kith_identity::{Identity, IdentitySeed};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn identity(byte: u8) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
    }

    fn pair() -> PairKey {
        PairKey::from_bytes([5; 32])
    }

    fn whereabouts(public: &str) -> Whereabouts {
        Whereabouts { public: vec![public.into()], ..Whereabouts::default() }
    }

    fn record(sequence: u64, public: &str) -> AddressRecord {
        let mut record = Own::default().due(&whereabouts(public), 0, NOW * 1000).unwrap();
        record.sequence = sequence;
        record
    }

    fn sealed(record: &AddressRecord, by: &Identity) -> Sealed {
        pair().seal(TagUse::Record, &by.device_id(), &record.sign(by).unwrap())
    }

    #[test]
    fn a_record_is_made_at_each_change_and_in_the_middle_of_its_life() {
        let mut own = Own::default();
        let first = own.due(&whereabouts("11.0.0.1:4242"), 0, NOW * 1000).unwrap();
        assert_eq!((first.sequence, first.issued, first.expires), (NOW * 1000, NOW, NOW + RECORD_LIFE));
        assert_eq!(own.due(&whereabouts("11.0.0.1:4242"), first.sequence, (NOW + 60) * 1000), None);
        let moved = own.due(&whereabouts("11.0.0.2:4242"), first.sequence, NOW * 1000).unwrap();
        assert_eq!(moved.sequence, first.sequence + 1, "within the same millisecond, too");
        let half = NOW + RECORD_LIFE / 2;
        assert!(own.due(&whereabouts("11.0.0.2:4242"), moved.sequence, half * 1000).is_some());
        // The clock goes back: the number does not.
        let back = own.due(&whereabouts("11.0.0.2:4242"), half * 1000, NOW * 1000).unwrap();
        assert_eq!((back.sequence, back.issued), (half * 1000 + 1, NOW));
        let many = Whereabouts { internal: vec!["10.0.0.1:1".into(); 100], ..Whereabouts::default() };
        let record = own.due(&many, 0, NOW * 1000).unwrap();
        assert!(record.sign(&identity(1)).is_ok(), "there is room for the most addresses");
    }

    #[test]
    fn old_forged_and_forked_records_are_refused() {
        let (anna, eve) = (identity(1), identity(2));
        let check = |sealed: &Sealed, seen: Option<&SeenRecord>, now| {
            judge(&pair(), &anna.device_id(), sealed, seen, now)
        };
        let first = check(&sealed(&record(7, "11.0.0.1:1024"), &anna), None, NOW).unwrap().unwrap();
        assert_eq!(first.record.public, ["11.0.0.1:1024"]);
        assert_eq!(check(&sealed(&record(7, "11.0.0.1:1024"), &anna), Some(&first), NOW), Ok(None));
        assert_eq!(
            check(&sealed(&record(6, "11.0.0.9:1024"), &anna), Some(&first), NOW),
            Err(RecordRefusal::Older { number: 6, seen: 7 })
        );
        assert_eq!(
            check(&sealed(&record(7, "11.0.0.9:1024"), &anna), Some(&first), NOW),
            Err(RecordRefusal::Forked(7))
        );
        let newer = check(&sealed(&record(8, "11.0.0.9:1024"), &anna), Some(&first), NOW).unwrap();
        assert_eq!(newer.unwrap().record.sequence, 8);
        // Eve knows the pair key, perhaps, and still signs as herself.
        let forged =
            pair().seal(TagUse::Record, &anna.device_id(), &record(9, "11.6.6.6:6666").sign(&eve).unwrap());
        assert_eq!(check(&forged, Some(&first), NOW), Err(RecordRefusal::Record(RecordError::Signature)));
        assert_eq!(
            check(&sealed(&record(9, "11.6.6.6:6666"), &eve), Some(&first), NOW),
            Err(RecordRefusal::Sealed)
        );
        let late = NOW + RECORD_LIFE;
        assert!(matches!(
            check(&sealed(&record(9, "11.0.0.1:1024"), &anna), Some(&first), late),
            Err(RecordRefusal::Record(RecordError::Time { .. }))
        ));
        // Once the newest has expired, nothing older holds any more either, and a number that was too high is no trap.
        let mut lower = record(3, "11.0.0.3:1024");
        (lower.issued, lower.expires) = (late, late + RECORD_LIFE);
        assert!(matches!(check(&sealed(&lower, &anna), Some(&first), late), Ok(Some(_))));
    }

    #[test]
    fn a_record_makes_nobody_dial_himself() {
        let list = [
            "127.0.0.1:22",
            "[::1]:22",
            "localhost:22",
            "x.localhost:1",
            "localhost.:22",
            "127.1:6379",
            "0.0.0.0:1",
            "224.0.0.1:1",
            "10.0.0.7:0",
        ];
        let bad: Vec<String> = list.iter().map(|address| (*address).to_owned()).collect();
        let record = AddressRecord {
            internal: bad.clone(),
            public: [bad.clone(), vec!["home.example:4242".into()]].concat(),
            wan: [bad, vec!["100.64.0.7:4242".into()]].concat(),
            ..AddressRecord::default()
        };
        let book = book(&record);
        assert!(book.internal.is_empty());
        assert_eq!(book.public, ["home.example:4242"]);
        assert_eq!(book.routers, ["100.64.0.7:4242"]);
    }

    #[test]
    fn what_lies_with_a_carrier_is_found_by_the_friend_and_says_nothing_to_it() {
        let (anna, bert) = (identity(1), identity(2));
        let signed = record(7, "11.0.0.1:1024").sign(&anna).unwrap();
        let friends = [(bert.device_id(), pair())];
        let registration = registration(&anna.device_id(), &friends, &[], Some(&signed), NOW);
        assert_eq!(registration.check(), Ok(()));
        assert_eq!((registration.records.len(), registration.watch.len()), (1, 3));
        // Bert's clock is a day off, almost.
        for now in [NOW - 80_000, NOW, NOW + 80_000] {
            let tags = sought(&[(anna.device_id(), pair())], now);
            let found = candidates(&tags, &registration.records);
            assert_eq!(found.len(), 1, "{now}");
            assert_eq!(found[0].0, anna.device_id());
        }
        let tags = sought(&[(anna.device_id(), pair())], NOW);
        let short = prefixes(&tags, CarrierKind::Hub, 2);
        assert!(short.iter().all(|prefix| prefix.len() == 2), "{short:?}");
        assert!(registration.records[0].tag.to_string().starts_with(&short[0]) || short.len() > 1);
        assert_eq!(prefixes(&tags, CarrierKind::Friend, 0), [""]);
        // A carrier that floods is not listened to for long.
        let flood = vec![registration.records[0].clone(); 1000];
        assert_eq!(candidates(&tags, &flood).len(), MOST_CANDIDATES);
    }

    #[test]
    fn no_carrier_is_told_more_of_a_tag_than_honest_ones_need() {
        let tags = sought(&[(identity(1).device_id(), pair())], NOW);
        let longest = |kind, wanted| prefixes(&tags, kind, wanted).iter().map(String::len).max();
        for (wanted, of_friend, of_hub) in [(0, 0, 0), (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 3), (32, 1, 3)]
        {
            assert_eq!(longest(CarrierKind::Friend, wanted), Some(of_friend), "{wanted}");
            assert_eq!(longest(CarrierKind::Hub, wanted), Some(of_hub), "{wanted}");
        }
    }

    #[test]
    fn a_registration_fits_whatever_the_records_are_like() {
        let friends: Vec<_> = (0..1000_u32)
            .map(|n| {
                let mut bytes = [0; 32];
                bytes[..4].copy_from_slice(&n.to_be_bytes());
                (DeviceId::from_bytes(bytes), PairKey::from_bytes(bytes))
            })
            .collect();
        let big = vec![0; 8000];
        let us = identity(1).device_id();
        let invites = vec![PairKey::from_bytes([9; 32]); 1];
        let registration = registration(&us, &friends, &invites, Some(&big), NOW);
        assert_eq!(registration.check(), Ok(()));
        assert_eq!(registration.watch.len(), MOST_WATCHED);
        assert_eq!(registration.watch[..3], invites[0].tags(TagUse::Post, &us, NOW));
        assert!(serde_json::to_vec(&registration).unwrap().len() <= REGISTRATION_LIMIT);
        assert!(registration.records.len() > 50);
    }

    #[test]
    fn nobody_is_searched_twice_within_half_a_minute_unless_the_network_changes() {
        let now = Instant::now();
        let [anna, bert] = [1, 2].map(|byte| identity(byte).device_id());
        let mut searches = Searches::default();
        searches.want(anna);
        assert!(searches.is_due(now));
        assert_eq!(searches.due(now), [anna]);
        searches.want(anna);
        searches.want(bert);
        assert_eq!(searches.due(now + Duration::from_secs(1)), [bert]);
        assert_eq!(searches.poll_timeout(), Some(now + BETWEEN_SEARCHES));
        assert!(!searches.is_due(now + BETWEEN_SEARCHES - Duration::from_millis(1)));
        assert!(searches.is_due(now + BETWEEN_SEARCHES), "an earlier search is no reason for ever");
        assert_eq!(searches.due(now + BETWEEN_SEARCHES), [anna]);
        searches.want(anna);
        searches.handle_network_change();
        assert_eq!(searches.due(now + BETWEEN_SEARCHES), [anna]);
        searches.handle_relayed(&anna);
        assert!(!searches.is_due(now + BETWEEN_SEARCHES), "nobody wants her");
        searches.want(anna);
        assert_eq!(searches.due(now + BETWEEN_SEARCHES), [anna]);
        // Beside a relayed link, once and then seldom.
        searches.want_better(anna, now + BETWEEN_SEARCHES * 3);
        assert!(!searches.is_due(now + BETWEEN_SEARCHES * 3));
        searches.handle_relayed(&anna);
        searches.want_better(anna, now + BETWEEN_SEARCHES * 3);
        assert_eq!(searches.due(now + BETWEEN_SEARCHES * 3), [anna]);
        searches.want_better(anna, now + BETWEEN_SEARCHES * 3 + BETWEEN_SEARCHES_OF_LINKED);
        assert_eq!(searches.due(now + BETWEEN_SEARCHES * 3 + BETWEEN_SEARCHES_OF_LINKED), [anna]);
        searches.want(anna);
        searches.retain(|friend| *friend != anna);
        assert_eq!(searches.poll_timeout(), None);
    }
}
