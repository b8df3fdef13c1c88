//! A daemon that only pretends, for tests and for looking at the app.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use jiff::{SignedDuration, Timestamp};
use kith_control::view::*;
use kith_control::{
    Backend, BackupRequest, Body, CheckRequest, DoctorRequest, Event, Failure, FailureKind, FriendChange,
    InviteRequest, JoinRequest, MeetingConsent, MeetingRequest, RecoverRequest, RecoverView, SetRequest,
    SnapshotQuery, UndeleteRequest,
};
use kith_doctor::{Code, Diagnosis, Part};
use kith_identity::DeviceId;
use tokio::sync::{Notify, broadcast};

#[path = "diagnoses.rs"]
pub(crate) mod diagnoses;
#[path = "networks.rs"]
pub(crate) mod networks;
#[path = "noticed.rs"]
pub(crate) mod noticed;

const GB: u64 = 1_000_000_000;

pub(crate) struct StandIn {
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
    /// What was asked, in order.
    calls: Mutex<Vec<String>>,
    /// A slow join tells `reached`, waits for `gate`, and tells `passed`.
    pub(crate) reached: Notify,
    pub(crate) gate: Notify,
    pub(crate) passed: Notify,
}

#[derive(Clone)]
pub(crate) struct State {
    pub(crate) status: StatusView,
    pub(crate) sets: Vec<SetView>,
    pub(crate) jobs: Vec<JobView>,
    pub(crate) settings: Vec<SettingView>,
    pub(crate) firewall: FirewallView,
    pub(crate) near: NearView,
    pub(crate) diagnosis: Diagnosis,
}

impl StandIn {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            events: broadcast::channel(64).0,
            calls: Mutex::default(),
            reached: Notify::new(),
            gate: Notify::new(),
            passed: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn tell(&self, event: Event) {
        // Nobody may be listening.
        self.events.send(event).unwrap_or_default();
    }

