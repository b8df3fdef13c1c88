//! The table of targets.

mod answers;
mod carried;
mod doctor;
mod friends;
mod kept;
mod learned;
mod link;
mod mapping;
mod nearby;
mod ours;
mod place;
mod repository;
mod requests;
mod signed;
mod upnp;
mod words;
mod writes;

use self::words::{
    ADDRESSES, ANSWERS, CARRIED, CONTROL, DOCUMENTS, FILES, FRAMES, HELLO, HTTP, INDEX, JSON, KEYS, LINES,
    MAPPING, NAMES, NEARBY, PLACES, RECORD, REPORTS, REQUESTS, ROWS, RULES, SETTINGS, SNAPSHOT, SOAP, SSDP,
    TABLES, TIMES, TREE, WORDS, WRITES, XML,
};
use crate::target::Target;

const TARGETS: &[Target] = &[
    // Bytes of the local network, from anybody there.
    Target { name: "pcp", longest: 1200, words: MAPPING, share: [689, 9_500], read: mapping::pcp },
    Target { name: "nat-pmp", longest: 1200, words: MAPPING, share: [1_290, 9_500], read: mapping::nat_pmp },
    Target {
        name: "announcement",
        longest: 1200,
        words: MAPPING,
        share: [1_210, 9_500],
        read: mapping::announcement,
    },
    Target { name: "nearby", longest: 1500, words: NEARBY, share: [500, 9_500], read: nearby::packet },
    Target { name: "ssdp-reply", longest: 4200, words: SSDP, share: [2_024, 9_500], read: upnp::reply },
    Target { name: "ssdp-notify", longest: 4200, words: SSDP, share: [1_713, 9_500], read: upnp::notify },
    Target {
        name: "description",
        longest: 16 * 1024,
        words: XML,
        share: [430, 9_500],
        read: upnp::description,
    },
    Target { name: "soap", longest: 8 * 1024, words: SOAP, share: [475, 9_500], read: upnp::soap },
    Target {
        name: "http-response",
        longest: 8 * 1024,
        words: HTTP,
        share: [719, 9_500],
        read: upnp::response,
    },
    // Bytes of friends, and of strangers who knock.
    Target {
        name: "client-hello",
        longest: 5000,
        words: NAMES,
        share: [297, 9_500],
        read: friends::client_hello,
    },
    Target { name: "first-bytes", longest: 5000, words: NAMES, share: [1_378, 9_500], read: learned::first },
    Target {
        name: "server-name",
        longest: 300,
        words: NAMES,
        share: [22, 9_500],
        read: friends::server_name,
    },
    Target {
        name: "dial-back-request",
        longest: 4096,
        words: ADDRESSES,
        share: [25, 9_500],
        read: friends::dial_back_request,
    },
    Target {
        name: "dial-back-answer",
        longest: 4096,
        words: ADDRESSES,
        share: [263, 9_500],
        read: friends::dial_back_answer,
    },
    Target { name: "hello", longest: 8 * 1024, words: HELLO, share: [163, 9_500], read: friends::hello },
    Target { name: "link", longest: 2048, words: FRAMES, share: [534, 9_800], read: link::link },
    Target {
        name: "installation",
        longest: 1024,
        words: HELLO,
        share: [554, 9_500],
        read: signed::installation,
    },
    Target {
        name: "dial-in-keys",
        longest: 1024,
        words: ANSWERS,
        share: [69, 9_500],
        read: learned::dial_in_keys,
    },
    Target {
        name: "damaged-list",
        longest: 2048,
        words: ANSWERS,
        share: [292, 9_500],
        read: learned::damaged,
    },
    Target {
        name: "state-sequence",
        longest: 100,
        words: NAMES,
        share: [227, 9_500],
        read: learned::state_sequence,
    },
    Target { name: "join", longest: 8 * 1024, words: HELLO, share: [252, 9_500], read: friends::join },
    Target { name: "greeting", longest: 600, words: LINES, share: [1_531, 9_500], read: friends::greeting },
    Target { name: "store-answer", longest: 4096, words: INDEX, share: [797, 9_500], read: answers::answer },
    // What carriers hand over, and what they and hubs answer.
    Target { name: "signal", longest: 4096, words: CARRIED, share: [60, 9_500], read: carried::signal },
    Target {
        name: "address-record",
        longest: 4096,
        words: CARRIED,
        share: [400, 9_500],
        read: carried::record,
    },
    Target {
        name: "rendezvous",
        longest: 4096,
        words: CARRIED,
        share: [250, 9_500],
        read: carried::rendezvous,
    },
    Target { name: "hub-to-hub", longest: 2048, words: CARRIED, share: [250, 9_500], read: carried::hubs },
    // What a person pastes.
    Target { name: "invite", longest: 2048, words: LINES, share: [81, 9_500], read: friends::invite },
    Target {
        name: "invite-body",
        longest: 2048,
        words: RECORD,
        share: [455, 9_500],
        read: friends::invite_body,
    },
    Target {
        name: "reply-body",
        longest: 2048,
        words: RECORD,
        share: [483, 9_500],
        read: friends::reply_body,
    },
    Target { name: "device-id", longest: 200, words: NAMES, share: [31, 9_500], read: friends::device_id },
    Target { name: "phrase", longest: 1024, words: WORDS, share: [44, 9_500], read: friends::phrase },
    Target { name: "address", longest: 400, words: PLACES, share: [289, 9_500], read: ours::address },
    Target { name: "time", longest: 100, words: TIMES, share: [101, 9_500], read: learned::time },
    Target { name: "settings", longest: 1024, words: SETTINGS, share: [300, 9_500], read: ours::settings },
    // What programs of this computer say to the daemon, and the daemon to them.
    Target { name: "control", longest: 4096, words: CONTROL, share: [82, 9_500], read: ours::control },
    // What lies on our own disk, which may have been in other hands.
    Target { name: "vault-files", longest: 1024, words: FILES, share: [416, 9_500], read: ours::vault_files },
    Target { name: "documents", longest: 4096, words: DOCUMENTS, share: [152, 9_500], read: ours::documents },
    Target { name: "rows", longest: 2048, words: ROWS, share: [282, 9_500], read: ours::rows },
    Target {
        name: "archives",
        longest: 1024,
        words: DOCUMENTS,
        share: [1_065, 9_500],
        read: learned::archives,
    },
    // What the doctor reads: rules that the system prints, and a line that a friend sent.
    Target { name: "nft-rules", longest: 4096, words: RULES, share: [100, 9_500], read: doctor::nft },
    Target {
        name: "iptables-rules",
        longest: 4096,
        words: TABLES,
        share: [100, 9_500],
        read: doctor::iptables,
    },
    Target {
        name: "report-code",
        longest: 4096,
        words: REPORTS,
        share: [100, 9_500],
        read: doctor::report_code,
    },
    // Bytes that another computer keeps, or asks for.
    Target {
        name: "sealed-state",
        longest: 1024,
        words: JSON,
        share: [10_000, 10_000],
        read: friends::sealed_state,
    },
    Target { name: "signed-head", longest: 400, words: MAPPING, share: [1_019, 9_500], read: signed::head },
    Target { name: "vault-names", longest: 200, words: NAMES, share: [451, 9_500], read: kept::names },
    Target {
        name: "vault-request",
        longest: 1024,
        words: REQUESTS,
        share: [100, 9_500],
        read: requests::request,
    },
    Target { name: "vault-write", longest: 2048, words: WRITES, share: [617, 9_800], read: writes::write },
    Target { name: "key-file", longest: 2048, words: KEYS, share: [96, 9_500], read: ours::key_file },
    Target { name: "config", longest: 1024, words: INDEX, share: [210, 9_500], read: repository::config },
    Target { name: "index", longest: 3 * 1024, words: INDEX, share: [83, 9_500], read: repository::index },
    Target {
        name: "pack-header",
        longest: 4096,
        words: MAPPING,
        share: [554, 9_500],
        read: kept::pack_header,
    },
    Target { name: "tree", longest: 8 * 1024, words: TREE, share: [198, 9_500], read: kept::tree },
    Target {
        name: "snapshot",
        longest: 8 * 1024,
        words: SNAPSHOT,
        share: [204, 9_500],
        read: kept::snapshot,
    },
];

/// All targets.
#[must_use]
pub const fn targets() -> &'static [Target] {
    TARGETS
}

/// The target with a name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
