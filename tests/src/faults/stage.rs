//! A scene, built: the laboratory, the two friends, who helps them, and a link that is healthy.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::lab::{Effect, FakeIgd, Host, Lab, Listing, Router, Script, Site, SiteKind};
use crate::matrix::{Grounds, Helped, HelperAt};
use crate::{Computer, wait_until};

use super::homes::{Homes, Whose};
use super::place::{Help, Place, Scene, Side};

/// Where friends listen.
pub(super) const PORT: u16 = 4242;
/// Where a hub listens.
const HUB_PORT: u16 = 4287;
/// The name by which bert is known where he is known by one.
pub(super) const NAME: &str = "bert.example";
/// User and password of proxies that want one.
pub(super) const LOGIN: (&str, &str) = ("anna", "p4ss");
/// What a router behind another one says that its outer address is.
const PRIVATE: &str = "192.168.178.20";
/// Longest wait for the link before anything is broken.
const LINKED: Duration = Duration::from_secs(60);

/// One of the two, where it is.
pub(super) struct End {
    pub(super) computer: Computer,
    pub(super) host: Host,
    pub(super) site: Option<Site>,
}

/// A scene, built. What depends on another thing is above it: it ends first.
pub(super) struct Stage {
    pub(super) ends: [End; 2],
    pub(super) carol: Option<(Computer, Host)>,
    pub(super) hub: Option<Computer>,
    /// Whatever has to live as long.
    pub(super) held: Vec<Box<dyn Any>>,
    /// Who answers for names, and with what.
    pub(super) names: Option<Host>,
    pub(super) lab: Lab,
}

/// A place, built.
struct Ground {
    host: Host,
    site: Option<Site>,
    /// What is in its settings before the table `network`.
    before: String,
    /// What is in that table, and after it.
    network: String,
    /// Where carol is found, if not at her own address.
    carol: Option<String>,
}

impl Stage {
    /// Builds a scene and waits until the two are linked, if they ever are.
    pub(super) fn build(homes: &Homes, title: &str, scene: Scene) -> Self {
        let lab = Lab::new(&format!("fault {title}"));
        let mut held: Vec<Box<dyn Any>> = Vec::new();
        // The address of the room in which the friends met: it must not be somebody else's now.
        lab.public_host().unplug();
        let carol = matches!(scene.help, Help::Relay | Help::Calls).then(|| {
            let host = lab.public_host();
            host.redirect(443, PORT);
            let relay = if scene.help == Help::Relay { "" } else { "[network]\nrelay = false\n" };
            let computer = homes.copy(Whose::Carol, &host, relay);
            computer.start();
            (computer, host)
        });
        let hub = (scene.help == Help::Hub).then(|| {
            let host = lab.public_host();
            let hub = Computer::in_host("hub", &host);
            hub.start_hub(HUB_PORT);
            (format!("hubs = [\"kith://{}@{}\"]\n", hub.device_id(), host.at(HUB_PORT)), hub)
        });
        let named = [scene.anna, scene.bert].contains(&Place::Named).then(|| lab.public_host());
        let helper = carol.as_ref().map(|(carol, host)| HelperAt::of(carol, host, Helped::ByFriend, PORT));
        let sides = [(Side::Anna, scene.anna), (Side::Bert, scene.bert)].map(|(side, place)| {
            let ground = ground(&lab, place, helper.as_ref(), &mut held);
            let whose = match (side, &carol) {
                (Side::Anna, Some(_)) => Whose::AnnaOfThree,
                (Side::Bert, Some(_)) => Whose::BertOfThree,
                (Side::Anna, None) => Whose::Anna,
                (Side::Bert, None) => Whose::Bert,
            };
            let hubs = hub.as_ref().map_or("", |(line, _)| line);
            let settings = format!("{}[network]\n{hubs}{}", ground.before, ground.network);
            (Some(homes.copy(whose, &ground.host, &settings)), ground)
        });
        if let (Some(server), Some(site)) = (&named, &sides[1].1.site) {
            let address = IpAddr::from(site.outside_address());
            held.push(Box::new(server.serve_names(&[(NAME, address)])));
            sides.iter().for_each(|(_, ground)| ground.host.asks_for_names(server.address()));
        }
        let at_carol: Vec<Option<String>> = sides
            .iter()
            .map(|(_, ground)| {
                let own = carol.as_ref().map(|(_, host)| host.at(PORT).to_string());
                ground.carol.clone().or(own)
            })
            .collect();
        let ends = sides.map(|(computer, ground)| End {
            computer: computer.expect("made above"),
            host: ground.host,
            site: ground.site,
        });
        let stage = Self { ends, carol, hub: hub.map(|(_, hub)| hub), held, names: named, lab };
        for (end, at_carol) in stage.ends.iter().zip(at_carol) {
            end.computer.start();
            if let Some(at) = at_carol {
                end.computer.kith(&["friend", "address", "carol", &at]).ok();
            }
        }
        stage.introduce(scene);
        stage.wait_healthy(scene);
        stage
    }

    /// Tells each where the other one is, if he can be called there.
    fn introduce(&self, scene: Scene) {
        for side in [Side::Anna, Side::Bert] {
            let at = match scene.of(side.other()) {
                Place::Named => format!("{NAME}:{PORT}"),
                // The helper brings them together.
                Place::Kind(_) => continue,
                place if place.can_be_called() => self.target(side.other()).to_string(),
                _ => continue,
            };
            let name = self.computer(side.other()).name();
            self.computer(side).kith(&["friend", "address", name, &at]).ok();
        }
    }

