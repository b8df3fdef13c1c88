//! What the API says: the types behind every JSON answer. Field names are a contract; fields may be added.
//! What is absent is `null`, never missing.

mod archive;
mod doctor;
mod firewall;
mod friend;
mod hub;
mod job;
mod near;
mod network;
mod status;

pub use archive::{
    ArchiveAccess, ArchiveVerdict, ArchiveView, EntryView, FindsView, FoundView, HeadView, KnownSnapshotView,
    SnapshotView, UndeleteView,
};
pub use doctor::{NoticeView, ReportCodeView};
pub use firewall::{
    FirewallDirection, FirewallProtocol, FirewallRule, FirewallView, MappedPort, ProxyDestination, ProxyRules,
};
pub use friend::{
    AddressFailure, AttemptView, Cause, ConditionView, FriendView, InviteView, JoinView, LastBackupView,
    PathChangeView, ReachabilityView, WorkView,
};
pub use hub::{HubMoveView, HubRole, HubState, HubView};
pub use job::{JobKind, JobState, JobView, ProgressView, SetView, SkippedView};
pub use near::{MeetingState, MeetingView, NearComputerView, NearView};
pub use network::{GatewayView, MappingView, PortState, PortView, ProofState, ProofView, ProtocolView};
pub use status::{
    ControlView, ListenerState, ListenerView, RelayView, RelayedView, ScrubView, SettingView, StatusView,
    SupersededView, VaultView,
};
