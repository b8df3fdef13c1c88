//! The one table of routes: the router and the OpenAPI document both come from it.

use std::sync::Arc;

use axum::Router;
use axum::routing::{self, MethodFilter, MethodRouter};
use http::Method;
use kith_doctor::Diagnosis;

use super::connection::Door;
use super::openapi::Shape;
use super::{Shared, handlers};
use crate::backend::{
    BackupRequest, CheckRequest, Event, FriendChange, InviteRequest, JoinRequest, MeetingConsent,
    MeetingRequest, RecoverRequest, RecoverView, SetRequest, UndeleteRequest,
};
use crate::request::{AppCodeView, DoctorRequest, Nothing, PauseRequest, ReportCodeRequest, SettingChange};
use crate::view::{
    ArchiveAccess, EntryView, FindsView, FirewallView, FriendView, InviteView, JobView, JoinView,
    MeetingView, NearView, PortView, ReportCodeView, SetView, SettingView, SnapshotView, StatusView,
    UndeleteView,
};

type Endpoint = MethodRouter<Arc<Shared>>;

/// One operation of the API.
pub(super) struct Route {
    pub(super) methods: Vec<Method>,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Names behind the question mark, each with what it means.
    pub(super) query: &'static [(&'static str, Presence, &'static str)],
    pub(super) request: Option<Shape>,
    /// None = 204, nothing to say.
    pub(super) answer: Option<Shape>,
    pub(super) socket_only: bool,
    endpoint: Endpoint,
}

/// Whether a query parameter must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
}

impl Route {
    fn new(method: Method, path: &'static str, summary: &'static str, endpoint: Endpoint) -> Self {
        Self {
            methods: vec![method],
            path,
            summary,
            query: &[],
            request: None,
            answer: None,
            socket_only: false,
            endpoint,
        }
    }

    fn takes(mut self, request: Shape) -> Self {
        self.request = Some(request);
        self
    }

    fn gives(mut self, answer: Shape) -> Self {
        self.answer = Some(answer);
        self
    }

    fn asks(mut self, query: &'static [(&'static str, Presence, &'static str)]) -> Self {
        self.query = query;
        self
    }

    fn socket_only(mut self) -> Self {
        self.socket_only = true;
        self
    }
}

/// Everything a door answers, with JSON for what it doesn't.
pub(super) fn router(door: Door, shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for route in table() {
        let endpoint = if route.socket_only && door != Door::Socket {
            let methods = route.methods.into_iter().filter_map(|method| MethodFilter::try_from(method).ok());
            methods.fold(Endpoint::new(), |endpoint, method| endpoint.on(method, handlers::not_over_tcp))
        } else {
            route.endpoint
        };
        router = router.route(route.path, endpoint);
    }
    let router = router.method_not_allowed_fallback(handlers::no_such_method);
    // The app's own routes are merged in later: one fallback serves both.
    router.fallback(handlers::no_such_route).with_state(Arc::clone(shared))
}

const FRIEND: (&str, Presence, &str) =
    ("friend", Presence::Optional, "Only at this friend: a name or a device id");

const AS_OF: (&str, Presence, &str) = (
    "as_of",
    Presence::Optional,
    "As the archives were at this time (RFC 3339), by the clocks of those who keep them",
);

pub(super) fn table() -> Vec<Route> {
    let mut table = computer();
    table.extend(friends());
    table.extend(near());
    table.extend(backups());
    table.extend(archives());
    table
}

