use super::*;

const CHUNK: usize = 10_000;

fn who(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 32])
}

fn rate(bytes: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bytes)
}

/// Sessions that always have something to pass on, for so long; how many bytes went for each.
fn simulate(rates: Rates, sessions: &[[u8; 2]], seconds: u64) -> Vec<usize> {
    let mut fair = Fair::new(rates);
    let start = Instant::now();
    let (mut now, end) = (start, start + Duration::from_secs(seconds));
    let mut went = vec![0; sessions.len()];
    let mut asked: HashMap<WaiterId, usize> = HashMap::new();
    for (place, users) in sessions.iter().enumerate() {
        asked.insert(fair.ask(users.map(who), CHUNK), place);
    }
    while now < end {
        for id in fair.poll(now) {
            let place = asked.remove(&id).unwrap();
            went[place] += CHUNK;
            asked.insert(fair.ask(sessions[place].map(who), CHUNK), place);
        }
        now += fair.wait(now).unwrap().max(Duration::from_micros(1));
    }
    assert_eq!(fair.waiting.len(), sessions.len());
    went
}

fn assert_about(is: usize, expected: usize, what: &str) {
    assert!(is.abs_diff(expected) * 20 <= expected, "{what}: {is} bytes, {expected} expected");
}

#[test]
fn the_total_is_kept_and_shared_evenly() {
    let rates = Rates { total: rate(1_000_000), each: None };
    let went = simulate(rates, &[[1, 2], [3, 4], [5, 6], [7, 8]], 20);
    for one in went {
        assert_about(one, 5_000_000, "one of four");
    }
}

#[test]
fn a_user_with_eight_sessions_gets_no_more_than_one_with_one() {
    let rates = Rates { total: rate(1_000_000), each: None };
    let mut sessions = vec![[100, 101]];
    sessions.extend((0..8).map(|other| [1, 10 + other]));
    let went = simulate(rates, &sessions, 20);
    assert_about(went[0], 10_000_000, "the one");
    assert_about(went[1..].iter().sum(), 10_000_000, "the eight");
    for one in &went[1..] {
        assert_about(*one, 1_250_000, "each of the eight");
    }
}

#[test]
fn nobody_gets_faster_than_his_own_rate_and_what_he_leaves_goes_to_others() {
    let rates = Rates { total: rate(1_000_000), each: rate(600_000) };
    let went = simulate(rates, &[[1, 2], [1, 3], [4, 5]], 20);
    assert_about(went[0] + went[1] + went[2], 20_000_000, "all");
    assert_about(went[0] + went[1], 10_000_000, "the one with two");
    let alone = simulate(rates, &[[1, 2], [1, 3]], 20);
    assert_about(alone.iter().sum(), 12_000_000, "alone, with two sessions");
}

#[test]
fn who_rested_has_no_claim_on_what_others_used_meanwhile() {
    let mut fair = Fair::new(Rates { total: rate(1_000_000), each: None });
    let now = Instant::now();
    // Minutes of one alone.
    let mut at = now;
    for _ in 0..1000 {
        let id = fair.ask([who(1), who(2)], CHUNK);
        at += fair.wait(at).unwrap();
        assert_eq!(fair.poll(at), [id]);
    }
    let (mut newcomer, mut first) = (0, 0);
    let mut ids = [fair.ask([who(1), who(2)], CHUNK), fair.ask([who(3), who(4)], CHUNK)];
    for _ in 0..100 {
        at += fair.wait(at).unwrap();
        for id in fair.poll(at) {
            if id == ids[0] {
                first += 1;
                ids[0] = fair.ask([who(1), who(2)], CHUNK);
            } else {
                newcomer += 1;
                ids[1] = fair.ask([who(3), who(4)], CHUNK);
            }
        }
    }
    assert!((first..=first + 2).contains(&newcomer), "{newcomer} of the newcomer, {first} of the other");
}

#[test]
fn who_goes_away_holds_nobody_up_and_leaves_nothing_behind() {
    let mut fair = Fair::new(Rates { total: rate(1_000_000), each: rate(1_000_000) });
    let now = Instant::now();
    for byte in 0..=255 {
        let id = fair.ask([who(byte), who(byte.wrapping_add(1))], CHUNK);
        fair.withdraw(id);
    }
    assert_eq!(fair.wait(now), None);
    let id = fair.ask([who(1), who(2)], CHUNK);
    assert_eq!(fair.poll(now), [id]);
    let later = now + Duration::from_secs(10);
    fair.clock = u64::MAX;
    assert!(fair.poll(later).is_empty());
    assert!(fair.shares.len() < 70, "{} shares are left", fair.shares.len());
}

#[test]
fn without_limits_all_go_at_once_and_new_limits_begin_anew() {
    let mut fair = Fair::new(Rates::default());
    let now = Instant::now();
    let ids: Vec<WaiterId> = (0..50).map(|_| fair.ask([who(1), who(2)], CHUNK)).collect();
    assert_eq!(fair.poll(now), ids);
    fair.set_rates(Rates { total: rate(1000), each: None });
    let slow = [fair.ask([who(1), who(2)], CHUNK), fair.ask([who(1), who(2)], CHUNK)];
    assert_eq!(fair.poll(now), slow[..1]);
    assert_eq!(fair.wait(now), Some(Duration::from_secs(10) - BURST));
    fair.set_rates(Rates { total: rate(1_000_000), each: None });
    assert_eq!(fair.poll(now), slow[1..]);
}
