use super::*;

const ROOMY: usize = 1 << 30;

fn who(byte: u8) -> Arc<DeviceId> {
    Arc::new(DeviceId::from_bytes([byte; 32]))
}

fn tag(first: u8, second: u8) -> PairTag {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1]) = (first, second);
    PairTag::from_bytes(bytes)
}

fn deposit(tag: PairTag, byte: u8, length: usize) -> Deposit {
    Deposit { tag, record: Sealed::from_bytes(vec![byte; length]), lives: 60 * 60 }
}

fn search(prefixes: &[&str]) -> Search {
    Search { prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect() }
}

fn found(records: &Records, prefixes: &[&str], now: Instant) -> Vec<(PairTag, u8)> {
    let (found, _) = records.find(&search(prefixes), 0, now).unwrap();
    found.iter().map(|deposit| (deposit.tag, deposit.record.as_bytes()[0])).collect()
}

/// The books agree with each other.
fn check(records: &Records) {
    let all: Vec<(&PairTag, &Lying)> =
        records.by_tag.iter().flat_map(|(tag, lying)| lying.iter().map(move |one| (tag, one))).collect();
    let bytes: usize = all.iter().map(|(_, one)| one.record.as_bytes().len() + OVERHEAD).sum();
    assert_eq!((records.count, records.bytes), (all.len(), bytes));
    assert_eq!(records.by_end.len(), all.len());
    assert!(all.iter().all(|(tag, one)| records.by_end.contains(&(one.until, **tag, one.from.clone()))));
    assert_eq!(records.by_size.len(), records.of.len());
    let mut origins: HashMap<Origin, usize> = HashMap::new();
    for share in records.of.values() {
        *origins.entry(share.origin).or_default() += share.bytes;
    }
    assert_eq!(records.origins, origins);
    assert_eq!(records.by_origin, origins.iter().map(|(origin, bytes)| (*bytes, *origin)).collect());
    assert_eq!(records.of.values().map(|share| share.bytes).sum::<usize>(), bytes);
    assert_eq!(records.of.values().map(|share| share.tags.len()).sum::<usize>(), all.len());
}

#[test]
fn what_is_told_anew_replaces_all_that_was_told_before_and_nothing_of_others() {
    let (mut records, now) = (Records::default(), Instant::now());
    records.replace(
        (&who(1), None),
        vec![deposit(tag(1, 0), 1, 100), deposit(tag(2, 0), 2, 100)],
        ROOMY,
        now,
    );
    records.replace((&who(2), None), vec![deposit(tag(3, 0), 3, 100)], ROOMY, now);
    check(&records);
    records.replace((&who(1), None), vec![deposit(tag(2, 0), 9, 50)], ROOMY, now);
    check(&records);
    assert_eq!(found(&records, &[""], now), [(tag(2, 0), 9), (tag(3, 0), 3)]);
    records.forget(&who(1));
    records.forget(&who(2));
    check(&records);
    assert_eq!((records.count(), records.bytes()), (0, 0));
}

#[test]
fn a_forged_record_stands_beside_the_true_one_and_never_in_its_place() {
    let (mut records, now) = (Records::default(), Instant::now());
    let wanted = tag(7, 7);
    records.replace((&who(0), None), vec![deposit(wanted, 100, 10)], ROOMY, now);
    for forger in 1..20 {
        records.replace(
            (&who(forger), None),
            vec![deposit(wanted, forger, 10), deposit(wanted, 99, 10)],
            ROOMY,
            now,
        );
    }
    check(&records);
    let there = found(&records, &[&wanted.to_string()], now);
    assert_eq!(there.len(), MOST_UNDER_A_TAG, "the forgers are bounded, and none has two");
    assert!(there.contains(&(wanted, 100)));
    // Its owner tells it anew, as after every change, and doesn't lose its place.
    records.replace((&who(0), None), vec![deposit(wanted, 101, 10)], ROOMY, now);
    records.forget(&who(1));
    records.replace((&who(30), None), vec![deposit(wanted, 30, 10)], ROOMY, now);
    let there = found(&records, &[&wanted.to_string()], now);
    assert!(there.contains(&(wanted, 101)) && there.contains(&(wanted, 30)), "{there:?}");
    check(&records);
}

#[test]
fn records_live_as_long_as_was_asked_and_no_longer_than_two_days() {
    let (mut records, now) = (Records::default(), Instant::now());
    let mut long = deposit(tag(1, 0), 1, 10);
    long.lives = u32::MAX;
    let mut short = deposit(tag(2, 0), 2, 10);
    short.lives = 5;
    records.replace((&who(1), None), vec![long, short], ROOMY, now);
    let five = now + Duration::from_secs(5);
    assert_eq!(records.poll_timeout(), Some(five));
    // Also before anybody has tidied up.
    assert_eq!(found(&records, &[""], five), [(tag(1, 0), 1)]);
    records.handle_timeout(five);
    check(&records);
    assert_eq!(records.count(), 1);
    let (left, _) = records.find(&search(&[""]), 0, five).unwrap();
    assert_eq!(u64::from(left[0].lives), MOST_LIVES.as_secs() - 5);
    records.handle_timeout(now + MOST_LIVES);
    assert_eq!((records.count(), records.poll_timeout()), (0, None));
}

