use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A record with a body of `length` bytes, of which the first `available` bytes are there.
fn record(length: u16, available: usize) -> Vec<u8> {
    let mut bytes = vec![0x16, 3, 1];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.resize(RECORD_HEADER + usize::from(length), 0);
    bytes.truncate(available);
    bytes
}

fn check(bytes: &[u8], expected: Look) {
    assert_eq!(look(bytes), expected, "{bytes:?}");
}

#[test]
fn tls_is_told_by_its_first_byte_and_waited_for_until_the_record_is_whole() {
    for available in 1..205 {
        check(&record(200, available), Look::Beginning { tls: true });
    }
    check(&record(200, 205), Look::Hello);
    check(&record(16_000, MAX_PEEKED - 1), Look::Beginning { tls: true });
    check(&record(16_000, MAX_PEEKED), Look::Hello);
}

#[test]
fn what_only_looks_like_tls_is_text() {
    check(&[0x16, 2], Look::Text);
    check(&[0x16, 3, 1, 0, 0], Look::Text);
    check(&[0x16, 3, 1, 0xff, 0xff], Look::Text);
    check(&[0x15, 3, 1, 0, 2], Look::Text);
}

#[test]
fn browsers_and_people_are_told_apart() {
    check(b"GET / HTTP/1.1\r\n", Look::Http { head_only: false });
    check(b"HEAD / HTTP/1.1\r\n", Look::Http { head_only: true });
    check(b"PRI * HTTP/2.0\r\n", Look::Http { head_only: false });
    check(b"GE", Look::Beginning { tls: false });
    check(b"GETTING THERE", Look::Text);
    check(b"hello\r\n", Look::Text);
    check(b"\r\n", Look::Text);
    check(b"\xff\xfb\x1f", Look::Text);
    check(b"", Look::Closed);
}

#[test]
fn what_ends_in_the_middle_is_judged_by_what_is_there() {
    assert_eq!(look(b"GE").at_end(), Look::Text);
    assert_eq!(look(&record(200, 100)).at_end(), Look::CutOff);
    assert_eq!(look(&record(200, 205)).at_end(), Look::Hello);
    assert_eq!(Look::Silence.at_end(), Look::Closed);
}

/// Times in milliseconds since the connection was accepted.
struct Clock(Instant);

impl Clock {
    fn at(&self, milliseconds: u64) -> Instant {
        self.0 + Duration::from_millis(milliseconds)
    }
}

fn begin(greets: bool) -> (Clock, Conversation) {
    let clock = Clock(Instant::now());
    let conversation = Conversation::new(clock.0, greets);
    (clock, conversation)
}

#[test]
fn silence_is_greeted_once_after_two_seconds_and_tls_is_still_welcome() {
    let (clock, mut conversation) = begin(true);
    assert_eq!(conversation.next(Look::Silence, clock.at(0)), Step::Wait(clock.at(2000)));
    assert_eq!(conversation.next(Look::Silence, clock.at(1999)), Step::Wait(clock.at(2000)));
    assert_eq!(conversation.next(Look::Silence, clock.at(2000)), Step::Greet);
    assert_eq!(conversation.next(Look::Silence, clock.at(2001)), Step::Wait(clock.at(10_000)));
    assert_eq!(
        conversation.next(Look::Beginning { tls: true }, clock.at(5000)),
        Step::Wait(clock.at(10_000))
    );
    assert_eq!(conversation.next(Look::Hello, clock.at(5001)), Step::Handshake);
}

#[test]
fn the_deadline_ends_everything() {
    let (clock, mut conversation) = begin(true);
    for seen in [Look::Silence, Look::Beginning { tls: true }, Look::Hello, Look::Text] {
        assert_eq!(conversation.next(seen, clock.at(10_000)), Step::Close);
    }
    assert_eq!(conversation.deadline(), clock.at(10_000));
}

#[test]
fn tls_that_has_begun_is_never_greeted_into() {
    let (clock, mut conversation) = begin(true);
    let beginning = Look::Beginning { tls: true };
    assert_eq!(conversation.next(beginning, clock.at(100)), Step::Wait(clock.at(10_000)));
    assert_eq!(conversation.next(beginning, clock.at(3000)), Step::Wait(clock.at(10_000)));
}

#[test]
fn browsers_and_people_who_speak_first_are_answered_at_once() {
    let (clock, mut conversation) = begin(true);
    let http = Look::Http { head_only: true };
    assert_eq!(conversation.next(http, clock.at(1)), Step::AnswerHttp { head_only: true });
    assert_eq!(conversation.next(Look::Text, clock.at(1)), Step::AnswerText);
    assert_eq!(conversation.next(Look::Closed, clock.at(1)), Step::AnswerText);
    assert_eq!(conversation.next(Look::CutOff, clock.at(1)), Step::Close);
    assert_eq!(conversation.next(Look::Beginning { tls: false }, clock.at(1)), Step::Wait(clock.at(2000)));
    assert_eq!(conversation.next(Look::Beginning { tls: false }, clock.at(2000)), Step::AnswerText);
}

#[test]
fn who_types_after_the_greeting_is_not_answered_twice() {
    let (clock, mut conversation) = begin(true);
    assert_eq!(conversation.next(Look::Silence, clock.at(2000)), Step::Greet);
    assert_eq!(conversation.next(Look::Text, clock.at(2500)), Step::Close);
}

#[test]
fn without_the_greeting_nothing_is_said_but_tls_is_taken() {
    let (clock, mut conversation) = begin(false);
    assert_eq!(conversation.next(Look::Silence, clock.at(3000)), Step::Wait(clock.at(10_000)));
    assert_eq!(conversation.next(Look::Text, clock.at(3000)), Step::Close);
    assert_eq!(conversation.next(Look::Closed, clock.at(3000)), Step::Close);
    assert_eq!(conversation.next(Look::Http { head_only: false }, clock.at(3000)), Step::Close);
    assert_eq!(conversation.next(Look::Hello, clock.at(3000)), Step::Handshake);
}

proptest! {
    #[test]
    fn more_bytes_never_turn_tls_into_something_else(length in 1_u16..16_000, cut in 1_usize..4096) {
        let whole = record(length, usize::MAX);
        let seen = look(&whole[..cut.min(whole.len())]);
        let is_tls = matches!(seen, Look::Hello | Look::Beginning { tls: true });
        prop_assert!(is_tls, "{:?}", seen);
    }

    #[test]
    fn any_bytes_can_be_looked_at(bytes: Vec<u8>) {
        prop_assert_eq!(look(&bytes) == Look::Closed, bytes.is_empty());
    }
}
