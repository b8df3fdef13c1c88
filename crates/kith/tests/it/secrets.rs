//! Types that hold secrets can't be written out by accident: they have no text form and no serialised one.

use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use serde::Serialize;

/// Whether a type has a trait. The constant of the type itself comes first where its bound is met; else that of the trait, which
/// everything has.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        #[allow(dead_code, reason = "looked at by type, never made")]
        struct Looked<T>(PhantomData<T>);
        #[allow(dead_code, reason = "not used where the bound is met")]
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T> Otherwise for T {}
        #[allow(dead_code, reason = "used where the bound is met")]
        impl<T: $bound> Looked<T> {
            const HAS: bool = true;
        }
        <Looked<$type>>::HAS
    }};
}

macro_rules! check {
    ($($type:ty),* $(,)?) => {$(
        let name = stringify!($type);
        assert!(!has!($type: Display), "{name} has a text form");
        assert!(!has!($type: Serialize), "{name} can be serialised");
    )*};
}

#[test]
fn the_look_itself_tells_apart() {
    assert!(has!(String: Display) && has!(String: Serialize));
    assert!(!has!(PhantomData<u8>: Display) && has!(PhantomData<u8>: Debug));
}

#[test]
fn no_type_that_holds_a_secret_can_be_printed_or_serialised() {
    check!(
        kith_identity::ArchiveRootKey,
        kith_identity::ChunkerSeed,
        kith_identity::DerivedSecrets,
        kith_identity::DialInKey,
        kith_identity::DialInSecret,
        kith_identity::Identity,
        kith_identity::IdentitySeed,
        kith_identity::InviteSecret,
        kith_identity::MasterKey,
        kith_identity::OneTimeKey,
        kith_identity::RecoveryPhrase,
        kith_identity::StateKey,
        kith_archive::MasterKey,
        kith_control::Token,
    );
}
