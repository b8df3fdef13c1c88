use std::net::IpAddr;

use kith_network::{Address, Interface, InterfaceKind, Snapshot};
use proptest::prelude::*;

use super::super::description::{self, Described, Kind, Malformed};
use super::super::device;
use super::super::endpoint::{Endpoint, Rank};
use super::super::printable::printable;
use super::super::soap::{self, Arguments, Response};
use super::super::ssdp::{self, News, Notify, Reply};
use super::fake::{FIREWALL, IP1, IP2};
use crate::Uplink;

fn home(gateway: &str, local: &str) -> Uplink {
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    Uplink { index: 3, interface: "eth0".to_owned(), gateway: parse(gateway), local: parse(local) }
}

#[test]
fn a_search_names_its_place_without_a_zone() {
    let text = ssdp::search("[fe80::1%3]:1900".parse().unwrap(), "upnp:rootdevice");
    assert!(text.starts_with("M-SEARCH * HTTP/1.1\r\nHOST: [fe80::1]:1900\r\n"), "{text}");
    assert!(text.contains("\r\nMAN: \"ssdp:discover\"\r\n") && text.ends_with("ST: upnp:rootdevice\r\n\r\n"));
}

#[test]
fn replies_to_searches_are_read() {
    let check = |datagram: &str, expected: Option<(&str, bool)>| {
        let expected = expected.map(|(location, gateway)| Reply { location: location.to_owned(), gateway });
        assert_eq!(ssdp::reply(datagram.as_bytes()), expected, "{datagram}");
    };
    let gateway = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
    check(
        &format!("HTTP/1.1 200 OK\r\nST: {gateway}\r\nLocation:http://192.168.1.1:5000/a.xml\r\n\r\n"),
        Some(("http://192.168.1.1:5000/a.xml", true)),
    );
    check("HTTP/1.0 200\nlocation : x \nusn: uuid:1::urn:x:service:WANIPConnection:1\n\n", Some(("x", true)));
    check("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: x\r\n", Some(("x", false)));
    check("HTTP/1.1 200 OK\r\nLOCATION: first\r\nLOCATION: second\r\n\r\n", Some(("first", false)));
    check(&format!("HTTP/1.1 200 OK\r\nST: {gateway}\r\n\r\nLOCATION: in the body\r\n"), None);
    check("HTTP/1.1 404 Not Found\r\nLOCATION: x\r\n\r\n", None);
    check("M-SEARCH * HTTP/1.1\r\nLOCATION: x\r\n\r\n", None);
    check(&format!("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1/{}\r\n\r\n", "a".repeat(2000)), None);
    check(&format!("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1/{}\r\n\r\n", "a".repeat(10_000)), None);
    check("", None);
    assert_eq!(
        ssdp::reply(b"HTTP/1.1 200 OK\r\nSERVER: \xff\xfe\r\nLOCATION: x\r\n\r\n").unwrap().location,
        "x"
    );
}

#[test]
fn announcements_are_read() {
    let check = |nts: &str, nt: &str, expected: Option<(News, bool)>| {
        let datagram =
            format!("NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: {nt}\r\nNTS: {nts}\r\n\r\n");
        let expected = expected.map(|(news, gateway)| Notify { news, gateway });
        assert_eq!(ssdp::notify(datagram.as_bytes()), expected, "{datagram}");
    };
    let gateway = "urn:schemas-upnp-org:device:InternetGatewayDevice:2";
    check("ssdp:alive", gateway, Some((News::Alive, true)));
    check("ssdp:byebye", "urn:schemas-upnp-org:device:WANDevice:1", Some((News::ByeBye, true)));
    check("ssdp:update", IP1, Some((News::Update, true)));
    check("ssdp:alive", "urn:schemas-upnp-org:device:MediaServer:1", Some((News::Alive, false)));
    check("ssdp:other", gateway, None);
    assert_eq!(ssdp::notify(b"NOTIFY /x HTTP/1.1\r\nNTS: ssdp:alive\r\n\r\n"), None);
    assert_eq!(ssdp::notify(b"NOTIFY * HTTP/1.1\r\nNT: x\r\n\r\n"), None);
}