fn computer() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/v1/status", "This computer at a glance", routing::get(handlers::status))
            .gives(Shape::one::<StatusView>()),
        Route::new(
            Method::GET,
            "/v1/events",
            "What changes, as it changes: server-sent events",
            routing::get(handlers::events),
        )
        .gives(Shape::stream::<Event>()),
        Route::new(Method::GET, "/v1/settings", "Every setting", routing::get(handlers::settings))
            .gives(Shape::many::<SettingView>()),
        Route::new(
            Method::PUT,
            "/v1/settings/{key}",
            "Change a setting, in the settings file and in force",
            routing::put(handlers::change_setting),
        )
        .takes(Shape::one::<SettingChange>())
        .gives(Shape::one::<SettingView>()),
        Route::new(Method::GET, "/v1/ports", "The ports in use", routing::get(handlers::ports))
            .gives(Shape::many::<PortView>()),
        Route::new(
            Method::GET,
            "/v1/firewall",
            "What firewalls must let through, by the settings in force",
            routing::get(handlers::firewall),
        )
        .gives(Shape::one::<FirewallView>()),
        Route::new(Method::POST, "/v1/pause", "Pause backups for a while", routing::post(handlers::pause))
            .takes(Shape::one::<PauseRequest>()),
        Route::new(Method::POST, "/v1/resume", "End a pause", routing::post(handlers::resume))
            .takes(Shape::one::<Nothing>()),
        Route::new(
            Method::POST,
            "/v1/ra",
            "Drop every link, fetch addresses afresh, dial and authenticate again",
            routing::post(handlers::reauthenticate),
        )
        .takes(Shape::one::<Nothing>()),
        Route::new(
            Method::POST,
            "/v1/restart",
            "End the daemon cleanly and start it anew",
            routing::post(handlers::restart),
        )
        .takes(Shape::one::<Nothing>()),
        Route::new(
            Method::POST,
            "/v1/scrub",
            "Read everything that is kept for friends and compare it with its names; the status tells how far it is",
            routing::post(handlers::scrub),
        )
        .takes(Shape::one::<Nothing>()),
        Route::new(
            Method::POST,
            "/v1/doctor",
            "Say the one cause of what is wrong, and the one thing to do; waits for the network, ten seconds at most",
            routing::post(handlers::doctor),
        )
        .takes(Shape::one::<DoctorRequest>())
        .gives(Shape::one::<Diagnosis>()),
        Route::new(
            Method::POST,
            "/v1/report-codes",
            "Say how this computer is in one line, for a friend's doctor that can't ask it",
            routing::post(handlers::report_code),
        )
        .takes(Shape::one::<ReportCodeRequest>())
        .gives(Shape::one::<ReportCodeView>()),
        Route::new(
            Method::POST,
            "/v1/recover",
            "Become the computer of the 24 words",
            routing::post(handlers::recover),
        )
        .takes(Shape::one::<RecoverRequest>())
        .gives(Shape::one::<RecoverView>())
        .socket_only(),
        Route::new(
            Method::POST,
            "/v1/app-codes",
            "An address that opens the app once",
            routing::post(handlers::app_code),
        )
        .takes(Shape::one::<Nothing>())
        .gives(Shape::one::<AppCodeView>())
        .socket_only(),
        Route::new(Method::GET, "/v1/openapi.json", "This description", routing::get(handlers::document))
            .gives(Shape::anything()),
    ]
}

fn friends() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/v1/friends", "All friends", routing::get(handlers::friends))
            .gives(Shape::many::<FriendView>()),
        Route::new(Method::POST, "/v1/invites", "Make an invite", routing::post(handlers::invite))
            .takes(Shape::one::<InviteRequest>())
            .gives(Shape::one::<InviteView>()),
        Route::new(
            Method::POST,
            "/v1/joins",
            "Join by an invite or a reply line; waits for the network",
            routing::post(handlers::join),
        )
        .takes(Shape::one::<JoinRequest>())
        .gives(Shape::one::<JoinView>()),
        Route::new(
            Method::PATCH,
            "/v1/friends/{friend}",
            "Change a friend",
            routing::patch(handlers::change_friend),
        )
        .takes(Shape::one::<FriendChange>())
        .gives(Shape::one::<FriendView>()),
        Route::new(
            Method::DELETE,
            "/v1/friends/{friend}",
            "Forget a friend; what is kept for him stays on the disk",
            routing::delete(handlers::remove_friend),
        ),
        Route::new(
            Method::GET,
            "/v1/friends/{friend}/archive",
            "Key and place of our archive at a friend",
            routing::get(handlers::archive_access),
        )
        .gives(Shape::one::<ArchiveAccess>())
        .socket_only(),
        Route {
            methods: vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE],
            ..Route::new(
                Method::GET,
                "/v1/friends/{friend}/store/{*path}",
                "The restic REST service of a friend, for our archives there",
                routing::any(handlers::store),
            )
            .gives(Shape::anything())
            .socket_only()
        },
    ]
}

