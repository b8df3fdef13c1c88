use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::codec::{Map, Question, encode};
use super::{announcement, question, understand};
use crate::{
    Answer, Epoch, Found, Grant, Lifetime, MapRequest, Nonce, Refusal, RefusalKind, Request, UnmapRequest,
};

const NONCE: Nonce = Nonce([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 23));

fn map() -> Question {
    Question::Map(asked(7200))
}

fn unmap() -> Question {
    Question::Map(Map { external_port: 0, ..asked(0) })
}

fn asked(lifetime: u32) -> Map {
    Map { nonce: NONCE, internal_port: 4242, external_port: 4242, external_ip: None, lifetime }
}

fn map_request(lifetime: Lifetime) -> MapRequest {
    MapRequest {
        internal_port: 4242,
        external_port: 4242,
        external_ip: None,
        lifetime,
        nonce: NONCE,
        label: String::new(),
        any_port: true,
        pinhole: None,
    }
}

/// An answer to MAP as a router writes it: result 0, 3600 s, epoch 77, external 11.0.113.5:5000.
fn mapped() -> Vec<u8> {
    let mut bytes = vec![2, 0x81, 0, 0];
    bytes.extend(3600_u32.to_be_bytes());
    bytes.extend(77_u32.to_be_bytes());
    bytes.extend([0; 12]);
    bytes.extend(NONCE.0);
    bytes.extend([6, 0, 0, 0]);
    bytes.extend(4242_u16.to_be_bytes());
    bytes.extend(5000_u16.to_be_bytes());
    bytes.extend(Ipv4Addr::new(11, 0, 113, 5).to_ipv6_mapped().octets());
    bytes
}

fn announced() -> Vec<u8> {
    let mut bytes = vec![2, 0x80, 0, 0, 0, 0, 0, 0];
    bytes.extend(9_u32.to_be_bytes());
    bytes.extend([0; 12]);
    bytes
}

/// With one byte changed.
fn with(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    bytes
}

fn refusal(kind: RefusalKind, code: u16) -> impl Fn(Option<Answer>) {
    move |answer| match answer {
        Some(Answer::Refused(refusal)) => assert_eq!((refusal.kind, refusal.code), (kind, code)),
        other => panic!("{other:?} is no refusal {code}"),
    }
}

#[test]
fn a_question_for_a_mapping_has_the_bytes_of_the_rfc() {
    let mut expected = vec![2, 1, 0, 0, 0, 0, 0x1c, 0x20];
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 23]);
    expected.extend([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expected.extend([6, 0, 0, 0, 0x10, 0x92, 0x10, 0x92]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(encode(LOCAL, &map()), expected);
}

#[test]
fn a_question_over_ipv6_suggests_the_zero_address_of_ipv6() {
    let local = IpAddr::V6("fd00::23".parse().unwrap());
    let bytes = encode(local, &map());
    assert_eq!(bytes[8..24], Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x23).octets());
    assert_eq!(bytes[44..], [0; 16]);
}

#[test]
fn a_known_external_address_is_suggested_again() {
    let external_ip = Some(IpAddr::V4(Ipv4Addr::new(11, 0, 113, 5)));
    let bytes = encode(LOCAL, &Question::Map(Map { external_ip, ..asked(7200) }));
    assert_eq!(bytes[44..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 11, 0, 113, 5]);
}

#[test]
fn a_question_whether_the_router_is_there_is_a_header_only() {
    let mut expected = vec![2, 0, 0, 0, 0, 0, 0, 0];
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 23]);
    assert_eq!(encode(LOCAL, &Question::Announce), expected);
}

#[test]
fn removing_keeps_nonce_and_port_and_suggests_nothing() {
    let request = Request::Unmap(UnmapRequest {
        internal_port: 4242,
        external_port: 5000,
        nonce: NONCE,
        pinhole: None,
        former: None,
    });
    let removing = question(&request).unwrap();
    assert_eq!(removing, unmap());
    let bytes = encode(LOCAL, &removing);
    assert_eq!(bytes[4..8], [0; 4]);
    assert_eq!(bytes[42..44], [0; 2]);
}

#[test]
fn a_lifetime_is_never_asked_for_as_none_nor_as_for_ever() {
    for (lifetime, seconds) in [
        (Lifetime::Seconds(0), 1),
        (Lifetime::Seconds(3600), 3600),
        (Lifetime::Seconds(u32::MAX), 86_400),
        (Lifetime::Permanent, 86_400),
    ] {
        assert_eq!(question(&Request::Map(map_request(lifetime))), Ok(Question::Map(asked(seconds))));
    }
}

