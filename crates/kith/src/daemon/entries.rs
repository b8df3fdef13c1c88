//! Files of a snapshot as the API shows them.

use std::path::Path;

use jiff::Timestamp;
use kith_archive::tree::{Node, NodeKind, mode};
use kith_control::view::EntryView;

/// One entry.
pub(super) fn view(path: &Path, node: &Node) -> EntryView {
    let name_or_number = |name: &str, number: u32| {
        if name.is_empty() { number.to_string() } else { name.to_owned() }
    };
    EntryView {
        path: path.to_string_lossy().into_owned(),
        kind: node.kind.as_str().to_owned(),
        size: node.size,
        mode: mode_text(node),
        user: name_or_number(&node.user, node.uid),
        group: name_or_number(&node.group, node.gid),
        modified: modified(node),
        target: (node.kind == NodeKind::Symlink).then(|| node.link_target.to_string_lossy().into_owned()),
    }
}

/// None for times that no calendar of ours knows.
fn modified(node: &Node) -> Option<Timestamp> {
    Timestamp::new(node.modified.seconds, i32::try_from(node.modified.nanoseconds).ok()?).ok()
}

/// The mode as `ls -l` writes it.
fn mode_text(node: &Node) -> String {
    let kind = match node.kind {
        NodeKind::Dir => 'd',
        NodeKind::Symlink => 'l',
        NodeKind::BlockDevice => 'b',
        NodeKind::CharDevice => 'c',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
        _ => '-',
    };
    let mode = mode::to_unix_permissions(node.mode);
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}
