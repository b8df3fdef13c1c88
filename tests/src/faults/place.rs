//! Where the two friends are, and who helps them. Pure.

use kith_doctor::Code;

use crate::matrix::Kind;

use super::cause::{Cause, View};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Anna,
    /// The second.
    Bert,
}

/// How one of them is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A public address of its own.
    Public,
    /// A router that understands UPnP.
    Upnp,
    /// A router that makes no mappings, and the setting that only calls are made.
    OnlyCalls,
    /// A router that makes no mappings and gives every connection another port.
    Symmetric,
    /// A router whose owner has forwarded the port.
    Forwarded,
    /// The same, and the address is told as a name.
    Named,
    /// A router that grants everything and does nothing.
    Lying,
    /// A router that grants everything, behind a carrier that lets nobody in.
    Carrier,
    /// A router that grants everything, behind another one of the same house.
    Double,
    /// A firewall that lets out nothing, with a SOCKS proxy that wants a password.
    Socks,
    /// A firewall that lets out nothing, with an HTTP proxy.
    Http,
    /// A kind of the matrix of sites.
    Kind(Kind),
}

/// Who helps the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// A common friend on a public address, who carries calls and relays.
    Relay,
    /// The same, who carries calls only.
    Calls,
    /// A hub.
    Hub,
    /// Nobody.
    Nobody,
}

/// Where all are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Where anna is.
    pub anna: Place,
    /// Where bert is.
    pub bert: Place,
    /// Who helps.
    pub help: Help,
}

impl Side {
    /// The one who is not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Anna => Self::Bert,
            Self::Bert => Self::Anna,
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Anna => 0,
            Self::Bert => 1,
        }
    }

    /// How what happens to this one is looked at by whom.
    pub(super) const fn seen_by(self, asker: Self) -> View {
        match (self, asker) {
            (Self::Anna, Self::Anna) | (Self::Bert, Self::Bert) => View::Here,
            _ => View::There,
        }
    }
}

impl Place {
    /// Whether somebody who calls from outside gets in.
    #[must_use]
    pub const fn can_be_called(self) -> bool {
        match self {
            Self::Public | Self::Upnp | Self::Forwarded | Self::Named => true,
            Self::Kind(kind) => {
                matches!(kind, Kind::Public | Kind::Upnp | Kind::NatPmp | Kind::Pcp)
            }
            _ => false,
        }
    }

    /// What is true of it all the time: a check may say so, and a verdict only where nothing works because of it.
    pub(super) fn nature(self, view: View) -> Vec<Cause> {
        let codes: &[Code] = match self {
            Self::Public | Self::Upnp | Self::OnlyCalls => &[],
            Self::Symmetric | Self::Forwarded | Self::Named => &[Code::MappingOff],
            Self::Lying => &[Code::MappingLies],
            Self::Carrier => &[Code::CarrierNat],
            Self::Double => &[Code::DoubleNat],
            Self::Socks | Self::Http => &[Code::NetworkBlocksOut, Code::MappingOff],
            Self::Kind(kind) => match kind {
                Kind::Public | Kind::Upnp | Kind::NatPmp | Kind::Pcp | Kind::OutboundOnly => &[],
                Kind::HostFirewall => &[Code::FirewallIn],
                Kind::Carrier | Kind::SymmetricCarrier | Kind::SameCarrier => {
                    &[Code::MappingOff, Code::CarrierNat, Code::DoubleNat]
                }
                Kind::Only443 | Kind::Socks | Kind::Connect | Kind::MappedProxy => {
                    &[Code::NetworkBlocksOut, Code::MappingOff]
                }
                _ => &[Code::MappingOff],
            },
        };
        codes.iter().map(|code| Cause::of_side(*code, view)).collect()
    }
}

impl Scene {
    /// Where one of them is.
    #[must_use]
    pub const fn of(self, side: Side) -> Place {
        match side {
            Side::Anna => self.anna,
            Side::Bert => self.bert,
        }
    }

    /// Whether the two are linked by nobody's help before anything is broken.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        self.anna.can_be_called() || self.bert.can_be_called()
    }

    /// Whether they are linked at all then.
    #[must_use]
    pub const fn is_linked(self) -> bool {
        self.is_direct() || matches!(self.help, Help::Relay | Help::Hub)
    }
}
