use super::super::allowance::PER_SECOND;
use super::*;

const KIB: u32 = 1024;
const MINUTE: Duration = Duration::from_secs(60);

fn session(side: Side) -> Session {
    let mut session = Session::new(side, &LinkLimits::default());
    session.greet();
    session
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn opens(id: u32, length: u32) -> Header {
    Header::new(Kind::Data, SYN, id, length)
}

fn data(id: u32, length: u32) -> Header {
    Header::new(Kind::Data, 0, id, length)
}

/// What is sent now, as headers; bodies are left out.
fn sent(session: &mut Session) -> Vec<Header> {
    let mut out = Outbox::default();
    session.fill(&mut out, usize::MAX);
    let mut all: Vec<u8> = out.pieces.iter().flat_map(|piece| piece.to_vec()).collect();
    let mut headers = Vec::new();
    while !all.is_empty() {
        let header = Header::decode(&all[..12].try_into().unwrap()).unwrap();
        let body = if header.kind == Kind::Data { header.length as usize } else { 0 };
        all.drain(..12 + body);
        headers.push(header);
    }
    headers
}

/// Lets so many bytes of a stream arrive.
fn arrive(session: &mut Session, id: u32, bytes: u32) {
    let mut left = bytes;
    while left > 0 {
        let part = left.min(64 * KIB);
        session.receive(data(id, part), Instant::now()).unwrap();
        session.receive_body(id, &mut BytesMut::zeroed(part as usize));
        left -= part;
    }
}

fn read(session: &mut Session, id: u32, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        let polled = session.poll_read(id, left, Instant::now(), &nobody());
        let Poll::Ready(Ok(part)) = polled else { panic!("nothing to read") };
        assert!(!part.is_empty());
        left -= part.len();
    }
}

/// A stream whose reader takes everything as it comes, `rounds` times what may be sent at once.
fn busy_reader(session: &mut Session, id: u32, rounds: usize) {
    for _ in 0..rounds {
        let credit = session.flows[&id].incoming.credit;
        arrive(session, id, credit);
        read(session, id, credit as usize);
        sent(session);
    }
}

#[test]
fn what_is_sent_beyond_what_was_allowed_ends_the_connection() {
    let mut session = session(Side::Acceptor);
    let now = Instant::now();
    session.receive(opens(1, 0), now).unwrap();
    arrive(&mut session, 1, BASE_WINDOW);
    assert_eq!(session.receive(data(1, 1), now), Err(Breach::CreditExceeded));
    let overflow = Header::new(Kind::Window, 0, 1, u32::MAX);
    assert_eq!(session.receive(overflow, now), Err(Breach::CreditOverflow));
}

#[test]
fn frames_and_streams_are_few_and_small_until_the_other_side_is_welcome() {
    let now = Instant::now();
    let mut strange = Session::new(Side::Acceptor, &LinkLimits::default());
    assert_eq!(
        strange.receive(opens(1, STRANGERS_FRAME + 1), now),
        Err(Breach::FrameTooLarge(STRANGERS_FRAME + 1, STRANGERS_FRAME))
    );
    let mut strange = Session::new(Side::Acceptor, &LinkLimits::default());
    for n in 0..4 {
        strange.receive(opens(1 + 2 * n, 1), now).unwrap();
        strange.accept().unwrap();
    }
    assert_eq!(strange.receive(opens(9, 1), now), Err(Breach::TooManyStreams(4)));
    busy_reader_never_gets_more(&mut strange);

    let mut known = session(Side::Acceptor);
    assert!(known.receive(opens(1, 256 * KIB), now).is_ok());
    assert_eq!(
        known.receive(opens(3, LARGEST_FRAME + 1), now),
        Err(Breach::FrameTooLarge(LARGEST_FRAME + 1, LARGEST_FRAME))
    );
}

fn busy_reader_never_gets_more(session: &mut Session) {
    // Of the frame that opened it one byte is on its way.
    session.receive_body(1, &mut BytesMut::zeroed(1));
    read(session, 1, 1);
    busy_reader(session, 1, 8);
    assert_eq!(session.flows[&1].incoming.window, BASE_WINDOW);
}

#[test]
fn no_more_streams_are_served_than_there_may_be() {
    let mut session = session(Side::Acceptor);
    let most = LinkLimits::default().streams_served();
    let now = Instant::now();
    for n in 0..most {
        session.receive(opens(1 + 2 * u32::try_from(n).unwrap(), 0), now).unwrap();
        session.accept().unwrap();
    }
    let next = 1 + 2 * u32::try_from(most).unwrap();
    assert_eq!(session.receive(opens(next, 0), now), Err(Breach::TooManyStreams(most)));
}

