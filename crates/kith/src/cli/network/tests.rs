use jiff::SignedDuration;
use kith_control::view::{
    ControlView, HubMoveView, HubRole, HubState, ListenerState, ListenerView, MappingView, PortState,
    ProofState, ProofView, ProtocolView, VaultView,
};
use kith_identity::DeviceId;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_780_000_000).unwrap()
}

fn status(mapping: MappingView, gateways: Vec<GatewayView>) -> StatusView {
    StatusView {
        device_id: DeviceId::from_spki(&[0; 32]),
        name: "study".into(),
        version: "0.1.0".into(),
        started: now(),
        listener: ListenerView {
            port: 4242,
            state: ListenerState::Listening,
            error: None,
            addresses: Vec::new(),
        },
        control: ControlView { port: 4243, app_port: 4244 },
        mappings: if mapping.external_port.is_some() { vec![mapping.clone()] } else { Vec::new() },
        mapping,
        gateways,
        internal: Vec::new(),
        public: Vec::new(),
        vault: VaultView {
            path: "vault".into(),
            accept: "friends".into(),
            live_bytes: 0,
            held_bytes: 0,
            free_bytes: None,
            failure: None,
            scrub: Default::default(),
        },
        relay: Default::default(),
        hubs: Vec::new(),
        paused_until: None,
        superseded: None,
        recovery_unseen: false,
        notices: Vec::new(),
        jobs: Vec::new(),
        friends: Vec::new(),
    }
}

fn mapped(state: &str, sentence: &str, proof: ProofView) -> MappingView {
    MappingView {
        protocol: Some("upnp".into()),
        external_ip: Some("203.0.113.5".into()),
        external_port: Some(4242),
        lease_seconds: Some(3480),
        internal: Some("192.168.1.23:4242".into()),
        family: Some("ipv4".into()),
        proof,
        ..MappingView::new(state, sentence)
    }
}

fn router() -> GatewayView {
    let asked =
        |protocol: &str, outcome: &str| ProtocolView { protocol: protocol.into(), outcome: outcome.into() };
    GatewayView {
        address: "192.168.1.1".into(),
        interface: "eth0".into(),
        state: "router-off".into(),
        model: Some("Box 7".into()),
        page: None,
        protocols: vec![asked("pcp", "no answer"), asked("upnp", "refused: not authorized")],
    }
}

fn check(status: &StatusView, expected: &[(&str, &str)]) {
    let rows = router_rows(status, now());
    let told: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_proved_mapping_names_who_proved_it_and_when() {
    let at = Some(now() - SignedDuration::from_secs(190));
    let proof = ProofView { state: ProofState::Proved, by: Some("anna".into()), at, why: None };
    let mapping = mapped("mapped", "The router opens port 4242", proof);
    check(
        &status(mapping, vec![router()]),
        &[
            ("router", "The router opens port 4242"),
            (
                "",
                "router 203.0.113.5:4242 -> 192.168.1.23:4242, by UPnP, lease 58 min, proved by anna 3 min ago",
            ),
        ],
    );
}

#[test]
fn a_router_that_opens_nothing_is_named_with_what_to_do() {
    let mapping = MappingView {
        next_step: Some("forward TCP 4242 on your router, http://192.168.1.1, to 192.168.1.23:4242".into()),
        ..MappingView::new("router-off", "The router opens no port for programs")
    };
    check(
        &status(mapping, vec![router()]),
        &[
            ("router", "The router opens no port for programs"),
            ("", "Box 7 at 192.168.1.1 (eth0): PCP no answer, UPnP refused: not authorized"),
            ("what to do", "forward TCP 4242 on your router, http://192.168.1.1, to 192.168.1.23:4242"),
        ],
    );
}

#[test]
fn a_state_without_a_mapping_is_its_sentence() {
    for (state, sentence) in
        [("searching", "The router is being asked"), ("off", "No router is asked for a port")]
    {
        check(&status(MappingView::new(state, sentence), Vec::new()), &[("router", sentence)]);
    }
}

#[test]
fn a_blocked_way_tells_what_the_friend_met() {
    let (by, why) = (Some("anna".into()), Some("no answer within 5 s".into()));
    let proof = ProofView { state: ProofState::Failed, by, at: Some(now()), why };
    let mapping = MappingView {
        next_step: Some("let TCP 4242 in through the firewall of this computer".into()),
        ..mapped("blocked", "The router opens port 4242, but a firewall drops what arrives", proof)
    };
    check(
        &status(mapping, Vec::new()),
        &[
            ("router", "The router opens port 4242, but a firewall drops what arrives"),
            (
                "",
                "router 203.0.113.5:4242 -> 192.168.1.23:4242, by UPnP, lease 58 min, anna could not get through just now: no answer within 5 s",
            ),
            ("what to do", "let TCP 4242 in through the firewall of this computer"),
        ],
    );
}

#[test]
fn words_of_a_router_are_harmless_in_a_terminal() {
    let mut router = router();
    router.model = Some("\u{1b}[2JBox".into());
    let mapping = MappingView { next_step: Some("look".into()), ..MappingView::new("router-off", "off") };
    let rows = router_rows(&status(mapping, vec![router]), now());
    assert!(rows.iter().flatten().all(|text| !text.contains('\u{1b}')), "{rows:?}");
}

#[test]
fn the_port_table_has_a_row_for_the_router_and_for_sockets_of_udp() {
    let mapping = mapped("mapped", "", ProofView::default());
    let rows = port_rows(&[
        PortView::of_mapping(&mapping, now()).unwrap(),
        PortView::udp("0.0.0.0:1900", None, "hears routers that announce themselves"),
    ]);
    assert_eq!(
        rows[1],
        [
            "192.168.1.23:4242",
            "tcp",
            "in",
            "-",
            "-",
            PortState::NotYetProved.as_str(),
            "router 203.0.113.5:4242 -> 192.168.1.23:4242, by UPnP, lease 58 min, not yet proved"
        ]
    );
    assert_eq!(rows[2][..3], ["0.0.0.0:1900", "udp", "in"]);
}

#[test]
fn each_hub_has_a_row_and_what_it_announced_another() {
    let hub = |role, state, why: Option<&str>| HubView {
        device_id: DeviceId::from_spki(&[1; 32]),
        name: "hub.example".into(),
        addresses: vec!["hub.example:4287".into()],
        role,
        friends: vec!["an\u{1b}na".into()],
        state,
        why: why.map(str::to_owned),
        connected_since: None,
        round_trip_ms: None,
        moves: None,
    };
    let moves = HubMoveView { at: now(), to: vec!["new.example:443".into()], done: true, next_step: None };
    let primary = HubView { moves: Some(moves), ..hub(HubRole::Primary, HubState::Registered, None) };
    let rows = hub_rows(&[primary, hub(HubRole::Borrowed, HubState::Refused, Some("it is full"))]);
    assert_eq!(rows[0], ["hubs", "hub.example:4287 (the first one): registered"]);
    assert!(
        rows[1][0].is_empty() && rows[1][1].ends_with("does nothing for this computer: it is full"),
        "{rows:?}"
    );
    assert!(rows[2][0] == "notice" && rows[2][1].contains("has moved to new.example:443"), "{rows:?}");
    assert!(rows.iter().flatten().all(|text| !text.contains('\u{1b}')), "{rows:?}");
    assert!(hub_rows(&[]).is_empty());
}
