//! Connections that come to be joined with another.

use kith_identity::tls::placeholder_name;
use kith_identity::{DialInTag, tls};
use kith_listener::limits::HANDSHAKE_DEADLINE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

fn hello(tag: &DialInTag) -> Vec<u8> {
    client_hello(tag.server_name()).1
}

/// Brings a tag as the one does to whom the leg was promised.
async fn bring(house: &House, tag: &DialInTag) -> TcpStream {
    let mut stream = connect(house.address).await;
    stream.write_all(&hello(tag)).await.unwrap();
    stream
}

#[tokio::test]
async fn a_promised_leg_is_handed_over_with_its_client_hello_read_and_not_a_byte_more() {
    let mut house = House::on_loopback();
    let tag = house.keys.promise();
    let mut caller = connect(house.address).await;
    // All in one segment: what follows is for whoever it will be joined with.
    let more = [&[0x16, 0x03, 0x01][..], b"not for the carrier"].concat();
    caller.write_all(&[hello(&tag), more.clone()].concat()).await.unwrap();
    let mut leg = house.leg().await;
    assert_eq!((leg.tag, leg.remote), (tag, caller.local_addr().unwrap()));
    let mut rest = vec![0; more.len()];
    leg.stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest, more);
    assert_words_pass(&mut leg.stream, &mut caller).await;
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn nothing_is_said_to_a_leg_and_in_pieces_it_comes_too() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let tag = house.keys.promise();
    let mut caller = connect(house.address).await;
    caller.set_nodelay(true).unwrap();
    let bytes = hello(&tag);
    for piece in bytes.chunks(600) {
        caller.write_all(piece).await.unwrap();
        house.has_taken_in_all().await;
    }
    let leg = house.leg().await;
    house.assert_says_nothing(&caller).await;
    drop(leg);
    assert_eq!(read_all(&mut caller).await, "");
}

#[tokio::test]
async fn a_tag_that_was_not_promised_makes_a_stranger_like_any_other() {
    let mut house = House::on_loopback();
    house.keys.promise();
    let mut caller = bring(&house, &DialInTag::made_up()).await;
    assert_taken_for_a_stranger(&mut caller).await;
    assert!(house.legs.try_recv().is_err());
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn a_leg_comes_once() {
    let mut house = House::on_loopback();
    let tag = house.keys.promise();
    let _caller = bring(&house, &tag).await;
    house.leg().await;
    let mut again = bring(&house, &tag).await;
    assert_taken_for_a_stranger(&mut again).await;
    // Nor on another port.
    house.listener.rebind(&on_loopback()).await.unwrap();
    house.address = addresses(&house.listener)[0];
    let mut again = bring(&house, &tag).await;
    assert_taken_for_a_stranger(&mut again).await;
    assert!(house.legs.try_recv().is_err());
}

#[tokio::test]
async fn half_a_hello_and_one_in_two_records_are_no_legs() {
    let mut house = House::on_loopback();
    let tag = house.keys.promise();
    let bytes = hello(&tag);
    let mut half = connect(house.address).await;
    half.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    half.shutdown().await.unwrap();
    assert_eq!(read_all_or_reset(&mut half).await, b"");

    let (one, other) = bytes[5..].split_at(100);
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[0x16, 0x03, 0x01], &length[..], part].concat()
    };
    let mut split = connect(house.address).await;
    split.write_all(&[record(one), record(other)].concat()).await.unwrap();
    read_all_or_reset(&mut split).await;
    house.has_taken_in_all().await;
    assert!(house.legs.try_recv().is_err());
}

#[tokio::test]
async fn legs_count_for_no_offences_of_strangers_and_need_no_place_among_them() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    // More than strangers of one place are forgiven.
    for _ in 0..100 {
        let tag = house.keys.promise();
        let _caller = bring(&house, &tag).await;
        house.leg().await;
    }
    let mut stranger = connect(house.address).await;
    stranger.write_all(&client_hello(placeholder_name()).1).await.unwrap();
    assert_taken_for_a_stranger(&mut stranger).await;
    drop(stranger);

    let _stalled = strangers_everywhere(house.address).await;
    let tag = house.keys.promise();
    let _caller = bring(&house, &tag).await;
    assert_eq!(house.leg().await.tag, tag);
}

#[tokio::test]
async fn a_friend_gets_in_while_nobody_takes_legs_and_those_are_closed_in_the_end() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut callers = Vec::new();
    for _ in 0..=MOST_LEGS {
        let tag = house.keys.promise();
        callers.push(bring(&house, &tag).await);
        house.has_taken_in_all().await;
    }
    house.assert_bob_gets_in().await;
    advance(u64::try_from(HANDSHAKE_DEADLINE.as_millis()).unwrap() + 10).await;
    let mut last = callers.pop().unwrap();
    assert_eq!(read_all_or_reset(&mut last).await, b"");
    for _ in 0..MOST_LEGS {
        house.leg().await;
    }
    assert!(house.legs.try_recv().is_err());
}

#[tokio::test]
async fn without_anybody_who_joins_there_are_no_legs() {
    let (faces, keys) = alices_faces();
    let (links, _links) = tokio::sync::mpsc::channel(1);
    let listener = kith_listener::Listener::start(&on_loopback(), faces, links).unwrap();
    let tag = keys.promise();
    let stream = connect(addresses(&listener)[0]).await;
    let stream = handshake_as(tag.server_name(), stream, tls::probe_client_config(&mallory())).await.unwrap();
    assert!(tls::peer_device_id(stream.get_ref().1).is_none(), "it is shown a certificate of nobody");
}
