//! What the routes do: little more than handing on to the backend.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt as _;
use kith_doctor::Diagnosis;

use super::answer::Refusal;
use super::events::{AllEvents, event_stream};
use super::extract::{JsonBody, Query, Segment};
use super::{CODE_LIFETIME, Shared, openapi};
use crate::backend::{
    BackupRequest, BodyError, CheckRequest, Failure, FailureKind, FriendChange, InviteRequest, JoinRequest,
    MeetingConsent, MeetingRequest, RecoverRequest, RecoverView, SetRequest, SnapshotQuery, UndeleteRequest,
};
use crate::request::{
    AppCodeView, DoctorRequest, EntriesQuery, FindQuery, Nothing, PauseRequest, ReportCodeRequest,
    SettingChange,
};
use crate::view::{
    ArchiveAccess, EntryView, FindsView, FirewallView, FriendView, InviteView, JobView, JoinView,
    MeetingView, NearView, PortView, ReportCodeView, SetView, SettingView, SnapshotView, StatusView,
    UndeleteView,
};

/// The longest report code that is looked at.
const MAX_REPORT_CODE_BYTES: usize = 64 * 1024;

type Kith = State<Arc<Shared>>;
type Answer<T> = Result<Json<T>, Refusal>;

pub(super) async fn status(State(kith): Kith) -> Json<StatusView> {
    let mut status = kith.backend.status().await;
    // The server knows best which ports it has.
    status.control.port = kith.bound.api_port;
    status.control.app_port = kith.bound.app_port;
    Json(status)
}

pub(super) async fn friends(State(kith): Kith) -> Json<Vec<FriendView>> {
    Json(kith.backend.friends().await)
}

pub(super) async fn invite(
    State(kith): Kith,
    JsonBody(request): JsonBody<InviteRequest>,
) -> Answer<InviteView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.invite(request).await }).await?))
}

pub(super) async fn join(State(kith): Kith, JsonBody(request): JsonBody<JoinRequest>) -> Answer<JoinView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.join(request).await }).await?))
}

pub(super) async fn change_friend(
    State(kith): Kith,
    Segment(friend): Segment<String>,
    JsonBody(change): JsonBody<FriendChange>,
) -> Answer<FriendView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.change_friend(&friend, change).await }).await?))
}

pub(super) async fn remove_friend(
    State(kith): Kith,
    Segment(friend): Segment<String>,
) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.remove_friend(&friend).await }).await)
}

pub(super) async fn near(State(kith): Kith) -> Json<NearView> {
    Json(kith.backend.near().await)
}

pub(super) async fn open_near(
    State(kith): Kith,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Answer<NearView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.open_near().await }).await?))
}

pub(super) async fn close_near(State(kith): Kith) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.close_near().await }).await)
}

pub(super) async fn ask_meeting(
    State(kith): Kith,
    JsonBody(request): JsonBody<MeetingRequest>,
) -> Answer<MeetingView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.ask_meeting(request).await }).await?))
}

pub(super) async fn confirm_meeting(
    State(kith): Kith,
    Segment(id): Segment<u64>,
    JsonBody(consent): JsonBody<MeetingConsent>,
) -> Answer<MeetingView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.confirm_meeting(id, consent).await }).await?))
}

pub(super) async fn refuse_meeting(
    State(kith): Kith,
    Segment(id): Segment<u64>,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Answer<MeetingView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.refuse_meeting(id).await }).await?))
}

pub(super) async fn sets(State(kith): Kith) -> Answer<Vec<SetView>> {
    Ok(Json(kith.backend.sets().await?))
}

pub(super) async fn add_set(State(kith): Kith, JsonBody(request): JsonBody<SetRequest>) -> Answer<SetView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.add_set(request).await }).await?))
}

pub(super) async fn remove_set(
    State(kith): Kith,
    Segment(name): Segment<String>,
) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.remove_set(&name).await }).await)
}

pub(super) async fn start_backup(
    State(kith): Kith,
    JsonBody(request): JsonBody<BackupRequest>,
) -> Answer<Vec<JobView>> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.start_backup(request).await }).await?))
}

pub(super) async fn start_check(
    State(kith): Kith,
    JsonBody(request): JsonBody<CheckRequest>,
) -> Answer<JobView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.start_check(request).await }).await?))
}

pub(super) async fn jobs(State(kith): Kith) -> Answer<Vec<JobView>> {
    Ok(Json(kith.backend.jobs().await?))
}

pub(super) async fn job(State(kith): Kith, Segment(id): Segment<u64>) -> Answer<JobView> {
    Ok(Json(kith.backend.job(id).await?))
}

pub(super) async fn cancel_job(State(kith): Kith, Segment(id): Segment<u64>) -> Answer<JobView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.cancel_job(id).await }).await?))
}

pub(super) async fn snapshots(
    State(kith): Kith,
    Query(query): Query<SnapshotQuery>,
) -> Answer<Vec<SnapshotView>> {
    let query = SnapshotQuery { friend: said(query.friend), set: said(query.set), as_of: query.as_of };
    Ok(Json(kith.backend.snapshots(query).await?))
}

pub(super) async fn entries(
    State(kith): Kith,
    Segment(snapshot): Segment<String>,
    Query(query): Query<EntriesQuery>,
) -> Answer<Vec<EntryView>> {
    let (path, friend) = (said(query.path), said(query.friend));
    Ok(Json(kith.backend.list_entries(&snapshot, path.as_deref(), friend.as_deref(), query.as_of).await?))
}

pub(super) async fn find(State(kith): Kith, Query(query): Query<FindQuery>) -> Answer<FindsView> {
    let friend = said(query.friend);
    Ok(Json(kith.backend.find(&query.pattern, friend.as_deref(), query.as_of).await?))
}

