use proptest::prelude::*;

use super::*;

fn service() -> Name {
    Name::new(&["_kith", "_tcp", "local"])
}

fn sample() -> Vec<u8> {
    let (instance, host) = (service().below("ab12"), Name::new(&["ab12", "local"]));
    let mut writer = Writer::response();
    writer.pointer(&service(), 120, &instance);
    writer.service(&instance, 120, 4242, &host);
    writer.text(&instance, 120, &[b"v=1".to_vec(), vec![0xff; 300]]);
    writer.address(&host, 120, "192.168.1.7".parse().unwrap());
    writer.address(&host, 0, "fe80::1".parse().unwrap());
    writer.finish()
}

#[test]
fn what_is_written_is_read_again() {
    let message = parse(&sample()).unwrap();
    assert!(message.is_response && message.questions.is_empty());
    let (instance, host) = (service().below("ab12"), Name::new(&["AB12", "local"]));
    let data: Vec<_> =
        message.records.iter().map(|record| (&record.name, record.ttl, &record.data)).collect();
    assert_eq!(
        data,
        [
            (&service(), 120, &Data::Pointer(instance.clone())),
            (&instance, 120, &Data::Service { port: 4242, target: host.clone() }),
            (&instance, 120, &Data::Text(vec![b"v=1".to_vec(), vec![0xff; 255]])),
            (&host, 120, &Data::Address("192.168.1.7".parse().unwrap())),
            (&host, 0, &Data::Address("fe80::1".parse().unwrap())),
        ]
    );
}

#[test]
fn a_question_is_read_again_and_its_case_does_not_matter() {
    let mut writer = Writer::query();
    writer.question(&service(), kind::PTR);
    let mut bytes = writer.finish();
    let upper: Vec<u8> = bytes.iter().map(u8::to_ascii_uppercase).collect();
    for bytes in [&bytes, &upper] {
        let message = parse(bytes).unwrap();
        assert!(!message.is_response);
        assert_eq!(message.questions, [Question { name: service(), kind: kind::PTR }]);
    }
    // The bytes as RFC 1035 has them.
    assert_eq!(bytes.split_off(12), b"\x05_kith\x04_tcp\x05local\x00\x00\x0c\x00\x01");
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_refused() {
    let whole = sample();
    for length in 0..whole.len() {
        assert_eq!(parse(&whole[..length]), None, "{length} bytes");
    }
}

#[test]
fn names_that_point_at_themselves_or_forward_are_refused_and_those_that_point_back_end() {
    let message = |name: &[u8]| {
        let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&[0, 12, 0, 1]);
        bytes
    };
    assert!(parse(&message(b"\x01a\x00")).is_some());
    for name in
        [&b"\xc0\x0c"[..], b"\xc0\x0e\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\xff", b"\xff\xff", b"\x80a\x00"]
    {
        assert_eq!(parse(&message(name)), None, "{name:?}");
    }
    // Longer than a name may be.
    assert_eq!(parse(&message(&[&[63; 64][..]; 5].concat())), None);
}

#[test]
fn errors_foreign_classes_and_crowds_of_records_are_passed_over() {
    let mut bytes = sample();
    bytes[3] = 3;
    assert_eq!(parse(&bytes), None, "an answer that there is no such name");
    let mut bytes = sample();
    bytes[7] = 65;
    assert_eq!(parse(&bytes), None);
    let mut bytes = sample();
    let class_of_first = 12 + 18 + 2 + 1;
    assert_eq!(bytes[class_of_first], 1);
    bytes[class_of_first] = 3;
    assert_eq!(parse(&bytes).unwrap().records.len(), 4);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_keep_more_than_they_are(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Some(message) = parse(&bytes) {
            prop_assert!(message.records.len() + message.questions.len() <= MOST_RECORDS);
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_the_reader_panic(at in 0usize..1000, to in any::<u8>()) {
        let mut bytes = sample();
        let at = at % bytes.len();
        bytes[at] = to;
        parse(&bytes);
    }
}