/// A computer at two networks by `eth0`, at the same home by `wlan0`, and with containers.
fn network() -> Snapshot {
    let interface = |index, name: &str, kind, addresses: &[(&str, u8)]| Interface {
        index,
        name: name.to_owned(),
        kind,
        addresses: addresses
            .iter()
            .map(|(ip, prefix)| Address { ip: ip.parse().unwrap(), prefix: *prefix, temporary: false })
            .collect(),
    };
    let at_eth0 = [
        ("192.168.1.23", 24),
        ("10.7.0.23", 16),
        ("169.254.7.23", 16),
        ("2001:db8:1:2::23", 128),
        ("2001:db8:1:2::aaaa", 64),
        ("fd77::23", 64),
        ("fe80::23", 64),
    ];
    Snapshot {
        interfaces: vec![
            interface(3, "eth0", InterfaceKind::Physical, &at_eth0),
            interface(4, "wlan0", InterfaceKind::Physical, &[("192.168.1.24", 24), ("fe80::24", 64)]),
            interface(5, "docker0", InterfaceKind::Container, &[("172.17.0.1", 16)]),
        ],
        ..Snapshot::default()
    }
}

fn check_place(
    snapshot: &Snapshot,
    uplink: &Uplink,
    location: &str,
    from: &str,
    expected: Option<(&str, Rank)>,
) {
    let found = Endpoint::of_location(location, uplink, snapshot, from.parse().unwrap());
    let found = found.map(|(endpoint, rank)| (format!("{}{}", endpoint.address, endpoint.path), rank));
    assert_eq!(found, expected.map(|(place, rank)| (place.to_owned(), rank)), "{location} from {from}");
}

