//! What the API says: the types behind every JSON answer. Field names are a contract; fields may be added.
//! What is absent is `null`, never missing.

mod archive;
mod friend;
mod job;
mod network;
mod status;

pub use archive::{
    ArchiveAccess, ArchiveVerdict, ArchiveView, EntryView, FindsView, FoundView, HeadView, KnownSnapshotView,
    SnapshotView, UndeleteView,
};
pub use friend::{AddressFailure, FriendView, InviteView, JoinView};
pub use job::{JobKind, JobState, JobView, ProgressView, SetView, SkippedView};
pub use network::{GatewayView, MappingView, PortState, PortView, ProofState, ProofView, ProtocolView};
pub use status::{
    ControlView, ListenerState, ListenerView, ScrubView, SettingView, StatusView, SupersededView, VaultView,
};
