//! Repositories as a hostile program with the key could write them: trees with any names, an index that lies.

use std::path::Path;
use std::sync::Arc;

use kith_archive::store::{FileId, FileKind, LocalStore, Store};
use kith_archive::tree::{Node, NodeKind, Tree};
use kith_archive::{BlobId, Repository, Snapshot};

use crate::support::*;

/// Collects blobs for one pack.
#[derive(Default)]
pub(crate) struct Forge {
    data: Vec<u8>,
    header: Vec<u8>,
    blobs: Vec<serde_json::Value>,
}

impl Forge {
    /// Adds a blob under any id.
    pub(crate) fn blob_as(&mut self, id: BlobId, kind: &str, content: &[u8]) {
        let sealed = key().seal(content).unwrap();
        self.header.push(u8::from(kind == "tree"));
        self.header.extend_from_slice(&u32::try_from(sealed.len()).unwrap().to_le_bytes());
        self.header.extend_from_slice(id.as_bytes());
        self.blobs.push(serde_json::json!({
            "id": id, "type": kind, "offset": self.data.len(), "length": sealed.len(),
        }));
        self.data.extend_from_slice(&sealed);
    }

    /// Changes what the index says about the last blob.
    pub(crate) fn lie(&mut self, field: &str, number: u64) {
        self.blobs.last_mut().unwrap()[field] = number.into();
    }

    /// A file with content.
    pub(crate) fn file(&mut self, name: impl AsRef<std::ffi::OsStr>, content: &[u8]) -> Node {
        let id = BlobId::of(content);
        self.blob_as(id, "data", content);
        let mut node = Node::new(name.as_ref(), NodeKind::File);
        node.mode = 0o644;
        node.size = content.len() as u64;
        node.links = 1;
        node.content = Some(vec![id]);
        node
    }

    /// A directory with these entries, in any order.
    pub(crate) fn dir(&mut self, name: &str, nodes: Vec<Node>) -> Node {
        let mut node = Node::new(name, NodeKind::Dir);
        node.mode = 0o755 | kith_archive::tree::mode::DIR;
        node.subtree = Some(self.tree(nodes));
        node
    }

    pub(crate) fn tree(&mut self, nodes: Vec<Node>) -> BlobId {
        let bytes = Tree { nodes }.to_bytes();
        let id = BlobId::of(&bytes);
        self.blob_as(id, "tree", &bytes);
        id
    }

    /// Writes pack and index of a new repository, and a snapshot of a tree.
    pub(crate) async fn write(mut self, dir: &Path, root: BlobId) -> (Arc<Repository>, Snapshot) {
        drop(init(dir).await);
        let store = LocalStore::open(dir).unwrap();
        let header = key().seal(&self.header).unwrap();
        self.data.extend_from_slice(&header);
        self.data.extend_from_slice(&u32::try_from(header.len()).unwrap().to_le_bytes());
        let pack = FileId::of(&self.data);
        store.save(FileKind::Pack, &pack, self.data.into()).await.unwrap();
        let index = serde_json::json!({ "packs": [{ "id": pack, "blobs": self.blobs }] });
        let sealed = key().seal(&serde_json::to_vec(&index).unwrap()).unwrap();
        store.save(FileKind::Index, &FileId::of(&sealed), sealed.into()).await.unwrap();
        let repository = open(dir).await;
        let snapshot = serde_json::json!({ "time": "2024-05-06T07:08:09Z", "tree": root, "paths": ["/x"] });
        let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
        let id = repository.save_snapshot(&snapshot).await.unwrap();
        let snapshot = repository.load_snapshot(&id).await.unwrap();
        (repository, snapshot)
    }
}

pub(crate) fn symlink_node(name: &str, target: &str) -> Node {
    let mut node = Node::new(name, NodeKind::Symlink);
    node.mode = 0o777 | kith_archive::tree::mode::SYMLINK;
    node.link_target = target.into();
    node
}
