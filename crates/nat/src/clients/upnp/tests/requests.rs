use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::super::Upnp;
use super::fake::{
    Asked, FIREWALL, Fake, IP1, IP2, PPP1, Say, description, done, entry, fault, map, router, unmap,
};
use crate::{Answer, Entry, Found, Grant, Lifetime, MapRequest, Refusal, RefusalKind, Request, UnmapRequest};

const HERE: &str = "127.0.0.1";

fn refused(kind: RefusalKind, code: u16, words: &str) -> Answer {
    Answer::Refused(Refusal { kind, code, words: words.to_owned() })
}

fn granted(external_port: u16, lifetime: Lifetime, pinhole: Option<u16>) -> Answer {
    Answer::Mapped(Grant { external_port, external_ip: None, lifetime, epoch: None, pinhole })
}

fn ours(asked: &Asked, lease: &str) -> Say {
    entry(asked, HERE, "4242", "Kith", lease)
}

#[tokio::test(start_paused = true)]
async fn a_router_is_found_with_all_that_it_tells() {
    let fake = Fake::start(HERE, router(IP2, |_| fault(401, ""))).await;
    let answer = fake.ask(&Upnp::default(), Request::Discover).await;
    let expected = Found {
        external_ip: Some("11.0.113.5".parse().unwrap()),
        epoch: None,
        model: Some("Maker Model 7".to_owned()),
        page: Some(format!("http://{}/", fake.http)),
        any_port: true,
        readable: true,
    };
    assert_eq!(answer, Answer::Found(expected));
    assert_eq!(fake.actions(), ["", "GetExternalIPAddress"]);
}

