//! The pure parts: names, routes, ranges, counting.

use http::{Method, Uri};
use proptest::prelude::*;

use crate::held::{HeldName, Stamp};
use crate::layout::{Layout, StateName, charge};
use crate::ledger::{LOCK_ALLOWANCE, Ledger, NoRoom};
use crate::names::{ArchiveName, NameError, Object, ObjectName, ObjectType, Owner};
use crate::range::{Part, select};
use crate::refusal::Code;
use crate::route::{Action, parse};

const NAME: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn route(method: &str, path: &str) -> Result<Action, Code> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let uri: Uri = path.parse().unwrap();
    parse(&method, &uri).map(|route| route.action).map_err(|refusal| refusal.code)
}

fn pack() -> Object {
    Object::Named(ObjectType::Data, ObjectName::parse(NAME).unwrap())
}

#[test]
fn every_request_of_the_protocol_is_recognised() {
    assert_eq!(route("POST", "/a/?create=true"), Ok(Action::Create));
    assert_eq!(route("POST", "/a/?undelete"), Ok(Action::Undelete));
    assert_eq!(route("POST", "/a/?undelete=true"), Ok(Action::Undelete));
    assert_eq!(route("HEAD", "/a/config"), Ok(Action::Head(Object::Config)));
    assert_eq!(route("GET", "/a/config"), Ok(Action::Get(Object::Config)));
    assert_eq!(route("POST", "/a/config"), Ok(Action::Store(Object::Config)));
    for kind in ["data", "index", "snapshots", "locks", "keys"] {
        let expected = ObjectType::parse(kind).unwrap();
        assert_eq!(route("GET", &format!("/a/{kind}/")), Ok(Action::List(expected)));
    }
    assert_eq!(route("HEAD", &format!("/a/data/{NAME}")), Ok(Action::Head(pack())));
    assert_eq!(route("GET", &format!("/a/data/{NAME}")), Ok(Action::Get(pack())));
    assert_eq!(route("POST", &format!("/a/data/{NAME}")), Ok(Action::Store(pack())));
    assert_eq!(route("DELETE", &format!("/a/data/{NAME}")), Ok(Action::Delete(pack())));
}

#[test]
fn what_is_not_done_is_refused_with_its_reason() {
    assert_eq!(route("DELETE", "/a/config"), Err(Code::WriteOnce));
    assert_eq!(route("POST", &format!("/a/keys/{NAME}")), Err(Code::KeysRefused));
    assert_eq!(route("DELETE", &format!("/a/keys/{NAME}")), Err(Code::KeysRefused));
    assert_eq!(route("DELETE", "/a/"), Err(Code::NotAllowed));
    assert_eq!(route("POST", "/a/"), Err(Code::BadRequest));
    assert_eq!(route("POST", "/a/?create=false"), Err(Code::BadRequest));
    assert_eq!(route("GET", "/a/"), Err(Code::MethodNotAllowed));
    assert_eq!(route("PUT", "/a/config"), Err(Code::MethodNotAllowed));
    assert_eq!(route("HEAD", "/a/data/"), Err(Code::MethodNotAllowed));
    assert_eq!(route("PATCH", &format!("/a/data/{NAME}")), Err(Code::MethodNotAllowed));
}

#[test]
fn odd_paths_lead_nowhere() {
    let upper = NAME.to_uppercase();
    for (path, code) in [
        ("/".to_owned(), Code::NotFound),
        ("/a".to_owned(), Code::NotFound),
        ("//config".to_owned(), Code::BadName),
        ("/../config".to_owned(), Code::BadName),
        ("/./config".to_owned(), Code::BadName),
        ("/.hidden/config".to_owned(), Code::BadName),
        ("/%2e%2e/config".to_owned(), Code::BadName),
        ("/A/config".to_owned(), Code::BadName),
        ("/state/config".to_owned(), Code::BadName),
        ("/held/config".to_owned(), Code::BadName),
        ("/tmp/config".to_owned(), Code::BadName),
        (format!("/{}/config", "a".repeat(65)), Code::BadName),
        ("/a/config/".to_owned(), Code::NotFound),
        ("/a/data".to_owned(), Code::NotFound),
        ("/a/held/".to_owned(), Code::NotFound),
        ("/a/data/..".to_owned(), Code::BadName),
        ("/a/data/../config".to_owned(), Code::BadName),
        ("/a/data//".to_owned(), Code::BadName),
        (format!("/a/data/00/{NAME}"), Code::BadName),
        (format!("/a/data/{NAME}/"), Code::BadName),
        (format!("/a/data/{NAME}0"), Code::BadName),
        (format!("/a/data/{upper}"), Code::BadName),
        (
            "/a/data/00112233445566778899aabbccddeeff00112233445566778899aabbccddeef%66".to_owned(),
            Code::BadName,
        ),
    ] {
        assert_eq!(route("GET", &path), Err(code), "{path}");
    }
}

