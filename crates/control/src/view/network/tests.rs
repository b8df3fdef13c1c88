use jiff::SignedDuration;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_780_000_000).unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn by_upnp() -> MappingView {
    MappingView {
        protocol: Some("upnp".to_owned()),
        external_ip: Some("203.0.113.5".to_owned()),
        external_port: Some(4242),
        lease_seconds: Some(3480),
        internal: Some("192.168.1.23:4242".to_owned()),
        family: Some("ipv4".to_owned()),
        ..MappingView::new("mapped", "")
    }
}

#[test]
fn a_mapping_is_told_in_one_line() {
    let proof =
        ProofView { state: ProofState::Proved, by: Some("anna".to_owned()), at: Some(ago(190)), why: None };
    let mapping = MappingView { proof, ..by_upnp() };
    assert_eq!(
        mapping.line(now()).unwrap(),
        "router 203.0.113.5:4242 -> 192.168.1.23:4242, by UPnP, lease 58 min, proved by anna 3 min ago"
    );
    let unknown = MappingView { external_ip: None, lease_seconds: None, ..by_upnp() };
    assert_eq!(
        unknown.line(now()).unwrap(),
        "router port 4242 -> 192.168.1.23:4242, by UPnP, not yet proved"
    );
    let pinhole = MappingView {
        protocol: Some("pcp".to_owned()),
        external_ip: Some("2001:db8::23".to_owned()),
        internal: Some("[2001:db8::23]:4242".to_owned()),
        family: Some("ipv6".to_owned()),
        lease_seconds: Some(7200),
        ..by_upnp()
    };
    assert_eq!(
        pinhole.line(now()).unwrap(),
        "router lets through [2001:db8::23]:4242, by PCP, lease 2 h, not yet proved"
    );
    let direct = MappingView {
        protocol: Some("static".to_owned()),
        internal: Some("203.0.113.5:4242".to_owned()),
        lease_seconds: None,
        ..by_upnp()
    };
    assert_eq!(direct.line(now()).unwrap(), "no router in the way of 203.0.113.5:4242, not yet proved");
    let by_hand = MappingView { internal: None, ..direct };
    assert_eq!(by_hand.line(now()).unwrap(), "router 203.0.113.5:4242, by hand, not yet proved");
    assert_eq!(MappingView::new("searching", "").line(now()), None);
}

#[test]
fn a_failed_proof_names_the_friend_and_what_he_met() {
    let why = Some("no answer within 5 s".to_owned());
    let proof = ProofView { state: ProofState::Failed, by: Some("anna".to_owned()), at: Some(ago(0)), why };
    assert_eq!(proof.words(now()), "anna could not get through just now: no answer within 5 s");
}

#[test]
fn an_open_port_of_a_router_is_a_row_of_the_port_table() {
    let row = PortView::of_mapping(&by_upnp(), now()).unwrap();
    assert_eq!(
        (row.local.as_str(), row.external.as_deref(), row.state.as_str()),
        ("192.168.1.23:4242", Some("203.0.113.5:4242"), "not-yet-proved")
    );
    assert_eq!(PortView::of_mapping(&MappingView::new("router-off", ""), now()), None);
}

#[test]
fn what_is_absent_is_null() {
    let json = serde_json::to_value(MappingView::new("off", "Nothing is asked of routers")).unwrap();
    for key in
        ["protocol", "external_ip", "lease_seconds", "next_step", "family", "gateway", "router", "internal"]
    {
        assert!(json[key].is_null() && json.get(key).is_some(), "{key} in {json}");
    }
    assert_eq!(json["proof"], serde_json::json!({ "state": "not-yet", "by": null, "at": null, "why": null }));
}
