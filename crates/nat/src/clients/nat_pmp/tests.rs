use std::hint::black_box;

use proptest::prelude::*;

use super::packet::{Question, announcement, result};
use crate::Epoch;

const MAP: Question = Question::Map { internal_port: 4242 };

/// 11.0.113.5 since 9 s.
const ADDRESS: [u8; 12] = [0, 128, 0, 0, 0, 0, 0, 9, 11, 0, 113, 5];
/// 4242 at 5000 for 3600 s.
const MAPPED: [u8; 16] = [0, 130, 0, 0, 0, 0, 0, 9, 0x10, 0x92, 0x13, 0x88, 0, 0, 0x0e, 0x10];

fn with<const N: usize>(mut bytes: [u8; N], at: usize, value: u8) -> [u8; N] {
    bytes[at] = value;
    bytes
}

#[test]
fn the_answer_to_the_question_passes() {
    assert_eq!(result(Question::Address, &ADDRESS), Some(0));
    assert_eq!(result(MAP, &MAPPED), Some(0));
    assert_eq!(result(Question::Address, &with(ADDRESS, 3, 3)), Some(3));
    assert_eq!(result(MAP, &with(MAPPED, 3, 2)), Some(2));
}

#[test]
fn an_error_needs_no_more_than_its_header() {
    assert_eq!(result(Question::Address, &with(ADDRESS, 3, 5)[..8]), Some(5));
    assert_eq!(result(MAP, &with(MAPPED, 3, 5)[..8]), Some(5));
    assert_eq!(result(MAP, &[0, 130, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]), Some(4));
    assert_eq!(result(MAP, &with(ADDRESS, 3, 5)[..7]), None);
}

#[test]
fn a_router_that_speaks_pcp_only_says_so() {
    let mut pcp = [0; 24];
    pcp[..4].copy_from_slice(&[2, 0x80, 0, 1]);
    assert_eq!(result(Question::Address, &pcp), Some(1));
    assert_eq!(result(MAP, &pcp), Some(1));
    assert_eq!(result(MAP, &with(pcp, 3, 0)), None);
    assert_eq!(result(MAP, &with(pcp, 1, 0)), None);
}

#[test]
fn what_is_no_answer_to_the_question_does_not_pass() {
    for (what, question, bytes) in [
        ("another question's", MAP, &ADDRESS[..]),
        ("another question's", Question::Address, &MAPPED),
        ("a question", MAP, &with(MAPPED, 1, 2)),
        ("about UDP", MAP, &with(MAPPED, 1, 129)),
        ("another port", MAP, &with(MAPPED, 9, 0)),
        ("an error about another port", MAP, &with(with(MAPPED, 3, 2), 9, 1)),
        ("another version", MAP, &with(MAPPED, 0, 1)),
        ("too short", MAP, &MAPPED[..15]),
        ("too short", Question::Address, &ADDRESS[..11]),
        ("empty", MAP, &[]),
    ] {
        assert_eq!(result(question, bytes), None, "{what}");
    }
}

#[test]
fn news_are_read_and_nothing_else_is() {
    assert_eq!(announcement(&ADDRESS), Some(Epoch(9)));
    assert_eq!(announcement(&with(ADDRESS, 3, 3)), Some(Epoch(9)), "the address is gone");
    assert_eq!(announcement(&MAPPED), None);
    assert_eq!(announcement(&ADDRESS[..8]), None);
    assert_eq!(announcement(&with(ADDRESS, 1, 0)), None);
    assert_eq!(announcement(&with(ADDRESS, 0, 2)), None);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        black_box(announcement(&bytes));
        black_box(result(MAP, &bytes));
        black_box(result(Question::Address, &bytes));
    }

    #[test]
    fn what_passes_as_success_is_whole_and_ours(
        at in 0..16_usize, value in any::<u8>(), length in 0..=16_usize,
    ) {
        let bytes = with(MAPPED, at, value);
        if result(MAP, &bytes[..length]) == Some(0) {
            prop_assert!(length == 16 && bytes[..2] == [0, 130] && bytes[8..10] == [0x10, 0x92]);
        }
    }
}