#[test]
fn all_ports_at_once_low_ports_and_the_table_are_not_asked_for() {
    let all_ports = MapRequest { internal_port: 0, ..map_request(Lifetime::Permanent) };
    let low_port = MapRequest { internal_port: 443, ..map_request(Lifetime::Permanent) };
    let no_port =
        UnmapRequest { internal_port: 0, external_port: 1, nonce: NONCE, pinhole: None, former: None };
    for request in [
        Request::Map(all_ports),
        Request::Map(low_port),
        Request::Unmap(no_port),
        Request::ReadBack { external_port: 4242 },
        Request::Entries { label: "Kith".to_owned() },
    ] {
        assert!(matches!(question(&request), Err(Answer::Refused(_))), "{request:?}");
    }
}

#[test]
fn a_granted_mapping_is_read() {
    let grant = Grant {
        external_port: 5000,
        external_ip: Some(IpAddr::V4(Ipv4Addr::new(11, 0, 113, 5))),
        lifetime: Lifetime::Seconds(3600),
        epoch: Some(Epoch(77)),
        pinhole: None,
    };
    assert_eq!(understand(&map(), &mapped()), Some(Answer::Mapped(grant.clone())));

    // Options may follow.
    let mut longer = mapped();
    longer.extend([0; 8]);
    assert_eq!(understand(&map(), &longer), Some(Answer::Mapped(grant.clone())));

    // An absurd lifetime is cut, an address that can't be one is left out.
    let mut absurd = mapped();
    absurd[4..8].fill(0xff);
    absurd[56..60].fill(0);
    let cut = Grant { lifetime: Lifetime::Seconds(86_400), external_ip: None, ..grant };
    assert_eq!(understand(&map(), &absurd), Some(Answer::Mapped(cut)));
}

#[test]
fn a_mapping_of_no_time_or_no_port_is_no_mapping() {
    let mut no_time = mapped();
    no_time[4..8].fill(0);
    let mut no_port = mapped();
    no_port[42..44].fill(0);
    for nonsense in [no_time, no_port] {
        assert!(matches!(understand(&map(), &nonsense), Some(Answer::Nonsense(_))), "{nonsense:?}");
    }
}

#[test]
fn a_removal_is_confirmed_by_a_lifetime_of_zero() {
    assert!(matches!(understand(&unmap(), &mapped()), Some(Answer::Nonsense(_))));
    let mut gone = mapped();
    gone[4..8].fill(0);
    gone[42..60].fill(0);
    assert_eq!(understand(&unmap(), &gone), Some(Answer::Unmapped));
    // What miniupnpd says when there was nothing to remove.
    assert_eq!(understand(&unmap(), &with(gone.clone(), 3, 8)), Some(Answer::Unmapped));
    refusal(RefusalKind::NotAuthorized, 2)(understand(&unmap(), &with(gone, 3, 2)));
}

#[test]
fn every_result_has_its_meaning() {
    for (code, kind) in [
        (1, RefusalKind::Unsupported),
        (2, RefusalKind::NotAuthorized),
        (3, RefusalKind::Other),
        (4, RefusalKind::Unsupported),
        (5, RefusalKind::Other),
        (6, RefusalKind::Other),
        (7, RefusalKind::NetworkFailure),
        (8, RefusalKind::NoResources),
        (9, RefusalKind::Unsupported),
        (10, RefusalKind::NoResources),
        (11, RefusalKind::Conflict),
        (12, RefusalKind::Other),
        (13, RefusalKind::Other),
        (200, RefusalKind::Other),
    ] {
        let answer = understand(&map(), &with(mapped(), 3, code));
        refusal(kind, code.into())(answer);
    }
    let Some(Answer::Refused(Refusal { words, .. })) = understand(&map(), &with(mapped(), 3, 12)) else {
        panic!("no refusal")
    };
    assert!(words.contains("another NAT"), "{words}");
}

#[test]
fn presence_is_read_also_from_who_does_not_know_the_question() {
    let found = Answer::Found(Found { epoch: Some(Epoch(9)), any_port: true, ..Found::default() });
    assert_eq!(understand(&Question::Announce, &announced()), Some(found.clone()));
    assert_eq!(understand(&Question::Announce, &with(announced(), 3, 4)), Some(found));
    refusal(RefusalKind::NotAuthorized, 2)(understand(&Question::Announce, &with(announced(), 3, 2)));
}