#[test]
fn the_gateway_is_believed_and_others_about_themselves_alone() {
    let v4 = home("192.168.1.1", "192.168.1.23");
    let gateway = "192.168.1.1";
    for snapshot in [Snapshot::default(), network()] {
        let check = |uplink: &Uplink, location: &str, from: &str, expected: Option<(&str, Rank)>| {
            check_place(&snapshot, uplink, location, from, expected);
        };
        check(&v4, "http://192.168.1.1:5000/d.xml", gateway, Some(("192.168.1.1:5000/d.xml", Rank::Gateway)));
        check(&v4, "http://192.168.1.1/d?a=b#c", gateway, Some(("192.168.1.1:80/d?a=b", Rank::Gateway)));
        check(&v4, "http://192.168.1.2:80/d", gateway, Some(("192.168.1.2:80/d", Rank::ByGateway)));
        check(&v4, "http://192.168.1.7:80/d", "192.168.1.7", Some(("192.168.1.7:80/d", Rank::Other)));
        // A neighbour would have us ask the gateway, or another neighbour, what he likes.
        check(&v4, "http://192.168.1.1/reboot?now", "192.168.1.9", None);
        check(&v4, "http://192.168.1.7:80/d", "192.168.1.8", None);
        for refused in [
            "http://127.0.0.1:80/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0.0.0.0:80/",
            "http://8.8.8.8/",
            "http://10.9.9.9/",
            "http://172.17.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://192.168.1.255.nip.io/",
            "http://239.255.255.250/",
            "http://192.168.1.23/",
            "http://192.168.1.1:0/",
            "http://192.168.1.1:99999/",
            "http://user@192.168.1.1/",
            "http://[fe80::1]/",
            "http://[::ffff:127.0.0.1]/",
            "https://192.168.1.1/",
            "ftp://192.168.1.1/",
            "file:///etc/passwd",
            "192.168.1.1/",
            "http://",
            "",
        ] {
            check(&v4, refused, gateway, None);
            check(&v4, refused, "192.168.1.9", None);
        }
        // Whoever is not on the link is not heard, whatever he says of whom.
        for far in ["8.8.8.8", "10.9.9.9", "127.0.0.1", "172.17.0.1", "172.17.0.2", "169.254.169.254"] {
            check(&v4, &format!("http://{far}/"), far, None);
            check(&v4, "http://192.168.1.50/", far, None);
            check(&v4, "http://192.168.1.1/", far, None);
        }
        let long = format!("http://192.168.1.1/{}", "a".repeat(10_000));
        check(&v4, &long, gateway, None);
        // A gateway whose own address is public, as at some universities, is the gateway all the same.
        let public = home("11.0.113.1", "11.0.113.7");
        check(&public, "http://11.0.113.1:5000/", "11.0.113.1", Some(("11.0.113.1:5000/", Rank::Gateway)));
        check(&public, "http://11.0.113.2:5000/", "11.0.113.1", None);

        let v6 = home("fe80::1", "2001:db8:1:2::23");
        check(&v6, "http://[fe80::1%25eth0]:80/", "fe80::1", Some(("[fe80::1%3]:80/", Rank::Gateway)));
        check(&v6, "http://[fe80::2]:80/", "fe80::1", Some(("[fe80::2%3]:80/", Rank::ByGateway)));
        check(&v6, "http://[fe80::2]:80/", "fe80::3", None);
        check(&v6, "http://[fe80::1]:80/", "fe80::3", None);
        let global = "http://[2001:db8:1:2::1]/";
        check(&v6, global, "2001:db8:1:2::1", Some(("[2001:db8:1:2::1]:80/", Rank::Other)));
        check(&v6, global, "fe80::1", Some(("[2001:db8:1:2::1]:80/", Rank::ByGateway)));
        check(&v6, global, "fe80::3", None);
        check(&v6, "http://[fd00::1]/", "fe80::1", None);
        check(&v6, "http://[fd00::1]/", "fd00::1", None);
        check(&v6, "http://[2001:db8:9:9::1]/", "2001:db8:9:9::1", None);
        check(&v6, "http://[::1]/", "fe80::1", None);
        check(&v6, "http://192.168.1.1/", "fe80::1", None);
    }
}

#[test]
fn no_address_of_this_computer_is_a_place_and_no_other_network() {
    let (v4, v6) = (home("192.168.1.1", "192.168.1.23"), home("fe80::1", "2001:db8:1:2::23"));
    let check = |uplink: &Uplink, location: &str, from: &str, expected: Option<(&str, Rank)>| {
        check_place(&network(), uplink, location, from, expected);
    };
    // Whoever says so: the address can be forged.
    for (uplink, ours) in [
        (&v4, "192.168.1.24"),
        (&v4, "10.7.0.23"),
        (&v4, "172.17.0.1"),
        (&v6, "[2001:db8:1:2::aaaa]"),
        (&v6, "[fd77::23]"),
        (&v6, "[fe80::23]"),
        (&v6, "[fe80::24]"),
    ] {
        let location = format!("http://{ours}:4243/");
        check(uplink, &location, ours.trim_matches(['[', ']']), None);
        check(uplink, &location, &uplink.gateway.to_string(), None);
    }
    // A gateway that would be this computer is none.
    check(&home("192.168.1.24", "192.168.1.23"), "http://192.168.1.24/", "192.168.1.24", None);
    // Near is what the interface says, at this interface alone.
    check(&v4, "http://10.7.9.9/", "10.7.9.9", Some(("10.7.9.9:80/", Rank::Other)));
    check(&v4, "http://10.8.9.9/", "10.8.9.9", None);
    check(&v4, "http://172.17.0.9/", "192.168.1.1", None);
    check(&v6, "http://[fd77::9]/", "fe80::1", Some(("[fd77::9]:80/", Rank::ByGateway)));
    check(&v6, "http://[fd78::9]/", "fe80::1", None);
    // Addresses without a router are for uplinks that have one themselves.
    check(&v4, "http://169.254.7.1/", "192.168.1.1", None);
    check(&v4, "http://169.254.169.254/", "169.254.169.254", None);
    let bare = home("169.254.7.1", "169.254.7.23");
    check(&bare, "http://169.254.7.2/", "169.254.7.1", Some(("169.254.7.2:80/", Rank::ByGateway)));
}

