use proptest::prelude::*;

use super::*;

const SECRET: [u8; 16] = [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31];
const TEXT: &str = "kith://join/aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcearcijrifiwc4mbsgq3dqor4hyaaaaaa22j\
                    2iaaaaaac5ehn2aaaaaak43uovshsayeycuacfaqsidcaainxaaaaaaaaaaaaaaaaaaaceesaaabk2dpnvss4zlymfwxa3dffzxx\
                    ezz2gqzdimvvxhwua";

fn inviter() -> DeviceId {
    DeviceId::from_bytes([1; 32])
}

fn joiner() -> DeviceId {
    DeviceId::from_bytes([2; 32])
}

fn terms() -> InviteTerms {
    InviteTerms {
        inviter: inviter(),
        addresses: ["192.168.1.20:4242", "[2001:db8::1]:4242", "home.example.org:4242"]
            .map(str::to_owned)
            .to_vec(),
        hubs: Vec::new(),
        expires: 1_800_000_000,
        quota_bytes: 100_000_000_000,
        ownership: Ownership::Friend,
        name: "study".to_owned(),
    }
}

fn invite() -> Invite {
    Invite::with_secret(terms(), InviteSecret::from_bytes(SECRET)).unwrap()
}

fn reply() -> ReplyLine {
    ReplyLine::new(&invite(), joiner(), &["10.0.0.7:4242".to_owned()]).unwrap()
}

/// A line with correct check bytes around any body.
fn line_around(kind: LineKind, body: &[u8]) -> String {
    line::encode(kind, body).to_string()
}

// The text was put together by another program.
#[test]
fn an_invite_is_written_in_the_committed_layout() {
    assert_eq!(invite().to_text().as_str(), TEXT);
    assert_eq!(invite().id().to_string(), "27a0b020aab906c363a264258aff4e37");
    assert_eq!(
        invite().one_time_key().unwrap().id().to_string(),
        "2BHIPHE-LLZEE6S-BT5JGTK-AQ26GWR-RFPJ6YA-N2RVZLP-IYLYQYT-IAYHZAP"
    );
    assert_eq!(
        OneTimeKey::for_reply(invite().secret()).unwrap().id().to_string(),
        "7N6FSKT-QF3YPSM-F3QBTKD-FFTIDZI-JGKOUDJ-2QCNAL2-SDS6PPV-FRNDQQV"
    );
}

#[test]
fn an_invite_reads_back_also_from_a_mail_that_broke_it_into_lines() {
    let own = InviteTerms { ownership: Ownership::Own, ..terms() };
    let own = Invite::new(own).unwrap();
    assert_eq!(Invite::parse(&own.to_text()), Ok(own));

    let broken = format!("  <{}\r\n {}> \n", &TEXT[..100], &TEXT[100..]);
    assert_eq!(Invite::parse(&broken), Ok(invite()));
    assert_eq!(Invite::parse(&TEXT.to_uppercase()), Ok(invite()));
}

#[test]
fn other_texts_damaged_ones_and_newer_ones_are_told_apart() {
    let check = |text: &str, expected: InviteError, words: &str| {
        let error = Invite::parse(text).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error, expected);
    };
    for text in ["", "hello", "https://example.org/join/abc", "kith://", "kith://jöin/"] {
        check(text, InviteError::NotAnInvite, "begins with kith://join/");
    }
    check(&reply().to_text(), InviteError::IsAReplyLine, "belongs on the computer that made the invite");
    check("kith://join/", InviteError::Mistyped, "copy the whole line again");
    for length in "kith://join/".len()..TEXT.len() {
        check(&TEXT[..length], InviteError::Mistyped, "cut off");
    }
    check(&TEXT.replacen('q', "1", 1), InviteError::Mistyped, "mistyped");
    check(
        &line_around(LineKind::Invite, &[3, 1, 2, 3]),
        InviteError::UnknownVersion { found: 3 },
        "install a newer one",
    );
    check(
        &line_around(LineKind::Invite, &[1, 1, 2, 3]),
        InviteError::Malformed { reason: "it ends too early" },
        "makes no sense: it ends too early",
    );
}

fn hub(id: u8, address: &str) -> InviteHub {
    InviteHub { id: DeviceId::from_bytes([id; 32]), address: address.to_owned() }
}

