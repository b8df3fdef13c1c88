//! The local side of a Kith daemon: an API for the command line and other programs, and the app in the browser.
//!
//! - [`ControlServer`] binds three doors: the API (TCP 4243), the app with everything its page needs (TCP 4244), both on
//!   the loopback addresses only, and a Unix socket that asks the kernel who is calling.
//! - [`Client`] is the other end, for the command line.
//! - [`Backend`] is what the daemon must be able to do; [`view`] is what the API answers, a contract.
//! - [`terminal`] makes names that come from files, friends and hubs harmless for terminals, logs and pages.
//!
//! Reaching the loopback address proves nothing: every request over TCP carries a bearer token that dies with the daemon, and
//! its `Host` and `Origin` are checked. What gives access to file contents is answered on the Unix socket only.
//!
//! Architecture invariants: nothing here listens on an address another computer can reach; there is no way to switch
//! authentication off; no route takes a command line; no answer carries a CORS header; the page holds no data before
//! it has a token; the API port never serves a page; nothing here reads or writes a backup.

mod app;
mod backend;
mod client;
mod request;
mod server;
pub mod terminal;
pub mod view;

pub use backend::{
    Backend, BackupRequest, Body, BodyError, CheckRequest, Event, Failure, FailureKind, FriendChange,
    InviteRequest, JoinRequest, MeetingConsent, MeetingRequest, NewestBackup, RecoverRequest, RecoverView,
    SetRequest, SharedBackend, SnapshotQuery, UndeleteRequest,
};
pub use client::{Client, ClientError, EventStream};
pub use request::{AppCodeView, DoctorRequest, PauseRequest, SettingChange};
pub use server::{Bound, ControlConfig, ControlError, ControlServer, Token};