#[test]
fn a_device_that_is_not_the_gateway_is_named_with_its_address() {
    let check = |maker: &str, model: &str, expected: &str| {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let described =
            description::Description { maker: known(maker), model: known(model), ..Default::default() };
        let named = device::model(&described, Some("192.168.1.2".parse().unwrap()));
        assert_eq!(named.as_deref(), Some(expected));
    };
    check("Maker", "Model 7", "Maker Model 7 at 192.168.1.2");
    check("", "", "a device at 192.168.1.2");
    let long = "x".repeat(100);
    check("", &long, &format!("{} at 192.168.1.2", "x".repeat(49)));
}

#[test]
fn urls_of_services_are_understood_in_all_their_spellings_and_stay_on_their_host() {
    let check = |location: &str, base: Option<&str>, control: &str, expected: &[&str]| {
        let uplink = home("192.168.1.1", "192.168.1.23");
        let (location, _) =
            Endpoint::of_location(location, &uplink, &Snapshot::default(), uplink.gateway).unwrap();
        let found = location.services(base, control);
        let found: Vec<_> = found.iter().map(|found| format!("{}{}", found.address, found.path)).collect();
        assert_eq!(found, expected, "{base:?} {control}");
    };
    let root = "http://192.168.1.1:5000/root.xml";
    let below = "http://192.168.1.1:5000/upnp/root.xml";
    check(root, None, "/ctl/IPConn", &["192.168.1.1:5000/ctl/IPConn"]);
    check(root, None, "ctl/IPConn", &["192.168.1.1:5000/ctl/IPConn"]);
    check(below, None, "ctl", &["192.168.1.1:5000/upnp/ctl", "192.168.1.1:5000/ctl"]);
    check(root, None, "http://192.168.1.1:49000/c?x", &["192.168.1.1:49000/c?x"]);
    check(root, None, "http://router.lan:49000/c", &["192.168.1.1:49000/c"]);
    check(root, Some("http://192.168.1.1:80/"), "/c", &["192.168.1.1:80/c"]);
    check(root, Some("http://192.168.1.1:80"), "c", &["192.168.1.1:80/c"]);
    check(root, Some("http://192.168.0.1:80/"), "/c", &["192.168.1.1:5000/c"]);
    check(root, Some("nonsense"), "/c", &["192.168.1.1:5000/c"]);
    for refused in
        ["", "http://8.8.8.8/c", "https://192.168.1.1/c", "//192.168.1.9/c", "http://192.168.1.1:0/c"]
    {
        check(root, None, refused, &[]);
    }
}

#[test]
fn a_description_is_read_whatever_else_is_in_it() {
    let text = format!(
        "\u{feff}<?xml version=\"1.0\"?>\n<!-- x --><r:root xmlns:r=\"urn:schemas-upnp-org:device-1-0\"><URLBase> http://192.168.1.1/ </URLBase>\
         <device><manufacturer>AT&T &amp; <![CDATA[<Söhne>]]></manufacturer><modelName>Box &#55;</modelName>\
         <serviceList><service><serviceType>urn:other</serviceType><controlURL>/other</controlURL></service></serviceList>\
         <deviceList><device><modelName>inner</modelName><serviceList><service><controlURL>/one</controlURL>\
         <serviceType>\n{IP1}\n</serviceType></service><service><serviceType>{FIREWALL}</serviceType></service>\
         <service><serviceType>{IP2}</serviceType><controlURL>/two</controlURL></service></serviceList></device></deviceList>\
         </device></r:root>\n\0\0 and more"
    );
    let found = description::parse(text.as_bytes()).unwrap();
    assert_eq!(found.base.as_deref(), Some("http://192.168.1.1/"));
    assert_eq!(found.maker.as_deref(), Some("AT&T & <Söhne>"));
    assert_eq!(found.model.as_deref(), Some("Box 7"));
    let service = |kind, control: &str| Described { kind, control: control.to_owned() };
    assert_eq!(found.services, [service(Kind::Ip1, "/one"), service(Kind::Ip2, "/two")]);
}

