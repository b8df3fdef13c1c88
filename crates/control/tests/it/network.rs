//! The network page: every state of the way in has its words, what to do stands out, and a router's own words stay words.

use crate::harness::{Ask, Running, start, start_with};
use crate::stand_in::{self, networks};

async fn fragment(running: &Running, name: &str) -> String {
    let token = running.session().await;
    let answer = Ask::get(running.app(), &format!("/fragments/{name}")).token(&token).send().await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    answer.body
}

async fn page(network: &str) -> String {
    let mut state = stand_in::rich();
    networks::put(network, &mut state.status);
    let running = start_with(state).await;
    let page = fragment(&running, "network").await;
    running.stop().await;
    page
}

#[tokio::test]
async fn every_state_has_a_headline_for_people() {
    for (network, headline) in [
        ("mapped", "Friends elsewhere can reach this computer"),
        ("unproved", "The way in is open, not yet proved"),
        ("failed", "a friend did not get through"),
        ("static", "The way in is open, not yet proved"),
        ("router-off", "The router does not let friends in"),
        ("double-nat", "A second router is in the way"),
        ("blocked", "The way in is blocked"),
        ("no-router", "No router found"),
        ("searching", "Asking the router to let friends in"),
        ("off", "Routers are not asked to let friends in"),
        ("two", "Friends elsewhere can reach this computer"),
    ] {
        let page = page(network).await;
        assert!(page.contains(headline), "{network}: {page}");
    }
}

#[tokio::test]
async fn a_next_step_stands_out_on_both_pages_and_only_when_there_is_one() {
    for network in networks::ALL {
        let mut state = stand_in::rich();
        networks::put(network, &mut state.status);
        let wanted = state.status.mapping.next_step.is_some();
        let running = start_with(state).await;
        for section in ["network", "computer"] {
            let shown = fragment(&running, section).await;
            assert_eq!(shown.contains("class=\"next-step\""), wanted, "{network}, {section}: {shown}");
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn who_must_forward_a_port_is_told_what_to_type_where() {
    let page = page("router-off").await;
    for wanted in [
        "Switch on UPnP or NAT-PMP on the router",
        "To the device</dt><dd><code><bdi>192.168.1.23</bdi></code>",
        "Outer port</dt><dd><code><bdi>4242</bdi></code>",
        "href=\"http://192.168.1.1/\" target=\"_blank\" rel=\"noopener noreferrer\"",
        "one of two can call the other",
        "it speaks neither UPnP nor NAT-PMP",
    ] {
        assert!(page.contains(wanted), "{wanted} in {page}");
    }
}

#[tokio::test]
async fn a_command_to_type_is_set_apart() {
    assert!(page("blocked").await.contains("<code><bdi>sudo ufw allow 4242/tcp</bdi></code>"));
}

#[tokio::test]
async fn proof_routers_addresses_and_ports_are_shown() {
    let page = page("two").await;
    for wanted in [
        "<bdi>Anna</bdi> came in this way from outside",
        "no way there: his network has no IPv6",
        "FRITZ!Box 7590 AX",
        "OpenWrt 24.10",
        "[2001:db8:12::23]:4242",
        "198.51.100.31:4243",
        "0.0.0.0:1900",
        "192.168.1.1:5351",
        "link that this computer dialled",
        "keeps the port open for 1\u{a0}h 54\u{a0}min",
    ] {
        assert!(page.contains(wanted), "{wanted} in {page}");
    }
    // A browser can't open a link-local address.
    assert_eq!(page.matches("<a href=").count(), 2, "{page}");
}

#[tokio::test]
async fn a_router_that_names_a_foreign_page_gets_no_link() {
    for page in ["javascript:alert(1)", "http://203.0.113.9/", "http://192.168.1.77/", "//evil.example/"] {
        let mut state = stand_in::rich();
        networks::put("router-off", &mut state.status);
        state.status.gateways[0].page = Some(page.to_owned());
        state.status.gateways[0].model = Some("<b>Box</b>".to_owned());
        let running = start_with(state).await;
        let shown = fragment(&running, "network").await;
        // The only link is the one to the doctor's page.
        let links = shown.replace("<a href=\"#/doctor\">", "");
        assert!(!links.contains("<a ") && !shown.contains(page), "{shown}");
        assert!(shown.contains("&lt;b&gt;Box&lt;/b&gt;"), "{shown}");
        running.stop().await;
    }
}

#[tokio::test]
async fn the_status_and_the_port_table_tell_the_same_to_programs() {
    let running = start().await;
    let token = running.token();
    let status = Ask::get(running.api(), "/v1/status").token(&token).send().await.json();
    let mapping = &status["mapping"];
    assert_eq!((&mapping["state"], &mapping["protocol"]), (&"mapped".into(), &"pcp".into()));
    assert_eq!((&mapping["proved"], &mapping["proof"]["by"]), (&true.into(), &"Anna".into()));
    assert!(mapping["next_step"].is_null() && mapping.get("next_step").is_some());
    assert_eq!(status["mappings"][0]["external_ip"], "203.0.113.80");
    assert_eq!(status["gateways"][0]["protocols"][0]["outcome"], "mapped");
    let ports = Ask::get(running.api(), "/v1/ports").token(&token).send().await.json();
    let on_router = ports.as_array().unwrap().iter().find(|port| port["external"].is_string()).unwrap();
    assert_eq!(on_router["state"], "proved");
    assert_eq!(
        on_router["purpose"],
        "router 203.0.113.80:4242 -> 192.168.1.23:4242, by PCP, lease 2 h, proved by Anna 3 min ago"
    );
    running.stop().await;
}

#[tokio::test]
async fn what_firewalls_must_let_through_is_on_the_page_and_at_the_api() {
    let page = page("mapped").await;
    for shown in [
        "Ports of the firewall that must lead to friends",
        "fw.example:7000",
        "none yet",
        "missing",
        "The proxy <code><bdi>proxy.example:1080</bdi></code> must allow connections to:",
        "nft add rule inet filter input tcp dport 4242 accept",
        "ufw allow in proto tcp from any to any port 4242",
        "1024-5000",
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    let running = start().await;
    let token = running.token();
    let view = Ask::get(running.api(), "/v1/firewall").token(&token).send().await.json();
    assert_eq!(view["mapped"][0]["firewall"], "fw.example:7000");
    assert_eq!(view["mapped"][1]["firewall"], serde_json::Value::Null);
    assert_eq!(
        (&view["rules"][0]["direction"], &view["rules"][0]["protocol"]),
        (&"in".into(), &"tcp".into())
    );
    assert_eq!(running.client().await.firewall().await.unwrap(), stand_in::firewall());
    running.stop().await;
}
