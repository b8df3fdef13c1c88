use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

const ID: &str = "V5JVKML-PZN5WQS-HSRJLKO-XUSHS2H-MYHOCES-KD6YB76-OAV7FWY-DHVMNQY";

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(Redactor::new().text(text), expected, "{text}");
}

#[track_caller]
fn check_line(line: &str, expected: &str) {
    let time = "2026-11-21T16:50:52.123456Z";
    let mut redactor = Redactor::new();
    let line = format!("{time}  INFO {line}");
    redactor.learn(&line);
    assert_eq!(redactor.log_line(&line), format!("{time}  INFO {expected}"));
}

#[test]
fn our_own_sentences_numbers_and_times_stay() {
    for text in [
        "the archive has 1170 faults. back up again: what is missing and still on this computer is sent anew",
        "listener.port is 4242, lease 58 min, 12.5s, 80%, 1024-14500",
        "since 2026-11-21T16:50:52Z, on 2026-11-21",
        "no-router NotYet external_ip: None, UPnP, NAT-PMP, IPv6, sha256",
        "can't connect: Connection refused (os error 111)",
    ] {
        check(text, text);
    }
}

#[test]
fn addresses_keep_their_class_and_port() {
    check("203.0.113.7:4711", "address-1 (public IPv4):4711");
    check(
        "from 192.168.7.1 to 192.168.7.1:5000.",
        "from address-1 (private IPv4) to address-1 (private IPv4):5000.",
    );
    check(
        "10.1.2.3, 100.64.0.9, 169.254.3.4",
        "address-1 (private IPv4), address-2 (carrier-grade NAT IPv4), address-3 (link-local IPv4)",
    );
    check("[2a0b:6b00:4::1]:5000", "address-1 (public IPv6):5000");
    check("fe80::1%eth0 fd00::2", "address-1 (link-local IPv6) address-2 (private IPv6)");
    check(
        "addresses [127.0.0.1:20952, 0.0.0.0:4242, [::]:4242]",
        "addresses [127.0.0.1:20952, 0.0.0.0:4242, [::]:4242]",
    );
    check("[::1]:80 :: 127.0.0.9", "[::1]:80 :: address-1 (loopback IPv4)");
    check(
        "external_ip: Some(11.0.113.13), epoch: None",
        "external_ip: Some(address-1 (public IPv4)), epoch: None",
    );
    check("::ffff:10.0.0.1", "address-1 (private IPv4)");
}

#[test]
fn what_looks_like_a_name_an_id_or_a_key_is_hidden() {
    check("nas.example.org:4242", "host-1:4242");
    check("letter.odt", "host-1");
    check("zanzibar and Żółw and 写真", "text-1 and text-2 and text-3");
    check(&format!("device {ID}"), "device device-1");
    check("friend V5JVKML", "friend device-1");
    check("pack 8e2447d29081d915c38747cf0a478deefc920b5dd983a017ce8bc92117fdf911", "pack hex-1");
    check("8e2447d29081d915", "hex-1");
    check("8e2447d2", "text-1");
    check("MFRGGZDFMZTWQ2LKNNWG23TP", "code-1");
    check("anna@example.org", "mail-1");
    check("kith://join/abc, and http://user:pass@host/x?y", "url-1, and url-2");
    check("4242424242424242", "hex-1");
    check("Nonce([189, 53, 178, 131, 209, 75, 118, 180, 79])", "Nonce([numbers-1])");
}

#[test]
fn a_path_is_hidden_to_the_end_but_for_a_reason_of_the_system() {
    check("can't read /home/anna/My letter: to the bank", "can't read path-1");
    check(
        "can't read /home/anna/My letter: Permission denied (os error 13)",
        "can't read path-1: Permission denied (os error 13)",
    );
    check("/home/anna: user 1000 has no permission", "path-1: user 1000 has no permission");
    check("/home/anna: user anna has no permission", "path-1");
    check("damaged: \"/home/anna/a b\" is missing", "damaged: \"path-1\" is missing");
    check("./photos of us ~/here", "path-1");
    check(r"C:\photos of us", "text-1:path-1");
    check("file:///home/anna/photos of us", "path-1");
}

#[test]
fn the_same_text_has_the_same_pseudonym_and_another_text_another_one() {
    let mut redactor = Redactor::new();
    assert_eq!(redactor.text("203.0.113.7 203.0.113.8"), "address-1 (public IPv4) address-2 (public IPv4)");
    assert_eq!(redactor.address("203.0.113.8:1"), "address-2 (public IPv4):1");
    assert_eq!(redactor.text(ID), redactor.text("V5JVKML"));
    assert_eq!(redactor.name(Kind::Path, "/a"), redactor.text("/a"));
    assert_eq!(redactor.given(), [(Kind::Device, 1), (Kind::Path, 1), (Kind::Address, 2)]);
}