#[test]
fn a_name_in_another_encoding_spoils_only_itself() {
    let text = b"<root><device><modelName>Fritz\xe9</modelName><x/></device></root>";
    assert_eq!(description::parse(text).unwrap().model.as_deref(), Some("Fritz\u{fffd}"));
}

#[test]
fn descriptions_that_are_attacks_are_refused() {
    let check = |document: &str, expected: Malformed| {
        assert_eq!(description::parse(document.as_bytes()), Err(expected), "{:.60}", document);
    };
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE root [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]><root>&b;</root>";
    check(bomb, Malformed::Doctype);
    check("<!DOCTYPE root SYSTEM \"file:///etc/passwd\"><root/>", Malformed::Doctype);
    check("<root>&lol;</root>", Malformed::Entity);
    check("<root>&#xFFFFFFFFF;</root>", Malformed::Entity);
    check(&"<a>".repeat(100_000 / 3), Malformed::Depth);
    check(&format!("<root>{}", "x".repeat(300_000)), Malformed::Size);
    check("<root><device>", Malformed::Syntax);
    check("<root></device>", Malformed::Syntax);
    check("", Malformed::Syntax);
    check("no XML", Malformed::Syntax);
    check("<html><body>404</body></html>", Malformed::Other);
    check(&format!("<{}/>", "n".repeat(1000)), Malformed::Syntax);
}

#[test]
fn what_is_too_long_or_too_much_is_left_out() {
    let services = "<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/c</controlURL></service>";
    let text = format!(
        "<root><device><modelName>{}</modelName>{}</device></root>",
        "m".repeat(9000),
        services.repeat(900)
    );
    let found = description::parse(text.as_bytes()).unwrap();
    assert_eq!(found.model, None);
    assert_eq!(found.services.len(), 8);
}

#[test]
fn responses_are_read() {
    let envelope = |body: &str| {
        format!("<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"x\"><s:Body>{body}</s:Body></s:Envelope>")
    };
    let read = |body: &str| soap::response(envelope(body).as_bytes());
    let values =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    assert_eq!(
        read("<u:AResponse><NewX> 7 </NewX><NewY></NewY><NewZ/></u:AResponse>"),
        Ok(Response::Done(Arguments {
            name: "AResponse".to_owned(),
            values: values(&[("NewX", "7"), ("NewY", ""), ("NewZ", "")])
        }))
    );
    let fault = |detail: &str| read(&format!("<s:Fault><detail>{detail}</detail></s:Fault>"));
    let said = |code, words: &str| Ok(Response::Fault { code, words: words.to_owned() });
    let error =
        |code: &str, words: &str| format!("<UPnPError><errorCode>{code}</errorCode>{words}</UPnPError>");
    assert_eq!(
        fault(&error("718", "<errorDescription>Conflict\u{202e}\n</errorDescription>")),
        said(718, "Conflict")
    );
    assert_eq!(fault(&error(" 725 ", "<errorDescription></errorDescription>")), said(725, ""));
    assert_eq!(fault(&error("725", "<errorDescription/>")), said(725, ""));
    assert_eq!(fault(&error("725", "")), said(725, ""));
    assert_eq!(fault(&error("", "")), Err(Malformed::Other));
    assert_eq!(fault(&error("-1", "")), Err(Malformed::Other));
    assert_eq!(fault(&error("99999", "")), Err(Malformed::Other));
    assert_eq!(fault(""), Err(Malformed::Other));
    assert_eq!(read(""), Err(Malformed::Other));
    assert_eq!(soap::response(b"<html/>"), Err(Malformed::Other));
    assert_eq!(soap::response(envelope("<!DOCTYPE x>").as_bytes()), Err(Malformed::Doctype));
    assert_eq!(soap::response(&vec![b' '; 70_000]), Err(Malformed::Size));
    let long =
        fault(&error("501", &format!("<errorDescription>{}</errorDescription>", "w".repeat(5000)))).unwrap();
    assert_eq!(long, Response::Fault { code: 501, words: "w".repeat(120) });
}