#[test]
fn streams_have_the_numbers_of_who_opens_them_and_none_is_opened_twice() {
    let now = Instant::now();
    for wrong in [0, 2, 4] {
        assert_eq!(session(Side::Acceptor).receive(opens(wrong, 0), now), Err(Breach::WrongStream(wrong)));
    }
    let mut session = session(Side::Dialer);
    session.receive(opens(6, 0), now).unwrap();
    assert_eq!(session.receive(opens(6, 0), now), Err(Breach::WrongStream(6)));
}

#[test]
fn streams_may_be_told_of_in_another_order_than_they_were_opened() {
    let (mut ours, mut theirs) = (session(Side::Dialer), session(Side::Acceptor));
    let (first, second) = (ours.open().unwrap(), ours.open().unwrap());
    ours.write(second, Bytes::from_static(b"x"));
    ours.write(first, Bytes::from_static(b"x"));
    let order = sent(&mut ours);
    assert_eq!(order, [opens(second, 1), opens(first, 1)]);
    for header in order {
        theirs.receive(header, Instant::now()).unwrap();
    }
    assert_eq!((theirs.accept(), theirs.accept()), (Some(second), Some(first)));
}

#[test]
fn a_window_grows_while_its_reader_waits_and_new_streams_begin_with_it() {
    let mut session = session(Side::Acceptor);
    let now = Instant::now();
    session.receive(opens(1, 0), now).unwrap();
    busy_reader(&mut session, 1, 12);
    let grown = session.flows[&1].incoming.window;
    assert!(grown > 4 << 20, "{grown}");
    session.abandon(1);
    sent(&mut session);
    session.receive(opens(3, 0), now).unwrap();
    let first = sent(&mut session);
    assert_eq!(first, [Header::new(Kind::Window, ACK, 3, grown - BASE_WINDOW)]);
}

#[test]
fn a_window_does_not_grow_when_its_reader_is_what_is_slow() {
    let mut session = session(Side::Acceptor);
    session.receive(opens(1, 0), Instant::now()).unwrap();
    for _ in 0..20 {
        // Always full before anything is read.
        let credit = session.flows[&1].incoming.credit;
        arrive(&mut session, 1, credit);
        read(&mut session, 1, BASE_WINDOW as usize / 2);
        sent(&mut session);
    }
    assert_eq!(session.flows[&1].incoming.window, BASE_WINDOW);
}

#[test]
fn all_windows_together_never_exceed_the_bound() {
    let mut session = session(Side::Acceptor);
    let limits = LinkLimits::default();
    let most = limits.streams_served();
    for n in 0..most {
        let id = 1 + 2 * u32::try_from(n).unwrap();
        session.receive(opens(id, 0), Instant::now()).unwrap();
        session.accept().unwrap();
        sent(&mut session);
        busy_reader(&mut session, id, 12);
    }
    let windows: u64 = session.flows.values().map(|flow| u64::from(flow.incoming.window)).sum();
    assert!(windows <= limits.receive_window as u64, "{windows}");
    assert!(windows > limits.receive_window as u64 / 2, "{windows}");
    // What a stream had more comes back with its end.
    for n in 0..most {
        session.abandon(1 + 2 * u32::try_from(n).unwrap());
    }
    sent(&mut session);
    assert_eq!((session.grown, session.flows.len()), (0, 0));
}

#[test]
fn short_messages_overtake_bulk_data() {
    let mut session = session(Side::Dialer);
    let bulk = session.open().unwrap();
    let credit = Header::new(Kind::Window, 0, bulk, 64 << 20);
    let mut written = 0;
    for _ in 0..8 {
        session.write(bulk, vec![0; 64 << 10].into());
        written += 64 << 10;
        sent(&mut session);
        session.receive(credit, Instant::now()).unwrap_or(Next::Header);
    }
    assert!(written > URGENT);
    session.write(bulk, vec![0; 128 << 10].into());
    let question = session.open().unwrap();
    session.write(question, vec![0; 100].into());
    let order: Vec<u32> = sent(&mut session).iter().map(|header| header.stream).collect();
    assert_eq!(order[0], question, "{order:?}");
}