#[test]
fn known_names_are_found_in_sentences_the_longest_first() {
    let mut redactor = Redactor::new();
    redactor.know(Kind::Friend, "the old");
    redactor.know(Kind::Friend, "the old computer of \"Bob\"");
    redactor.know(Kind::Set, "backup");
    redactor.know_as("Study", "this-computer");
    redactor.know(Kind::Path, "/srv/a b");
    assert_eq!(
        redactor.text("the archive at the old computer of \"Bob\" has faults; the old, THE OLD; the older"),
        "the archive at friend-2 has faults; friend-1, friend-1; the older"
    );
    assert_eq!(
        redactor.text("error=\"no friend the old computer of \\\"Bob\\\" here\""),
        "error=\"no friend friend-2 here\""
    );
    assert_eq!(redactor.text("study: backup of backups"), "this-computer: set-1 of backups");
    assert_eq!(redactor.text("/srv/a b is missing"), "path-1 is missing");
    // What lies below a known path is another path, and where it ends is not known.
    assert_eq!(redactor.text("/srv/a b/c is missing"), "path-1path-2");
}

#[test]
fn words_of_a_phrase_in_a_row_are_hidden_though_each_may_be_ours() {
    check("words: able about above absent absurd", "words: words-1");
    check("1 able 2 about 3 above 4 absent 5 absurd is", "1 words-1 is");
    check("about above absent", "about above absent");
}

#[test]
fn lines_of_the_log_keep_their_message_and_the_names_of_their_fields() {
    check_line(
        "paired friend=HWLHZ6B name=Zoë's old PC own=false",
        "paired friend=device-1 name=friend-1 own=false",
    );
    check_line(
        "job failed job=80 set=\"check\" friend=zelda error=\"the archive at zelda has 1170 faults.\"",
        "job failed job=80 set=check friend=friend-1 error=\"the archive at friend-1 has 1170 faults.\"",
    );
    check_line(
        "friend{id=HWLHZ6B}: linked remote=11.0.113.10:4242 dialled=true",
        "friend{id=device-1}: linked remote=address-1 (public IPv4):4242 dialled=true",
    );
    check_line(
        "a file path=/home/x/my secret plan.txt error=Permission denied (os error 13)",
        "a file path=path-1 error=Permission denied (os error 13)",
    );
    check_line(
        "job begins job=1 set=\"taxes 2025\" friend=zelda",
        "job begins job=1 set=set-1 friend=friend-1",
    );
    check_line("ready unheardof=1 zelda=2", "ready text-1=1 text-2=2");
    check_line(
        "the mapping is proved target=203.0.113.7:1 by=zelda from=10.0.0.1:5",
        "the mapping is proved target=address-1 (public IPv4):1 by=friend-1 from=address-2 (private IPv4):5",
    );
}

#[test]
fn what_is_no_line_of_the_log_is_hidden_whole() {
    let shown = Redactor::new().log_line("thread main panicked at the words of zelda");
    assert_eq!(shown, "(a line that does not begin as those of Kith do, 42 bytes: hidden)");
    assert!(Redactor::new().log_line("2026-11-21T16:50:52Z HELLO zelda").contains("hidden"));
    let long = format!("2026-11-21T16:50:52Z  INFO {}", "ready ".repeat(10_000));
    assert!(Redactor::new().log_line(&long).len() < 2 * LONGEST_LINE);
}

/// Calls of tracing's macros in all crates: their text, and the arguments without it.
fn log_calls() -> Vec<(PathBuf, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut open: Vec<PathBuf> =
        std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
    let mut calls = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let is_source = path.extension().is_some_and(|ending| ending == "rs");
        let below = path.strip_prefix(crates).unwrap();
        if !is_source
            || below.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"))
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for name in ["info!(", "warn!(", "error!(", "debug!(", "trace!(", "info_span!("] {
            for (at, _) in text.match_indices(name) {
                if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                calls.push((path.clone(), arguments(&text[at + name.len()..]).to_owned()));
            }
        }
    }
    assert!(calls.len() > 100, "{}", calls.len());
    calls
}

