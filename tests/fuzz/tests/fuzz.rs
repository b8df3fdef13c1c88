//! Every target with its corpus and 100,000 fresh inputs; and the engine itself.
//!
//! `KITH_FUZZ_SEED` and `KITH_FUZZ_INPUTS` choose the seed and how many.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use fuzz::{
    Failure, Mutator, NOTHING, Origin, Outcome, Plan, Summary, Target, corpus, form, fuzz, refused, smaller,
    taken, target, targets,
};

const INPUTS: u64 = 100_000;
/// So many inputs tell how a target fares.
const ENOUGH: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number, not {text:?}")))
}

fn hold(name: &str) {
    let target = *target(name).unwrap();
    let seed = number("KITH_FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(name));
    let inputs = number("KITH_FUZZ_INPUTS").unwrap_or(INPUTS);
    let kept = corpus(name).unwrap();
    assert!(!kept.is_empty(), "the corpus of {name} is empty");
    match fuzz(target, kept, Plan { seed, inputs, until: None }) {
        Ok(summary) => {
            assert_eq!(summary.fresh, inputs);
            // A reader that says the same to everything is not reached, nor is one by what it refuses at once.
            if inputs >= ENOUGH {
                let [least, most] = target.share;
                assert!(
                    (least..=most).contains(&summary.share()),
                    "{} of 10,000 taken: {summary:?}",
                    summary.share()
                );
                assert!(summary.outcomes > 1, "{summary:?}");
                assert!(
                    summary.different as u64 > summary.fresh / 10 * 7,
                    "too many are the same: {summary:?}"
                );
            }
        }
        Err(failure) => panic!("{failure}"),
    }
}

/// A test for each target, and the list of the targets that have one.
macro_rules! held {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            hold($name);
        })*

        const HELD: &[&str] = &[$($name),*];
    };
}

held! {
    no_datagram_breaks_the_reader_of_pcp: "pcp",
    no_datagram_breaks_the_reader_of_nat_pmp: "nat-pmp",
    no_datagram_makes_more_of_routers_news_than_a_hint: "announcement",
    no_packet_of_the_local_network_leads_to_more_than_a_few_addresses: "nearby",
    no_reply_to_a_search_leads_to_a_place_that_is_not_near: "ssdp-reply",
    no_announcement_of_a_device_breaks_its_reader: "ssdp-notify",
    no_description_of_a_device_leads_away_from_its_host: "description",
    no_answer_to_an_action_is_handed_on_with_more_than_was_understood: "soap",
    no_response_of_a_device_breaks_the_http_client: "http-response",
    no_client_hello_is_taken_for_more_than_it_says: "client-hello",
    no_server_name_holds_a_nonce_that_it_was_not_made_of: "server-name",
    no_request_for_a_dial_back_leads_to_a_privileged_port: "dial-back-request",
    no_answer_to_a_dial_back_breaks_its_reader: "dial-back-answer",
    no_hello_agrees_on_a_version_that_one_side_lacks: "hello",
    no_frames_break_a_link_or_are_answered_with_more_than_a_multiple: "link",
    no_first_bytes_open_what_the_gate_does_not_see: "first-bytes",
    no_installation_is_anybodys_who_did_not_sign_it: "installation",
    no_message_breaks_the_reader_of_dial_in_keys: "dial-in-keys",
    no_list_of_damage_names_anything_but_files_that_can_be_replaced: "damaged-list",
    no_header_gives_a_state_object_another_number: "state-sequence",
    no_bytes_are_a_head_that_nobody_signed: "signed-head",
    no_text_breaks_the_reader_of_times: "time",
    no_row_breaks_the_readers_of_the_database: "rows",
    no_state_object_tells_more_of_archives_than_is_in_it: "archives",
    no_requests_make_the_vault_keep_more_or_less_than_was_answered: "vault-write",
    no_message_makes_a_call_to_where_nobody_may_be_called: "signal",
    no_bytes_are_an_address_record_that_nobody_signed: "address-record",
    no_message_of_a_carrier_or_to_one_breaks_its_reader: "rendezvous",
    no_message_between_hubs_breaks_its_reader: "hub-to-hub",
    no_pasted_line_breaks_the_reader_of_invites: "invite",
    no_body_of_an_invite_breaks_its_reader: "invite-body",
    no_body_of_a_reply_line_breaks_its_reader: "reply-body",
    no_text_breaks_the_reader_of_device_ids: "device-id",
    no_text_breaks_the_reader_of_recovery_phrases: "phrase",
    no_bytes_open_as_a_state_that_nobody_sealed: "sealed-state",
    no_name_leads_out_of_the_vault: "vault-names",
    no_request_reads_anything_but_the_askers_own_objects: "vault-request",
    no_config_breaks_its_reader: "config",
    no_index_file_closes_a_repository: "index",
    no_header_of_a_pack_breaks_its_reader: "pack-header",
    no_tree_breaks_its_reader: "tree",
    no_snapshot_breaks_its_reader: "snapshot",
    no_message_of_a_pairing_breaks_its_reader: "join",
    no_greeting_is_taken_for_tls_nor_tls_for_a_greeting: "greeting",
    no_answer_of_a_friends_store_is_more_than_was_asked_for: "store-answer",
    no_text_breaks_the_readers_of_addresses: "address",
    no_text_breaks_the_reader_of_settings: "settings",
    no_body_breaks_the_readers_of_the_api: "control",
    no_bytes_break_the_readers_of_the_vaults_own_files: "vault-files",
    no_document_breaks_the_readers_of_the_database: "documents",
    no_key_file_asks_for_more_work_than_is_honest: "key-file",
    no_rules_of_nftables_lead_to_a_command_that_does_something_else: "nft-rules",
    no_rules_of_iptables_lead_to_a_command_that_does_something_else: "iptables-rules",
    no_report_code_says_more_than_can_be_shown: "report-code",
}

