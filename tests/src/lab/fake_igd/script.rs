//! What a router does wrong.

use std::net::Ipv4Addr;

use crate::lab::IgdVersion;

/// What a router does. The default is one without faults.
#[derive(Clone, Debug)]
pub struct Script {
    /// The version that it describes itself as.
    pub version: IgdVersion,
    /// How it answers searches.
    pub ssdp: Ssdp,
    /// How it describes itself.
    pub description: Description,
    /// What it says that its external address is; none: its real one.
    pub external_address: Option<String>,
    /// Which leases it grants.
    pub leases: Leases,
    /// External ports that are somebody else's: 718.
    pub taken: Vec<u16>,
    /// External ports that differ from the internal one get 724, "SamePortValuesRequired".
    pub same_ports_only: bool,
    /// Every request for a mapping gets this error.
    pub refuses: Option<u16>,
    /// What errors look like.
    pub error_text: ErrorText,
    /// What it does when it says yes.
    pub effect: Effect,
    /// What its list of mappings holds.
    pub listing: Listing,
    /// Whether a mapping can be looked up.
    pub read_back: ReadBack,
    /// Maps for the asking host only; others get 606.
    pub secure: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            version: IgdVersion::One,
            ssdp: Ssdp::Usual,
            description: Description::Usual,
            external_address: None,
            leases: Leases::Any,
            taken: Vec::new(),
            same_ports_only: false,
            refuses: None,
            error_text: ErrorText::Usual,
            effect: Effect::Real,
            listing: Listing::Real,
            read_back: ReadBack::Offered,
            secure: true,
        }
    }
}

/// How it answers searches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ssdp {
    /// From port 1900.
    Usual,
    /// From another port than the one that was asked.
    OtherPort,
    /// With this description, wherever that is.
    LocationAt(String),
    /// Not.
    Silent,
}

/// How it describes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Description {
    /// As the standard says.
    Usual,
    /// With bytes that are no XML.
    Garbage,
    /// With ten million bytes of XML before what matters.
    Huge,
    /// Without an end.
    Endless,
    /// With entities that contain each other: a few hundred bytes that want to be gigabytes.
    EntityBomb,
    /// Never: the request is taken and not answered.
    Hanging,
    /// A byte per second.
    Trickling,
    /// With an HTTP error.
    NotFound,
}

/// Which leases it grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leases {
    /// Any, 0 for ever.
    Any,
    /// Only 0; others get 725, "OnlyPermanentLeasesSupported".
    OnlyPermanent,
    /// Only 0; others get 402, "Invalid Args".
    OnlyPermanentSays402,
    /// Only 0; others get 501, "Action Failed".
    OnlyPermanentSays501,
    /// Any but 0, which gets 402.
    NoPermanent,
    /// Says yes to all, and forgets those that are not 0 at once, as a version of DD-WRT does.
    LimitedVanish,
}

/// What errors look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorText {
    /// A code and a description.
    Usual,
    /// A code and an empty description.
    Empty,
    /// A code without a description.
    Missing,
}

/// What it does when it says yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What it was asked for.
    Real,
    /// Maps the external port that equals the internal one, whichever was asked for; nothing if that one is taken.
    SamePort,
    /// Nothing.
    Nothing,
    /// Maps to another computer.
    OtherHost(Ipv4Addr),
}

/// What its list of mappings holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// What it really did.
    Real,
    /// What it was asked for.
    AsAsked,
}

/// Whether a mapping can be looked up by `GetSpecificPortMappingEntry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// Yes.
    Offered,
    /// The action is not there: 401.
    Missing,
}
