use proptest::prelude::*;

use super::*;

const TEXT: &str = "QDTLOT2-DKAUUEA-NH6NNEV-ZLTQ32N-BA3G3ET-XWGGWP2-T6HC3CB-VEGU7QD";

fn parse(text: &str) -> Result<DeviceId, ParseDeviceIdError> {
    text.parse()
}

fn check_error(text: &str, expected: &str) {
    assert_eq!(parse(text).unwrap_err().to_string(), expected);
}

#[test]
fn an_id_is_eight_groups_of_seven_and_reads_back() {
    let id = parse(TEXT).unwrap();
    assert_eq!(id.to_string(), TEXT);
    assert_eq!(id.short(), "QDTLOT2");
    assert_eq!(format!("{id:?}"), "DeviceId(QDTLOT2)");
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, format!("\"{TEXT}\""));
    assert_eq!(serde_json::from_str::<DeviceId>(&json).unwrap(), id);
}

#[test]
fn case_spaces_dashes_and_lookalike_digits_do_not_matter() {
    let id = parse(TEXT).unwrap();
    for text in [
        TEXT.to_lowercase(),
        TEXT.replace('-', ""),
        TEXT.replace('-', " "),
        format!("  {}\n", TEXT.replace('-', " - ")),
        TEXT.replace('O', "0").replace('B', "8"),
    ] {
        assert_eq!(parse(&text), Ok(id), "{text}");
    }
}

#[test]
fn an_error_names_the_group() {
    check_error(
        &TEXT.replace("NH6NNEV", "NH6NMEV"),
        "there is a typing error in group 3 or 4 of the device id",
    );
    check_error(
        &TEXT.replace("VEGU7QD", "VEGU7DQ"),
        "there is a typing error in group 7 or 8 of the device id",
    );
    check_error(
        &TEXT.replace("XWGGWP2", "XWGG9P2"),
        "group 6 of the device id contains '9', which no device id contains",
    );
    check_error(&TEXT.replace("DKAUUEA", "DKAUEA"), "group 2 of the device id has 6 characters instead of 7");
    check_error("", "a device id has 56 letters and digits in 8 groups of 7, this text has 0");
    check_error(
        "QDTLOT2-DKAUUEA",
        "a device id has 56 letters and digits in 8 groups of 7, this text has 14",
    );
}

#[test]
fn pairs_of_groups_that_changed_places_are_noticed() {
    check_error(
        "NH6NNEV-ZLTQ32N-QDTLOT2-DKAUUEA-BA3G3ET-XWGGWP2-T6HC3CB-VEGU7QD",
        "there is a typing error in group 1 or 2 of the device id",
    );
}

#[test]
fn the_spare_bits_of_the_last_character_must_be_zero() {
    let mut text: Vec<u8> = TEXT.bytes().filter(|&byte| byte != b'-').collect();
    let (block, check) = text[42..].split_at_mut(13);
    block[12] = character(value(block[12]) ^ 1);
    check[0] = character(check_value(3, block));
    assert_eq!(
        parse(std::str::from_utf8(&text).unwrap()),
        Err(ParseDeviceIdError::Typo { first: 7, second: 8 })
    );
}

proptest! {
    #[test]
    fn any_id_reads_back(bytes: [u8; 32]) {
        let id = DeviceId::from_bytes(bytes);
        prop_assert_eq!(parse(&id.to_string()), Ok(id));
    }

    #[test]
    fn every_single_wrong_character_is_noticed(bytes: [u8; 32]) {
        let text = DeviceId::from_bytes(bytes).to_string();
        for at in (0..text.len()).filter(|at| text.as_bytes()[*at] != b'-') {
            for wrong in (b'A'..=b'Z').chain(b'2'..=b'7').filter(|byte| *byte != text.as_bytes()[at]) {
                let mut typed = text.clone().into_bytes();
                typed[at] = wrong;
                let group = at / 8 + 1;
                let first = group - (group + 1) % 2;
                let expected = ParseDeviceIdError::Typo { first, second: first + 1 };
                prop_assert_eq!(parse(std::str::from_utf8(&typed).unwrap()), Err(expected));
            }
        }
    }

    #[test]
    fn two_swapped_characters_are_noticed(bytes: [u8; 32], a in 0_usize..56, b in 0_usize..56) {
        let id = DeviceId::from_bytes(bytes);
        let mut typed: Vec<u8> = id.to_string().bytes().filter(|&byte| byte != b'-').collect();
        let same = typed[a] == typed[b];
        typed.swap(a, b);
        let parsed = parse(std::str::from_utf8(&typed).unwrap());
        prop_assert_eq!(parsed.is_ok(), same);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        prop_assert!(parse(&text).is_err());
    }
}