#[test]
fn a_stream_that_is_written_and_dropped_at_once_still_arrives() {
    let mut session = session(Side::Dialer);
    let id = session.open().unwrap();
    session.write(id, Bytes::from_static(b"hello"));
    session.finish(id);
    session.abandon(id);
    assert_eq!(sent(&mut session), [Header::new(Kind::Data, SYN | FIN, id, 5)]);
    session.receive(Header::new(Kind::Data, FIN, id, 0), Instant::now()).unwrap();
    assert!(session.flows.is_empty());
}

#[test]
fn a_stream_that_is_only_dropped_is_broken_off_if_the_other_side_knows_of_it() {
    let mut session = session(Side::Dialer);
    let unknown = session.open().unwrap();
    session.abandon(unknown);
    assert_eq!(sent(&mut session), []);
    let known = session.open().unwrap();
    session.write(known, Bytes::from_static(b"x"));
    sent(&mut session);
    session.abandon(known);
    assert_eq!(sent(&mut session), [Header::new(Kind::Window, RST, known, 0)]);
    assert!(session.flows.is_empty());
}

/// A stream of ours with more to send than the other side has allowed.
fn waiting_sender(session: &mut Session) -> u32 {
    let id = session.open().unwrap();
    for _ in 0..BASE_WINDOW / (64 * KIB) + 1 {
        session.write(id, vec![0; 64 << 10].into());
        sent(session);
    }
    id
}

#[test]
fn a_stream_whose_reader_takes_a_byte_a_second_is_broken_off() {
    let mut session = session(Side::Dialer);
    let (slow, begun) = (waiting_sender(&mut session), Instant::now());
    for second in 0..59 {
        let now = begun + Duration::from_secs(second);
        session.sweep(now);
        session.receive(Header::new(Kind::Window, 0, slow, 1), now).unwrap();
        assert_eq!(sent(&mut session), [data(slow, 1)], "after {second} s");
    }
    session.sweep(begun + MINUTE);
    assert_eq!(sent(&mut session), [Header::new(Kind::Window, RST, slow, 0)]);
    assert!(matches!(session.poll_room(slow, &nobody()), Poll::Ready(Err(_))));
}

#[test]
fn a_stream_that_gets_on_a_little_is_not_broken_off() {
    let mut session = session(Side::Dialer);
    let (slow, begun) = (waiting_sender(&mut session), Instant::now());
    for n in 0..60 {
        let now = begun + Duration::from_secs(50 * n);
        session.write(slow, vec![0; 20 << 10].into());
        session.receive(Header::new(Kind::Window, 0, slow, 20 << 10), now).unwrap();
        sent(&mut session);
        session.sweep(now);
    }
    assert!(!session.flows[&slow].broken);
}

#[test]
fn a_stream_that_the_other_side_never_ends_is_forgotten_after_a_while() {
    let mut session = session(Side::Acceptor);
    let begun = Instant::now();
    session.receive(opens(1, 0), begun).unwrap();
    session.write(1, Bytes::from_static(b"answer"));
    session.finish(1);
    session.abandon(1);
    sent(&mut session);
    session.sweep(begun);
    assert_eq!(session.flows.len(), 1);
    session.sweep(begun + MINUTE);
    sent(&mut session);
    assert!(session.flows.is_empty());
}

#[test]
fn breaking_off_stream_after_stream_ends_the_connection() {
    let mut session = session(Side::Acceptor);
    let now = Instant::now();
    let mut flood = || -> Result<(), Breach> {
        for n in 0..10_000 {
            let id = 1 + 2 * n;
            session.receive(opens(id, 0), now)?;
            session.accept();
            session.receive(Header::new(Kind::Data, RST, id, 0), now)?;
            session.abandon(id);
        }
        Ok(())
    };
    assert_eq!(flood(), Err(Breach::TooManyResets));
}

#[test]
fn whoever_cancels_now_and_then_may_do_so_for_ever() {
    let mut session = session(Side::Acceptor);
    let begun = Instant::now();
    for n in 0..2_000 {
        let (id, now) = (1 + 2 * n, begun + Duration::from_millis(100) * n);
        session.receive(opens(id, 0), now).unwrap();
        session.accept();
        session.receive(Header::new(Kind::Data, RST, id, 0), now).unwrap();
        session.abandon(id);
    }
    assert!(session.flows.is_empty());
}