#[test]
fn what_igd_next_gets_is_written_anew() {
    let arguments = Arguments {
        name: "XResponse".to_owned(),
        values: vec![("NewLabel".to_owned(), "<b> & \u{1}".to_owned())],
    };
    let text = arguments.render();
    assert!(text.contains("<XResponse><NewLabel>&lt;b&gt; &amp;  </NewLabel></XResponse>"), "{text}");
    let expected = Arguments { values: vec![("NewLabel".to_owned(), "<b> &".to_owned())], ..arguments };
    assert_eq!(soap::response(text.as_bytes()), Ok(Response::Done(expected)));
}

#[test]
fn words_of_routers_are_made_printable() {
    let check = |text: &str, expected: &str| assert_eq!(printable(text, 12), expected, "{text:?}");
    check("  FRITZ!Box\n\t7590 ", "FRITZ!Box 75");
    check("a\u{1b}[31mred", "a [31mred");
    check("\u{202e}evil\u{200b}", "evil");
    check("Größe 7 ✓", "Größe 7 ✓");
    check("exactly 12 c", "exactly 12 c");
    check("a b c d e f g h i", "a b c d e f");
    check("\u{0}\u{1}", "");
}

/// What a parser makes of garbage does not matter here, only that it comes back.
fn ignore<T>(_: T) {}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        ignore(ssdp::reply(&bytes));
        ignore(ssdp::notify(&bytes));
        ignore(description::parse(&bytes));
        ignore(soap::response(&bytes));
    }

    #[test]
    fn no_damage_to_a_document_makes_a_parser_panic(at in 0usize..4000, with in any::<u8>(), cut in 0usize..4000) {
        let description = super::fake::description(&[(IP1, "/a"), (FIREWALL, "http://[fe80::1%25x]/b")]);
        let soap = "<s:Envelope xmlns:s=\"x\"><s:Body><u:AResponse><NewX>&#7;&amp;<![CDATA[x]]></NewX></u:AResponse></s:Body></s:Envelope>";
        for document in [description.as_str(), soap, "HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: http://a/\r\n\r\n"] {
            let mut bytes = document.as_bytes().to_vec();
            let length = bytes.len();
            bytes[at % length] = with;
            bytes.truncate(cut % (2 * length));
            ignore(ssdp::reply(&bytes));
            ignore(soap::response(&bytes));
            if let Ok(found) = description::parse(&bytes) {
                let uplink = home("192.168.1.1", "192.168.1.23");
                let (here, _) = Endpoint::of_location("http://192.168.1.1/d", &uplink, &Snapshot::default(), uplink.gateway).unwrap();
                for service in found.services {
                    ignore(here.services(found.base.as_deref(), &service.control));
                }
            }
        }
    }

    #[test]
    fn no_location_makes_the_check_panic(location in "(http://)?[\\[\\]a-f0-9:.%/@]{0,40}") {
        for uplink in [home("192.168.1.1", "192.168.1.23"), home("fe80::1", "2001:db8::2")] {
            ignore(Endpoint::of_location(&location, &uplink, &Snapshot::default(), uplink.gateway));
        }
    }
}
