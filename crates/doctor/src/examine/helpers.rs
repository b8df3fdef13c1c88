//! Who helps one end: its proxy and its hubs.

use crate::code::{Code, Part};
use crate::facts::{Side, TestResult};

use super::Found;
use super::words::{Whose, test};

/// The proxy and the hubs of one end.
pub(super) fn of(side: &Side, whose: Whose<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    found.extend(proxy(side, whose));
    for hub in &side.hubs {
        found.push(match &hub.error {
            _ if hub.works => Found::ok(
                Code::HubUnreachable,
                Part::Internet,
                format!("the hub at {} works for {}", hub.at, whose.computer()),
            ),
            Some(error) => Found::failed(
                Code::HubUnreachable,
                Part::Internet,
                format!("the hub at {} does nothing for {}", hub.at, whose.computer()),
                format!(
                    "see whether the address in network.hubs is right, and ask who runs the hub at {}",
                    hub.at
                ),
            )
            .because([error.clone()]),
            None => Found::unknown(
                Code::HubUnreachable,
                Part::Internet,
                format!("the hub at {} is being called", hub.at),
            ),
        });
    }
    found
}

/// By the calls that were to go by it, if none got through.
fn proxy(side: &Side, whose: Whose<'_>) -> Option<Found> {
    // Others are not told which one.
    let proxy = match side.proxy.as_deref()? {
        "" => "the proxy".to_owned(),
        at => format!("the proxy {at}"),
    };
    let met = |result| side.tests.iter().filter(move |test| test.result == result);
    if met(TestResult::Friend).next().is_some() {
        return None;
    }
    let refusals: Vec<String> = met(TestResult::ProxyRefuses).map(test).collect();
    if !refusals.is_empty() {
        let blame = Found::failed(
            Code::ProxyRefuses,
            Part::Internet,
            format!("{proxy} of {} does not let connections to friends through", whose.computer()),
            format!(
                "{}ask who runs the proxy to allow them (`kith ports --firewall` says which), or correct network.proxy",
                whose.on()
            ),
        );
        return Some(blame.because(refusals));
    }
    let silences: Vec<String> = met(TestResult::ProxyDown).map(test).collect();
    if silences.is_empty() {
        return None;
    }
    let blame = Found::failed(
        Code::ProxyDown,
        Part::Internet,
        format!("{proxy} of {} can't be reached", whose.computer()),
        format!(
            "{}see whether the proxy runs, or correct it: `kith settings set network.proxy ...`",
            whose.on()
        ),
    );
    Some(blame.because(silences))
}
