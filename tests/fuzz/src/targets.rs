//! The table of targets.

mod answers;
mod friends;
mod kept;
mod mapping;
mod ours;
mod repository;
mod requests;
mod upnp;
mod words;

use self::words::{
    ADDRESSES, CONTROL, DOCUMENTS, HELLO, HTTP, INDEX, JSON, KEYS, LINES, MAPPING, NAMES, PLACES, RECORD,
    REQUESTS, SETTINGS, SNAPSHOT, SOAP, SSDP, TREE, WORDS, XML,
};
use crate::target::Target;

const TARGETS: &[Target] = &[
    // Bytes of the local network, from anybody there.
    Target { name: "pcp", longest: 1200, words: MAPPING, read: mapping::pcp },
    Target { name: "nat-pmp", longest: 1200, words: MAPPING, read: mapping::nat_pmp },
    Target { name: "announcement", longest: 1200, words: MAPPING, read: mapping::announcement },
    Target { name: "ssdp-reply", longest: 4200, words: SSDP, read: upnp::reply },
    Target { name: "ssdp-notify", longest: 4200, words: SSDP, read: upnp::notify },
    Target { name: "description", longest: 16 * 1024, words: XML, read: upnp::description },
    Target { name: "soap", longest: 8 * 1024, words: SOAP, read: upnp::soap },
    Target { name: "http-response", longest: 8 * 1024, words: HTTP, read: upnp::response },
    // Bytes of friends, and of strangers who knock.
    Target { name: "client-hello", longest: 5000, words: NAMES, read: friends::client_hello },
    Target { name: "server-name", longest: 300, words: NAMES, read: friends::server_name },
    Target { name: "dial-back-request", longest: 4096, words: ADDRESSES, read: friends::dial_back_request },
    Target { name: "dial-back-answer", longest: 4096, words: ADDRESSES, read: friends::dial_back_answer },
    Target { name: "hello", longest: 8 * 1024, words: HELLO, read: friends::hello },
    Target { name: "join", longest: 8 * 1024, words: HELLO, read: friends::join },
    Target { name: "greeting", longest: 600, words: LINES, read: friends::greeting },
    Target { name: "store-answer", longest: 4096, words: INDEX, read: answers::answer },
    // What a person pastes.
    Target { name: "invite", longest: 2048, words: LINES, read: friends::invite },
    Target { name: "invite-body", longest: 2048, words: RECORD, read: friends::invite_body },
    Target { name: "reply-body", longest: 2048, words: RECORD, read: friends::reply_body },
    Target { name: "device-id", longest: 200, words: NAMES, read: friends::device_id },
    Target { name: "phrase", longest: 1024, words: WORDS, read: friends::phrase },
    Target { name: "address", longest: 400, words: PLACES, read: ours::address },
    Target { name: "settings", longest: 2048, words: SETTINGS, read: ours::settings },
    // What programs of this computer say to the daemon, and the daemon to them.
    Target { name: "control", longest: 4096, words: CONTROL, read: ours::control },
    // What lies on our own disk, which may have been in other hands.
    Target { name: "vault-files", longest: 300, words: NAMES, read: ours::vault_files },
    Target { name: "documents", longest: 4096, words: DOCUMENTS, read: ours::documents },
    // Bytes that another computer keeps, or asks for.
    Target { name: "sealed-state", longest: 1024, words: JSON, read: friends::sealed_state },
    Target { name: "vault-names", longest: 200, words: NAMES, read: kept::names },
    Target { name: "vault-request", longest: 1024, words: REQUESTS, read: requests::request },
    Target { name: "key-file", longest: 2048, words: KEYS, read: ours::key_file },
    Target { name: "config", longest: 1024, words: INDEX, read: repository::config },
    Target { name: "index", longest: 8 * 1024, words: INDEX, read: repository::index },
    Target { name: "pack-header", longest: 4096, words: MAPPING, read: kept::pack_header },
    Target { name: "tree", longest: 8 * 1024, words: TREE, read: kept::tree },
    Target { name: "snapshot", longest: 8 * 1024, words: SNAPSHOT, read: kept::snapshot },
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
