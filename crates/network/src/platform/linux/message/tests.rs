use super::*;

fn packet(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD + body.len()).unwrap();
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE_HEAD + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn link_body(family: u8, index: u32, changed: u32, attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![family, 0, 1, 0];
    body.extend(index.to_ne_bytes());
    body.extend(0x1_1043_u32.to_ne_bytes());
    body.extend(changed.to_ne_bytes());
    body.extend(attributes);
    body
}

fn address_body(index: u32) -> Vec<u8> {
    let mut body = vec![2, 24, 0x80, 0];
    body.extend(index.to_ne_bytes());
    body
}

fn route_body(kind: u8, attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0];
    body.extend(attributes);
    body
}

fn told(datagram: &[u8]) -> Burst {
    let mut burst = Burst::default();
    read(datagram, &mut burst);
    burst
}

fn nothing() -> Burst {
    Burst::default()
}

fn look() -> Burst {
    let mut burst = nothing();
    burst.look();
    burst
}

fn about(index: u32) -> Burst {
    let mut burst = nothing();
    burst.interface(index);
    burst
}

fn everything() -> Burst {
    let mut burst = nothing();
    burst.everything();
    burst
}

#[test]
fn links_that_come_go_or_flap_are_changes_of_their_interface() {
    assert_eq!(told(&packet(16, 0, &link_body(0, 7, u32::MAX, &[]))), about(7));
    assert_eq!(told(&packet(16, 0, &link_body(0, 7, 0, &attribute(3, b"eth0\0")))), about(7));
    assert_eq!(told(&packet(16, 0, &link_body(0, 7, 0x1, &[]))), about(7));
    assert_eq!(told(&packet(17, 0, &link_body(0, 7, u32::MAX, &[]))), about(7));
}

#[test]
fn wifi_scans_and_listening_in_and_bridge_ports_only_ask_for_a_look() {
    let scan = [attribute(3, b"wlan0\0"), attribute(WIRELESS, &[0; 6])].concat();
    assert_eq!(told(&packet(16, 0, &link_body(0, 7, 0, &scan))), look());
    assert_eq!(told(&packet(16, 0, &link_body(0, 7, 0x100, &[]))), look());
    assert_eq!(told(&packet(16, 0, &link_body(7, 7, 0, &[]))), look());
    assert_eq!(told(&packet(17, 0, &link_body(7, 7, 0, &[]))), look());
}

#[test]
fn a_prolonged_address_only_asks_for_a_look_and_a_removed_one_is_a_change() {
    assert_eq!(told(&packet(20, 0, &address_body(3))), look());
    assert_eq!(told(&packet(21, 0, &address_body(3))), about(3));
}

#[test]
fn routes_are_changes_of_the_interface_they_lead_over() {
    let over = |index: u32| [attribute(1, &[0; 4]), attribute(OUTPUT, &index.to_ne_bytes())].concat();
    assert_eq!(told(&packet(24, 0x600, &route_body(1, &over(5)))), about(5));
    assert_eq!(told(&packet(25, 0, &route_body(1, &over(5)))), about(5));
    assert_eq!(told(&packet(24, REPLACED, &route_body(1, &over(5)))), look());
    assert_eq!(told(&packet(24, 0, &route_body(2, &over(5)))), look());
    assert_eq!(told(&packet(24, 0, &route_body(7, &[]))), everything());
}

#[test]
fn rules_and_overruns_are_changes_of_everything_and_answers_of_nothing() {
    for kind in [4, 32, 33] {
        assert_eq!(told(&packet(kind, 0, &[0; 12])), everything(), "{kind}");
    }
    for kind in [1, 2, 3, 18, 28, 29, 52, 68, u16::MAX] {
        assert_eq!(told(&packet(kind, 0, &[0; 12])), nothing(), "{kind}");
    }
    assert_eq!(told(&[]), nothing());
}

#[test]
fn several_messages_in_one_datagram_are_all_read() {
    let both = [packet(21, 0, &address_body(3)), packet(3, 0, &[]), packet(17, 0, &link_body(0, 4, 0, &[]))]
        .concat();
    let mut expected = about(3);
    expected.interface(4);
    assert_eq!(told(&both), expected);
}

#[test]
fn what_can_not_be_read_is_a_change_and_harms_nothing() {
    for length in [0_u32, 1, 15] {
        let mut broken = packet(16, 0, &link_body(0, 7, 0, &[]));
        broken[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(told(&broken), everything(), "{length}");
    }
    // A message that says it is longer than what came is judged by what came.
    let mut long = packet(17, 0, &link_body(0, 7, 0, &[]));
    long[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(told(&long), about(7));
    for body in [&[][..], &[0; 7]] {
        for kind in [16, 17, 20, 21, 24, 25] {
            assert_eq!(told(&packet(kind, 0, body)), everything(), "{kind}");
        }
    }
    let whole = packet(24, 0, &route_body(1, &attribute(OUTPUT, &5_u32.to_ne_bytes())));
    for end in 1..whole.len() {
        assert_eq!(told(&whole[..end]), everything(), "{end}");
    }
    // Attributes without length, or with one that leads out of the message.
    for attributes in
        [&[0, 0, 4, 0][..], &[3, 0, 4, 0, 0, 0, 0, 0], &[255, 255, 4, 0, 1, 0, 0, 0], &[6, 0, 4, 0, 1, 0]]
    {
        assert_eq!(told(&packet(24, 0, &route_body(1, attributes))), everything(), "{attributes:?}");
    }
}

#[test]
fn no_bytes_make_it_fail() {
    // A generator that needs no dependency: xorshift.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200_000 {
        let length = usize::try_from(random() % 96).unwrap();
        let mut bytes: Vec<u8> = (0..length).map(|_| random().to_ne_bytes()[0]).collect();
        // Mostly plausible heads, or nothing behind them would ever be reached.
        if length >= 6 && random() % 4 != 0 {
            bytes[..4].copy_from_slice(&(u32::try_from(random() % 96).unwrap()).to_ne_bytes());
            bytes[4..6].copy_from_slice(&(16 + u16::try_from(random() % 18).unwrap()).to_ne_bytes());
        }
        drop(told(&bytes));
    }
}

#[test]
fn a_question_for_a_route_is_as_long_as_it_says() {
    for (ip, length, bits) in [("198.41.0.4", 36, 32), ("2001:503:ba3e::2:30", 48, 128)] {
        let ip: IpAddr = ip.parse().unwrap();
        let bytes = question(ip);
        assert_eq!((bytes.len(), u32_at(&bytes, 0)), (length, Some(u32::try_from(length).unwrap())));
        assert_eq!((u16_at(&bytes, 4), u16_at(&bytes, 6), bytes[17]), (Some(26), Some(1), bits));
        let destination: Vec<_> = attributes_of(&bytes[HEAD + ROUTE..]).collect();
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        assert_eq!(destination, [(1, octets.as_slice())]);
    }
}

#[test]
fn the_answer_is_an_interface_only_if_the_route_leads_somewhere() {
    let over_seven = attribute(4, &7_u32.to_ne_bytes());
    let answer = |kind: u16, route: u8| packet(kind, 0, &route_body(route, &over_seven));
    assert_eq!(output(&answer(24, 1)), Some(7));
    // Blackhole, unreachable, prohibited; another message, and an error.
    for refusal in [answer(24, 6), answer(24, 7), answer(24, 8), answer(25, 1), packet(2, 0, &[0; 20])] {
        assert_eq!(output(&refusal), None);
    }
    let whole = answer(24, 1);
    for end in 0..whole.len() {
        assert_eq!(output(&whole[..end]), None, "{end}");
    }
}
