//! The choice of how this computer gets out: straight, by a proxy, or by ports of a firewall that forward.

use maud::{Markup, html};

use super::parts;
use crate::terminal::safe;
use crate::view::SettingView;

const PROXY: &str = "network.proxy";
const MAPPED: &str = "network.mapped";

/// What the settings say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Straight,
    Socks,
    Connect,
    Mapped,
}

impl Way {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Straight, "none", "Straight to friends, as at home"),
        (Self::Socks, "socks5", "By a SOCKS 5 proxy"),
        (Self::Connect, "http", "By an HTTP proxy (CONNECT)"),
        (Self::Mapped, "mapped", "By ports of a firewall that forward (mapped proxy)"),
    ];

    fn of(proxy: &str, mapped: &str) -> Self {
        match proxy.split_once("://").map(|(scheme, _rest)| scheme) {
            Some("http") => Self::Connect,
            Some(_) => Self::Socks,
            None if mapped.contains('=') => Self::Mapped,
            None => Self::Straight,
        }
    }
}

pub(super) fn section(settings: &[SettingView]) -> Markup {
    let setting = |key: &str| settings.iter().find(|setting| setting.key == key);
    let value = |key: &str| setting(key).map_or("", |setting| unquoted(&setting.value));
    let (proxy, mapped) = (value(PROXY), value(MAPPED));
    let way = Way::of(proxy, mapped);
    let locked = [PROXY, MAPPED].iter().any(|key| setting(key).is_some_and(|setting| setting.locked));
    let Address { host, port, user, has_password } = Address::of(proxy);
    html! {
        section.card.options aria-labelledby="outward-title" {
            h2 #outward-title { "How this computer gets out" }
            form.outward data-form="outward" data-login=(has_password) {
                p.muted {
                    "At home nothing is to be chosen. In an office, whoever looks after the network knows what is right; "
                    "the " a href="#/network" { "network page" } " says what must be let through."
                }
                @if locked { p { strong { "Fixed by the administrator." } } }
                fieldset disabled[locked] {
                    legend { "To friends" }
                    @for (choice, word, label) in Way::ALL {
                        label.check {
                            input type="radio" name="way" value=(word) checked[choice == way];
                            span { (label) }
                        }
                    }
                    div.proxy-fields {
                        label.field { span { "Host of the proxy" } input name="host" value=(safe(host)) autocomplete="off" spellcheck="false" dir="ltr" placeholder="proxy.example.org"; }
                        label.field { span { "Its port " small.muted { "(SOCKS: mostly 1080; HTTP: 3128 or 8080)" } } input name="port" type="number" min="1" max="65535" step="1" inputmode="numeric" value=(safe(port)); }
                        label.field { span { "User name " small.muted { "(if it wants one)" } } input name="user" value=(safe(user)) autocomplete="off" spellcheck="false"; }
                        label.field { span { "Password " @if has_password { small.muted { "(one is set; to change anything type it again)" } } } input name="password" type="password" autocomplete="new-password"; }
                    }
                    div.mapped-fields {
                        label.field {
                            span { "One port on each line: what it stands for, an equals sign, the firewall’s host and port" }
                            textarea name="mapped" rows="4" spellcheck="false" dir="ltr" placeholder="DEVICE-ID = firewall.example:7000" { (lines(mapped)) }
                        }
                        p.muted { "It stands for a friend, by the device id, or for an address: " (parts::code("hub.example:443")) "." }
                    }
                }
                div.buttons { button.primary type="submit" disabled[locked] { "Save" } }
            }
        }
    }
}

/// The parts of a proxy's URL.
struct Address<'a> {
    host: &'a str,
    port: &'a str,
    user: &'a str,
    has_password: bool,
}

impl<'a> Address<'a> {
    fn of(url: &'a str) -> Self {
        let rest = url.split_once("://").map_or("", |(_scheme, rest)| rest);
        let (login, address) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        Self { host, port, user, has_password: !password.is_empty() }
    }
}

/// A TOML text without its quotes; everything else as it is.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// A TOML table of texts on one line, as lines.
fn lines(table: &str) -> String {
    let inside = table.trim().trim_start_matches('{').trim_end_matches('}');
    let entries = inside.split(',').map(|entry| entry.replace('"', "").trim().to_owned());
    entries.filter(|entry| !entry.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_of_now_is_read_from_the_settings() {
        assert_eq!(Way::of("", "{}"), Way::Straight);
        assert_eq!(Way::of("socks5://anna:***@proxy.example:1080", "{}"), Way::Socks);
        assert_eq!(Way::of("http://10.0.0.1:3128", "{}"), Way::Connect);
        let mapped =
            "{ \"hub.example:443\" = \"fw.example:7000\", \"[2001:db8::1]:1\" = \"fw.example:7001\" }";
        assert_eq!(Way::of("", mapped), Way::Mapped);
        assert_eq!(lines(mapped), "hub.example:443 = fw.example:7000\n[2001:db8::1]:1 = fw.example:7001");
        assert_eq!(lines("{}"), "");
    }

    #[test]
    fn a_url_is_taken_apart() {
        let Address { host, port, user, has_password } = Address::of("socks5://anna:***@proxy.example:1080");
        assert_eq!((host, port, user, has_password), ("proxy.example", "1080", "anna", true));
        let Address { host, port, user, has_password } = Address::of("http://[2001:db8::1]:3128");
        assert_eq!((host, port, user, has_password), ("[2001:db8::1]", "3128", "", false));
        assert_eq!(Address::of("").host, "");
    }
}