#[test]
fn hubs_make_an_invite_one_of_the_newer_layout_and_little_longer() {
    let hubs = vec![hub(7, "203.0.113.5:4287"), hub(8, "hub.example.org:443")];
    let with = Invite::with_secret(
        InviteTerms { hubs: hubs[..1].to_vec(), ..terms() },
        InviteSecret::from_bytes(SECRET),
    )
    .unwrap();
    let text = with.to_text();
    // A hub by its IPv4 address takes 39 bytes, and their number one.
    assert_eq!(text.len(), TEXT.len() + 64);
    assert_eq!(Invite::parse(&text), Ok(with));
    let body = line::decode(LineKind::Invite, &text).unwrap();
    assert_eq!(body[0], VERSION_WITH_HUBS);
    assert_eq!(
        &body[body.len() - 40..],
        [[1].as_slice(), &[7; 32], &[4, 203, 0, 113, 5, 0x10, 0xbf]].concat()
    );
    let both = Invite::new(InviteTerms { hubs: hubs.clone(), ..terms() }).unwrap();
    assert_eq!(Invite::parse(&both.to_text()).unwrap().hubs(), hubs);
    let many = Invite::new(InviteTerms { hubs: [hubs.clone(), hubs].concat(), ..terms() }).unwrap();
    assert_eq!(many.hubs().len(), MOST_INVITE_HUBS);
    let wrong = InviteTerms { hubs: vec![hub(7, "nowhere")], ..terms() };
    assert!(matches!(Invite::new(wrong), Err(InviteError::Address(_))));
}

#[test]
fn an_invite_with_no_hub_too_many_or_one_without_an_address_is_refused() {
    let whole = line::decode(LineKind::Invite, TEXT).unwrap();
    let check = |version: u8, tail: &[u8]| {
        let body = [&[version], &whole[1..], tail].concat();
        Invite::parse(&line_around(LineKind::Invite, &body)).map_err(|error| error.to_string())
    };
    let one = [[7; 32].as_slice(), &[4, 203, 0, 113, 5, 0x10, 0xbf]].concat();
    assert!(check(2, &[[1].as_slice(), &one].concat()).is_ok());
    for (version, tail, words) in [
        (2, vec![], "ends too early"),
        (2, vec![0], "no hub, or more than two"),
        (2, [[3].as_slice(), &one, &one, &one].concat(), "no hub, or more than two"),
        (2, [[2].as_slice(), &one].concat(), "ends too early"),
        (2, [[1].as_slice(), &one, &one].concat(), "goes on after its end"),
        (2, [[1].as_slice(), &one[..37], &[0, 0]].concat(), "can't be dialled"),
        (1, [[1].as_slice(), &one].concat(), "goes on after its end"),
    ] {
        assert!(check(version, &tail).unwrap_err().contains(words), "{tail:?}");
    }
}

