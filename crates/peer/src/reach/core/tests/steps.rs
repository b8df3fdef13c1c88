//! One call, step by step.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kith_identity::PairTag;
use kith_wire::DeviceId;

use crate::reach::core::{
    ANSWER_PATIENCE, Carrier, Command, Draw, Fault, GO_PATIENCE, Input, LEG_PATIENCE, MOST_LEGS, Outcome,
    Pair, Port, RELAY_AFTER, Terms, Via, Worked,
};
use crate::reach::signal::{CallId, Said, Signal, SignalId};

const NOW: u64 = 1_800_000_000;

fn device(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 32])
}

fn tag(n: u8) -> PairTag {
    PairTag::from_bytes([n; 16])
}

fn carrier(byte: u8) -> Carrier {
    Carrier { id: device(byte), relays: true, observes: true, is_sure: true, is_spent: false }
}

fn terms(carriers: &[Carrier]) -> Terms {
    Terms { carriers: carriers.to_vec(), punch: true, relay: true, worked: None }
}

fn endpoint(port: u16) -> SocketAddr {
    SocketAddr::from(([11, 0, 0, 1], port))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One of the two, and its clock.
struct One {
    pair: Pair,
    now: Instant,
    ids: u8,
    terms: Terms,
    is_beyond: bool,
}

impl One {
    fn caller(terms: Terms) -> Self {
        Self { pair: Pair::new(&device(1), &device(2)), now: Instant::now(), ids: 0, terms, is_beyond: false }
    }

    fn callee(terms: Terms) -> Self {
        Self { pair: Pair::new(&device(2), &device(1)), now: Instant::now(), ids: 0, terms, is_beyond: false }
    }

    fn draw(n: u8) -> Draw {
        Draw { call: CallId(tag(n)), sessions: [200, 201, 202, 203].map(tag) }
    }

    fn want(&mut self) -> Vec<Command> {
        self.pair.want(self.terms.clone(), Self::draw(7), self.now)
    }

    fn hear(&mut self, call: u8, via: u8, said: Said) -> Vec<Command> {
        self.ids += 1;
        self.copy(self.ids, call, via, said)
    }

    fn copy(&mut self, id: u8, call: u8, via: u8, said: Said) -> Vec<Command> {
        let signal = Signal { id: SignalId(tag(id)), time: NOW, call: CallId(tag(call)), said };
        let terms = self.terms.clone();
        let via = Via { id: device(via), is_beyond: self.is_beyond };
        self.pair.hear((&signal, via), || terms, Self::draw(7), (NOW, self.now)).unwrap()
    }

    fn tell(&mut self, input: Input) -> Vec<Command> {
        self.pair.handle(input, self.now)
    }

    fn observed(&mut self, round: u8, port: u16) -> Vec<Command> {
        self.tell(Input::Observed { round, endpoints: vec![endpoint(port)] })
    }

    /// What happens until then, and nothing may happen before.
    fn at(&mut self, at: Duration) -> Vec<Command> {
        let timer = self.pair.poll_timeout().expect("a timer");
        assert_eq!(timer - self.now, at);
        self.now = timer;
        self.pair.handle_timeout(timer)
    }
}

fn post(via: u8, said: Said) -> Command {
    post_in(7, via, said)
}

fn post_in(call: u8, via: u8, said: Said) -> Command {
    Command::Post { via: device(via), call: CallId(tag(call)), said }
}

fn offer(ask: u8, port: u16) -> Said {
    Said::Offer { ask, endpoints: vec![endpoint(port)], punch: true }
}

fn answer(round: u8, port: u16) -> Said {
    Said::Answer { round, ask: 0, endpoints: vec![endpoint(port)], punch: true, relay: true, took: 20 }
}

const fn answer_without_punching(relay: bool) -> Said {
    Said::Answer { round: 0, ask: 0, endpoints: Vec::new(), punch: false, relay, took: 0 }
}

fn leg(attempt: usize, via: u8) -> Command {
    let session = tag(200 + u8::try_from(attempt).unwrap());
    Command::Leg { attempt, via: device(via), session }
}

fn over(outcome: Outcome) -> Command {
    Command::Over(outcome)
}

/// A caller whose offer was answered by carrier 50, 100 ms later.
fn answered(terms: Terms) -> One {
    let mut caller = One::caller(terms);
    caller.want();
    caller.observed(0, 4242);
    caller.now += ms(100);
    let commands = caller.hear(7, 50, answer(0, 5151));
    assert_eq!(commands[0], post(50, Said::Go { round: 0 }));
    caller
}

#[test]
fn the_caller_observes_offers_and_punches_half_a_round_trip_after_the_word() {
    let mut caller = One::caller(terms(&[carrier(50), carrier(51)]));
    let via = vec![device(50), device(51)];
    assert_eq!(
        caller.want(),
        [Command::Begin(CallId(tag(7))), Command::Observe { round: 0, port: Port::Listen, via }]
    );
    assert_eq!(caller.want(), [], "one call at a time");
    caller.now += ms(30);
    assert_eq!(caller.observed(0, 4242), [post(50, offer(0, 4242)), post(51, offer(0, 4242))]);
    caller.now += ms(100);
    assert_eq!(caller.hear(7, 51, answer(0, 5151)), [post(51, Said::Go { round: 0 })]);
    // Of 100 ms the friend needed 20 for himself.
    assert_eq!(caller.at(ms(40)), [Command::Punch { round: 0, targets: vec![endpoint(5151)] }]);
    assert_eq!(
        caller.tell(Input::Punched { round: 0 }),
        [post(51, Said::Over { reason: "connected".into() }), over(Outcome::Punched(Port::Listen))]
    );
    assert_eq!(caller.pair.poll_timeout(), None);
}

#[test]
fn a_relayed_connection_is_made_beside_and_punching_goes_on_from_other_ports() {
    let mut caller = answered(terms(&[carrier(50)]));
    caller.at(ms(40));
    assert_eq!(caller.at(RELAY_AFTER - ms(40)), [post(50, Said::Relay { session: tag(200) }), leg(0, 50)]);
    assert_eq!(caller.tell(Input::LegUp { attempt: 0 }), []);
    for round in 1..3 {
        let why = "no response".to_owned();
        assert_eq!(
            caller.tell(Input::PunchFailed { round: round - 1, why }),
            [Command::Observe { round, port: Port::Fresh, via: vec![device(50)] }]
        );
        let again = Said::Again { round, ask: 0, endpoints: vec![endpoint(2000)] };
        assert_eq!(caller.observed(round, 2000), [post(50, again)]);
        assert_eq!(caller.hear(7, 50, answer(round, 3000)), [post(50, Said::Go { round })]);
        // The friend needed longer for his answer than all of it took: the trip is taken for none.
        assert_eq!(caller.at(ms(0)), [Command::Punch { round, targets: vec![endpoint(3000)] }]);
    }
    let why = "no response".to_owned();
    let end = caller.tell(Input::PunchFailed { round: 2, why });
    assert_eq!(end[1], over(Outcome::Relayed(device(50))));
}

#[test]
fn without_punching_they_meet_at_once_at_a_carrier_that_relays_for_both() {
    let only_posts = Carrier { relays: false, ..carrier(52) };
    let mut caller = One::caller(Terms { punch: false, ..terms(&[carrier(50), carrier(51), only_posts]) });
    let nothing = Said::Offer { ask: 0, endpoints: Vec::new(), punch: false };
    let offers = [50, 51, 52].map(|via| post(via, nothing.clone()));
    assert_eq!(caller.want()[1..], offers);
    assert_eq!(caller.hear(7, 52, answer_without_punching(true)), [], "it does not relay for us");
    assert_eq!(caller.hear(7, 50, answer_without_punching(false)), [], "nor this one for him");
    assert_eq!(
        caller.hear(7, 51, answer_without_punching(true)),
        [post(51, Said::Relay { session: tag(200) }), leg(0, 51)]
    );
    let end = caller.tell(Input::LegUp { attempt: 0 });
    assert_eq!(end.last(), Some(&over(Outcome::Relayed(device(51)))));
}

#[test]
fn whoever_is_with_none_of_the_first_eight_is_looked_for_at_the_others() {
    let many: Vec<Carrier> = (50..70).map(carrier).collect();
    let nothing = Said::Offer { ask: 0, endpoints: Vec::new(), punch: false };
    let mut caller = One::caller(Terms { punch: false, ..terms(&many) });
    let mut asked = caller.want().len() - 1;
    for first in [50, 58] {
        for via in first..first + 8 {
            let said = caller.tell(Input::Undelivered { via: device(via) });
            let is_last = via == first + 7;
            assert_eq!(said.is_empty(), !is_last, "{via}");
            assert!(!is_last || said[0] == post(first + 8, nothing.clone()), "{said:?}");
            asked += said.len();
        }
    }
    assert_eq!(asked, 20);
    // He is with the nineteenth.
    caller.tell(Input::Undelivered { via: device(66) });
    assert!(caller.hear(7, 68, answer_without_punching(true)).contains(&leg(0, 68)));
    // And who rings asks all in the same way.
    let mut callee = One::callee(terms(&many));
    callee.want();
    let rung: Vec<Vec<Command>> =
        (50..58).map(|via| callee.tell(Input::Undelivered { via: device(via) })).collect();
    assert_eq!(rung[7][0], post(58, Said::Ring { relay: true }));
    assert_eq!(rung[7].len(), 8);
    let rest: Vec<Vec<Command>> =
        (58..70).map(|via| callee.tell(Input::Undelivered { via: device(via) })).collect();
    assert_eq!(rest[11], [over(Outcome::Failed(vec![Fault::Away]))]);
}

#[test]
fn an_offer_is_answered_by_the_way_it_came_however_many_others_there_are() {
    let many: Vec<Carrier> = (50..70).map(carrier).collect();
    let mut callee = One::callee(Terms { punch: false, ..terms(&many) });
    let answer = callee.hear(3, 69, Said::Offer { ask: 0, endpoints: Vec::new(), punch: false });
    let is_answer = |command: &Command| matches!(command, Command::Post { via, said: Said::Answer { .. }, .. } if *via == device(69));
    assert!(answer.iter().any(is_answer), "{answer:?}");
    // Another order of the others does not end what is under way.
    assert_eq!(
        callee.tell(Input::Carriers(many.into_iter().take(19).rev().chain([carrier(69)]).collect())),
        []
    );
    let relay = callee.hear(3, 69, Said::Relay { session: tag(200) });
    assert_eq!(relay, [leg(0, 69)]);
}

#[test]
fn whoever_is_surely_reached_is_asked_and_met_first_and_who_could_not_say_is_asked_no_more() {
    let far = |byte| Carrier { is_sure: false, ..carrier(byte) };
    let mut caller = One::caller(terms(&[far(50), far(51), carrier(52), far(53)]));
    let asked = |commands: &[Command]| {
        commands.iter().find_map(|command| match command {
            Command::Observe { via, .. } => Some(via.clone()),
            _ => None,
        })
    };
    assert_eq!(asked(&caller.want()), Some(vec![device(52), device(50)]));
    caller.tell(Input::Observed { round: 0, endpoints: Vec::new() });
    let heard = caller.hear(7, 50, answer(0, 5151));
    assert_eq!(asked(&heard), Some(vec![device(51), device(53)]), "the others were deaf in the first round");
    // All three answer before it is time to meet: the one who is surely there is taken.
    let mut caller = One::caller(terms(&[far(50), carrier(52), Carrier { is_spent: true, ..carrier(53) }]));
    caller.want();
    caller.tell(Input::Observed { round: 0, endpoints: vec![endpoint(1)] });
    for via in [50, 53, 52] {
        caller.hear(7, via, answer(0, 5151));
    }
    caller.at(ms(0));
    let met = caller.at(ms(700));
    assert!(met.contains(&leg(0, 52)), "{met:?}");
    let next = caller.tell(Input::LegFailed { attempt: 0, why: "no".into() });
    assert!(next.contains(&leg(1, 50)), "{next:?}");
    let last = caller.tell(Input::LegFailed { attempt: 1, why: "no".into() });
    assert!(last.contains(&leg(2, 53)), "{last:?}");
}

#[test]
fn with_different_hubs_they_meet_at_the_friends() {
    let ours = Carrier { relays: false, ..carrier(50) };
    let mut caller = One::caller(Terms { punch: false, ..terms(&[ours]) });
    caller.want();
    caller.is_beyond = true;
    let met = caller.hear(7, 50, answer_without_punching(true));
    assert_eq!(met, [post(50, Said::Relay { session: tag(200) }), leg(0, 50)]);
}

#[test]
fn where_no_carrier_relays_the_reasons_say_so() {
    let mut caller = One::caller(Terms { punch: false, ..terms(&[carrier(50)]) });
    caller.want();
    assert_eq!(caller.hear(7, 50, answer_without_punching(false)), []);
    let end = caller.at(ms(1500));
    assert_eq!(end.last(), Some(&over(Outcome::Failed(vec![Fault::NoPunching, Fault::NoRelay]))));
}

#[test]
fn a_relay_that_fails_is_followed_by_the_next_and_none_is_tried_three_times() {
    let mut caller = One::caller(Terms { punch: false, ..terms(&[carrier(50), carrier(51)]) });
    caller.want();
    caller.hear(7, 50, answer_without_punching(true));
    caller.hear(7, 51, answer_without_punching(true));
    let relay = |session| Said::Relay { session: tag(session) };
    let failed = |attempt| Input::LegFailed { attempt, why: "its limit is reached".into() };
    assert_eq!(caller.tell(failed(0)), [post(51, relay(201)), leg(1, 51)]);
    // The word is said once more, in case it was lost.
    assert_eq!(caller.at(ms(1000)), [post(51, relay(201))]);
    let next = [Command::DropLeg { attempt: 1 }, post(50, relay(202)), leg(2, 50)];
    assert_eq!(caller.at(LEG_PATIENCE - ms(1000)), next);
    assert_eq!(caller.tell(failed(1)), [], "that was over before");
    // A carrier that is gone is not waited for.
    assert_eq!(
        caller.tell(Input::Carriers(vec![carrier(51)])),
        [Command::DropLeg { attempt: 2 }, post(51, relay(203)), leg(3, 51)]
    );
    let end = caller.tell(failed(3));
    assert!(
        matches!(end.last(), Some(Command::Over(Outcome::Failed(faults))) if faults.len() == 5),
        "{end:?}"
    );
    assert_eq!(MOST_LEGS, 4);
}

#[test]
fn what_worked_before_comes_first() {
    let worked = |worked| Terms { worked: Some(worked), ..terms(&[carrier(50), carrier(51)]) };
    let mut caller = One::caller(worked(Worked::Punch(Port::Fresh)));
    assert!(matches!(caller.want()[1], Command::Observe { round: 0, port: Port::Fresh, .. }));
    let mut caller = answered(worked(Worked::Relay(device(50))));
    // At once, beside the punching.
    assert!(!matches!(caller.pair.poll_timeout(), Some(at) if at > caller.now + ms(40)));
    assert_eq!(caller.at(ms(40)), [Command::Punch { round: 0, targets: vec![endpoint(5151)] }]);
    let other = Terms { punch: false, ..worked(Worked::Relay(device(51))) };
    let mut caller = One::caller(other);
    caller.want();
    assert_eq!(caller.hear(7, 50, answer_without_punching(true))[1], leg(0, 50), "it is the only one yet");
    let next = caller.tell(Input::LegFailed { attempt: 0, why: String::new() });
    assert_eq!(next[1], leg(1, 50), "so it is tried once more");
}

#[test]
fn who_did_not_learn_in_time_from_where_he_is_seen_tries_again_from_another_port() {
    let mut caller = One::caller(terms(&[carrier(50)]));
    caller.want();
    caller.at(ms(1500));
    let next = caller.hear(7, 50, answer(0, 5151));
    let again = Command::Observe { round: 1, port: Port::Fresh, via: vec![device(50)] };
    // They meet at the carrier meanwhile.
    assert_eq!(next, [again, post(50, Said::Relay { session: tag(200) }), leg(0, 50)]);
    assert!(matches!(caller.observed(1, 2000)[0], Command::Post { said: Said::Again { round: 1, .. }, .. }));
    let unseen = Said::Answer { round: 1, ask: 0, endpoints: Vec::new(), punch: true, relay: true, took: 0 };
    assert!(
        matches!(caller.hear(7, 50, unseen)[0], Command::Observe { round: 2, .. }),
        "it was the friend now"
    );
}

#[test]
fn an_offer_is_repeated_and_given_up() {
    let mut caller = One::caller(terms(&[carrier(50)]));
    caller.want();
    assert_eq!(
        caller.at(ms(1500)).len(),
        1,
        "nobody says from where the port is seen: the offer goes without it"
    );
    let nothing = |ask| post(50, Said::Offer { ask, endpoints: Vec::new(), punch: true });
    assert_eq!(caller.at(ms(1000)), [nothing(1)]);
    assert_eq!(caller.at(ms(2000)), [nothing(2)]);
    let end = caller.at(ANSWER_PATIENCE - ms(3000));
    assert_eq!(end, [over(Outcome::Failed(vec![Fault::Unobserved, Fault::Silent]))]);
}

#[test]
fn a_friend_who_is_with_no_carrier_is_not_waited_for() {
    let mut caller = One::caller(terms(&[carrier(50), carrier(51)]));
    caller.want();
    caller.observed(0, 4242);
    assert_eq!(caller.tell(Input::Undelivered { via: device(50) }), []);
    let end = caller.tell(Input::Undelivered { via: device(51) });
    assert_eq!(end, [over(Outcome::Failed(vec![Fault::Away]))]);
    let mut callee = One::callee(terms(&[carrier(50)]));
    assert_eq!(callee.want()[1..], [post(50, Said::Ring { relay: true })]);
    let end = callee.tell(Input::Undelivered { via: device(50) });
    assert_eq!(end, [over(Outcome::Failed(vec![Fault::Away]))]);
    let mut nobody = One::caller(terms(&[]));
    assert_eq!(nobody.want()[1..], [over(Outcome::Failed(vec![Fault::NoCarrier]))]);
}

#[test]
fn the_callee_answers_by_every_carrier_that_brings_the_offer() {
    let lame = Carrier { relays: false, ..carrier(51) };
    let mut callee = One::callee(terms(&[carrier(50), lame]));
    let began = callee.copy(1, 9, 50, offer(0, 4242));
    assert_eq!(began[0], Command::Begin(CallId(tag(9))));
    assert!(matches!(began[1], Command::Observe { round: 0, port: Port::Listen, .. }));
    callee.now += ms(10);
    assert_eq!(callee.copy(1, 9, 51, offer(0, 4242)), [], "it waits for the same answer");
    callee.now += ms(10);
    let answer = |ask, relay, took| Said::Answer {
        round: 0,
        ask,
        endpoints: vec![endpoint(5151)],
        punch: true,
        relay,
        took,
    };
    assert_eq!(
        callee.observed(0, 5151),
        [post_in(9, 50, answer(0, true, 20)), post_in(9, 51, answer(0, false, 10))]
    );
    callee.ids = 1;
    assert_eq!(
        callee.hear(9, 50, offer(1, 4242)),
        [post_in(9, 50, answer(1, true, 0))],
        "the answer was lost"
    );
    let punch = Command::Punch { round: 0, targets: vec![endpoint(4242)] };
    assert_eq!(callee.hear(9, 50, Said::Go { round: 0 }), [punch]);
    assert_eq!(callee.hear(9, 50, Said::Go { round: 0 }), []);
    let met = callee.hear(9, 51, Said::Relay { session: tag(200) });
    assert_eq!(met, [leg(0, 51)]);
    assert_eq!(callee.hear(9, 51, Said::Relay { session: tag(200) }), [], "the word was repeated");
    let end = callee.tell(Input::Punched { round: 0 });
    assert_eq!(end, [over(Outcome::Punched(Port::Listen))]);
}

#[test]
fn the_callee_begins_by_himself_when_the_word_is_lost() {
    let mut callee = One::callee(terms(&[carrier(50)]));
    callee.hear(9, 50, offer(0, 4242));
    callee.observed(0, 5151);
    let punch = Command::Punch { round: 0, targets: vec![endpoint(4242)] };
    assert_eq!(callee.at(GO_PATIENCE), [punch]);
}

#[test]
fn a_ring_brings_a_call_and_the_offer_takes_its_place() {
    let mut caller = One::caller(terms(&[carrier(50)]));
    let called = caller.hear(33, 50, Said::Ring { relay: true });
    assert!(matches!(called[1], Command::Observe { round: 0, .. }), "{called:?}");
    assert_eq!(caller.hear(34, 50, Said::Ring { relay: true }), [], "a call is under way");
    let mut callee = One::callee(terms(&[carrier(50)]));
    callee.want();
    assert_eq!(callee.at(ms(1000)), [post(50, Said::Ring { relay: true })]);
    let answered = callee.hear(9, 50, offer(0, 4242));
    assert_eq!(answered[0], Command::Begin(CallId(tag(9))));
    assert_eq!(callee.hear(33, 50, Said::Ring { relay: true }), [], "callees don't ring callees");
}

#[test]
fn a_ring_that_wants_a_relay_takes_the_place_of_a_call_that_only_punches() {
    let mut caller = One::caller(Terms { relay: false, ..terms(&[carrier(50)]) });
    caller.want();
    assert_eq!(caller.hear(33, 50, Said::Ring { relay: false }), [], "a call is under way");
    caller.terms.relay = true;
    let called = caller.hear(34, 50, Said::Ring { relay: true });
    assert!(matches!(called[0], Command::Begin(_)), "{called:?}");
    assert!(matches!(called[1], Command::Observe { round: 0, .. }), "{called:?}");
    assert_eq!(caller.hear(35, 50, Said::Ring { relay: true }), [], "this one may be relayed");
}

#[test]
fn a_late_word_of_a_former_call_changes_nothing() {
    let mut callee = One::callee(terms(&[carrier(50), carrier(51)]));
    callee.copy(101, 9, 50, offer(0, 4242));
    assert_eq!(callee.copy(102, 10, 50, offer(0, 4242))[0], Command::Begin(CallId(tag(10))), "he calls anew");
    assert_eq!(callee.copy(101, 9, 51, offer(0, 4242)), [], "a copy by a slower way");
    assert_eq!(callee.copy(103, 9, 50, offer(1, 4242)), [], "and the same once more");
    assert_eq!(callee.copy(104, 9, 50, Said::Over { reason: String::new() }), []);
    assert!(callee.pair.is_busy());
    assert_eq!(callee.observed(0, 5151).len(), 1, "the newer one is answered");
}

#[test]
fn a_direct_link_by_another_way_ends_the_call() {
    let mut caller = answered(terms(&[carrier(50)]));
    let end = caller.tell(Input::Linked);
    assert_eq!(end.last(), Some(&over(Outcome::Linked)));
    assert!(!caller.pair.is_busy());
}

#[test]
fn who_is_relayed_already_is_not_relayed_once_more() {
    let mut caller = answered(Terms { relay: false, ..terms(&[carrier(50)]) });
    caller.at(ms(40));
    assert!(caller.pair.poll_timeout().unwrap() > caller.now + RELAY_AFTER * 2);
    for round in 0..3 {
        let why = String::new();
        let next = caller.tell(Input::PunchFailed { round, why });
        if round < 2 {
            assert!(matches!(next[0], Command::Observe { .. }));
            caller.observed(round + 1, 2000);
            caller.hear(7, 50, answer(round + 1, 3000));
            caller.at(ms(0));
        } else {
            assert!(matches!(next.last(), Some(Command::Over(Outcome::Failed(_)))), "{next:?}");
        }
    }
}

#[test]
fn new_carriers_get_the_offer_too() {
    let mut caller = One::caller(terms(&[carrier(50)]));
    caller.want();
    caller.observed(0, 4242);
    let both = Input::Carriers(vec![carrier(50), carrier(51)]);
    assert_eq!(caller.tell(both.clone()), [post(51, offer(0, 4242))]);
    assert_eq!(caller.tell(both), []);
}
