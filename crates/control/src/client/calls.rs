//! The calls, one per thing the daemon does.

use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use kith_doctor::Diagnosis;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Client, ClientError, EventStream, empty_request, protocol, refuse_failures};
use crate::backend::{
    BackupRequest, Body, CheckRequest, FriendChange, InviteRequest, JoinRequest, RecoverRequest, RecoverView,
    SetRequest, SnapshotQuery, UndeleteRequest,
};
use crate::request::{AppCodeView, DoctorRequest, Nothing, PauseRequest, ReportCodeRequest, SettingChange};
use crate::server::FROM_STORE;
use crate::view::{
    ArchiveAccess, EntryView, FindsView, FirewallView, FriendView, InviteView, JobView, JoinView, PortView,
    ReportCodeView, SetView, SettingView, SnapshotView, StatusView, UndeleteView,
};

/// Every call fails with [`ClientError::Failure`] if the daemon says no, and with the other kinds if it can't be asked.
#[expect(clippy::missing_errors_doc, reason = "said once for all of them, above")]
impl Client {
    /// This computer at a glance.
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.get("/v1/status").await
    }

    /// All friends.
    pub async fn friends(&self) -> Result<Vec<FriendView>, ClientError> {
        self.get("/v1/friends").await
    }

    /// What changes, as it changes.
    pub async fn events(&self) -> Result<EventStream, ClientError> {
        let answer = self.exchange(empty_request(Method::GET, "/v1/events")?).await?;
        Ok(EventStream::new(refuse_failures(answer).await?.into_body()))
    }

    /// Makes an invite.
    pub async fn invite(&self, request: &InviteRequest) -> Result<InviteView, ClientError> {
        self.send(Method::POST, "/v1/invites", request).await
    }

    /// Joins by an invite or a reply line.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinView, ClientError> {
        self.send(Method::POST, "/v1/joins", request).await
    }

    /// Changes a friend.
    pub async fn change_friend(
        &self,
        friend: &str,
        change: &FriendChange,
    ) -> Result<FriendView, ClientError> {
        self.send(Method::PATCH, &format!("/v1/friends/{}", encoded(friend)), change).await
    }

    /// Forgets a friend.
    pub async fn remove_friend(&self, friend: &str) -> Result<(), ClientError> {
        self.delete(&format!("/v1/friends/{}", encoded(friend))).await
    }

    /// All sets.
    pub async fn sets(&self) -> Result<Vec<SetView>, ClientError> {
        self.get("/v1/sets").await
    }

    /// Adds a set.
    pub async fn add_set(&self, request: &SetRequest) -> Result<SetView, ClientError> {
        self.send(Method::POST, "/v1/sets", request).await
    }

    /// Removes a set.
    pub async fn remove_set(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&format!("/v1/sets/{}", encoded(name))).await
    }

    /// Starts backups.
    pub async fn start_backup(&self, request: &BackupRequest) -> Result<Vec<JobView>, ClientError> {
        self.send(Method::POST, "/v1/backups", request).await
    }

    /// Starts a check.
    pub async fn start_check(&self, request: &CheckRequest) -> Result<JobView, ClientError> {
        self.send(Method::POST, "/v1/checks", request).await
    }

    /// Jobs, newest first.
    pub async fn jobs(&self) -> Result<Vec<JobView>, ClientError> {
        self.get("/v1/jobs").await
    }

    /// One job.
    pub async fn job(&self, id: u64) -> Result<JobView, ClientError> {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// Ends a job.
    pub async fn cancel_job(&self, id: u64) -> Result<JobView, ClientError> {
        self.delete(&format!("/v1/jobs/{id}")).await
    }

    /// Snapshots, oldest first.
    pub async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<SnapshotView>, ClientError> {
        let as_of = query.as_of.map(|as_of| as_of.to_string());
        let query = question([
            ("friend", query.friend.as_deref()),
            ("set", query.set.as_deref()),
            ("as_of", as_of.as_deref()),
        ]);
        self.get(&format!("/v1/snapshots{query}")).await
    }

    /// The entries of a directory (or the one file) in a snapshot.
    pub async fn list_entries(
        &self,
        snapshot: &str,
        path: Option<&str>,
        friend: Option<&str>,
        as_of: Option<jiff::Timestamp>,
    ) -> Result<Vec<EntryView>, ClientError> {
        let as_of = as_of.map(|as_of| as_of.to_string());
        let query = question([("path", path), ("friend", friend), ("as_of", as_of.as_deref())]);
        self.get(&format!("/v1/snapshots/{}/entries{query}", encoded(snapshot))).await
    }

    /// Entries whose name or path matches a glob.
    pub async fn find(
        &self,
        pattern: &str,
        friend: Option<&str>,
        as_of: Option<jiff::Timestamp>,
    ) -> Result<FindsView, ClientError> {
        let as_of = as_of.map(|as_of| as_of.to_string());
        let query = question([("pattern", Some(pattern)), ("friend", friend), ("as_of", as_of.as_deref())]);
        self.get(&format!("/v1/find{query}")).await
    }

    /// Brings back what was deleted from our archive at a friend.
    pub async fn undelete(
        &self,
        friend: &str,
        request: &UndeleteRequest,
    ) -> Result<UndeleteView, ClientError> {
        self.send(Method::POST, &format!("/v1/friends/{}/undelete", encoded(friend)), request).await
    }

    /// Reads everything that is kept for friends, from now on.
    pub async fn scrub(&self) -> Result<(), ClientError> {
        self.send(Method::POST, "/v1/scrub", &Nothing {}).await
    }

    /// Key and place of our archive at a friend. Socket only.
    pub async fn archive_access(&self, friend: &str) -> Result<ArchiveAccess, ClientError> {
        self.get(&format!("/v1/friends/{}/archive", encoded(friend))).await
    }

    /// A restic REST request to the friend that keeps our archive; its path starts with the archive's id (`/{archive}/data/...`).
    /// Both bodies stream. What the friend's store answers is handed through as it is, a 404 included; only the daemon's
    /// own refusals are errors. Socket only.
    pub async fn store(&self, friend: &str, request: Request<Body>) -> Result<Response<Body>, ClientError> {
        let (mut parts, body) = request.into_parts();
        let below = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = format!("/v1/friends/{}/store{below}", encoded(friend));
        parts.uri = Uri::try_from(path).map_err(protocol)?;
        let answer = self.exchange(Request::from_parts(parts, body)).await?;
        let answer =
            if answer.headers().contains_key(FROM_STORE) { answer } else { refuse_failures(answer).await? };
        Ok(answer.map(BodyExt::boxed_unsync))
    }

    /// Every setting.
    pub async fn settings(&self) -> Result<Vec<SettingView>, ClientError> {
        self.get("/v1/settings").await
    }

    /// Changes a setting.
    pub async fn change_setting(&self, key: &str, value: &str) -> Result<SettingView, ClientError> {
        let change = SettingChange { value: value.to_owned() };
        self.send(Method::PUT, &format!("/v1/settings/{}", encoded(key)), &change).await
    }

    /// Pauses backups.
    pub async fn pause(&self, seconds: u64) -> Result<(), ClientError> {
        self.send(Method::POST, "/v1/pause", &PauseRequest { seconds }).await
    }

    /// Ends a pause.
    pub async fn resume(&self) -> Result<(), ClientError> {
        self.send(Method::POST, "/v1/resume", &Nothing {}).await
    }

    /// Drops every link, dials and authenticates again.
    pub async fn reauthenticate(&self) -> Result<(), ClientError> {
        self.send(Method::POST, "/v1/ra", &Nothing {}).await
    }

    /// Ends the daemon cleanly and starts it anew.
    pub async fn restart(&self) -> Result<(), ClientError> {
        self.send(Method::POST, "/v1/restart", &Nothing {}).await
    }

    /// What firewalls must let through.
    pub async fn firewall(&self) -> Result<FirewallView, ClientError> {
        self.get("/v1/firewall").await
    }

    /// The port table.
    pub async fn ports(&self) -> Result<Vec<PortView>, ClientError> {
        self.get("/v1/ports").await
    }

    /// Looks for the one cause of what is wrong.
    pub async fn doctor(&self, request: &DoctorRequest) -> Result<Diagnosis, ClientError> {
        self.send(Method::POST, "/v1/doctor", request).await
    }

    /// How this computer is, as one line for a friend.
    pub async fn report_code(&self, friend: Option<String>) -> Result<ReportCodeView, ClientError> {
        self.send(Method::POST, "/v1/report-codes", &ReportCodeRequest { friend }).await
    }

    /// Becomes the computer of the 24 words. Socket only.
    pub async fn recover(&self, request: &RecoverRequest) -> Result<RecoverView, ClientError> {
        self.send(Method::POST, "/v1/recover", request).await
    }

    /// An address that opens the app once. Socket only.
    pub async fn app_code(&self) -> Result<AppCodeView, ClientError> {
        self.send(Method::POST, "/v1/app-codes", &Nothing {}).await
    }
}

fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()
}

fn question<const N: usize>(pairs: [(&str, Option<&str>); N]) -> String {
    let said = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded((*value)?))));
    let joined = said.collect::<Vec<_>>().join("&");
    if joined.is_empty() { joined } else { format!("?{joined}") }
}
