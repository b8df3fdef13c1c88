//! What another computer keeps for us and may have changed, and names under which friends keep things with us.

use std::sync::OnceLock;

use kith_archive::crypto::{MasterKey, OVERHEAD};
use kith_archive::repository::read_header;
use kith_archive::tree::{Tree, is_safe_name};
use kith_archive::{BlobType, Snapshot};
use kith_vault::{ArchiveName, Owner};

use crate::outcome::{NOTHING, Outcome, judged, taken};

/// A friend's names become names of directories.
pub(super) fn names(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return NOTHING };
    let (owner, archive) = (Owner::parse(text), ArchiveName::parse(text));
    let parsed = [owner.as_ref().map(Owner::as_str).ok(), archive.as_ref().map(ArchiveName::as_str).ok()];
    for name in parsed.into_iter().flatten() {
        assert_eq!(name, text, "another name");
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(
            name.bytes().all(harmless) && !name.starts_with('.') && name.len() <= 128,
            "{name:?} is a directory"
        );
    }
    judged(owner.is_ok() || archive.is_ok(), &(owner.map(|_| ()), archive.map(|_| ())))
}

/// The header of a pack, as the end of a file and as the content that was sealed with the right key.
pub(super) fn pack_header(bytes: &[u8]) -> Outcome {
    let key = key();
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    assert!(read_header(key, bytes, size).is_err(), "nobody sealed this");
    let mut tail = key.seal(bytes).expect("the system has random numbers");
    assert_eq!(tail.len(), bytes.len() + OVERHEAD);
    let length = u32::try_from(tail.len()).expect("inputs are short");
    tail.extend(length.to_le_bytes());
    let expected = entries(bytes);
    let content: u64 = expected.iter().flatten().map(|(_, length, _)| u64::from(*length)).sum();
    let size = content + u64::from(length) + 4;
    let read = read_header(key, &tail, size);
    match (&read, expected) {
        (Ok(blobs), Some(expected)) => {
            assert_eq!(blobs.len(), expected.len());
            let mut offset = 0;
            for (blob, (code, length, id)) in blobs.iter().zip(expected) {
                assert_eq!(blob.offset, offset, "a gap between blobs");
                assert_eq!((blob.length, blob.id.as_bytes().as_slice()), (length, id));
                assert_eq!(blob.blob_type == BlobType::Tree, code & 1 == 1);
                assert_eq!(blob.uncompressed_length.is_some(), code & 2 == 2);
                offset = offset.wrapping_add(length);
            }
            assert!(read_header(key, &tail, size + 1).is_err(), "a pack of another size");
        }
        (Ok(blobs), None) => panic!("{} blobs in what is no header", blobs.len()),
        (Err(_), _) => {}
    }
    judged(read.is_ok(), &read)
}

/// The entries of a header: code, length, id.
fn entries(mut bytes: &[u8]) -> Option<Vec<(u8, u32, &[u8])>> {
    let mut entries = Vec::new();
    while let Some((&code, _)) = bytes.split_first() {
        let before_id = match code {
            0 | 1 => 5,
            2 | 3 => 9,
            _ => return None,
        };
        let (entry, rest) = bytes.split_at_checked(before_id + 32)?;
        let length = u32::from_le_bytes(*entry[1..].first_chunk()?);
        entries.push((code, length, &entry[before_id..]));
        bytes = rest;
    }
    Some(entries)
}

fn key() -> &'static MasterKey {
    static KEY: OnceLock<MasterKey> = OnceLock::new();
    KEY.get_or_init(|| MasterKey::from_bytes(&[5; 64]).expect("any bytes are a key"))
}

pub(super) fn tree(bytes: &[u8]) -> Outcome {
    let tree = match Tree::parse(bytes) {
        Ok(tree) => tree,
        Err(error) => {
            assert!(error.to_string().len() <= 2 * bytes.len() + 400, "{error}");
            return NOTHING;
        }
    };
    let written = tree.to_bytes();
    let again = Tree::parse(&written).unwrap_or_else(|error| panic!("what was written is no tree: {error}"));
    assert_eq!(again.to_bytes(), written, "written twice");
    assert_eq!(again.nodes.len(), tree.nodes.len());
    let sorted = tree.nodes.windows(2).all(|pair| pair[0].name < pair[1].name);
    for (node, again) in tree.nodes.iter().zip(&again.nodes) {
        assert_eq!(node.name, again.name, "a name, written and read again");
        assert_eq!(node.has_safe_name(), is_safe_name(&node.name));
        let bytes = node.name.as_encoded_bytes();
        let unsafe_name =
            bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| b"/\0".contains(b));
        assert!(!(unsafe_name && node.has_safe_name()), "{:?} is called safe", node.name);
        assert!(!sorted || tree.find(&node.name) == Some(node), "{:?} is not found", node.name);
    }
    taken(&tree)
}

pub(super) fn snapshot(bytes: &[u8]) -> Outcome {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) else { return NOTHING };
    let written = serde_json::to_vec(&snapshot).expect("what was read can be written");
    let again: Snapshot = serde_json::from_slice(&written)
        .unwrap_or_else(|error| panic!("what was written is no snapshot: {error}"));
    assert_eq!(again, snapshot, "written and read again");
    taken(&snapshot)
}