    fn wait_healthy(&self, scene: Scene) {
        for (end, place) in self.ends.iter().zip([scene.anna, scene.bert]) {
            if place == Place::Upnp {
                wait_until("the mapping", LINKED, || end.computer.status()["mapping"]["state"] == "mapped");
            }
            if matches!(place, Place::Lying | Place::Carrier | Place::Double) {
                wait_until("the router to be found", LINKED, || {
                    let state = end.computer.status()["mapping"]["state"].take();
                    state != "searching" && state != "off"
                });
            }
            if self.carol.is_some() {
                wait_until("the link with carol", LINKED, || end.computer.linked("carol"));
            }
        }
        if !scene.is_linked() {
            return;
        }
        for side in [Side::Anna, Side::Bert] {
            let (one, other) = (self.computer(side), self.computer(side.other()).name());
            wait_until(&format!("{} and {other} to be linked", one.name()), LINKED, || {
                let friend = one.friend(other);
                let direct = friend["path"] != "relayed" || !scene.is_direct();
                let any = matches!(scene.anna, Place::Kind(_));
                friend["connected"] == true && (direct || any)
            });
        }
    }

    pub(super) const fn computer(&self, side: Side) -> &Computer {
        &self.ends[side.index()].computer
    }

    pub(super) const fn host(&self, side: Side) -> &Host {
        &self.ends[side.index()].host
    }

    /// The router of a side that has one.
    pub(super) fn router(&self, side: Side) -> &Router {
        self.ends[side.index()].site.as_ref().expect("a place with a router").router()
    }

    /// Where one is called from outside.
    pub(super) fn target(&self, side: Side) -> SocketAddr {
        let end = &self.ends[side.index()];
        end.site.as_ref().map_or_else(|| end.host.at(PORT), |site| site.outside(PORT))
    }

    /// Keeps something until the end.
    pub(super) fn hold(&mut self, thing: impl Any) {
        self.held.push(Box::new(thing));
    }
}

fn ground(lab: &Lab, place: Place, helper: Option<&HelperAt>, held: &mut Vec<Box<dyn Any>>) -> Ground {
    let of = |site: Site| Ground {
        host: site.host().clone(),
        site: Some(site),
        before: String::new(),
        network: String::new(),
        carol: None,
    };
    let behind = |script: Script, held: &mut Vec<Box<dyn Any>>| {
        let carrier = lab.carrier(SiteKind::plain());
        let site = lab.site_behind(&carrier, SiteKind::plain());
        held.push(Box::new(FakeIgd::start(site.router(), script)));
        held.push(Box::new(carrier));
        of(site)
    };
    match place {
        Place::Public => {
            let (host, none) = (lab.public_host(), String::new);
            Ground { host, site: None, before: none(), network: none(), carol: None }
        }
        Place::Upnp => of(lab.site(SiteKind::upnp())),
        Place::Symmetric => of(lab.site(SiteKind::plain().symmetric())),
        Place::OnlyCalls => {
            Ground { network: "outbound-only = true\n".to_owned(), ..of(lab.site(SiteKind::plain())) }
        }
        Place::Forwarded | Place::Named => {
            let site = lab.site(SiteKind::plain());
            site.router().forward(PORT, site.host().at(PORT));
            let at =
                if place == Place::Named { format!("{NAME}:{PORT}") } else { site.outside(PORT).to_string() };
            Ground { before: format!("[listener]\nadvertise = [\"{at}\"]\n"), ..of(site) }
        }
        Place::Lying => {
            let site = lab.site(SiteKind::plain());
            let script = Script { effect: Effect::Nothing, listing: Listing::AsAsked, ..Script::default() };
            held.push(Box::new(FakeIgd::start(site.router(), script)));
            of(site)
        }
        Place::Carrier => behind(Script::default(), held),
        Place::Double => {
            behind(Script { external_address: Some(PRIVATE.to_owned()), ..Script::default() }, held)
        }
        Place::Socks => {
            let site = lab.site(SiteKind::plain().closed());
            let (user, password) = LOGIN;
            let at = site.router().start_socks(Some(LOGIN));
            Ground { network: format!("proxy = \"socks5://{user}:{password}@{at}\"\n"), ..of(site) }
        }
        Place::Http => {
            let site = lab.site(SiteKind::plain().closed());
            let at = site.router().start_http_proxy(None);
            Ground { network: format!("proxy = \"http://{at}\"\n"), ..of(site) }
        }
        Place::Kind(kind) => {
            let Some(helper) = helper else {
                // Without one, only kinds that need no more than a router of their own.
                return of(lab.site(SiteKind::plain().dual_stack()));
            };
            let mut grounds = Grounds::default();
            let mut places = grounds.build(lab, kind, 1, None, helper);
            held.push(Box::new(grounds));
            let place = places.remove(0);
            let network = place.settings.strip_prefix("[network]\n").unwrap_or(&place.settings).to_owned();
            Ground { host: place.host, site: None, before: String::new(), network, carol: Some(place.helper) }
        }
    }
}