fn near() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/v1/near",
            "Computers nearby, and meetings with them",
            routing::get(handlers::near),
        )
        .gives(Shape::one::<NearView>()),
        Route::new(
            Method::POST,
            "/v1/near",
            "Show this computer in the local network and list others, for ten minutes from now",
            routing::post(handlers::open_near),
        )
        .takes(Shape::one::<Nothing>())
        .gives(Shape::one::<NearView>()),
        Route::new(Method::DELETE, "/v1/near", "End that at once", routing::delete(handlers::close_near)),
        Route::new(
            Method::POST,
            "/v1/near/meetings",
            "Ask a computer nearby for a meeting, at the end of which the two are friends",
            routing::post(handlers::ask_meeting),
        )
        .takes(Shape::one::<MeetingRequest>())
        .gives(Shape::one::<MeetingView>()),
        Route::new(
            Method::POST,
            "/v1/near/meetings/{id}/confirm",
            "The words are the same on both screens: as soon as both people say so, the two are friends",
            routing::post(handlers::confirm_meeting),
        )
        .takes(Shape::one::<MeetingConsent>())
        .gives(Shape::one::<MeetingView>()),
        Route::new(
            Method::POST,
            "/v1/near/meetings/{id}/refuse",
            "End a meeting; nothing has happened",
            routing::post(handlers::refuse_meeting),
        )
        .takes(Shape::one::<Nothing>())
        .gives(Shape::one::<MeetingView>()),
    ]
}

fn backups() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/v1/sets", "All backup sets", routing::get(handlers::sets))
            .gives(Shape::many::<SetView>()),
        Route::new(Method::POST, "/v1/sets", "Add a backup set", routing::post(handlers::add_set))
            .takes(Shape::one::<SetRequest>())
            .gives(Shape::one::<SetView>()),
        Route::new(
            Method::DELETE,
            "/v1/sets/{name}",
            "Remove a backup set; its snapshots stay",
            routing::delete(handlers::remove_set),
        ),
        Route::new(Method::POST, "/v1/backups", "Start backups", routing::post(handlers::start_backup))
            .takes(Shape::one::<BackupRequest>())
            .gives(Shape::many::<JobView>()),
        Route::new(
            Method::POST,
            "/v1/checks",
            "Start the check of an archive",
            routing::post(handlers::start_check),
        )
        .takes(Shape::one::<CheckRequest>())
        .gives(Shape::one::<JobView>()),
        Route::new(Method::GET, "/v1/jobs", "Jobs, newest first", routing::get(handlers::jobs))
            .gives(Shape::many::<JobView>()),
        Route::new(Method::GET, "/v1/jobs/{id}", "One job", routing::get(handlers::job))
            .gives(Shape::one::<JobView>()),
        Route::new(Method::DELETE, "/v1/jobs/{id}", "End a job", routing::delete(handlers::cancel_job))
            .gives(Shape::one::<JobView>()),
    ]
}

fn archives() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/v1/snapshots",
            "Snapshots, oldest first; waits for the network",
            routing::get(handlers::snapshots),
        )
        .asks(&[FRIEND, ("set", Presence::Optional, "Only of this set"), AS_OF])
        .gives(Shape::many::<SnapshotView>()),
        Route::new(
            Method::GET,
            "/v1/snapshots/{id}/entries",
            "A directory in a snapshot, or one file; waits for the network",
            routing::get(handlers::entries),
        )
        .asks(&[("path", Presence::Optional, "Where in the snapshot; its top when absent"), FRIEND, AS_OF])
        .gives(Shape::many::<EntryView>()),
        Route::new(
            Method::GET,
            "/v1/find",
            "Entries of all snapshots that match, and what could not be searched; waits for the network",
            routing::get(handlers::find),
        )
        .asks(&[("pattern", Presence::Required, "A glob for the name or the path"), FRIEND, AS_OF])
        .gives(Shape::one::<FindsView>()),
        Route::new(
            Method::POST,
            "/v1/friends/{friend}/undelete",
            "Bring back what was deleted from our archive at a friend; waits for the network",
            routing::post(handlers::undelete),
        )
        .takes(Shape::one::<UndeleteRequest>())
        .gives(Shape::one::<UndeleteView>()),
    ]
}
