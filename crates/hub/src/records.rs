//! The records that lie here: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kith_identity::{DeviceId, PairTag, Sealed};
use kith_wire::{Deposit, FOUND_LIMIT, Search};
use tokio::time::Instant;

use crate::network::Network;
use crate::rules::{MOST_LIVES, MOST_UNDER_A_TAG};

/// What a record costs beside its own bytes.
const OVERHEAD: usize = 192;
/// As many records are to share a prefix by which is searched: which of them was meant, the carrier doesn't learn.
const CROWD: usize = 32;
/// A search looks at no more records than this.
const MOST_SEEN: usize = 16_384;
/// What a record takes of an answer beside its base64.
const ANSWER_OVERHEAD: usize = 96;
/// Digits of a whole tag.
const TAG_DIGITS: usize = 32;

/// All records, by tag and by whose they are.
#[derive(Debug, Default)]
pub(crate) struct Records {
    by_tag: BTreeMap<PairTag, Vec<Lying>>,
    of: HashMap<Arc<DeviceId>, Share>,
    /// Whose records take how much, and from where they came.
    by_size: BTreeSet<(Origin, usize, Arc<DeviceId>)>,
    origins: HashMap<Origin, usize>,
    /// From where how much came.
    by_origin: BTreeSet<(usize, Origin)>,
    by_end: BTreeSet<(Instant, PairTag, Arc<DeviceId>)>,
    count: usize,
    bytes: usize,
}

/// Among whom the room is shared where there is too little: networks, for computers cost nothing, or those whom the owner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Origin {
    Network(Network),
    Known(DeviceId),
}

#[derive(Debug)]
struct Lying {
    from: Arc<DeviceId>,
    record: Sealed,
    until: Instant,
}

#[derive(Debug)]
struct Share {
    origin: Origin,
    tags: Vec<PairTag>,
    bytes: usize,
}

impl Records {
    /// Keeps these for one computer in the place of what was kept for it. Under a tag that it shares with others it keeps its place. It came
    /// from this network, where that matters.
    pub(crate) fn replace(
        &mut self,
        (who, network): (&Arc<DeviceId>, Option<Network>),
        deposits: Vec<Deposit>,
        most_bytes: usize,
        now: Instant,
    ) {
        let mut wanted: BTreeMap<PairTag, Deposit> = BTreeMap::new();
        for deposit in deposits {
            wanted.entry(deposit.tag).or_insert(deposit);
        }
        let origin = network.map_or(Origin::Known(**who), Origin::Network);
        self.settle(who, origin);
        let before = self.of.get(who).map(|share| share.tags.clone()).unwrap_or_default();
        for tag in before.iter().filter(|tag| !wanted.contains_key(tag)) {
            self.remove(tag, who);
        }
        for (tag, Deposit { record, lives, .. }) in wanted {
            let until = now + Duration::from_secs(lives.into()).min(MOST_LIVES);
            self.put(tag, origin, Lying { from: who.clone(), record, until });
        }
        while self.bytes > most_bytes
            && let Some(biggest) = self.biggest()
            && let Some(tag) = self.of.get(&biggest).and_then(|share| share.tags.last().copied())
        {
            self.remove(&tag, &biggest);
        }
    }

    /// Drops what one computer left.
    pub(crate) fn forget(&mut self, who: &Arc<DeviceId>) {
        let tags = self.of.get(who).map(|share| share.tags.clone()).unwrap_or_default();
        for tag in tags {
            self.remove(&tag, who);
        }
    }