#[test]
fn of_many_pings_the_latest_is_answered() {
    let mut session = session(Side::Acceptor);
    for number in 1..=1_000 {
        session.receive(Header::new(Kind::Ping, SYN, 0, number), Instant::now()).unwrap();
    }
    assert_eq!(sent(&mut session), [Header::new(Kind::Ping, ACK, 0, 1_000)]);
    assert_eq!(sent(&mut session), []);
}

#[test]
fn whoever_sends_over_a_slow_line_hears_every_second_or_two_how_far_it_was_read() {
    let mut session = session(Side::Acceptor);
    let begun = Instant::now();
    // The window has grown over a fast line.
    session.receive(opens(1, 0), begun).unwrap();
    busy_reader(&mut session, 1, 12);
    let window = session.flows[&1].incoming.window;
    // Now 32 kB a second come, in pieces of 4.
    let mut told = Vec::new();
    for n in 0..240_u64 {
        let now = begun + Duration::from_secs(60) + Duration::from_millis(125) * u32::try_from(n).unwrap();
        arrive(&mut session, 1, 4_096);
        let polled = session.poll_read(1, 4_096, now, &nobody());
        assert!(matches!(polled, Poll::Ready(Ok(part)) if part.len() == 4_096));
        if !sent(&mut session).is_empty() {
            told.push(now);
        }
    }
    assert!(told.len() >= 25, "{}", told.len());
    let longest = told.windows(2).map(|two| two[1] - two[0]).max().unwrap();
    assert!(longest <= Duration::from_secs(2), "{longest:?}");
    // A slow line needs no more than it has.
    assert_eq!(session.flows[&1].incoming.window, window);
}

#[test]
fn who_has_broken_off_many_streams_opens_no_more_until_the_other_side_bears_it() {
    let (mut ours, mut theirs) = (session(Side::Dialer), session(Side::Acceptor));
    let begun = Instant::now();
    let mut broken_off = 0_u32;
    for second in 0..60 {
        let now = begun + Duration::from_secs(second);
        ours.sweep(now);
        while let Some(id) = ours.open() {
            ours.write(id, Bytes::from_static(b"?"));
            for header in sent(&mut ours) {
                theirs.receive(header, now).unwrap();
                theirs.receive_body(id, &mut BytesMut::from(&b"?"[..]));
            }
            assert_eq!(theirs.accept(), Some(id));
            ours.abandon(id);
            for header in sent(&mut ours) {
                assert!(header.has(RST));
                theirs.receive(header, now).unwrap();
            }
            theirs.abandon(id);
            broken_off += 1;
        }
    }
    assert_eq!(broken_off, OUR_RESETS + 59 * PER_SECOND);
}

#[test]
fn a_farewell_waits_for_short_messages_and_not_for_long_ones() {
    let mut session = session(Side::Dialer);
    let long = session.open().unwrap();
    for _ in 0..3 {
        session.write(long, vec![0; 64 << 10].into());
        sent(&mut session);
    }
    session.write(long, vec![0; 64 << 10].into());
    let short = session.open().unwrap();
    session.write(short, Bytes::from_static(b"short"));
    session.finish(short);
    session.send_farewell(Farewell::Normal);
    let goodbye = Header::new(Kind::GoAway, 0, 0, 0);
    assert_eq!(sent(&mut session), [Header::new(Kind::Data, SYN | FIN, short, 5), goodbye]);
    assert!(matches!(session.poll_room(long, &nobody()), Poll::Ready(Err(_))));
    assert_eq!((session.open(), sent(&mut session)), (None, vec![]));
}

#[test]
fn a_connection_that_rests_has_no_room_set_aside_and_goes_on_as_before() {
    let (mut session, now) = (session(Side::Acceptor), Instant::now());
    for id in [1, 3, 5] {
        session.receive(opens(id, 0), now).unwrap();
        assert_eq!(session.accept(), Some(id));
        assert!(!session.rest(), "a stream is open");
    }
    for id in [1, 3, 5] {
        session.receive(Header::new(Kind::Data, RST, id, 0), now).unwrap();
        session.abandon(id);
    }
    sent(&mut session);
    assert!(session.rest());
    let queues = [&session.accepted, &session.signals, &session.urgent, &session.bulk];
    assert!(queues.iter().all(|queue| queue.len() == queue.capacity()));
    session.receive(opens(7, 0), now).unwrap();
    assert_eq!(session.accept(), Some(7));
    arrive(&mut session, 7, 100);
    read(&mut session, 7, 100);
}