#[test]
fn what_an_invite_says_is_bounded_and_clean_whoever_made_it() {
    let many = InviteTerms {
        addresses: (1..=40).map(|n| format!("10.0.0.{n}:4242")).collect(),
        name: "study\u{202e}\u{1b}[31m".repeat(50),
        ..terms()
    };
    let invite = Invite::new(many).unwrap();
    assert_eq!(invite.addresses().len(), MAX_ADDRESSES);
    assert_eq!(invite.terms().name.chars().count(), 64);
    assert_eq!(Invite::parse(&invite.to_text()).unwrap(), invite);

    let wrong = InviteTerms { addresses: vec!["nowhere".to_owned()], ..terms() };
    let error = Invite::new(wrong).unwrap_err().to_string();
    assert_eq!(
        error,
        "\"nowhere\" is not an address: it must be HOST:PORT or [IPV6]:PORT, with a port from 1 to 65535"
    );

    // A body that no Kith writes: too many addresses, and one that can't be dialled.
    let mut body = vec![1; 49];
    body.extend_from_slice(&[0; 17]);
    body.extend_from_slice(&[0, 0]);
    let with = |tail: &[u8]| line_around(LineKind::Invite, &[body.as_slice(), tail].concat());
    let reason = |text: &str| match Invite::parse(text) {
        Err(InviteError::Malformed { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&with(&[17])), "it has more than 16 addresses");
    assert_eq!(reason(&with(&[1, 4, 0, 0, 0, 0, 1, 1])), "it has an address that can't be dialled");
    assert_eq!(reason(&with(&[1, 9])), "it has an address of unknown kind");
    assert_eq!(reason(&with(&[1, 0, 0, 1, 0xff])), "a text in it is not UTF-8");
    assert_eq!(reason(&with(&[0, 0])), "it goes on after its end");
    assert_eq!(Invite::parse(&with(&[0])).unwrap().terms().name, "unnamed");
}

#[test]
fn an_invite_ends_at_its_time() {
    assert!(!invite().expired(1_799_999_999));
    assert!(invite().expired(1_800_000_000));
}

#[test]
fn printing_for_debugging_never_shows_the_secret() {
    let text = format!("{:?} {:?} {:?}", invite(), invite().one_time_key().unwrap(), reply());
    assert!(text.contains("27a0b020aab906c363a264258aff4e37"), "{text}");
    for shown in ["16, 17, 18", "101112131415", &TEXT[64..90]] {
        assert!(!text.contains(shown), "{shown} in {text}");
    }
}

#[test]
fn each_direction_has_a_key_of_its_own() {
    let secret = InviteSecret::generate();
    let there = OneTimeKey::for_invite(&secret).unwrap();
    let back = OneTimeKey::for_reply(&secret).unwrap();
    assert_ne!(there.id(), back.id());
    assert_eq!(there.id(), OneTimeKey::for_invite(&secret).unwrap().id());
}

#[test]
fn a_reply_line_reads_back_and_proves_that_the_joiner_holds_the_invite() {
    let read = ReplyLine::parse(&reply().to_text()).unwrap();
    assert_eq!(read, reply());
    assert_eq!(read.joiner(), joiner());
    assert_eq!(read.addresses(), ["10.0.0.7:4242"]);
    assert_eq!(read.invite_id(), invite().id());
    assert_eq!(read.verify(&invite()), Ok(()));
    assert_eq!(LineKind::of(&reply().to_text()), Some(LineKind::Reply));
    assert_eq!(LineKind::of(TEXT), Some(LineKind::Invite));
    assert_eq!(LineKind::of("kith://other/"), None);
}

#[test]
fn a_reply_line_for_another_invite_and_a_forged_one_are_refused() {
    let other = Invite::new(terms()).unwrap();
    assert_eq!(reply().verify(&other), Err(ReplyError::OtherInvite));

    let body = |joiner: u8| {
        let mut body = vec![VERSION];
        body.extend_from_slice(invite().id().as_bytes());
        body.extend_from_slice(&[joiner; 32]);
        body.extend_from_slice(&[1, 4, 10, 0, 0, 7, 0x10, 0x92]);
        body
    };
    let genuine_mac = line::decode(LineKind::Reply, &reply().to_text()).unwrap();
    let genuine_mac = &genuine_mac[genuine_mac.len() - 16..];
    let with_mac = |joiner, mac: &[u8]| {
        let text = line_around(LineKind::Reply, &[&body(joiner), mac].concat());
        ReplyLine::parse(&text).unwrap().verify(&invite())
    };
    assert_eq!(with_mac(2, genuine_mac), Ok(()));
    assert_eq!(with_mac(3, genuine_mac), Err(ReplyError::Forged));
    assert_eq!(with_mac(2, &[0; 16]), Err(ReplyError::Forged));
}

#[test]
fn a_reply_line_that_is_none_or_was_damaged_is_refused_with_a_sentence() {
    let check = |text: &str, words: &str| {
        let error = ReplyLine::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    check(TEXT, "this is not a reply line");
    let text = reply().to_text();
    check(&text[..text.len() - 1], "mistyped or cut off");
    check(&line_around(LineKind::Reply, &[9]), "made by a newer Kith");
    check(&line_around(LineKind::Reply, &[1]), "ends too early");
}

proptest! {
    #[test]
    fn any_invite_reads_back(
        secret: [u8; 16], inviter: [u8; 32], expires: u64, quota_bytes: u64, own: bool, name: String,
        ports in proptest::collection::vec(1_u16.., 0..=16),
        hubs in proptest::collection::vec((0_u8.., 1_u16..), 0..=MOST_INVITE_HUBS),
    ) {
        let invite = Invite::with_secret(
            InviteTerms {
                inviter: DeviceId::from_bytes(inviter),
                addresses: ports.iter().map(|port| format!("[2001:db8::{port:x}]:{port}")).collect(),
                hubs: hubs.iter().map(|(id, port)| hub(*id, &format!("11.0.0.1:{port}"))).collect(),
                expires,
                quota_bytes,
                ownership: if own { Ownership::Own } else { Ownership::Friend },
                name,
            },
            InviteSecret::from_bytes(secret),
        ).unwrap();
        prop_assert_eq!(Invite::parse(&invite.to_text()), Ok(invite));
    }

    #[test]
    fn a_single_wrong_character_is_noticed(at in 12_usize..212, wrong in "[a-z2-7]") {
        prop_assume!(at < TEXT.len() && TEXT[at..=at] != wrong);
        let mut text = TEXT.to_owned();
        text.replace_range(at..=at, &wrong);
        prop_assert_eq!(Invite::parse(&text), Err(InviteError::Mistyped));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text: String, data in "[a-z2-7]{0,200}") {
        for text in [text, format!("kith://join/{data}"), format!("kith://reply/{data}")] {
            prop_assert!(Invite::parse(&text).is_err());
            prop_assert!(ReplyLine::parse(&text).is_err());
        }
    }

    #[test]
    fn no_body_with_correct_check_bytes_makes_the_parsers_panic(mut body: Vec<u8>) {
        if let Some(version) = body.first_mut() {
            *version = VERSION + *version % VERSION_WITH_HUBS;
        }
        // Only that they return counts; what they accept, they can write again.
        if let Ok(invite) = Invite::parse(&line_around(LineKind::Invite, &body)) {
            prop_assert_eq!(Invite::parse(&invite.to_text()), Ok(invite));
        }
        if let Ok(reply) = ReplyLine::parse(&line_around(LineKind::Reply, &body)) {
            prop_assert_eq!(ReplyLine::parse(&reply.to_text()), Ok(reply));
        }
    }
}
