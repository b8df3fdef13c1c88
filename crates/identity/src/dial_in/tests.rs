use proptest::prelude::*;

use super::*;
use crate::derive::DialInSecret;

fn secret() -> DialInSecret {
    DialInSecret::from_bytes([5; 32])
}

// The values were computed by another program (Python's hmac, hashlib and base64).
#[test]
fn tags_and_the_keys_behind_them_never_change() {
    let key = DialInKey::from_bytes([0x42; 32]);
    let nonce: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let tag = DialInTag { nonce, code: code(&prepared(&key), &nonce) };
    assert_eq!(tag.to_text(), "aaaqeayeaudaocajbifqydiob46bdxovtfv2wiawloywa6pbgazq.invalid");
    let check = |key: DialInKey, expected: &str| assert_eq!(*key.to_hex(), expected);
    check(
        StateKey::from_bytes([1; 32]).recovery_dial_in_key(),
        "4ddc3a1d53d0fa0f2513772fc9141fa4a5a2c31c916cbe9caca7533585443c0d",
    );
    check(
        InviteSecret::from_bytes([7; 16]).dial_in_key(),
        "66f8bc6d77eecd5bcfb5bc87f87d54475893bcda5eb486cb184a7f5110c312cf",
    );
    check(
        InviteSecret::from_bytes([7; 16]).reply_dial_in_key(),
        "7918aa0aba63ad23b11b13808e6fb880f795c98c632ee4ee00134b0dfebd6392",
    );
    check(
        DialInKey::from_bytes([0x42; 32]).recovery_of_older(),
        "fec170e47a6f3d709b5992fbc6eea4f44c853aa235bee7a43ad3552969899576",
    );
    check(
        DialInKey::of_hub(&DeviceId::from_bytes([7; 32])),
        "5a535f27b76a01bc8a0ce2b913be0a9171f5f2665042ec1e100ed3afce041fa4",
    );
}

#[test]
fn a_tag_is_recognised_by_its_key_alone_whoever_else_is_on_the_ring() {
    let (zero, one, two) = (secret().key(0), secret().key(1), secret().key(2));
    let ring = DialInRing::new([&zero, &two]);
    assert_eq!(ring.len(), 2);
    assert!(ring.recognises(&zero.tag()) && ring.recognises(&two.tag()));
    assert!(!ring.recognises(&one.tag()));
    assert!(!ring.recognises(&DialInTag::made_up()));
    assert!(!DialInRing::default().recognises(&zero.tag()));
}

#[test]
fn every_bit_of_a_tag_counts() {
    let key = secret().key(0);
    let ring = DialInRing::new([&key]);
    let tag = key.tag();
    for at in 0..NONCE_LENGTH * 8 {
        let mut changed = tag;
        changed.nonce[at / 8] ^= 1 << (at % 8);
        assert!(!ring.recognises(&changed), "bit {at} of the nonce");
        let mut changed = tag;
        changed.code[at / 8] ^= 1 << (at % 8);
        assert!(!ring.recognises(&changed), "bit {at} of the code");
    }
}

#[test]
fn a_client_hello_carries_the_tag_in_one_record_and_offers_a_link() {
    let tag = secret().key(0).tag();
    let hello = tag.client_hello().unwrap();
    assert!(hello.len() < 2048, "{} bytes", hello.len());
    assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])) + 5, hello.len());
    let mut acceptor = rustls::server::Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    let accepted = acceptor.accept().unwrap_or_else(|_| panic!("not accepted")).unwrap();
    let seen = accepted.client_hello();
    assert_eq!(seen.server_name().and_then(DialInTag::from_server_name), Some(tag));
    assert_eq!(seen.alpn().unwrap().collect::<Vec<_>>(), [tls::ALPN_LINK]);
}

#[test]
fn no_tag_is_made_twice_and_all_look_alike() {
    let key = secret().key(0);
    let (one, other) = (key.tag(), key.tag());
    assert_ne!(one.nonce, other.nonce);
    assert_ne!(one.code, other.code);
    for tag in [one, other, DialInTag::made_up()] {
        let text = tag.to_text();
        assert_eq!(text.len(), 52 + SUFFIX.len(), "{text}");
        assert!(text.ends_with(SUFFIX), "{text}");
    }
}

#[test]
fn a_dial_in_key_survives_its_text_and_nothing_else_is_one() {
    let key = secret().key(3);
    assert!(DialInKey::from_hex(&key.to_hex()).unwrap() == key);
    let long = "00".repeat(33);
    for text in ["", "00", &long, &long[2..65], &"zz".repeat(32)] {
        assert!(DialInKey::from_hex(text).is_none(), "{text}");
    }
}

#[test]
fn what_calls_a_computer_does_not_open_its_friends_nor_the_other_way_round() {
    let key = secret().key(0);
    let (its_own, at_friends) = (DialInRing::new([&key]), DialInRing::new([&key.recovery_of_older()]));
    assert!(!at_friends.recognises(&key.tag()));
    assert!(!its_own.recognises(&key.recovery_of_older().tag()));
    assert!(at_friends.recognises(&key.recovery_of_older().tag()));
}

#[test]
fn whoever_knows_a_hub_can_call_it_and_no_other() {
    let (one, other) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
    let ring = DialInRing::new([&DialInKey::of_hub(&one)]);
    assert!(ring.recognises(&DialInKey::of_hub(&one).tag()));
    assert!(!ring.recognises(&DialInKey::of_hub(&other).tag()));
    assert!(!ring.recognises(&DialInKey::from_bytes(*one.as_bytes()).tag()));
}

#[test]
fn other_names_carry_no_tag() {
    let right = DialInTag { nonce: [0xff; 16], code: [0xff; 16] }.to_text();
    assert_eq!(right, format!("{}q.invalid", "7".repeat(51)));
    for name in [
        String::new(),
        ".invalid".into(),
        "example.org".into(),
        right.replace(".invalid", ".example"),
        right.replace("q.", "r."),
        right[1..].into(),
        format!("7{right}"),
        format!("a.{right}"),
        format!("{right}."),
        right.replacen('7', "\u{e9}", 1),
        crate::archive_id::DialBackNonce::from_bytes([1; 16]).server_name(),
    ] {
        assert_eq!(DialInTag::from_server_name(&name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn every_tag_survives_its_name_in_any_case(nonce: [u8; 16], code: [u8; 16]) {
        let tag = DialInTag { nonce, code };
        prop_assert_eq!(DialInTag::from_server_name(&tag.to_text()), Some(tag));
        prop_assert_eq!(DialInTag::from_server_name(&tag.to_text().to_uppercase()), Some(tag));
    }

    #[test]
    fn no_name_makes_the_reader_stumble(name in "\\PC{0,80}") {
        if let Some(tag) = DialInTag::from_server_name(&name) {
            prop_assert_eq!(tag.to_text(), name.to_ascii_lowercase());
        }
    }
}