    /// Drops what has lived for long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((until, tag, who)) = self.by_end.first().cloned()
            && until <= now
        {
            self.remove(&tag, &who);
        }
    }

    /// When the next one has.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.by_end.first().map(|(until, ..)| *until)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How much they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// By how many digits is to be searched, so that enough share a prefix and the answer isn't too long.
    pub(crate) fn prefix_digits(&self) -> u8 {
        let mut digits = 0;
        let (mut count, mut bytes) = (self.count, self.bytes);
        while count >= CROWD * 16 || (count >= 16 && bytes > FOUND_LIMIT / 2) {
            (count, bytes) = (count / 16, bytes / 16);
            digits += 1;
        }
        digits
    }

    /// The records that are searched by at least so many digits of each tag, and how many bytes they take in the answer. Where they don't
    /// all fit, everybody's first go before anybody's second: whoever fills a prefix with his own hides no others.
    ///
    /// # Errors
    /// A sentence, if it is no search that this carrier answers.
    pub(crate) fn find(
        &self,
        search: &Search,
        least: usize,
        now: Instant,
    ) -> Result<(Vec<Deposit>, usize), String> {
        let mut found: BTreeMap<(usize, PairTag, &DeviceId), &Lying> = BTreeMap::new();
        let mut ranks: HashMap<&DeviceId, usize> = HashMap::new();
        let mut ranges: Vec<(PairTag, PairTag)> = Vec::new();
        for prefix in &search.prefixes {
            let range = range(prefix).ok_or("a search names the first hexadecimal digits of tags")?;
            if prefix.len() < least {
                return Err(format!("a search names at least {least} digits of each tag here"));
            }
            ranges.push(range);
        }
        ranges.sort_unstable();
        ranges.dedup();
        let mut seen = 0;
        for (first, last) in ranges {
            let records = self
                .by_tag
                .range(first..=last)
                .flat_map(|(tag, records)| records.iter().map(move |record| (tag, record)));
            for (tag, record) in records.take(MOST_SEEN - seen) {
                seen += 1;
                if record.until > now {
                    let rank = ranks.entry(&record.from).or_default();
                    found.insert((*rank, *tag, &record.from), record);
                    *rank += 1;
                }
            }
        }
        let mut room = Room::after(0);
        let mut records = Vec::new();
        for ((_, tag, _), lying) in found {
            if !room.take(&lying.record) {
                break;
            }
            let left = lying.until.saturating_duration_since(now).as_secs();
            records.push(Deposit {
                tag,
                record: lying.record.clone(),
                lives: u32::try_from(left).unwrap_or(u32::MAX),
            });
        }
        Ok((records, room.taken))
    }

    /// Who has most, of those who came from where most came from.
    fn biggest(&self) -> Option<Arc<DeviceId>> {
        let (_, origin) = self.by_origin.last()?;
        let end = (*origin, usize::MAX, Arc::new(DeviceId::from_bytes([255; 32])));
        self.by_size.range(..=end).next_back().map(|(_, _, who)| who.clone())
    }

    /// Whoever has records here came from elsewhere this time.
    fn settle(&mut self, who: &Arc<DeviceId>, origin: Origin) {
        let Some(share) = self.of.get_mut(who).filter(|share| share.origin != origin) else { return };
        let (before, bytes) = (std::mem::replace(&mut share.origin, origin), share.bytes);
        self.by_size.remove(&(before, bytes, who.clone()));
        self.by_size.insert((origin, bytes, who.clone()));
        self.account_origin(before, 0, bytes);
        self.account_origin(origin, bytes, 0);
    }

    fn put(&mut self, tag: PairTag, origin: Origin, new: Lying) {
        let place =
            self.by_tag.get(&tag).and_then(|records| records.iter().position(|old| old.from == new.from));
        if place.is_none() && self.by_tag.get(&tag).is_some_and(|records| records.len() >= MOST_UNDER_A_TAG) {
            return;
        }
        self.by_end.insert((new.until, tag, new.from.clone()));
        let (who, added) = (new.from.clone(), new.record.as_bytes().len() + OVERHEAD);
        let records = self.by_tag.entry(tag).or_default();
        let removed = match place {
            Some(place) => {
                let old = std::mem::replace(&mut records[place], new);
                if old.until != records[place].until {
                    self.by_end.remove(&(old.until, tag, old.from));
                }
                old.record.as_bytes().len() + OVERHEAD
            }
            None => {
                records.push(new);
                self.count += 1;
                let share = Share { origin, tags: Vec::new(), bytes: 0 };
                self.of.entry(who.clone()).or_insert(share).tags.push(tag);
                0
            }
        };
        self.account(&who, added, removed);
    }

    fn remove(&mut self, tag: &PairTag, who: &Arc<DeviceId>) {
        let Some(records) = self.by_tag.get_mut(tag) else { return };
        let Some(place) = records.iter().position(|record| record.from == *who) else { return };
        // In their order, which says who came first.
        let gone = records.remove(place);
        if records.is_empty() {
            self.by_tag.remove(tag);
        }
        self.by_end.remove(&(gone.until, *tag, gone.from));
        self.count -= 1;
        if let Some(share) = self.of.get_mut(who) {
            share.tags.retain(|other| other != tag);
        }
        self.account(who, 0, gone.record.as_bytes().len() + OVERHEAD);
    }

    fn account(&mut self, who: &Arc<DeviceId>, added: usize, removed: usize) {
        self.bytes = self.bytes + added - removed;
        let Some(share) = self.of.get_mut(who) else { return };
        let origin = share.origin;
        self.by_size.remove(&(origin, share.bytes, who.clone()));
        share.bytes = share.bytes + added - removed;
        if share.tags.is_empty() {
            self.of.remove(who);
        } else {
            self.by_size.insert((origin, share.bytes, who.clone()));
        }
        self.account_origin(origin, added, removed);
    }

    fn account_origin(&mut self, origin: Origin, added: usize, removed: usize) {
        let bytes = self.origins.entry(origin).or_default();
        self.by_origin.remove(&(*bytes, origin));
        *bytes = *bytes + added - removed;
        // No record takes nothing.
        if *bytes == 0 {
            self.origins.remove(&origin);
        } else {
            self.by_origin.insert((*bytes, origin));
        }
    }
}

/// The room in an answer.
pub(crate) struct Room {
    taken: usize,
}

impl Room {
    /// What is left after so many bytes.
    pub(crate) const fn after(taken: usize) -> Self {
        Self { taken }
    }

    /// As many as there is room for.
    pub(crate) fn fill(mut self, deposits: Vec<Deposit>) -> Vec<Deposit> {
        deposits.into_iter().take_while(|deposit| self.take(&deposit.record)).collect()
    }

    fn take(&mut self, record: &Sealed) -> bool {
        let size = record.as_bytes().len().div_ceil(3) * 4 + ANSWER_OVERHEAD;
        let fits = self.taken + size <= FOUND_LIMIT - ANSWER_OVERHEAD;
        if fits {
            self.taken += size;
        }
        fits
    }
}

/// The first and the last tag that begins with these digits.
fn range(prefix: &str) -> Option<(PairTag, PairTag)> {
    if prefix.len() > TAG_DIGITS || !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let filled = |with: &str| format!("{prefix}{}", with.repeat(TAG_DIGITS - prefix.len())).parse().ok();
    Some((filled("0")?, filled("f")?))
}

#[cfg(test)]
mod tests;