#[test]
fn names_are_checked() {
    assert!(Owner::parse("ABCDEFG-2345672-0189").is_ok());
    for bad in ["", "-A", "abc", "A/B", "A.B", "..", "Ä", "A B"] {
        assert_eq!(Owner::parse(bad), Err(NameError::Owner), "{bad}");
    }
    assert!(Owner::parse(&"A".repeat(80)).is_ok());
    assert_eq!(Owner::parse(&"A".repeat(81)), Err(NameError::Owner));
    assert_eq!(Owner::parse("TMP"), Err(NameError::Reserved));
    assert!(ArchiveName::parse("0123456789abcdef0123456789abcdef").is_ok());
    assert!(ArchiveName::parse("my-laptop_1.old").is_ok());
    for reserved in ["state", "held", "tmp"] {
        assert_eq!(ArchiveName::parse(reserved), Err(NameError::Reserved));
    }
    assert_eq!("x y".parse::<ArchiveName>(), Err(NameError::Archive));
}

#[test]
fn file_names_of_held_and_state_objects_are_read_back() {
    let object = ObjectName::parse(NAME).unwrap();
    let stamp = Some(Stamp { hold: 5, arrived: 9 });
    for held in [
        HeldName { object: object.clone(), deleted: 17, stamp: None },
        HeldName { object: object.clone(), deleted: u64::MAX, stamp },
    ] {
        assert_eq!(HeldName::parse(&held.to_text()), Some(held));
    }
    assert_eq!(HeldName::parse(&format!("{NAME}.17")), Some(HeldName { object, deleted: 17, stamp: None }));
    for bad in ["", ".", ".+1", ".1.2", ".1.2.", ".1..3", ".1.2.3.4", ".1.2.x", ".99999999999999999999"] {
        assert_eq!(HeldName::parse(&format!("{NAME}{bad}")), None, "{bad}");
    }
    assert_eq!(HeldName::parse("x.1"), None);
    let owner = Owner::parse("A").unwrap();
    for name in [
        StateName { incarnation: 0, sequence: u64::MAX },
        StateName { incarnation: 7, sequence: 5 },
        StateName { incarnation: u64::MAX, sequence: 0 },
    ] {
        let path = Layout::new("/v".into()).state_object(&owner, name);
        assert_eq!(StateName::parse(path.file_name().unwrap().to_str().unwrap()), Some(name));
    }
    for bad in ["7", "99999999999999999999", "00000000000000000007.0", "00000000000000000007.01", ""] {
        assert_eq!(StateName::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_range_selects_what_the_rfc_says() {
    let check =
        |header: &str, length, expected| assert_eq!(select(Some(header), length), expected, "{header}");
    check("bytes=0-0", 10, Part::Bytes(0..1));
    check("bytes=2-5", 10, Part::Bytes(2..6));
    check("bytes=2-500", 10, Part::Bytes(2..10));
    check("bytes=4-", 10, Part::Bytes(4..10));
    check("bytes=-3", 10, Part::Bytes(7..10));
    check("bytes=-30", 10, Part::Bytes(0..10));
    check("bytes=0-99999999999999999999999", 10, Part::Bytes(0..10));
    check("bytes=10-", 10, Part::Unsatisfiable);
    check("bytes=10-20", 10, Part::Unsatisfiable);
    check("bytes=-0", 10, Part::Unsatisfiable);
    check("bytes=0-", 0, Part::Whole);
    check("bytes=5-", 0, Part::Unsatisfiable);
    for ignored in
        ["", "bytes=", "bytes=-", "bytes=5-2", "bytes=1-2,4-5", "lines=1-2", "bytes=+1-2", "bytes=a-b"]
    {
        check(ignored, 10, Part::Whole);
    }
    assert_eq!(select(None, 10), Part::Whole);
}

#[test]
fn the_ledger_keeps_both_limits() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.reserve(1, 0), Err(NoRoom::NothingOffered));
    ledger.quota = Some(100);
    ledger.reserve(60, 0).unwrap();
    assert_eq!(ledger.reserve(60, 0), Err(NoRoom::Quota { wanted: 60, used: 60, quota: 100 }));
    ledger.reserve(40, 0).unwrap();
    ledger.release(40);
    ledger.settle(60);
    assert_eq!((ledger.live, ledger.reserved), (60, 0));
    ledger.hold(60);
    ledger.reserve(100, 0).unwrap();
    ledger.settle(100);
    ledger.hold(50);
    assert_eq!((ledger.live, ledger.held), (50, 110));
    ledger.reserve(40, 0).unwrap();
    assert_eq!(ledger.reserve(10, 0), Err(NoRoom::Held { held: 110, live: 90, quota: 100 }));
    ledger.reserve(10, LOCK_ALLOWANCE).unwrap();
}

#[test]
fn what_comes_back_counts_as_live_again_and_makes_no_room() {
    let mut ledger = Ledger { live: 100, quota: Some(100), ..Ledger::default() };
    ledger.hold(100);
    ledger.reserve(100, 0).unwrap();
    ledger.settle(100);
    // Together they are twice the quota: not one byte more, whichever of them is live.
    assert_eq!(ledger.reserve(1, 0), Err(NoRoom::Quota { wanted: 1, used: 100, quota: 100 }));
    ledger.unhold(60);
    assert_eq!((ledger.live, ledger.held), (160, 40));
    assert_eq!(ledger.reserve(1, 0), Err(NoRoom::Quota { wanted: 1, used: 160, quota: 100 }));
    ledger.hold(160);
    assert_eq!(ledger.reserve(1, 0), Err(NoRoom::Held { held: 200, live: 0, quota: 100 }));
    // Only the end of the hold window makes room.
    ledger.erase_held(1);
    ledger.reserve(1, 0).unwrap();
    assert!(NoRoom::Held { held: 200, live: 0, quota: 100 }.to_string().contains("hold window"));
}

#[test]
fn files_count_in_whole_blocks() {
    assert_eq!([0, 1, 4096, 4097].map(charge), [4096, 4096, 4096, 8192]);
}

proptest! {
    #[test]
    fn no_path_leads_out_of_its_archive(text in "[ -~]{0,40}", suffix in prop_oneof![
        Just(String::new()), "[./%a-f0-9]{0,80}", Just(format!("/data/{NAME}")), Just("/config".to_owned()),
    ]) {
        let Ok(uri) = format!("/{text}{suffix}").parse::<Uri>() else { return Ok(()) };
        for method in [Method::GET, Method::POST, Method::DELETE, Method::HEAD] {
            let Ok(route) = parse(&method, &uri) else { continue };
            let layout = Layout::new("/vault".into());
            let owner = Owner::parse("OWNER").unwrap();
            let archive = layout.archive(&owner, &route.archive);
            prop_assert_eq!(archive.components().count(), 4);
            prop_assert!(archive.components().all(|c| c.as_os_str() != ".."));
            let object = match route.action {
                Action::Head(object) | Action::Get(object) | Action::Store(object) | Action::Delete(object) => object,
                Action::List(_) | Action::Create | Action::Undelete => continue,
            };
            let path = layout.object(&owner, &route.archive, &object);
            prop_assert!(path.starts_with(&archive));
            prop_assert!(path.components().all(|c| c.as_os_str() != ".."));
        }
    }

    #[test]
    fn a_selected_range_lies_within_the_file(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0_u64..2000) {
        if let Part::Bytes(bytes) = select(Some(&header), length) {
            prop_assert!(bytes.start < bytes.end && bytes.end <= length);
        }
    }

    #[test]
    fn accepted_names_are_single_path_components(name in ".{0,90}") {
        for accepted in [Owner::parse(&name).is_ok(), ArchiveName::parse(&name).is_ok(), ObjectName::parse(&name).is_ok()] {
            if accepted {
                prop_assert!(!name.contains('/') && !name.starts_with('.') && !name.contains('\0') && !name.is_empty());
            }
        }
    }
}
