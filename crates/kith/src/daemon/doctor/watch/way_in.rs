//! Whether the way in to this computer was lost. Pure.

use kith_nat::MappingState;

/// What is known of the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WayIn {
    /// It is there, or was never, or nobody wants it.
    Fine,
    /// This router let friends in, and does not any more.
    Lost,
    /// Which of the two is not known at this moment.
    Unknown,
}

/// What the router did for us before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Router {
    /// Which router it is can't be seen.
    Unseen,
    /// No friend came in by it, at least not lately.
    New,
    /// A friend came in by it.
    LetIn,
}

/// Who opens the port on the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A person did.
    ByHand,
    /// Kith asks for it.
    ByAsking,
}

/// Who the router is, is only asked where that decides.
pub(super) fn judge(state: MappingState, opened: Opened, router: impl FnOnce() -> Router) -> WayIn {
    match (state, opened) {
        (MappingState::Mapped | MappingState::Off, _) | (_, Opened::ByHand) => WayIn::Fine,
        (MappingState::Searching, _) => WayIn::Unknown,
        _ => match router() {
            Router::Unseen => WayIn::Unknown,
            Router::New => WayIn::Fine,
            Router::LetIn => WayIn::Lost,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::Opened::{ByAsking, ByHand};
    use super::*;

    fn unasked() -> Router {
        panic!("the router does not matter")
    }

    #[test]
    fn it_is_lost_where_the_same_router_let_friends_in_before() {
        use MappingState::{Blocked, DoubleNat, NoRouter, RouterOff};
        for state in [NoRouter, RouterOff, Blocked, DoubleNat] {
            assert_eq!(judge(state, ByAsking, || Router::LetIn), WayIn::Lost, "{state:?}");
            assert_eq!(judge(state, ByAsking, || Router::New), WayIn::Fine, "{state:?}: it was never there");
            assert_eq!(judge(state, ByAsking, || Router::Unseen), WayIn::Unknown, "{state:?}");
            assert_eq!(judge(state, ByHand, unasked), WayIn::Fine, "{state:?}: nobody needs it");
        }
    }

    #[test]
    fn it_is_fine_where_it_is_there_or_not_wanted_and_open_while_the_router_is_asked() {
        assert_eq!(judge(MappingState::Mapped, ByAsking, unasked), WayIn::Fine);
        assert_eq!(judge(MappingState::Off, ByAsking, unasked), WayIn::Fine);
        assert_eq!(judge(MappingState::Searching, ByAsking, unasked), WayIn::Unknown);
    }
}