pub(super) async fn undelete(
    State(kith): Kith,
    Segment(friend): Segment<String>,
    JsonBody(request): JsonBody<UndeleteRequest>,
) -> Answer<UndeleteView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.undelete(&friend, request).await }).await?))
}

pub(super) async fn scrub(
    State(kith): Kith,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.scrub().await }).await)
}

pub(super) async fn settings(State(kith): Kith) -> Answer<Vec<SettingView>> {
    Ok(Json(kith.backend.settings().await?))
}

pub(super) async fn change_setting(
    State(kith): Kith,
    Segment(key): Segment<String>,
    JsonBody(change): JsonBody<SettingChange>,
) -> Answer<SettingView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.change_setting(&key, &change.value).await }).await?))
}

pub(super) async fn pause(
    State(kith): Kith,
    JsonBody(request): JsonBody<PauseRequest>,
) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.pause(request.seconds).await }).await)
}

pub(super) async fn resume(
    State(kith): Kith,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.resume().await }).await)
}

pub(super) async fn reauthenticate(
    State(kith): Kith,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.reauthenticate().await }).await)
}

pub(super) async fn restart(
    State(kith): Kith,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<StatusCode, Refusal> {
    let backend = Arc::clone(&kith.backend);
    done(kith.to_the_end(async move { backend.restart().await }).await)
}

pub(super) async fn firewall(State(kith): Kith) -> Answer<FirewallView> {
    Ok(Json(kith.backend.firewall().await?))
}

pub(super) async fn ports(State(kith): Kith) -> Answer<Vec<PortView>> {
    Ok(Json(kith.backend.ports().await?))
}

/// Changes nothing: whoever goes away ends it.
pub(super) async fn doctor(
    State(kith): Kith,
    JsonBody(request): JsonBody<DoctorRequest>,
) -> Answer<Diagnosis> {
    Ok(Json(examined(&kith, request).await?))
}

/// The same for the app's own page.
pub(crate) async fn examined(kith: &Shared, request: DoctorRequest) -> Result<Diagnosis, Refusal> {
    let with = said(request.with);
    if with.as_ref().is_some_and(|code| code.len() > MAX_REPORT_CODE_BYTES) {
        return Err(Refusal::invalid(format!("a report code has {MAX_REPORT_CODE_BYTES} bytes at most"))
            .with_hint("paste the one line that `kith doctor --code` prints, and nothing else"));
    }
    let request = DoctorRequest { friend: said(request.friend), with, firewall: request.firewall };
    Ok(kith.backend.doctor(request).await?)
}

pub(super) async fn report_code(
    State(kith): Kith,
    JsonBody(request): JsonBody<ReportCodeRequest>,
) -> Answer<ReportCodeView> {
    Ok(Json(kith.backend.report_code(said(request.friend)).await?))
}

pub(super) async fn events(State(kith): Kith) -> Result<Response, Refusal> {
    event_stream(&kith, AllEvents::new(&kith))
}

pub(super) async fn document() -> Json<serde_json::Value> {
    Json(openapi::document())
}

// Socket only, from here on.

pub(super) async fn archive_access(
    State(kith): Kith,
    Segment(friend): Segment<String>,
) -> Answer<ArchiveAccess> {
    Ok(Json(kith.backend.archive_access(&friend).await?))
}

pub(super) async fn recover(
    State(kith): Kith,
    JsonBody(request): JsonBody<RecoverRequest>,
) -> Answer<RecoverView> {
    let backend = Arc::clone(&kith.backend);
    Ok(Json(kith.to_the_end(async move { backend.recover(request).await }).await?))
}

pub(super) async fn app_code(
    State(kith): Kith,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Answer<AppCodeView> {
    let code = kith.codes.issue().map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    // In the fragment: it is sent to no server and stands in no log. 127.0.0.1, never a name: the page's storage belongs to
    // exactly this origin.
    let url = format!("http://127.0.0.1:{}/#code={code}", kith.bound.app_port);
    Ok(Json(AppCodeView { url, expires_seconds: CODE_LIFETIME.as_secs() }))
}

/// Hands a restic REST request on, both bodies streaming.
pub(super) async fn store(
    State(kith): Kith,
    Segment((friend, _)): Segment<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    parts.uri = below_store(&parts.uri).ok_or_else(|| Refusal::invalid("the path is not understood"))?;
    let body = body.map_err(BodyError::from).boxed_unsync();
    let mut answer = kith.backend.store(&friend, http::Request::from_parts(parts, body)).await?;
    answer.headers_mut().insert(FROM_STORE, HeaderValue::from_static("1"));
    Ok(answer.map(axum::body::Body::new))
}

/// Marks what the friend's store said, apart from what the daemon says itself.
pub(crate) const FROM_STORE: &str = "kith-from-store";

/// What follows `/v1/friends/{friend}/store`, as it was written, with the query.
fn below_store(uri: &Uri) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let (_friend, rest) = whole.strip_prefix("/v1/friends/")?.split_once('/')?;
    rest.strip_prefix("store")?.parse().ok()
}

pub(super) async fn not_over_tcp() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        FailureKind::Refused,
        "this is answered on the Unix socket only, because it gives access to secrets",
    )
    .with_hint("use the command line, or the socket in the daemon's home")
}

pub(super) async fn no_such_route() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, FailureKind::NotFound, "there is no such route")
        .with_hint("GET /v1/openapi.json describes every route")
}

pub(super) async fn no_such_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, FailureKind::Invalid, "this route does not take this method")
        .with_hint("GET /v1/openapi.json describes every route")
}

fn done(result: Result<(), Failure>) -> Result<StatusCode, Refusal> {
    result?;
    Ok(StatusCode::NO_CONTENT)
}

/// `?friend=` is the same as not saying it.
fn said(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}
