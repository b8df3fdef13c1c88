//! Settings that restrict where connections go and that this version can't obey yet.

use super::Settings;

/// The first setting that is made but that this version would not obey, with what to do. Going on without it would open
/// connections that the person or the administrator meant to prevent.
pub fn not_yet(settings: &Settings) -> Option<String> {
    let network = &settings.network;
    let made = [
        ("network.proxy", network.proxy.is_some()),
        ("network.allowed-destinations", !network.allowed_destinations.is_empty()),
        ("network.outgoing-ports", network.outgoing_ports.is_some()),
        ("network.mapped", !network.mapped.is_empty()),
    ];
    let (key, _) = made.into_iter().find(|(_, is_made)| *is_made)?;
    Some(format!(
        "{key} is set, but this version of Kith can't obey it yet and would connect past it; take it out, or wait for \
         the version that can"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_would_be_passed_by_is_refused() {
        assert_eq!(not_yet(&Settings::default()), None);
        let mut settings = Settings::default();
        settings.network.proxy = "socks5://10.0.0.1:1080".parse().ok();
        assert!(not_yet(&settings).unwrap().starts_with("network.proxy is set"));
    }
}