/// Up to the closing bracket.
fn arguments(text: &str) -> &str {
    let (mut depth, mut at) = (1, 0);
    while depth > 0 {
        match text.as_bytes()[at] {
            b'"' => at += 1 + fields::quoted_length(&text[at + 1..]).unwrap(),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    &text[..at - 1]
}

/// The arguments between commas.
fn split_arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut at, mut start, mut parts) = (0, 0, 0, Vec::new());
    while at < text.len() {
        match text.as_bytes()[at] {
            b'"' => at += 1 + fields::quoted_length(&text[at + 1..]).unwrap(),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn every_message_of_our_log_is_shown_word_for_word() {
    let mut hidden = BTreeSet::new();
    for (path, call) in log_calls() {
        for message in split_arguments(&call).into_iter().filter(|part| part.starts_with('"')) {
            let literal = &message[1..message.len() - 1];
            if literal.contains('{') || literal.contains("://") {
                continue;
            }
            let text = literal.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
            let shown = Redactor::new().text(&text);
            if shown != text {
                hidden.insert(format!("{}: {text}\n    {shown}", path.display()));
            }
        }
    }
    assert!(hidden.is_empty(), "words.txt lacks words of these messages:\n{hidden:#?}");
}

#[test]
fn every_field_of_our_log_is_known() {
    let mut unknown = BTreeSet::new();
    for (path, call) in log_calls() {
        for argument in split_arguments(&call) {
            let argument = argument.trim_start_matches(['?', '%']);
            let name: String = argument.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let rest = argument[name.len()..].trim_start();
            // Arguments of a message's own are no fields: calls, paths.
            let is_field =
                !name.is_empty() && (rest.is_empty() || (rest.starts_with('=') && !rest.starts_with("==")));
            let line = format!("ready {name}=1");
            if is_field && !matches!(fields::split(&line).last(), Some(part) if part.field.is_some()) {
                unknown.insert(format!("{name} in {}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "fields.rs lacks: {unknown:#?}");
}

#[test]
fn the_words_are_in_order_and_in_small_letters() {
    let words: Vec<&str> = include_str!("words.txt").split_whitespace().collect();
    assert!(words.windows(2).all(|pair| pair[0] < pair[1]), "sort words.txt, once each");
    assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
}

/// No word of ours has these two letters in a row: whatever has them must be hidden.
const MARK: &str = "zq";

#[test]
fn no_word_of_ours_has_the_mark_of_the_tests() {
    assert!(!include_str!("words.txt").contains(MARK));
}

/// Text of a person: words with the mark, between whatever may stand in names.
fn private() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-cA-C0-9]{0,5}zq[a-cA-C0-9]{0,12}",
        "ZQ[A-Z2-7]{5}",
        "zq[a-z]{1,8}\\.(org|txt|local)",
        "[a-c]{1,3}@zq[a-z]{1,4}",
        "/home/zq[a-z]{1,4}",
        "zq[żäœ写]{1,3}",
    ];
    let between = prop_oneof![
        "[ =:;,./\\\\\"'(){}\\[\\]|&+*!?#@%~_-]{1,3}",
        Just(" friend=".to_owned()),
        Just(": ".to_owned()),
        Just("the archive of ".to_owned()),
        Just("://".to_owned())
    ];
    proptest::collection::vec((word, between), 1..6)
        .prop_map(|parts| parts.into_iter().map(|(word, between)| format!("{between}{word}")).collect())
}

fn templates() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("@"),
        Just("a file can't be read: @"),
        Just("job failed job=1 set=@ friend=@ error=\"the archive at @: it is gone\""),
        Just("ready device=@ name=@"),
        Just("a file path=@ error=@"),
        Just("friend{id=@}: linked remote=@ dialled=true"),
        Just("found answer=Found(Found { model: Some(\"@\"), page: None }) reason=@"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn nothing_of_a_persons_text_gets_through(template in templates(), private in private(), known: bool, escaped: bool) {
        let value = if escaped { format!("{private:?}").trim_matches('"').to_owned() } else { private.clone() };
        let line = format!("2026-11-21T16:50:52.123456Z  WARN {}", template.replace('@', &value));
        let mut redactor = Redactor::new();
        if known {
            redactor.know(Kind::Friend, &private);
        }
        redactor.learn(&line);
        let shown = [
            redactor.log_line(&line),
            redactor.text(&value),
            redactor.address(&value),
            redactor.name(Kind::Host, &value),
            redactor.log_line(&value),
        ];
        for text in shown {
            prop_assert!(!text.to_lowercase().contains(MARK), "{line}\n{text}");
        }
    }

    #[test]
    fn no_line_breaks_the_redactor(line in any::<String>(), head: bool) {
        let line = if head { format!("2026-11-21T16:50:52Z INFO {line}") } else { line };
        let mut redactor = Redactor::new();
        redactor.learn(&line);
        let shown = redactor.log_line(&line);
        prop_assert!(!shown.contains('\n'));
        prop_assert_eq!(shown, redactor.log_line(&line));
    }
}

#[test]
fn names_of_fields_decide_what_their_values_are() {
    let parts = fields::split("job failed job=80 friend=a b error=\"x friend=y\" since=3");
    let shown: Vec<_> = parts.iter().map(|part| (part.field.map(|(name, _)| name), part.value)).collect();
    assert_eq!(
        shown,
        [
            (None, "job failed"),
            (Some("job"), "80"),
            (Some("friend"), "a b"),
            (Some("error"), "\"x friend=y\""),
            (Some("since"), "3")
        ]
    );
    assert!(matches!(parts[2].field, Some((_, Field::Name(Kind::Friend)))));
}
