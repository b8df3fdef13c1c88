//! `kith probe`: the telnet test.

use kith_control::view::FriendView;
use kith_identity::{DeviceId, DialInKey, Identity, RecoveryPhrase};
use kith_peer::{Outbound, Probe, ProbeResult};
use serde::Serialize;

use super::Place;
use super::args::Json;
use super::error::{CliError, CliResult, Code};
use super::output::{json, line, safe};
use super::recovery::known_friends;
use crate::daemon::KnownFriend;
use crate::settings::SettingsSources;

/// One tested address, for programs.
#[derive(Serialize)]
struct ProbeView {
    host: String,
    port: u16,
    /// The IP address and port tried.
    address: Option<String>,
    result: &'static str,
    device_id: Option<DeviceId>,
    /// The friend of that device id, when a daemon runs that knows him.
    friend: Option<String>,
    detail: Option<String>,
    resolve_ms: u128,
    connect_ms: Option<u128>,
    answer_ms: Option<u128>,
}

/// All addresses of the tested name.
#[derive(Serialize)]
struct ProbesView {
    /// The best of them.
    result: &'static str,
    device_id: Option<DeviceId>,
    probes: Vec<ProbeView>,
}

/// What is known of a Kith to which this computer is a stranger.
const NOBODY: &str = "which shows to its friends only who it is";

pub(super) async fn probe(
    place: &Place,
    host: &str,
    port: u16,
    expect: Option<String>,
    Json { json: as_json }: Json,
) -> CliResult {
    if port == 0 {
        return Err(CliError::usage("port 0 does not exist", "ports go from 1 to 65535; Kith's is 4242"));
    }
    let friends = match place.client().await {
        Ok(client) => client.friends().await.unwrap_or_default(),
        Err(_not_running) => Vec::new(),
    };
    let expected = expect.map(|wanted| expected(&wanted, &friends)).transpose()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") };
    let keys = dial_in_keys(place, bare, &address, expected).await;
    let probes = kith_peer::probe(&outbound(place)?, &address, &nobody()?, &keys, expected).await;
    let views: Vec<ProbeView> = probes.into_iter().map(|probe| view(bare, port, probe, &friends)).collect();
    let best = views.iter().min_by_key(|view| rank(view.result));
    let (result, device_id) = best.map_or(("unreachable", None), |best| (best.result, best.device_id));
    if as_json {
        json(&ProbesView { result, device_id, probes: views })?;
    } else {
        for view in &views {
            show(view);
        }
    }
    if result == "connected" { Ok(()) } else { Err(CliError::said(Code::Failed)) }
}

fn expected(wanted: &str, friends: &[FriendView]) -> CliResult<DeviceId> {
    if let Some(friend) = friends.iter().find(|friend| friend.name == wanted) {
        return Ok(friend.device_id);
    }
    wanted.parse().map_err(|error| {
        CliError::usage(
            format!("{wanted:?} is neither a friend's name nor a device id: {error}"),
            "`kith friends` lists both",
        )
    })
}

/// An identity for this test alone: whatever answers learns nothing of ours.
/// By the settings of this home: a test goes the way that a link would.
fn outbound(place: &Place) -> CliResult<Outbound> {
    let loaded = SettingsSources::of_process(&place.home()?)?.load()?;
    Ok(Outbound::new(loaded.settings().network.outbound_rules()))
}

fn nobody() -> CliResult<Identity> {
    Identity::from_seed(&RecoveryPhrase::generate().derive().identity).map_err(|error| {
        CliError::new(format!("no identity could be made for the test: {error}"), "try again")
    })
}

