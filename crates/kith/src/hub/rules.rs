//! From the settings of a hub to the rules of its rendezvous.

use std::num::NonZeroU64;

use kith_hub::{RelayRules, Rules};

use crate::settings::Hub;

/// Computers for which something is kept though they are away, for each that may be there: they come back within minutes, or not.
const KEPT_FOR_ONE: usize = 2;

pub(super) fn of(settings: &Hub) -> Rules {
    let relay = settings.relay.then(|| RelayRules {
        user_bytes_per_second: NonZeroU64::new(settings.relay_rate.bytes()),
        user_bytes_per_day: NonZeroU64::new(settings.relay_daily.bytes()),
        ..RelayRules::of_hub()
    });
    Rules { most_users: settings.most_computers.get().saturating_mul(KEPT_FOR_ONE), relay, ..Rules::of_hub() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_hub_become_the_bounds_of_its_relay() {
        let settings =
            Hub { relay_rate: "2MB".parse().unwrap(), relay_daily: "5GB".parse().unwrap(), ..Hub::default() };
        let relay = of(&settings).relay.unwrap();
        assert_eq!(relay.user_bytes_per_second, NonZeroU64::new(2_000_000));
        assert_eq!(relay.user_bytes_per_day, NonZeroU64::new(5_000_000_000));
        let unlimited = of(&Hub::default()).relay.unwrap();
        assert_eq!((unlimited.user_bytes_per_second, unlimited.user_bytes_per_day), (None, None));
        assert_eq!(of(&Hub { relay: false, ..Hub::default() }).relay, None);
        assert_eq!(of(&Hub::default()).most_users, 20_000);
    }
}