#[tokio::test(start_paused = true)]
async fn a_router_without_an_address_is_found_all_the_same() {
    for address in ["", "0.0.0.0", "none yet", "127.0.0.1", "224.0.0.5", "255.255.255.255"] {
        let fake = Fake::start(HERE, move |asked| match asked.action.as_str() {
            "" => description(&[(IP1, "/ctl")]).into(),
            _ => done(asked, &[("NewExternalIPAddress", address)]),
        });
        let fake = fake.await;
        let answer = fake.ask(&Upnp::default(), Request::Discover).await;
        assert!(
            matches!(answer, Answer::Found(Found { external_ip: None, any_port: false, .. })),
            "{address}: {answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_that_does_not_tell_its_address_refuses() {
    let fake = Fake::start(HERE, |asked| match asked.action.as_str() {
        "" => description(&[(IP1, "/ctl")]).into(),
        _ => fault(606, "Action not authorized"),
    });
    let answer = fake.await.ask(&Upnp::default(), Request::Discover).await;
    assert_eq!(answer, refused(RefusalKind::NotAuthorized, 606, "Action not authorized"));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_search_before_asks_for_one() {
    let fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let upnp = Upnp::default();
    assert_eq!(fake.ask(&upnp, Request::Map(map(4242))).await, Answer::Closed);
    let upnp = fake.found().await;
    upnp.forget(&fake.uplink());
    assert_eq!(fake.ask(&upnp, Request::Map(map(4242))).await, Answer::Closed);
    assert_eq!(fake.actions(), <[&str; 0]>::default());
}

#[tokio::test(start_paused = true)]
async fn a_mapping_is_asked_for_from_the_address_that_it_leads_to() {
    let fake = Fake::start(
        HERE,
        router(IP1, |asked| match asked.action.as_str() {
            "AddPortMapping" => done(asked, &[]),
            _ => entry(asked, "127.0.0.7", "4242", "Kith", "1800"),
        }),
    );
    let fake = fake.await;
    let upnp = Upnp::default();
    let mut uplink = fake.uplink();
    uplink.local = "127.0.0.7".parse().unwrap();
    let found = upnp.ask_at(&uplink, Request::Discover, fake.places()).await;
    assert!(matches!(found, Answer::Found(_)), "{found:?}");
    let answer = upnp.ask_at(&uplink, Request::Map(map(4300)), fake.places()).await;
    assert_eq!(answer, granted(4300, Lifetime::Seconds(1800), None));
    let asked = fake.asked();
    assert!(asked.iter().all(|asked| asked.from == uplink.local));
    let add = asked.iter().find(|asked| asked.action == "AddPortMapping").unwrap();
    assert_eq!((add.path.as_str(), add.service.as_str()), ("/ctl", IP1));
    let values = [
        ("NewRemoteHost", ""),
        ("NewExternalPort", "4300"),
        ("NewProtocol", "TCP"),
        ("NewInternalPort", "4242"),
        ("NewInternalClient", "127.0.0.7"),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", "Kith &amp; &lt;study&gt;"),
        ("NewLeaseDuration", "3600"),
    ];
    let mut last = 0;
    for (name, value) in values {
        assert_eq!(add.value(name), value, "{name}");
        let at = add.body.find(&format!("<{name}>")).unwrap();
        assert!(at > last, "{name} is out of order");
        last = at;
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_what_the_router_says_or_else_what_was_asked() {
    let check = async |asked: Lifetime, told: &'static str, expected: Lifetime| {
        let fake = Fake::start(
            HERE,
            router(IP1, move |asked| match asked.action.as_str() {
                "AddPortMapping" => done(asked, &[]),
                _ if told.is_empty() => fault(714, ""),
                _ => ours(asked, told),
            }),
        );
        let fake = fake.await;
        let upnp = fake.found().await;
        let answer = fake.ask(&upnp, Request::Map(MapRequest { lifetime: asked, ..map(4242) })).await;
        assert_eq!(answer, granted(4242, expected, None), "{told}");
        let lease = if asked == Lifetime::Permanent { "0" } else { "3600" };
        assert_eq!(fake.asked()[0].value("NewLeaseDuration"), lease);
    };
    let hour = Lifetime::Seconds(3600);
    check(hour, "3600", hour).await;
    check(hour, "120", Lifetime::Seconds(120)).await;
    check(hour, "0", hour).await;
    check(hour, "", hour).await;
    check(hour, "odd", hour).await;
    check(Lifetime::Permanent, "0", Lifetime::Permanent).await;
    check(Lifetime::Permanent, "604800", Lifetime::Seconds(604_800)).await;
}

#[tokio::test(start_paused = true)]
async fn any_port_is_asked_for_with_our_wish_where_the_router_can() {
    let fake = Fake::start(
        HERE,
        router(IP2, |asked| match asked.action.as_str() {
            "AddAnyPortMapping" => done(asked, &[("NewReservedPort", "4243")]),
            _ => ours(asked, "60"),
        }),
    );
    let fake = fake.await;
    let upnp = fake.found().await;
    let request = MapRequest { any_port: true, ..map(4242) };
    assert_eq!(fake.ask(&upnp, Request::Map(request)).await, granted(4243, Lifetime::Seconds(60), None));
    assert_eq!(fake.asked()[0].value("NewExternalPort"), "4242");
    assert_eq!(fake.asked()[1].value("NewExternalPort"), "4243");
    assert_eq!(fake.actions(), ["AddAnyPortMapping", "GetSpecificPortMappingEntry"]);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_knows_no_any_port_is_asked_for_it_only_once() {
    let fake = Fake::start(
        HERE,
        router(IP2, |asked| match asked.action.as_str() {
            "AddAnyPortMapping" => fault(401, "Invalid Action"),
            "AddPortMapping" => done(asked, &[]),
            _ => ours(asked, "3600"),
        }),
    );
    let fake = fake.await;
    let upnp = fake.found().await;
    let request = MapRequest { any_port: true, ..map(4242) };
    let hour = granted(4242, Lifetime::Seconds(3600), None);
    assert_eq!(fake.ask(&upnp, Request::Map(request.clone())).await, hour);
    let Answer::Found(found) = fake.ask(&upnp, Request::Discover).await else { panic!("not found again") };
    assert!(!found.any_port, "what was learned stays with the device");
    assert_eq!(fake.ask(&upnp, Request::Map(request)).await, hour);
    assert_eq!(fake.actions().iter().filter(|action| *action == "AddAnyPortMapping").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_any_port_fails_the_older_action_may_not() {
    let fake = Fake::start(
        HERE,
        router(IP2, |asked| match asked.action.as_str() {
            "AddAnyPortMapping" => fault(501, "Action Failed"),
            "AddPortMapping" => done(asked, &[]),
            _ => ours(asked, "3600"),
        }),
    );
    let fake = fake.await;
    let upnp = fake.found().await;
    let request = MapRequest { any_port: true, ..map(4242) };
    let hour = granted(4242, Lifetime::Seconds(3600), None);
    assert_eq!(fake.ask(&upnp, Request::Map(request)).await, hour);
}

#[tokio::test(start_paused = true)]
async fn every_number_of_a_refusal_has_its_meaning_even_without_words() {
    use RefusalKind::{
        Conflict, Failed, NoResources, NotAuthorized, OnlyPermanent, Other, SamePort, Unsupported,
    };
    for (code, kind) in [
        (401, Unsupported),
        (402, Failed),
        (501, Failed),
        (606, NotAuthorized),
        (715, Other),
        (716, Other),
        (718, Conflict),
        (724, SamePort),
        (725, OnlyPermanent),
        (727, Other),
        (728, NoResources),
        (729, NoResources),
        (899, Other),
    ] {
        for (words, any_port) in [("", false), ("In words", false), ("", true)] {
            let fake = Fake::start(HERE, router(IP2, move |_| fault(code, words))).await;
            let upnp = fake.found().await;
            let answer = fake.ask(&upnp, Request::Map(MapRequest { any_port, ..map(4242) })).await;
            assert_eq!(answer, refused(kind, code, words), "any port: {any_port}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_that_maps_something_else_is_found_out() {
    let check = async |client: &'static str, port: &'static str, label: &'static str, kind, deleted: bool| {
        let fake = Fake::start(
            HERE,
            router(IP1, move |asked| match asked.action.as_str() {
                "GetSpecificPortMappingEntry" => entry(asked, client, port, label, "3600"),
                _ => done(asked, &[]),
            }),
        );
        let fake = fake.await;
        let upnp = fake.found().await;
        let words = format!("the router mapped 4300 to {client}:{port} instead");
        assert_eq!(fake.ask(&upnp, Request::Map(map(4300))).await, refused(kind, 0, &words));
        let deletes = fake.asked().into_iter().filter(|asked| asked.action == "DeletePortMapping");
        let deletes: Vec<_> = deletes.map(|asked| asked.value("NewExternalPort").to_owned()).collect();
        assert_eq!(deletes, if deleted { vec!["4300"] } else { vec![] }, "{client}:{port} {label}");
    };
    let label = "Kith &amp; &lt;study&gt;";
    check("127.0.0.1", "4300", label, RefusalKind::SamePort, true).await;
    check("127.0.0.1", "4300", "Kith", RefusalKind::SamePort, true).await;
    check("127.0.0.1", "80", label, RefusalKind::Other, true).await;
    check("127.0.0.1", "80", "a game", RefusalKind::Other, false).await;
    // The entry is called like ours: the router leads what we asked for to another computer.
    check("127.0.0.9", "4242", label, RefusalKind::Other, true).await;
    check("127.0.0.9", "4242", "a game", RefusalKind::Conflict, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_mapping_is_removed_as_tcp_and_only_if_it_is_ours() {
    let check =
        async |held: fn(&Asked) -> Say, delete: fn(&Asked) -> Say, expected: Answer, asked: &[&str]| {
            let fake = Fake::start(
                HERE,
                router(IP1, move |asked| match asked.action.as_str() {
                    "GetSpecificPortMappingEntry" => held(asked),
                    _ => delete(asked),
                }),
            );
            let fake = fake.await;
            let upnp = fake.found().await;
            assert_eq!(fake.ask(&upnp, Request::Unmap(unmap(4242))).await, expected);
            assert_eq!(fake.actions(), asked);
            assert!(fake.asked().iter().all(|asked| asked.value("NewProtocol") == "TCP"));
        };
    let both = ["GetSpecificPortMappingEntry", "DeletePortMapping"];
    let fine: fn(&Asked) -> Say = |asked| done(asked, &[]);
    let held: fn(&Asked) -> Say = |asked| ours(asked, "0");
    check(held, fine, Answer::Unmapped, &both).await;
    check(held, |_| fault(714, ""), Answer::Unmapped, &both).await;
    check(held, |_| fault(606, "no"), refused(RefusalKind::NotAuthorized, 606, "no"), &both).await;
    check(|_| fault(401, ""), fine, Answer::Unmapped, &both).await;
    check(|_| fault(714, ""), fine, Answer::Unmapped, &both).await;
    for (client, port) in [("127.0.0.9", "4242"), ("127.0.0.1", "80")] {
        let fake = Fake::start(
            HERE,
            router(IP1, move |asked| match asked.action.as_str() {
                "GetSpecificPortMappingEntry" => entry(asked, client, port, "Kith", "0"),
                _ => done(asked, &[]),
            }),
        );
        let fake = fake.await;
        let upnp = fake.found().await;
        assert_eq!(fake.ask(&upnp, Request::Unmap(unmap(4242))).await, Answer::Unmapped);
        assert_eq!(fake.actions(), both[..1], "{client}:{port} is somebody else's");
        // What leads to a former address of ours is ours too.
        let former = format!("{client}:{port}").parse().ok();
        assert_eq!(
            fake.ask(&upnp, Request::Unmap(UnmapRequest { former, ..unmap(4242) })).await,
            Answer::Unmapped
        );
        assert_eq!(fake.actions()[1..], both);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_router_holds_is_read_back() {
    let fake = Fake::start(
        HERE,
        router(IP1, |asked| match asked.value("NewExternalPort") {
            "1" => entry(asked, "192.168.1.9", "80", "a \u{202e}game", "0"),
            "2" => fault(714, "NoSuchEntryInArray"),
            "3" => entry(asked, "somebody.lan", "80", "", "0"),
            _ => fault(401, "Invalid Action"),
        }),
    );
    let fake = fake.await;
    let upnp = fake.found().await;
    let read = async |external_port| fake.ask(&upnp, Request::ReadBack { external_port }).await;
    let expected = Entry {
        external_port: 1,
        internal: SocketAddr::from(([192, 168, 1, 9], 80)),
        left: None,
        label: "a game".to_owned(),
        enabled: true,
    };
    assert_eq!(read(1).await, Answer::Entry(Some(expected)));
    assert_eq!(read(2).await, Answer::Entry(None));
    assert!(matches!(read(3).await, Answer::Nonsense(_)));
    assert_eq!(read(4).await, refused(RefusalKind::Unsupported, 401, "Invalid Action"));
    assert!(matches!(read(1).await, Answer::Refused(Refusal { kind: RefusalKind::Unsupported, .. })));
    assert_eq!(fake.asked().len(), 4, "what can't be read is not asked again");
}

#[tokio::test(start_paused = true)]
async fn the_table_is_searched_for_our_labels_until_its_end() {
    let fake = Fake::start(
        HERE,
        router(IP1, |asked| {
            let index = asked.value("NewPortMappingIndex").to_owned();
            let row = |port, protocol, label, lease| {
                [
                    ("NewRemoteHost", ""),
                    ("NewExternalPort", port),
                    ("NewProtocol", protocol),
                    ("NewInternalPort", "4242"),
                    ("NewInternalClient", "192.168.1.9"),
                    ("NewEnabled", "1"),
                    ("NewPortMappingDescription", label),
                    ("NewLeaseDuration", lease),
                ]
            };
            match index.as_str() {
                "0" => done(asked, &row("1000", "TCP", "Kith study", "77")),
                "1" => done(asked, &row("1001", "UDP", "Kith study", "0")),
                "2" => done(asked, &row("odd", "TCP", "Kith study", "0")),
                "3" => done(asked, &row("1003", "TCP", "a game", "0")),
                "4" => done(asked, &row("1004", "TCP", "Kith attic", "0")),
                _ => fault(713, "SpecifiedArrayIndexInvalid"),
            }
        }),
    );
    let fake = fake.await;
    let upnp = fake.found().await;
    let Answer::Entries(entries) = fake.ask(&upnp, Request::Entries { label: "Kith".to_owned() }).await
    else {
        panic!("no entries")
    };
    let entries: Vec<_> =
        entries.iter().map(|entry| (entry.external_port, entry.left, entry.label.as_str())).collect();
    assert_eq!(entries, [(1000, Some(Duration::from_secs(77)), "Kith study"), (1004, None, "Kith attic")]);
    assert_eq!(fake.asked().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_table_without_an_end_is_read_only_so_far() {
    let fake = Fake::start(HERE, router(IP1, |asked| done(asked, &[("NewExternalPort", "odd")]))).await;
    let upnp = fake.found().await;
    let answer = fake.ask(&upnp, Request::Entries { label: String::new() }).await;
    assert_eq!(answer, Answer::Nonsense("its table of mappings has 128 entries or more".to_owned()));
    assert_eq!(fake.asked().len(), 128);
    let empty = Fake::start(HERE, router(IP1, |_| fault(713, ""))).await;
    let upnp = empty.found().await;
    assert_eq!(empty.ask(&upnp, Request::Entries { label: String::new() }).await, Answer::Entries(vec![]));
    let off = Fake::start(HERE, router(IP1, |_| fault(606, ""))).await;
    let upnp = off.found().await;
    let answer = off.ask(&upnp, Request::Entries { label: String::new() }).await;
    assert_eq!(answer, refused(RefusalKind::NotAuthorized, 606, ""));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_was_not_read_to_its_end_is_no_answer() {
    let check = async |third: fn() -> Say, expected: Answer| {
        let fake = Fake::start(
            HERE,
            router(IP1, move |asked| match asked.value("NewPortMappingIndex") {
                "0" | "1" => done(asked, &[("NewExternalPort", "odd")]),
                _ => third(),
            }),
        );
        let fake = fake.await;
        let upnp = fake.found().await;
        assert_eq!(fake.ask(&upnp, Request::Entries { label: String::new() }).await, expected);
        assert_eq!(upnp.devices.lock().unwrap().len(), 1, "the device is known on");
    };
    let broken = || Answer::Nonsense("its table of mappings breaks off after 2 entries".to_owned());
    check(|| Say::ThenHang(vec![]), Answer::Silent).await;
    check(|| Say::Raw(vec![]), broken()).await;
    check(|| Say::Raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()), broken()).await;
    check(|| fault(402, ""), Answer::Entries(vec![])).await;
}

#[tokio::test(start_paused = true)]
async fn a_reserved_port_is_taken_only_if_it_was_wished_for() {
    let check = async |client: &'static str, wished: u16, expected: Answer, deletes: usize| {
        let fake = Fake::start(
            HERE,
            router(IP2, move |asked| match asked.action.as_str() {
                "AddAnyPortMapping" => done(asked, &[("NewReservedPort", "443")]),
                "GetSpecificPortMappingEntry" => entry(asked, client, "4242", "Kith", "3600"),
                _ => done(asked, &[]),
            }),
        );
        let fake = fake.await;
        let upnp = fake.found().await;
        let request = MapRequest { any_port: true, ..map(wished) };
        assert_eq!(fake.ask(&upnp, Request::Map(request)).await, expected);
        let deleted = fake.asked().into_iter().filter(|asked| asked.action == "DeletePortMapping");
        assert_eq!(deleted.count(), deletes, "{client} {wished}");
    };
    let hour = granted(443, Lifetime::Seconds(3600), None);
    let no = || refused(RefusalKind::Other, 0, "the router chose port 443, which is not for programs");
    check(HERE, 443, hour, 0).await;
    check(HERE, 4242, no(), 1).await;
    check("127.0.0.9", 4242, no(), 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_does_not_hide_the_one_that_is_up() {
    for dead in ["silent", "closed"] {
        let fake = Fake::start(HERE, move |asked| match (asked.path.as_str(), asked.action.as_str()) {
            (_, "") => description(&[(IP1, "/ip"), (PPP1, "/ppp")]).into(),
            ("/ip", _) if dead == "silent" => Say::ThenHang(vec![]),
            ("/ip", _) => Say::Raw(vec![]),
            (_, "GetStatusInfo") => done(asked, &[("NewConnectionStatus", "Connected")]),
            (_, "GetExternalIPAddress") => done(asked, &[("NewExternalIPAddress", "11.0.113.5")]),
            _ => ours(asked, "3600"),
        });
        let fake = fake.await;
        let begin = Instant::now();
        let upnp = fake.found().await;
        assert!(begin.elapsed() < Duration::from_secs(2), "{dead}: {:?}", begin.elapsed());
        let answer = fake.ask(&upnp, Request::ReadBack { external_port: 4242 }).await;
        assert!(matches!(answer, Answer::Entry(Some(_))), "{dead}: {answer:?}");
        assert_eq!(fake.asked()[0].path, "/ppp", "{dead}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_connections_that_are_down_the_one_that_answers_is_asked() {
    let fake = Fake::start(HERE, |asked| match (asked.path.as_str(), asked.action.as_str()) {
        (_, "") => description(&[(IP1, "/ip"), (PPP1, "/ppp")]).into(),
        ("/ip", _) => Say::ThenHang(vec![]),
        _ => fault(501, ""),
    });
    let answer = fake.await.ask(&Upnp::default(), Request::Discover).await;
    assert_eq!(answer, refused(RefusalKind::Failed, 501, ""));
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_is_up_is_the_one_that_counts() {
    let fake = Fake::start(HERE, |asked| {
        let up = asked.path == "/ppp";
        match asked.action.as_str() {
            "" => description(&[(IP1, "/ip"), (PPP1, "/ppp")]).into(),
            "GetStatusInfo" => {
                done(asked, &[("NewConnectionStatus", if up { "Connected" } else { "Disconnected" })])
            }
            "GetExternalIPAddress" => {
                done(asked, &[("NewExternalIPAddress", if up { "11.0.113.5" } else { "0.0.0.0" })])
            }
            "AddPortMapping" => done(asked, &[]),
            _ => ours(asked, "3600"),
        }
    });
    let fake = fake.await;
    let upnp = fake.found().await;
    let hour = granted(4242, Lifetime::Seconds(3600), None);
    assert_eq!(fake.ask(&upnp, Request::Map(map(4242))).await, hour);
    assert!(fake.asked().iter().all(|asked| asked.path == "/ppp" && asked.service == PPP1));
}

#[tokio::test(start_paused = true)]
async fn a_control_url_without_a_slash_is_found_below_the_root_too() {
    let fake = Fake::with_locations(
        HERE,
        |http| vec![format!("http://{http}/upnp/desc.xml")],
        |asked| match (asked.path.as_str(), asked.action.as_str()) {
            (_, "") => description(&[(IP1, "ctl")]).into(),
            ("/ctl", _) => done(asked, &[("NewExternalIPAddress", "11.0.113.5")]),
            _ => Say::Raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        },
    );
    fake.await.found().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_port_closed_is_forgotten() {
    let mut fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let upnp = fake.found().await;
    fake.stop().await;
    assert_eq!(fake.ask(&upnp, Request::Map(map(4242))).await, Answer::Closed);
    assert!(upnp.devices.lock().unwrap().is_empty());
    // It was known where it was: that nobody listens there now is more than silence.
    let mut fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let upnp = fake.found().await;
    fake.stop().await;
    assert_eq!(fake.ask(&upnp, Request::Discover).await, Answer::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_know_its_own_service_any_more_is_forgotten() {
    let fake = Fake::start(
        HERE,
        router(IP1, |_| Say::Raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec())),
    );
    let fake = fake.await;
    let upnp = fake.found().await;
    assert_eq!(fake.ask(&upnp, Request::Map(map(4242))).await, Answer::Closed);
    assert!(upnp.devices.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_devices_are_remembered() {
    let fake = Fake::start(HERE, router(IP1, |_| fault(501, ""))).await;
    let upnp = Upnp::default();
    for index in 0..40 {
        let mut uplink = fake.uplink();
        uplink.interface = format!("none{index}");
        let answer = upnp.ask_at(&uplink, Request::Discover, fake.places()).await;
        assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
    }
    assert_eq!(upnp.devices.lock().unwrap().len(), 16);
}

fn pinhole(pinhole: Option<u16>) -> Request {
    Request::Map(MapRequest { pinhole, ..map(4242) })
}

#[tokio::test(start_paused = true)]
async fn a_pinhole_is_made_renewed_and_closed() {
    let fake = Fake::start(
        "::1",
        router(FIREWALL, |asked| match asked.action.as_str() {
            "AddPinhole" => done(asked, &[("UniqueID", "7")]),
            _ if asked.value("UniqueID") == "7" => done(asked, &[]),
            _ => fault(704, "NoSuchEntry"),
        }),
    );
    let fake = fake.await;
    let upnp = Upnp::default();
    let Answer::Found(found) = fake.ask(&upnp, Request::Discover).await else { panic!("not found") };
    assert_eq!((found.external_ip, found.any_port, found.readable, found.page), (None, false, false, None));
    let hour = Lifetime::Seconds(3600);
    assert_eq!(fake.ask(&upnp, pinhole(None)).await, granted(4242, hour, Some(7)));
    let add = fake.asked().into_iter().find(|asked| asked.action == "AddPinhole").unwrap();
    let values = [
        ("RemoteHost", ""),
        ("RemotePort", "0"),
        ("InternalClient", "::1"),
        ("InternalPort", "4242"),
        ("Protocol", "6"),
        ("LeaseTime", "3600"),
    ];
    for (name, value) in values {
        assert_eq!(add.value(name), value, "{name}");
    }
    assert_eq!(fake.ask(&upnp, pinhole(Some(7))).await, granted(4242, hour, Some(7)));
    assert_eq!(fake.actions().last().unwrap(), "UpdatePinhole");
    let close = |pinhole| Request::Unmap(UnmapRequest { pinhole, ..unmap(4242) });
    assert_eq!(fake.ask(&upnp, close(None)).await, Answer::Unmapped);
    assert_eq!(fake.actions().last().unwrap(), "UpdatePinhole");
    assert_eq!(fake.ask(&upnp, close(Some(7))).await, Answer::Unmapped);
    assert_eq!(fake.actions().last().unwrap(), "DeletePinhole");
    let answer = fake.ask(&upnp, Request::ReadBack { external_port: 4242 }).await;
    assert!(matches!(answer, Answer::Refused(Refusal { kind: RefusalKind::Unsupported, .. })));
    let forever = MapRequest { lifetime: Lifetime::Permanent, ..map(4242) };
    assert_eq!(
        fake.ask(&upnp, Request::Map(forever)).await,
        granted(4242, Lifetime::Seconds(86_400), Some(7))
    );
}

#[tokio::test(start_paused = true)]
async fn a_number_that_the_router_did_not_give_since_it_was_found_is_somebody_elses() {
    let fake = Fake::start(
        "::1",
        router(FIREWALL, |asked| match asked.action.as_str() {
            "AddPinhole" => done(asked, &[("UniqueID", "8")]),
            _ => done(asked, &[]),
        }),
    );
    let fake = fake.await;
    let upnp = fake.found().await;
    let close = |number| Request::Unmap(UnmapRequest { pinhole: Some(number), ..unmap(4242) });
    let new = granted(4242, Lifetime::Seconds(3600), Some(8));
    let mut asked = vec!["GetFirewallStatus", "AddPinhole"];
    // Of a former run.
    assert_eq!(fake.ask(&upnp, close(7)).await, Answer::Unmapped);
    assert_eq!(fake.ask(&upnp, pinhole(Some(7))).await, new);
    assert_eq!(fake.actions(), asked);
    assert_eq!(fake.ask(&upnp, pinhole(Some(8))).await, new);
    asked.push("UpdatePinhole");
    assert_eq!(fake.actions(), asked);
    // Of before a restart of the router, which made a search necessary.
    assert!(matches!(fake.ask(&upnp, Request::Discover).await, Answer::Found(_)));
    let asked = fake.actions().len();
    assert_eq!(fake.ask(&upnp, close(8)).await, Answer::Unmapped);
    assert_eq!(fake.ask(&upnp, pinhole(Some(8))).await, new);
    assert_eq!(fake.actions()[asked..], ["GetFirewallStatus", "AddPinhole"]);
    assert_eq!(fake.ask(&upnp, close(8)).await, Answer::Unmapped);
    assert_eq!(fake.actions().last().unwrap(), "DeletePinhole");
}

#[tokio::test(start_paused = true)]
async fn a_firewall_that_is_closed_to_programs_says_so_and_one_that_is_off_needs_no_pinhole() {
    let closed = Fake::start("::1", |asked| match asked.action.as_str() {
        "" => description(&[(FIREWALL, "/ctl")]).into(),
        _ => done(asked, &[("FirewallEnabled", "1"), ("InboundPinholeAllowed", "0")]),
    });
    let answer = closed.await.ask(&Upnp::default(), Request::Discover).await;
    assert!(
        matches!(&answer, Answer::Refused(Refusal { kind: RefusalKind::NotAuthorized, code: 703, words }) if !words.is_empty()),
        "{answer:?}"
    );
    let off = Fake::start("::1", router(FIREWALL, |_| fault(702, "FirewallDisabled"))).await;
    let upnp = off.found().await;
    assert_eq!(off.ask(&upnp, pinhole(None)).await, granted(4242, Lifetime::Seconds(3600), None));
    for (code, kind) in [
        (606, RefusalKind::NotAuthorized),
        (701, RefusalKind::NoResources),
        (703, RefusalKind::NotAuthorized),
        (705, RefusalKind::Unsupported),
        (708, RefusalKind::Other),
    ] {
        let fake = Fake::start("::1", router(FIREWALL, move |_| fault(code, ""))).await;
        let upnp = fake.found().await;
        assert_eq!(fake.ask(&upnp, pinhole(None)).await, refused(kind, code, ""));
    }
}