#[test]
fn who_has_most_loses_some_when_there_is_no_room() {
    let (mut records, now) = (Records::default(), Instant::now());
    let room = 100 * (1000 + OVERHEAD);
    records.replace((&who(1), None), vec![deposit(tag(0, 1), 1, 1000)], room, now);
    let flood: Vec<Deposit> = (0..200).map(|n| deposit(tag(1, n), 2, 1000)).collect();
    records.replace((&who(2), None), flood.clone(), room, now);
    check(&records);
    assert_eq!((records.count(), records.bytes()), (100, room));
    // Another one who comes after the flood has room too.
    records.replace(
        (&who(3), None),
        vec![deposit(tag(2, 1), 3, 1000), deposit(tag(2, 2), 3, 1000)],
        room,
        now,
    );
    records.replace((&who(2), None), flood, room, now);
    check(&records);
    let there = found(&records, &["0001", "0201", "0202"], now);
    assert_eq!(there, [(tag(0, 1), 1), (tag(2, 1), 3), (tag(2, 2), 3)]);
    assert_eq!(records.count(), 100);
}

#[test]
fn a_network_with_thousands_of_ids_pushes_out_its_own_records_and_no_others() {
    let (mut records, now) = (Records::default(), Instant::now());
    let network = |n| Some(Network::V4([203, 0, n]));
    let id = |n: u16| {
        let mut id = [9; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        Arc::new(DeviceId::from_bytes(id))
    };
    let room = 1000 * (1000 + OVERHEAD);
    // Somebody with many friends, and thousands of ids that have less each.
    let many: Vec<Deposit> = (0..50).map(|n| deposit(tag(1, n), 1, 1000)).collect();
    records.replace((&who(1), network(1)), many, room, now);
    for n in 0..2000_u16 {
        let few = (0..3).map(|m| deposit(tag(2, m), 2, 1000)).chain([deposit(
            tag(n.to_be_bytes()[1], m_of(n)),
            2,
            1000,
        )]);
        records.replace((&id(n), network(2)), few.collect(), room, now);
    }
    check(&records);
    assert!(records.bytes() <= room);
    assert_eq!(records.of[&who(1)].tags.len(), 50, "somebody else's records were pushed out");
    // They are where they were left from, also when their owner is somewhere else; then they count there.
    records.replace((&id(0), network(3)), vec![deposit(tag(3, 0), 3, 1000)], room, now);
    check(&records);
    assert_eq!(records.origins[&Origin::Network(Network::V4([203, 0, 3]))], 1000 + OVERHEAD);
}

/// Other tags for each number.
fn m_of(n: u16) -> u8 {
    100 + n.to_be_bytes()[0]
}

#[test]
fn as_few_digits_are_searched_as_leave_enough_others_beside_what_is_searched() {
    let (mut records, now) = (Records::default(), Instant::now());
    assert_eq!(records.prefix_digits(), 0);
    for (depositors, expected) in [(1_u8, 0), (2, 1), (31, 1), (33, 2)] {
        records = Records::default();
        for depositor in 0..depositors {
            let deposits = (0..=255).map(|n| deposit(tag(n, depositor), 1, 1)).collect();
            records.replace((&who(depositor), None), deposits, ROOMY, now);
        }
        assert_eq!(records.prefix_digits(), expected, "{} records", records.count());
        let prefix = &tag(0x5a, 0).to_string()[..usize::from(expected)];
        let crowd = found(&records, &[prefix], now).len();
        assert!(crowd >= CROWD, "{crowd} records share the prefix {prefix:?} of {}", records.count());
    }
    // Large ones are fewer, so that the answer can be read.
    records = Records::default();
    let deposits = (0..=255).map(|n| deposit(tag(n, 0), 1, 9 * 1024)).collect();
    records.replace((&who(1), None), deposits, ROOMY, now);
    assert_eq!(records.prefix_digits(), 1);
    assert_eq!(found(&records, &["5"], now).len(), 16);
}

#[test]
fn searches_with_too_few_digits_or_none_that_are_digits_are_refused() {
    let (mut records, now) = (Records::default(), Instant::now());
    for depositor in 0..33 {
        let deposits = (0..=255).map(|n| deposit(tag(n, depositor), 1, 1)).collect();
        records.replace((&who(depositor), None), deposits, ROOMY, now);
    }
    assert_eq!(records.prefix_digits(), 2);
    assert!(records.find(&search(&["5"]), 1, now).is_ok());
    assert!(records.find(&search(&["55", ""]), 1, now).unwrap_err().contains("at least 1 digits"));
    for wrong in ["g0", "+1", "1 ", "é1", &"0".repeat(33)] {
        assert!(records.find(&search(&[wrong]), 0, now).is_err(), "{wrong}");
    }
    let upper = tag(0xab, 3).to_string().to_uppercase();
    assert_eq!(found(&records, &[&upper], now), [(tag(0xab, 3), 1)]);
    // Asked twice, told once.
    assert_eq!(found(&records, &[&upper, &upper.to_lowercase()], now).len(), 1);
}

#[test]
fn who_fills_a_prefix_with_his_own_hides_no_others_from_an_answer_that_has_a_bound() {
    let (mut records, now) = (Records::default(), Instant::now());
    let flood = (0..=255).map(|n| deposit(tag(0x50, n), 66, 9 * 1024)).collect();
    records.replace((&who(66), None), flood, ROOMY, now);
    // The last by its tag.
    records.replace((&who(1), None), vec![deposit(tag(0x5f, 0xff), 1, 9 * 1024)], ROOMY, now);
    let there = found(&records, &["5"], now);
    assert!(there.len() < 120, "{} records of 9 KiB are in the answer", there.len());
    assert!(there.contains(&(tag(0x5f, 0xff), 1)));
    let (answer, bytes) = records.find(&search(&["5"]), 1, now).unwrap();
    let text = serde_json::to_vec(&kith_wire::Found { records: answer }).unwrap();
    assert!(text.len() <= FOUND_LIMIT, "{} bytes", text.len());
    assert!(bytes.abs_diff(text.len()) < 16 * 1024, "{bytes} bytes were thought of, {} it is", text.len());
}