    fn called(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    fn meeting(&self, id: u64) -> Result<MeetingView, Failure> {
        let found = self.state().near.meetings.iter().find(|meeting| meeting.id == id).cloned();
        found.ok_or_else(|| Failure::new(FailureKind::NotFound, "there is no such meeting any more"))
    }

    fn friend(&self, wanted: &str) -> Result<FriendView, Failure> {
        let state = self.state();
        let mut friends = state.status.friends.iter();
        friends
            .find(|friend| friend.name == wanted || friend.device_id.to_string() == wanted)
            .cloned()
            .ok_or_else(|| Failure::new(FailureKind::NotFound, format!("there is no friend called {wanted}")))
    }
}

pub(crate) fn device(seed: u8) -> DeviceId {
    DeviceId::from_spki(&[seed; 32])
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

pub(crate) fn friend(seed: u8, name: &str) -> FriendView {
    FriendView {
        name: name.to_owned(),
        device_id: device(seed),
        own: false,
        connected: false,
        path: None,
        address: None,
        connected_since: None,
        last_seen: None,
        internal: Vec::new(),
        public: Vec::new(),
        configured: Vec::new(),
        last_error: None,
        paused: false,
        quota_bytes: None,
        stored_here_bytes: 0,
        held_here_bytes: 0,
        offered_bytes: None,
        stored_there_bytes: None,
        safety_words: Some("velvet marble canoe island window tomato".to_owned()),
        version: Some("0.1.0".to_owned()),
        recovered: None,
        clock_ahead_seconds: None,
        damaged_here: 0,
        damaged_there: 0,
        trouble: None,
        last_backup: None,
        archive: archive(),
        condition: None,
        reachability: None,
        dialled: None,
        relayed_by: None,
        path_since: None,
        round_trip_ms: None,
        last_change: None,
        attempts: Vec::new(),
        better: None,
    }
}

/// A computer that shows itself in the network.
pub(crate) fn near_computer(seed: u8, name: &str) -> NearComputerView {
    NearComputerView {
        device_id: device(seed),
        name: name.to_owned(),
        addresses: vec![format!("192.168.1.{seed}:4242")],
        friend: None,
    }
}

/// A meeting whose words are being compared.
pub(crate) fn meeting(id: u64, seed: u8, name: &str) -> MeetingView {
    MeetingView {
        id,
        device_id: device(seed),
        name: name.to_owned(),
        asked_here: false,
        state: MeetingState::Comparing,
        safety_words: Some("velvet marble canoe island window tomato".to_owned()),
        confirmed_here: false,
        confirmed_there: false,
        own: false,
        expires: ago(-100),
        outcome: None,
    }
}

/// A search in all its states.
pub(crate) fn looking() -> NearView {
    let friend = NearComputerView { friend: Some("Anna".to_owned()), ..near_computer(31, "annas-laptop") };
    let over = MeetingView {
        state: MeetingState::Ended,
        outcome: Some("the person at the other computer did not want it; nothing has changed".to_owned()),
        ..meeting(1, 35, "kitchen")
    };
    let done = MeetingView {
        state: MeetingState::Friends,
        outcome: Some("you and attic are friends now".to_owned()),
        ..meeting(2, 36, "attic")
    };
    let waiting =
        MeetingView { asked_here: true, confirmed_here: true, ..meeting(3, 33, "Ben’s workshop") };
    NearView {
        open_until: Some(ago(-540)),
        unavailable: None,
        computers: vec![near_computer(32, "Carla’s desktop"), near_computer(33, "Ben’s workshop"), friend],
        meetings: vec![over, done, waiting, meeting(4, 34, "Dora’s PC")],
    }
}

/// An archive that was found complete.
pub(crate) fn archive() -> ArchiveView {
    ArchiveView {
        verdict: ArchiveVerdict::Complete,
        compared: Some(ago(3600)),
        head: Some(HeadView { sequence: 12, snapshots: 12, time: ago(7200) }),
        newest: Vec::new(),
        missing: Vec::new(),
        missing_count: 0,
        foreign: Vec::new(),
        message: None,
        hint: None,
    }
}

pub(crate) fn job(id: u64, set: &str, friend: &FriendView, state: JobState) -> JobView {
    JobView {
        id,
        kind: JobKind::Backup,
        set: Some(set.to_owned()),
        friend: friend.name.clone(),
        friend_id: friend.device_id,
        state,
        started: ago(600),
        ended: state.is_over().then(|| ago(60)),
        progress: ProgressView { phase: "done".to_owned(), ..ProgressView::default() },
        snapshot: None,
        error: None,
        skipped: Vec::new(),
        skipped_count: 0,
        findings: Vec::new(),
    }
}

/// A computer that was installed a minute ago.
pub(crate) fn empty() -> State {
    State {
        status: StatusView {
            device_id: device(0),
            name: "study".to_owned(),
            version: "0.1.0".to_owned(),
            started: ago(60),
            listener: ListenerView {
                port: 4242,
                state: ListenerState::Listening,
                error: None,
                addresses: vec!["0.0.0.0:4242".to_owned(), "[::]:4242".to_owned()],
            },
            control: ControlView { port: 4243, app_port: 4244 },
            mapping: MappingView::new("searching", "Looking for a router that opens the port by itself"),
            mappings: Vec::new(),
            gateways: Vec::new(),
            internal: vec!["192.168.1.23:4242".to_owned()],
            public: Vec::new(),
            vault: VaultView {
                path: "/var/lib/kith/vault".to_owned(),
                accept: "friends".to_owned(),
                live_bytes: 0,
                held_bytes: 0,
                free_bytes: Some(812 * GB),
                failure: None,
                scrub: Default::default(),
            },
            relay: Default::default(),
            hubs: Vec::new(),
            paused_until: None,
            superseded: None,
            recovery_unseen: true,
            notices: Vec::new(),
            jobs: Vec::new(),
            friends: Vec::new(),
        },
        sets: Vec::new(),
        jobs: Vec::new(),
        settings: settings(),
        firewall: FirewallView::default(),
        near: NearView::default(),
        diagnosis: diagnoses::works(),
    }
}

/// Hubs in several states, one of which moves.
pub(crate) fn hubs() -> Vec<HubView> {
    let hub = |seed, at: &str, role, state| HubView {
        device_id: device(seed),
        name: at.to_owned(),
        addresses: vec![format!("{at}:4287")],
        role,
        friends: Vec::new(),
        state,
        why: None,
        connected_since: None,
        round_trip_ms: None,
        moves: None,
    };
    let moves = HubMoveView {
        at: ago(-5 * 86_400),
        to: vec!["new.example.org:443".to_owned()],
        done: false,
        next_step: Some(
            "write the new address into network.hubs, and let it through the firewall here if there is one (`kith ports --firewall`)".to_owned(),
        ),
    };
    let primary = HubView {
        connected_since: Some(ago(7200)),
        round_trip_ms: Some(18),
        moves: Some(moves),
        ..hub(50, "hub.example.org", HubRole::Primary, HubState::Registered)
    };
    let borrowed = HubView {
        friends: vec!["Anna".to_owned()],
        why: Some(
            "this hub lets in whom its owner chose: ask him for a line of `kith hub invite`, and put it into network.hubs".to_owned(),
        ),
        ..hub(52, "hub.friends.example.net", HubRole::Borrowed, HubState::Refused)
    };
    vec![primary, hub(51, "second.example.org", HubRole::Alternate, HubState::StandingBy), borrowed]
}

/// Rules for firewalls, with a proxy and ports that are mapped.
pub(crate) fn firewall() -> FirewallView {
    let rule = |direction, purpose: &str| FirewallRule {
        direction,
        protocol: FirewallProtocol::Tcp,
        local_ports: Some("4242".to_owned()),
        remote: None,
        remote_ports: None,
        answers: false,
        optional: false,
        friend: None,
        purpose: purpose.to_owned(),
    };
    FirewallView {
        summary: vec![
            "Friends connect to TCP port 4242 of this computer, and it connects to theirs.".to_owned(),
        ],
        rules: vec![
            rule(FirewallDirection::In, "friends connect here, from wherever they are"),
            FirewallRule {
                local_ports: Some("1024-5000".to_owned()),
                remote: Some("203.0.113.80".to_owned()),
                remote_ports: Some("4300".to_owned()),
                friend: Some("Ben’s workshop".to_owned()),
                optional: true,
                ..rule(FirewallDirection::Out, "an address of the friend as of now")
            },
        ],
        proxy: Some(ProxyRules {
            kind: "socks5".to_owned(),
            address: "proxy.example:1080".to_owned(),
            login: true,
            destinations: vec![ProxyDestination {
                address: "203.0.113.80:4300".to_owned(),
                friend: Some("Ben’s workshop".to_owned()),
                purpose: "friend".to_owned(),
            }],
        }),
        mapped: vec![
            MappedPort {
                firewall: Some("fw.example:7000".to_owned()),
                destination: device(1).to_string(),
                friend: Some("Anna".to_owned()),
                forward_to: vec!["198.51.100.7:4242".to_owned()],
            },
            MappedPort {
                firewall: None,
                destination: device(3).to_string(),
                friend: Some("attic".to_owned()),
                forward_to: Vec::new(),
            },
        ],
        nftables: vec!["nft add rule inet filter input tcp dport 4242 accept".to_owned()],
        ufw: vec!["ufw allow in proto tcp from any to any port 4242".to_owned()],
        notes: vec!["Friends' addresses change.".to_owned()],
    }
}

/// Friends, sets, a running backup and a history.
pub(crate) fn rich() -> State {
    let anna = FriendView {
        connected: true,
        path: Some("lan".to_owned()),
        address: Some("192.168.1.40:4242".to_owned()),
        connected_since: Some(ago(7300)),
        last_seen: Some(ago(0)),
        internal: vec!["192.168.1.40:4242".to_owned(), "[fd00:12::40]:4242".to_owned()],
        public: vec!["203.0.113.19:4242".to_owned()],
        quota_bytes: Some(200 * GB),
        stored_here_bytes: 61 * GB + 300_000_000,
        held_here_bytes: 2 * GB + 100_000_000,
        offered_bytes: Some(100 * GB),
        stored_there_bytes: Some(84 * GB + 700_000_000),
        last_backup: Some(ago(720)),
        condition: Some(ConditionView {
            outbound_only: false,
            free_bytes: Some(412 * GB),
            paused_until: None,
            last_backup: Some(LastBackupView { time: ago(26 * 3600), complete: true }),
            work: WorkView::Running,
            percent: Some(34),
        }),
        reachability: Some(ReachabilityView {
            sentence: "reachable 98.7 % this week; 6 h asleep, 20 min router".to_owned(),
            percent: Some(98.7),
            since: ago(7 * 24 * 3600),
            watched_seconds: 162 * 3600,
            asleep_seconds: 6 * 3600,
            asleep_here_seconds: 0,
            unwatched_seconds: 0,
            causes: vec![Cause { code: Code::MappingLost, part: Part::RouterThere, seconds: 20 * 60 }],
        }),
        ..friend(1, "Anna")
    };
    let ben = FriendView {
        connected: true,
        path: Some("mapped".to_owned()),
        address: Some("198.51.100.7:4242".to_owned()),
        connected_since: Some(ago(300)),
        last_seen: Some(ago(0)),
        internal: vec!["10.0.0.12:4242".to_owned()],
        public: vec!["198.51.100.7:4242".to_owned()],
        quota_bytes: Some(100 * GB),
        stored_here_bytes: 8 * GB,
        offered_bytes: Some(500 * GB),
        stored_there_bytes: Some(46 * GB),
        last_backup: Some(ago(86_400)),
        ..friend(2, "Ben’s workshop")
    };
    let attic = FriendView {
        own: true,
        last_seen: Some(ago(3 * 86_400)),
        internal: vec!["192.168.1.9:4242".to_owned()],
        configured: vec!["attic.example.net:4242".to_owned()],
        last_error: Some(
            "nobody answered at 192.168.1.9:4242 within 5 s: the computer may be switched off".to_owned(),
        ),
        quota_bytes: None,
        offered_bytes: Some(1000 * GB),
        stored_there_bytes: Some(12 * GB),
        last_backup: Some(ago(3 * 86_400)),
        paused: true,
        ..friend(3, "attic")
    };
    let running = JobView {
        progress: ProgressView {
            phase: "storing".to_owned(),
            files_total: 48_211,
            bytes_total: 25 * GB + 600_000_000,
            totals_final: true,
            files_done: 21_934,
            bytes_done: 12 * GB + 300_000_000,
            bytes_sent: 1_840_000_000,
            bytes_saved: 8 * GB + 100_000_000,
            bytes_per_second: 41_200_000,
            seconds_left_least: Some(250),
            seconds_left_most: Some(395),
            current: Some("/home/me/Pictures/2026/08 Norway/IMG_20260814_183355.jpg".to_owned()),
            errors: 0,
        },
        ..job(41, "Pictures", &anna, JobState::Running)
    };
    let waiting = JobView {
        progress: ProgressView {
            phase: "storing".to_owned(),
            files_total: 9_120,
            bytes_total: 3 * GB,
            totals_final: false,
            files_done: 1_020,
            bytes_done: 410_000_000,
            ..ProgressView::default()
        },
        ..job(42, "Documents", &attic, JobState::WaitingForFriend)
    };
    let done = |id, set: &str, friend: &FriendView, ended: i64, sent: u64| JobView {
        started: ago(ended + 95),
        ended: Some(ago(ended)),
        progress: ProgressView {
            phase: "done".to_owned(),
            files_done: 9_120,
            bytes_done: 3 * GB,
            bytes_sent: sent,
            ..ProgressView::default()
        },
        ..job(id, set, friend, JobState::Complete)
    };
    let omissions = JobView {
        state: JobState::CompleteWithOmissions,
        skipped: vec![
            SkippedView { path: "/home/me/.ssh/agent.sock".to_owned(), reason: "a socket".to_owned() },
            SkippedView {
                path: "/home/me/private/diary.odt".to_owned(),
                reason: "permission denied".to_owned(),
            },
        ],
        skipped_count: 2,
        ..done(38, "Documents", &ben, 86_400, 3_900_000)
    };
    let failed = JobView {
        state: JobState::Failed,
        error: Some(
            "Anna’s computer takes no more: 100 GB of 100 GB are used. Ask for more space or remove old snapshots"
                .to_owned(),
        ),
        ..done(37, "Pictures", &anna, 2 * 86_400, 0)
    };
    let check = JobView { kind: JobKind::Check, set: None, ..done(36, "", &anna, 4 * 86_400, 0) };
    let mut jobs = vec![
        waiting,
        running,
        done(40, "Documents", &anna, 720, 12_400_000),
        done(39, "Code", &ben, 5 * 3600, 780_000),
        omissions,
        failed,
        check,
    ];
    for day in 3..29 {
        let over = day * 86_400;
        let kept = match day % 9 {
            4 => continue,
            7 => JobState::CompleteWithOmissions,
            8 => JobState::Failed,
            _ => JobState::Complete,
        };
        let id = 1000 - u64::try_from(day).unwrap();
        jobs.push(JobView { state: kept, ..done(id, "Documents", &anna, over, 2_000_000) });
        if day < 12 {
            jobs.push(done(100 + id, "Pictures", &anna, over, 45_000_000));
        }
    }
    let set = |name: &str, paths: &[&str], to: &[&FriendView], exclude: &[&str], last: Option<i64>| SetView {
        name: name.to_owned(),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        to: to.iter().map(|friend| friend.name.clone()).collect(),
        alternate: if name == "Pictures" { vec![ben.name.clone()] } else { Vec::new() },
        exclude: exclude.iter().map(|glob| (*glob).to_owned()).collect(),
        last_backup: last.map(ago),
    };
    let mut state = empty();
    state.firewall = firewall();
    state.sets = vec![
        set("Documents", &["/home/me/Documents", "/home/me/Mail"], &[&anna, &attic], &["*.tmp"], Some(720)),
        set("Pictures", &["/home/me/Pictures"], &[&anna], &[], Some(86_400 - 3000)),
        set("Code", &["/home/me/src"], &[&ben], &["target", "node_modules", "*.o"], Some(5 * 3600)),
    ];
    state.status.started = ago(3 * 86_400);
    state.status.internal = vec!["192.168.1.23:4242".to_owned(), "[fd00:12::23]:4242".to_owned()];
    networks::put("mapped", &mut state.status);
    state.status.vault.live_bytes = 69 * GB + 300_000_000;
    state.status.vault.held_bytes = 2 * GB + 100_000_000;
    state.status.recovery_unseen = false;
    state.status.friends = vec![anna, ben, attic];
    state.status.jobs = jobs.iter().take(7).cloned().collect();
    state.jobs = jobs;
    state
}

fn settings() -> Vec<SettingView> {
    let setting = |key: &str, value: &str, default: &str, origin: &str, description: &str| SettingView {
        key: key.to_owned(),
        value: value.to_owned(),
        default: default.to_owned(),
        origin: origin.to_owned(),
        locked: false,
        description: description.to_owned(),
    };
    let file = "/home/me/.local/share/kith/kith.toml";
    vec![
        setting("name", "\"study\"", "\"debian\"", file, "How friends see this computer."),
        setting("listener.port", "4242", "4242", "default", "The port on which friends call this computer."),
        setting(
            "listener.bind",
            "[\"0.0.0.0\", \"::\"]",
            "[\"0.0.0.0\", \"::\"]",
            "default",
            "The addresses to listen on.",
        ),
        setting(
            "listener.greeting",
            "true",
            "true",
            "default",
            "Answer telnet and browsers with one line that says the port is open.",
        ),
        setting("control.port", "4243", "4243", "default", "The local API."),
        setting("nat.upnp", "true", "true", "default", "Ask the router by UPnP to open a port."),
        setting("vault.default-quota", "\"200GB\"", "\"100GB\"", file, "Space offered to a new friend."),
        SettingView {
            locked: true,
            ..setting(
                "network.proxy",
                "\"socks5://proxy.example:1080\"",
                "\"\"",
                "/etc/kith/locked.toml",
                "Proxy for all outgoing connections.",
            )
        },
    ]
}

#[async_trait]
impl Backend for StandIn {
    async fn status(&self) -> StatusView {
        self.state().status.clone()
    }

    async fn friends(&self) -> Vec<FriendView> {
        self.state().status.friends.clone()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn invite(&self, request: InviteRequest) -> Result<InviteView, Failure> {
        self.called(format!("invite {request:?}"));
        let invite = format!("kith-invite:{}", "k7h2x9q4m3".repeat(24));
        Ok(InviteView { invite, expires: ago(-7 * 86_400) })
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinView, Failure> {
        self.called(format!("join {} own={}", request.invite, request.own));
        if request.invite == "kith-slow" {
            self.reached.notify_one();
            self.gate.notified().await;
            self.passed.notify_one();
        }
        if !request.invite.starts_with("kith") {
            return Err(Failure::new(FailureKind::Invalid, "this is not an invite")
                .with_hint("copy the whole line, from “kith” to its end"));
        }
        Ok(JoinView {
            friend: None,
            safety_words: "velvet marble canoe island window tomato".to_owned(),
            reply: Some(format!("kith-reply:{}", "z8p1".repeat(40))),
            failures: vec![AddressFailure {
                address: "203.0.113.19:4242".to_owned(),
                reason: "no answer within 5 s".to_owned(),
            }],
        })
    }

    async fn change_friend(&self, friend: &str, change: FriendChange) -> Result<FriendView, Failure> {
        self.called(format!("change {friend} {change:?}"));
        let mut view = self.friend(friend)?;
        view.name = change.name.unwrap_or(view.name);
        view.paused = change.paused.unwrap_or(view.paused);
        view.quota_bytes = change.quota_bytes.or(view.quota_bytes);
        view.configured.extend(change.add_address);
        for known in self.state().status.friends.iter_mut().filter(|known| known.device_id == view.device_id)
        {
            known.clone_from(&view);
        }
        Ok(view)
    }

    async fn remove_friend(&self, friend: &str) -> Result<(), Failure> {
        self.called(format!("remove {friend}"));
        let id = self.friend(friend)?.device_id;
        self.state().status.friends.retain(|known| known.device_id != id);
        Ok(())
    }

    async fn near(&self) -> NearView {
        self.state().near.clone()
    }

    async fn open_near(&self) -> Result<NearView, Failure> {
        self.called("open near");
        self.state().near.open_until = Some(ago(-600));
        Ok(self.state().near.clone())
    }

    async fn close_near(&self) -> Result<(), Failure> {
        self.called("close near");
        self.state().near.open_until = None;
        Ok(())
    }

    async fn ask_meeting(&self, request: MeetingRequest) -> Result<MeetingView, Failure> {
        self.called(format!("meet {}", request.device_id));
        self.meeting(1)
    }

    async fn confirm_meeting(&self, id: u64, consent: MeetingConsent) -> Result<MeetingView, Failure> {
        self.called(format!("confirm {id} {consent:?}"));
        self.meeting(id)
    }

    async fn refuse_meeting(&self, id: u64) -> Result<MeetingView, Failure> {
        self.called(format!("refuse {id}"));
        self.meeting(id)
    }

    async fn sets(&self) -> Result<Vec<SetView>, Failure> {
        Ok(self.state().sets.clone())
    }

    async fn add_set(&self, request: SetRequest) -> Result<SetView, Failure> {
        self.called(format!("add set {}", request.name));
        let mut to = Vec::new();
        for friend in &request.to {
            to.push(self.friend(friend)?.name);
        }
        if self.state().sets.iter().any(|set| set.name == request.name) {
            return Err(Failure::new(
                FailureKind::Conflict,
                format!("there is a set called {} already", request.name),
            ));
        }
        let set = SetView {
            name: request.name,
            paths: request.paths,
            to,
            alternate: request.alternate,
            exclude: request.exclude,
            last_backup: None,
        };
        self.state().sets.push(set.clone());
        Ok(set)
    }

    async fn remove_set(&self, name: &str) -> Result<(), Failure> {
        self.called(format!("remove set {name}"));
        self.state().sets.retain(|set| set.name != name);
        Ok(())
    }

    async fn start_backup(&self, request: BackupRequest) -> Result<Vec<JobView>, Failure> {
        self.called(format!("backup {request:?}"));
        Ok(self.state().jobs.iter().take(1).cloned().collect())
    }

    async fn start_check(&self, request: CheckRequest) -> Result<JobView, Failure> {
        self.called(format!("check {request:?}"));
        let friend = self.friend(&request.friend)?;
        Ok(JobView { kind: JobKind::Check, set: None, ..job(99, "", &friend, JobState::Queued) })
    }

    async fn jobs(&self) -> Result<Vec<JobView>, Failure> {
        Ok(self.state().jobs.clone())
    }

    async fn job(&self, id: u64) -> Result<JobView, Failure> {
        let found = self.state().jobs.iter().find(|job| job.id == id).cloned();
        found.ok_or_else(|| Failure::new(FailureKind::NotFound, format!("there is no job {id}")))
    }

    async fn cancel_job(&self, id: u64) -> Result<JobView, Failure> {
        self.called(format!("cancel {id}"));
        self.job(id).await
    }

    async fn snapshots(&self, query: SnapshotQuery) -> Result<Vec<SnapshotView>, Failure> {
        self.called(format!("snapshots {query:?}"));
        Ok(vec![SnapshotView {
            id: "ab".repeat(32),
            time: ago(720),
            friend: query.friend.unwrap_or_else(|| "Anna".to_owned()),
            set: query.set,
            paths: vec!["/home/me/Documents".to_owned()],
            files: Some(9_120),
            bytes: Some(3 * GB),
            hostname: "study".to_owned(),
            tags: Vec::new(),
            foreign: false,
            verdict: ArchiveVerdict::Complete,
        }])
    }

    async fn list_entries(
        &self,
        snapshot: &str,
        path: Option<&str>,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<Vec<EntryView>, Failure> {
        let past = as_of.map(|as_of| format!(" as of {as_of}")).unwrap_or_default();
        self.called(format!("entries {snapshot} {path:?} {friend:?}{past}"));
        Ok(vec![entry(path.unwrap_or("/"))])
    }

    async fn undelete(&self, friend: &str, request: UndeleteRequest) -> Result<UndeleteView, Failure> {
        self.called(format!("undelete {friend} {}", request.as_of));
        Ok(UndeleteView { friend: friend.to_owned(), snapshots: 1, files: 3, bytes: GB })
    }

    async fn scrub(&self) -> Result<(), Failure> {
        self.called("scrub");
        Ok(())
    }

    async fn find(
        &self,
        pattern: &str,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<FindsView, Failure> {
        let past = as_of.map(|as_of| format!(" as of {as_of}")).unwrap_or_default();
        self.called(format!("find {pattern} {friend:?}{past}"));
        let (snapshot, friend) = ("ab".repeat(32), "Anna".to_owned());
        let found =
            FoundView { snapshot, time: ago(720), friend, entry: entry("/home/me/Documents/a b.odt") };
        Ok(FindsView { found: vec![found], unreadable: Vec::new() })
    }

    async fn doctor(&self, request: DoctorRequest) -> Result<Diagnosis, Failure> {
        self.called(format!("doctor {:?} with {:?}", request.friend, request.with));
        if request.with.as_deref().is_some_and(|code| !code.starts_with("kith-report")) {
            return Err(Failure::new(FailureKind::Invalid, "this is not a report code")
                .with_hint("copy the whole line, from “kith-report” to its end"));
        }
        let mut diagnosis = self.state().diagnosis.clone();
        match request.friend {
            Some(friend) => diagnosis.friend = Some(self.friend(&friend)?.name),
            None => diagnosis = diagnoses::alone(),
        }
        if request.with.is_some() {
            diagnosis.told_by = Some("code".to_owned());
        }
        Ok(diagnosis)
    }

    async fn report_code(&self, friend: Option<String>) -> Result<ReportCodeView, Failure> {
        self.called(format!("report code {friend:?}"));
        Ok(ReportCodeView {
            code: format!("kith-report:{}", "q7m2x9k4".repeat(30)),
            note: "It says how this computer is connected; no names of files and no keys are in it"
                .to_owned(),
        })
    }

    async fn archive_access(&self, friend: &str) -> Result<ArchiveAccess, Failure> {
        let friend = self.friend(friend)?;
        Ok(ArchiveAccess {
            friend: friend.name,
            friend_id: friend.device_id,
            archive: "0123456789abcdef".repeat(2),
            master_key: "5e".repeat(64),
        })
    }

    /// Answers with what came in: `method path?query` in a header, the body as it is.
    async fn store(&self, friend: &str, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let asked = format!("{friend}: {} {}", request.method(), request.uri());
        if request.uri().path().ends_with("/offline") {
            return Err(Failure::new(FailureKind::Offline, format!("{friend} is not connected")));
        }
        if request.uri().path().ends_with("/missing") {
            let body = Full::from("no such object").map_err(|never| match never {}).boxed_unsync();
            return Ok(Response::builder().status(404).body(body).unwrap());
        }
        Ok(Response::builder().header("asked", asked).body(request.into_body()).unwrap())
    }

    async fn settings(&self) -> Result<Vec<SettingView>, Failure> {
        Ok(self.state().settings.clone())
    }

    async fn change_setting(&self, key: &str, value: &str) -> Result<SettingView, Failure> {
        self.called(format!("set {key} = {value}"));
        let mut state = self.state();
        let Some(setting) = state.settings.iter_mut().find(|setting| setting.key == key) else {
            return Err(Failure::new(FailureKind::NotFound, format!("there is no setting {key}")));
        };
        if setting.locked {
            return Err(Failure::new(FailureKind::Refused, format!("{key} is fixed by the administrator")));
        }
        value.clone_into(&mut setting.value);
        Ok(setting.clone())
    }

    async fn pause(&self, seconds: u64) -> Result<(), Failure> {
        self.called(format!("pause {seconds}"));
        self.state().status.paused_until = Some(ago(-i64::try_from(seconds).unwrap()));
        Ok(())
    }

    async fn resume(&self) -> Result<(), Failure> {
        self.called("resume");
        self.state().status.paused_until = None;
        self.tell(Event::Status);
        Ok(())
    }

    async fn reauthenticate(&self) -> Result<(), Failure> {
        self.called("ra");
        Ok(())
    }

    async fn restart(&self) -> Result<(), Failure> {
        self.called("restart");
        Ok(())
    }

    async fn ports(&self) -> Result<Vec<PortView>, Failure> {
        Ok(networks::ports(&self.state().status))
    }

    async fn firewall(&self) -> Result<FirewallView, Failure> {
        Ok(self.state().firewall.clone())
    }

    async fn recover(&self, request: RecoverRequest) -> Result<RecoverView, Failure> {
        self.called(format!("recover from {:?}", request.from));
        Ok(RecoverView {
            device_id: device(0),
            from: "Anna".to_owned(),
            friends: vec!["Anna".to_owned()],
            sets: vec!["Documents".to_owned()],
            state_time: ago(720),
            newest_backup: None,
            asked: vec!["Anna".to_owned()],
            not_asked: Vec::new(),
            passed_over: Vec::new(),
        })
    }
}

fn entry(path: &str) -> EntryView {
    EntryView {
        path: path.to_owned(),
        kind: "file".to_owned(),
        size: 12,
        mode: "-rw-r--r--".to_owned(),
        user: "me".to_owned(),
        group: "me".to_owned(),
        modified: Some(ago(7200)),
        target: None,
    }
}

/// Names as an enemy would choose them.
pub(crate) fn hostile_names() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("script", "<script>alert(1)</script>".to_owned()),
        ("handler", "\"><img src=x onerror=alert(1)>".to_owned()),
        ("quote", "' onmouseover='alert(1)' x='".to_owned()),
        ("entity", "&lt;script&gt;alert(1)&lt;/script&gt;".to_owned()),
        ("override", "invoice\u{202e}gpj.exe".to_owned()),
        ("newline", "a\nb\r\nc".to_owned()),
        ("ansi", "\u{1b}[2J\u{1b}]0;owned\u{7}".to_owned()),
        ("long", "W".repeat(255)),
        ("path", "../../../etc/passwd?x=1#y%00".to_owned()),
    ])
}

/// A state in which every text from outside is such a name.
pub(crate) fn hostile(name: &str) -> State {
    let mut state = rich();
    let text = || name.to_owned();
    state.status.name = text();
    state.status.version = text();
    networks::poison(&mut state.status, name);
    // It listens, so that what is said of the way in is shown, too.
    state.status.listener.error = Some(text());
    state.status.vault.path = text();
    state.status.internal = vec![text()];
    diagnoses::poison(&mut state.diagnosis, name);
    state.near = looking();
    for computer in &mut state.near.computers {
        computer.name = text();
        computer.addresses = vec![text()];
        computer.friend = computer.friend.is_some().then(text);
    }
    for meeting in &mut state.near.meetings {
        meeting.name = text();
        meeting.safety_words = Some(text());
        meeting.outcome = meeting.outcome.is_some().then(text);
    }
    state.status.notices = noticed::several();
    for notice in &mut state.status.notices {
        notice.friend = notice.friend.is_some().then(text);
        notice.sentence = text();
        notice.next_step = Some(text());
    }
    for friend in &mut state.status.friends {
        friend.name = text();
        friend.path = Some(text());
        friend.address = Some(text());
        friend.internal = vec![text()];
        friend.public = vec![text()];
        friend.configured = vec![text()];
        friend.last_error = Some(text());
        friend.safety_words = Some(text());
        friend.version = Some(text());
    }
    for set in &mut state.sets {
        set.name = text();
        set.paths = vec![text()];
        set.to = vec![text()];
        set.exclude = vec![text()];
    }
    let poison = |job: &mut JobView| {
        job.set = job.set.is_some().then(text);
        job.friend = text();
        job.error = Some(text());
        job.findings = vec![text()];
        job.skipped = vec![SkippedView { path: text(), reason: text() }];
        job.skipped_count = 1;
        job.progress.current = Some(text());
        job.progress.phase = text();
    };
    state.jobs.iter_mut().for_each(poison);
    state.status.jobs.iter_mut().for_each(poison);
    for setting in &mut state.settings {
        setting.key = format!("{}.{name}", setting.key);
        setting.value = text();
        setting.default = text();
        setting.origin = text();
        setting.description = text();
    }
    state
}