#[test]
fn another_version_is_not_supported() {
    let unsupported = refusal(RefusalKind::Unsupported, 1);
    for question in [map(), Question::Announce] {
        // A router that knows NAT-PMP only: 8 bytes of its own.
        unsupported(understand(&question, &[0, 0x81, 0, 1, 0, 0, 0, 5]));
        unsupported(understand(&question, &[0, 0x80, 0, 1, 0, 0, 0, 5]));
        unsupported(understand(&question, &with(with(announced(), 0, 1), 3, 1)));
        unsupported(understand(&question, &with(with(mapped(), 0, 3), 3, 1)));
        // The same without the result means nothing.
        assert_eq!(understand(&question, &[0, 0x81, 0, 0, 0, 0, 0, 5]), None);
        assert_eq!(understand(&question, &with(mapped(), 0, 1)), None);
        // And it must be whole.
        assert_eq!(understand(&question, &[0, 0x81, 0, 1]), None);
        assert_eq!(understand(&question, &[1, 0x81, 0, 1, 0, 0, 0, 5]), None);
    }
}

#[test]
fn an_error_without_the_question_counts_only_where_the_router_could_not_read_it() {
    for (code, counts) in [(1, true), (2, false), (3, true), (4, true), (8, false), (11, false)] {
        let header = with(with(announced(), 1, 0x81), 3, code);
        assert_eq!(understand(&map(), &header).is_some(), counts, "{code}");
    }
    assert_eq!(understand(&map(), &with(announced(), 1, 0x81)), None, "a success without a mapping");
}

#[test]
fn what_is_no_answer_to_the_question_is_ignored() {
    for (what, bytes) in [
        ("a question", with(mapped(), 1, 1)),
        ("another operation", with(mapped(), 1, 0x82)),
        ("another operation of ours", with(mapped(), 1, 0x80)),
        ("another nonce", with(mapped(), 24, 9)),
        ("another protocol", with(mapped(), 36, 17)),
        ("another internal port", with(mapped(), 41, 0)),
        ("another version", with(mapped(), 0, 3)),
        ("one byte less", mapped()[..59].to_vec()),
        ("four bytes less", mapped()[..56].to_vec()),
        ("one byte more", [mapped(), vec![0]].concat()),
        ("too long", [mapped(), vec![0; 1044]].concat()),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(understand(&map(), &bytes), None, "{what}");
    }
    assert!(understand(&map(), &[mapped(), vec![0; 1040]].concat()).is_some(), "as long as may be");
    assert_eq!(understand(&Question::Announce, &mapped()), None, "an answer to the other question");
}

#[test]
fn news_are_read_and_nothing_else_is() {
    assert_eq!(announcement(&announced()), Some(Epoch(9)));
    for (what, bytes) in [
        ("an error", with(announced(), 3, 7)),
        ("a question", with(announced(), 1, 0)),
        ("a mapping", mapped()),
        ("another version", with(announced(), 0, 1)),
        ("short", announced()[..20].to_vec()),
    ] {
        assert_eq!(announcement(&bytes), None, "{what}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        black_box(announcement(&bytes));
        for question in [map(), unmap(), Question::Announce] {
            black_box(understand(&question, &bytes));
        }
    }

    #[test]
    fn a_damaged_answer_never_gives_another_nonce_or_port(
        at in 0..60_usize, value in any::<u8>(), length in 0..=60_usize,
    ) {
        let bytes = with(mapped(), at, value);
        let answer = understand(&map(), &bytes[..length]);
        let untouched = bytes[24..36] == NONCE.0 && bytes[40..42] == [0x10, 0x92];
        if let Some(Answer::Mapped(_)) = answer {
            prop_assert!(untouched && length == 60);
        }
    }

    #[test]
    fn what_is_granted_is_what_was_written(
        port in 1..=u16::MAX, lifetime in 1..=86_400_u32, epoch in any::<u32>(), ip in any::<[u8; 4]>(),
    ) {
        let mut bytes = mapped();
        bytes[4..8].copy_from_slice(&lifetime.to_be_bytes());
        bytes[8..12].copy_from_slice(&epoch.to_be_bytes());
        bytes[42..44].copy_from_slice(&port.to_be_bytes());
        bytes[56..60].copy_from_slice(&ip);
        let Some(Answer::Mapped(grant)) = understand(&map(), &bytes) else { panic!("no grant") };
        prop_assert_eq!(grant.external_port, port);
        prop_assert_eq!(grant.lifetime, Lifetime::Seconds(lifetime));
        prop_assert_eq!(grant.epoch, Some(Epoch(epoch)));
        prop_assert!(grant.external_ip.is_none_or(|granted| granted == IpAddr::from(ip)));
    }
}
