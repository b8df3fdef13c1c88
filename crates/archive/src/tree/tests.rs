use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;

fn name_json(name: &[u8]) -> String {
    let mut out = Vec::new();
    go_json::write_name(&mut out, name);
    String::from_utf8(out).unwrap()
}

#[test]
fn names_are_quoted_as_go_does() {
    let check = |name: &[u8], expected: &str| assert_eq!(name_json(name), expected, "{name:?}");
    check(b"plain.txt", r#""plain.txt""#);
    check(b"a \"b\" \\c", r#""a \\\"b\\\" \\\\c""#);
    check(b"<&>", r#""\u003c\u0026\u003e""#);
    check(b"new\nline\ttab\x07\x08\x0b\x0c\r", r#""new\\nline\\ttab\\a\\b\\v\\f\\r""#);
    check(b"\x01\x7f", r#""\\x01\\x7f""#);
    check(b"latin1-\xe9", r#""latin1-\\xe9""#);
    check("häß 日本 😀".as_bytes(), r#""häß 日本 😀""#);
    check("\u{a0}\u{ad}\u{2028}\u{feff}\u{e0001}".as_bytes(), r#""\\u00a0\\u00ad\\u2028\\ufeff\\U000e0001""#);
    check("e\u{301}\u{fffd}".as_bytes(), "\"e\u{301}\u{fffd}\"");
}

#[test]
fn strings_are_escaped_as_go_does() {
    let check = |text: &[u8], expected: &str| {
        let mut out = Vec::new();
        go_json::write_string(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text:?}");
    };
    check(b"\"\\<>&\n\r\t\x08\x7f", "\"\\\"\\\\\\u003c\\u003e\\u0026\\n\\r\\t\\u0008\x7f\"");
    check("a\u{2028}b\u{2029}c\u{202a}".as_bytes(), "\"a\\u2028b\\u2029c\u{202a}\"");
    check(b"\xff\xe2\x82", r#""\ufffd\ufffd\ufffd""#);
}

#[test]
fn times_are_printed_as_go_does() {
    let check = |seconds: i64, nanoseconds: u32, expected: &str| {
        let time = FileTime { seconds, nanoseconds };
        assert_eq!(time.to_string(), expected);
    };
    check(0, 0, "1970-01-01T00:00:00Z");
    check(1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z");
    check(-1, 999_999_999, "1969-12-31T23:59:59.999999999Z");
    check(951_782_400, 1, "2000-02-29T00:00:00.000000001Z");
    check(253_402_300_799, 0, "9999-12-31T23:59:59Z");
    check(253_402_300_800, 5, "9999-01-01T00:00:00.000000005Z");
    check(-62_167_219_201, 0, "0000-12-31T23:59:59Z");
    check(i64::MAX / 4, 0, &FileTime { seconds: i64::MAX / 4, nanoseconds: 0 }.to_string());
}

#[test]
fn times_with_offsets_are_understood() {
    let check = |text: &str, seconds: i64, nanoseconds: u32| {
        assert_eq!(text.parse(), Ok(FileTime { seconds, nanoseconds }), "{text}");
    };
    check("2023-11-15T00:13:20.5+02:00", 1_700_000_000, 500_000_000);
    check("2023-11-14T16:43:20-05:30", 1_700_000_000, 0);
    check("1970-01-01T00:00:00.1234567899Z", 0, 123_456_789);
    for text in
        ["", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "2023-11-14T22:13:20.Z", "x"]
    {
        assert_eq!(text.parse::<FileTime>(), Err(TimeError), "{text}");
    }
}

#[test]
fn modes_go_forth_and_back() {
    assert_eq!(mode::from_unix(0o100_644), 0o644);
    assert_eq!(mode::from_unix(0o040_755), mode::DIR | 0o755);
    assert_eq!(mode::from_unix(0o104_755), mode::SETUID | 0o755);
    assert_eq!(mode::from_unix(0o041_777), mode::DIR | mode::STICKY | 0o777);
    assert_eq!(mode::from_unix(0o020_600), mode::DEVICE | mode::CHAR_DEVICE | 0o600);
    for permissions in 0..0o10_000 {
        assert_eq!(mode::to_unix_permissions(mode::from_unix(0o100_000 | permissions)), permissions);
    }
}

#[test]
fn an_empty_tree_has_the_bytes_that_restic_writes() {
    assert_eq!(Tree::default().to_bytes(), b"{\"nodes\":[]}\n");
    assert_eq!(Tree::parse(b"{\"nodes\":null}").unwrap(), Tree::default());
}

#[test]
fn names_that_lead_elsewhere_are_recognised() {
    for name in ["", ".", "..", "a/b", "/", "a\0b"] {
        assert!(!is_safe_name(OsStr::new(name)), "{name:?}");
    }
    for name in ["a", "...", "a b", "-", "\u{202e}"] {
        assert!(is_safe_name(OsStr::new(name)), "{name:?}");
    }
}

#[test]
fn damaged_trees_give_errors() {
    for bytes in
        [&b""[..], b"{", b"[]x", br#"{"nodes":[{"name":"\\x"}]}"#, br#"{"nodes":[{"name":"a","mtime":"x"}]}"#]
    {
        assert!(Tree::parse(bytes).is_err());
    }
}

fn any_time() -> impl Strategy<Value = FileTime> {
    (-62_167_219_200i64..253_402_300_800, 0u32..1_000_000_000)
        .prop_map(|(seconds, nanoseconds)| FileTime { seconds, nanoseconds })
}

prop_compose! {
    fn any_node()(
        name in proptest::collection::vec(any::<u8>(), 1..40),
        target in proptest::collection::vec(any::<u8>(), 0..20),
        numbers: (u32, u32, u32, u64, u64, u64, u64, u64),
        times in (any_time(), any_time(), any_time()),
        user in "\\PC{0,8}", value in proptest::collection::vec(any::<u8>(), 0..30),
        content: Option<Vec<[u8; 32]>>, subtree: Option<[u8; 32]>,
    ) -> Node {
        Node {
            mode: numbers.0, uid: numbers.1, gid: numbers.2, inode: numbers.3, device_id: numbers.4,
            size: numbers.5, links: numbers.6, device: numbers.7,
            modified: times.0, accessed: times.1, changed: times.2,
            user: user.clone(), group: user,
            link_target: OsString::from_vec(target),
            extended_attributes: vec![ExtendedAttribute { name: "user.x".into(), value }],
            content: content.map(|ids| ids.into_iter().map(BlobId).collect()),
            subtree: subtree.map(BlobId),
            ..Node::new(OsString::from_vec(name), NodeKind::File)
        }
    }
}

proptest! {
    #[test]
    fn a_tree_is_read_as_it_was_written(nodes in proptest::collection::vec(any_node(), 0..5)) {
        let tree = Tree { nodes };
        prop_assert_eq!(Tree::parse(&tree.to_bytes()).unwrap(), tree);
    }

    #[test]
    fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
        drop(Tree::parse(&bytes));
        drop(go_json::unquote(&text));
        text.parse::<FileTime>().ok();
    }
}