/// The keys by which a friend who may be there would recognise us, and show who he is: first that of the one who is expected, then those
/// of friends with this very address, then of those with another port of the same host.
async fn dial_in_keys(
    place: &Place,
    host: &str,
    address: &str,
    expected: Option<DeviceId>,
) -> Vec<DialInKey> {
    let mut friends = match place.home() {
        // Whoever may not read it probes as a stranger.
        Ok(home) => known_friends(&home).await.unwrap_or_default(),
        Err(_no_home) => Vec::new(),
    };
    let nearness = |friend: &KnownFriend| {
        let addresses = friend.addresses();
        let same_host = |known: &String| {
            let known = known.rsplit_once(':').map_or(known.as_str(), |(host, _port)| host);
            known.trim_start_matches('[').trim_end_matches(']').eq_ignore_ascii_case(host)
        };
        match () {
            () if expected == Some(friend.device_id) => 0,
            () if addresses.iter().any(|known| known.eq_ignore_ascii_case(address)) => 1,
            () if addresses.iter().any(same_host) => 2,
            () => 3,
        }
    };
    friends.retain(|friend| nearness(friend) < 3);
    friends.sort_by_key(nearness);
    friends.iter().filter_map(KnownFriend::dial_in_key).collect()
}

const fn rank(result: &str) -> u8 {
    match result.as_bytes() {
        b"connected" => 0,
        b"other-device" => 1,
        b"not-kith" => 2,
        b"refused" => 3,
        b"no-response" => 4,
        b"unreachable" => 5,
        _ => 6,
    }
}

fn view(host: &str, port: u16, probe: Probe, friends: &[FriendView]) -> ProbeView {
    let (result, device_id, detail) = match probe.result {
        ProbeResult::Connected { device: Some(device) } => ("connected", Some(device), None),
        ProbeResult::Connected { device: None } => ("connected", None, Some(NOBODY.to_owned())),
        ProbeResult::Refused => ("refused", None, None),
        ProbeResult::NoResponse => ("no-response", None, None),
        ProbeResult::Unreachable(reason) => ("unreachable", None, Some(reason)),
        ProbeResult::NameNotFound(reason) => ("name-not-found", None, Some(reason)),
        ProbeResult::NotKith(reason) => ("not-kith", None, Some(reason)),
        ProbeResult::OtherDevice { found: Some(found) } => ("other-device", Some(found), None),
        ProbeResult::OtherDevice { found: None } => ("other-device", None, Some(NOBODY.to_owned())),
    };
    let friend = friends.iter().find(|friend| Some(friend.device_id) == device_id);
    ProbeView {
        host: host.to_owned(),
        port,
        address: probe.address.map(|address| address.to_string()),
        result,
        device_id,
        friend: friend.map(|friend| friend.name.clone()),
        detail,
        resolve_ms: probe.resolve.as_millis(),
        connect_ms: probe.connect.map(|time| time.as_millis()),
        answer_ms: probe.answer.map(|time| time.as_millis()),
    }
}

fn show(view: &ProbeView) {
    let place = view.address.clone().unwrap_or_else(|| format!("{}:{}", safe(&view.host), view.port));
    let detail = view.detail.as_deref().map(safe).unwrap_or_default();
    let who = match (&view.device_id, &view.friend) {
        (Some(id), Some(friend)) => format!("{} ({id})", safe(friend)),
        (Some(id), None) => id.to_string(),
        _ => detail.clone(),
    };
    line(match view.result {
        "connected" => format!("{place}: connected; a Kith answers, {who}"),
        "other-device" => format!("{place}: connected, but another computer answers: {who}"),
        "refused" => format!(
            "{place}: refused: that computer answers, but nothing listens on the port. Is its Kith running, on this port?"
        ),
        "no-response" => format!(
            "{place}: no response: a firewall or router on the way drops the packets, or the computer is off"
        ),
        "not-kith" => format!("{place}: the port is open, but no Kith answers: {detail}"),
        "name-not-found" => format!("{place}: the name was not found: {detail}"),
        _ => format!("{place}: unreachable: {detail}"),
    });
    let ms = |ms: Option<u128>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    line(format!(
        "  name {}, connection {}, answer {}",
        ms(Some(view.resolve_ms)),
        ms(view.connect_ms),
        ms(view.answer_ms)
    ));
}