#[test]
fn every_target_has_a_test_and_every_corpus_a_target() {
    let known: BTreeSet<_> = targets().iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(known.len(), targets().len(), "two targets have one name");
    assert_eq!(known, HELD.iter().map(|&name| name.to_owned()).collect());
    let directories = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).unwrap();
    let directories: BTreeSet<_> =
        directories.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(directories, known);
}

/// Breaks at a length field that is larger than what follows, if a certain word comes before it.
fn planted(read: fn(&[u8]) -> Outcome) -> Target {
    Target { name: "planted", longest: 64, words: &["WORD"], share: [0, 10_000], read }
}

fn breaks_at_a_length(input: &[u8]) -> Outcome {
    let Some(rest) = input.strip_prefix(b"WORD") else { return NOTHING };
    let Some((length, rest)) =
        rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length), rest))
    else {
        return refused(&"cut off");
    };
    assert!(length < 0x8000 || rest.len() >= 3, "a planted fault");
    taken(&rest.len())
}

fn tried(read: fn(&[u8]) -> Outcome, kept: &[u8], seed: u64, inputs: u64) -> Result<Summary, Box<Failure>> {
    fuzz(planted(read), vec![("a".into(), kept.to_vec())], Plan { seed, inputs, until: None })
}

#[test]
fn a_fault_is_found_told_and_made_small() {
    let failure = tried(breaks_at_a_length, b"some word", 7, INPUTS).unwrap_err();
    assert_eq!((failure.what.as_str(), failure.panicked), ("a planted fault", true));
    let Origin::Fresh { seed: 7, number } = failure.origin else { panic!("{:?}", failure.origin) };
    let text = failure.to_string();
    assert!(text.contains(&format!("KITH_FUZZ_SEED=7 KITH_FUZZ_INPUTS={number} ")), "{text}");
    // Again by what it says: the same input.
    assert_eq!(tried(breaks_at_a_length, b"some word", 7, number).unwrap_err(), failure);
    assert!(tried(breaks_at_a_length, b"some word", 7, number - 1).is_ok());
    let small = smaller(planted(breaks_at_a_length), &failure.input);
    assert!(small.starts_with(b"WORD") && small.len() == 6, "{small:?}");
}

#[test]
fn a_fault_in_the_corpus_is_told_by_its_file() {
    let failure = tried(breaks_at_a_length, b"WORD\xff\xff", 7, 0).unwrap_err();
    assert_eq!(failure.origin, Origin::Corpus("a".into()));
    assert!(failure.to_string().ends_with("at corpus/planted/a\n6 bytes: 574f5244ffff"), "{failure}");
}

#[test]
fn what_is_taken_and_what_differs_is_counted() {
    let long = |input: &[u8]| if input.len() > 3 { taken(&input.len()) } else { NOTHING };
    let summary = tried(long, b"some word", 7, 2000).unwrap();
    assert!((500..2000).contains(&summary.taken) && summary.share() == summary.taken * 5, "{summary:?}");
    assert!((1000..=2000).contains(&summary.different), "{summary:?}");
    // Where there is room for the empty input only, that is all.
    let one = Target { longest: 0, ..planted(long) };
    let plan = Plan { seed: 7, inputs: 1000, until: None };
    let summary = fuzz(one, vec![("a".into(), Vec::new())], plan).unwrap();
    assert_eq!((summary.different, summary.taken, summary.share()), (1, 0, 0));
}

#[test]
fn an_input_that_takes_too_long_is_told() {
    let slow = |input: &[u8]| {
        if input == b"slow" {
            std::thread::sleep(Duration::from_millis(1050));
        }
        NOTHING
    };
    let failure = tried(slow, b"slow", 7, 0).unwrap_err();
    assert!(failure.what.starts_with("took 10") && !failure.panicked, "{failure}");
}

#[test]
fn the_same_seed_makes_the_same_inputs_and_another_one_makes_others() {
    let pool = [b"one of them".to_vec(), b"another: 1234".to_vec()];
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed, &["word"], 100);
        (0..1000).map(|_| mutator.fresh(&pool)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
    assert!(inputs(1).iter().all(|input| input.len() <= 100));
    let different: BTreeSet<_> = inputs(1).into_iter().collect();
    assert!(different.len() > 700, "{}", different.len());
    let forms = |input: &[u8]| taken(&String::from_utf8_lossy(input));
    let summaries = [3, 3, 4].map(|seed| tried(forms, b"abc", seed, 5000).unwrap());
    assert_eq!(summaries[0], summaries[1]);
    assert_ne!(summaries[0], summaries[2]);
}

#[test]
fn outcomes_differ_by_form_and_not_by_content() {
    assert_eq!(form(&("abc", 17)), form(&("x\"z", 42)));
    assert_ne!(form(&("abc", 17)), form(&("abc", 1_000_017)));
    assert_ne!(form(&Some(1)), form(&None::<u8>));
    assert_ne!(form(&[1, 2]), form(&[1, 2, 3]));
}
