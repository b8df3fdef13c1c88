//! Sealed state objects.

use bytes::Bytes;
use kith_vault::layout::{MAX_STATE_BYTES, STATE_VERSIONS};
use kith_vault::{Accepting, Incarnation, StateError};

use crate::simulated::TestClock;
use crate::support::{Fixture, files, owner};

#[tokio::test]
async fn the_newest_state_object_is_returned_and_ten_are_kept() {
    let f = Fixture::new().await;
    assert_eq!(f.vault().newest_state(&f.owner).await.unwrap(), None);
    for sequence in 1..=25 {
        f.vault().put_state(&f.owner, sequence, Bytes::from(format!("state {sequence}"))).await.unwrap();
    }
    let newest = Some((25, Bytes::from_static(b"state 25")));
    assert_eq!(f.vault().newest_state(&f.owner).await.unwrap(), newest);
    let kept: Vec<u64> = (16..=25).collect();
    assert_eq!(f.vault().state_sequences(&f.owner).await.unwrap(), kept);
    let oldest = Some((16, Bytes::from_static(b"state 16")));
    assert_eq!(f.vault().older_state(&f.owner, 9).await.unwrap(), oldest);
    assert_eq!(f.vault().older_state(&f.owner, 10).await.unwrap(), None);
    assert_eq!(files(&f.root().join("ALICE/state")).len(), STATE_VERSIONS);
    assert_eq!(f.usage(), (0, 0));
    let f = f.reopen().await;
    assert_eq!(f.vault().newest_state(&f.owner).await.unwrap(), newest);
    assert_eq!(f.vault().newest_state(&owner("BOB")).await.unwrap(), None);
}

#[tokio::test]
async fn state_objects_only_go_forward() {
    let f = Fixture::new().await;
    let put = |sequence, text: &'static str| {
        f.vault().put_state(&f.owner, sequence, Bytes::from_static(text.as_bytes()))
    };
    put(7, "seven").await.unwrap();
    put(7, "seven").await.unwrap();
    assert!(matches!(put(7, "other").await, Err(StateError::Conflict { sequence: 7 })));
    assert!(matches!(put(6, "six").await, Err(StateError::Stale { sequence: 6, newest: 7 })));
    assert_eq!(f.vault().newest_state(&f.owner).await.unwrap(), Some((7, Bytes::from_static(b"seven"))));
    assert_eq!(f.temporary_files(), 0);
}

#[tokio::test]
async fn a_state_object_needs_no_quota_but_an_accepted_owner_and_a_bounded_size() {
    let f = Fixture::new().await;
    let bob = owner("BOB");
    f.vault().put_state(&bob, 1, Bytes::from(vec![0; MAX_STATE_BYTES])).await.unwrap();
    let large = f.vault().put_state(&bob, 2, Bytes::from(vec![0; MAX_STATE_BYTES + 1])).await;
    assert!(matches!(large, Err(StateError::TooLarge { .. })));
    f.vault().set_accepting(&bob, Accepting::No);
    assert!(matches!(f.vault().put_state(&bob, 2, Bytes::new()).await, Err(StateError::NotAccepted)));
    assert_eq!(f.vault().newest_state(&bob).await.unwrap().unwrap().0, 1);
}

#[tokio::test]
async fn no_number_that_a_thief_sends_ends_what_comes_after_a_recovery() {
    let f = Fixture::new().await;
    let (old, new) = (Incarnation::new(1, [1; 16]), Incarnation::new(2, [1; 16]));
    let put = |writer, sequence, text: &'static str| {
        f.vault().put_state_from(&f.owner, writer, sequence, Bytes::from_static(text.as_bytes()))
    };
    f.vault().writer(&f.owner, old).await.unwrap();
    put(old, 7, "genuine").await.unwrap();
    for sequence in [u64::MAX, u64::MAX - 1, 7 + (1 << 40) + 1] {
        let refused = put(old, sequence, "rubbish").await;
        assert!(matches!(refused, Err(StateError::TooFarAhead { newest: 7, .. })), "{refused:?}");
    }
    put(old, 7 + (1 << 40), "rubbish").await.unwrap();
    assert!(matches!(put(old, 8, "genuine").await, Err(StateError::Stale { .. })));
    // The next recovery begins anew, below.
    f.vault().writer(&f.owner, new).await.unwrap();
    put(new, 8, "recovered").await.unwrap();
    put(new, 9, "recovered too").await.unwrap();
    assert!(matches!(put(old, u64::MAX, "rubbish").await, Err(StateError::Superseded { .. })));
    let f = f.reopen().await;
    let kept = async |back| f.vault().older_state(&f.owner, back).await.unwrap().map(|(_, bytes)| bytes);
    for (back, text) in ["recovered too", "recovered", "rubbish", "genuine"].into_iter().enumerate() {
        assert_eq!(kept(back).await, Some(Bytes::from_static(text.as_bytes())));
    }
    assert_eq!(kept(4).await, None);
    // Nor the first one ever.
    let bob = owner("BOB");
    let first = f.vault().put_state(&bob, u64::MAX, Bytes::new()).await;
    assert!(matches!(first, Err(StateError::TooFarAhead { .. })));
}

#[tokio::test]
async fn what_somebody_sends_in_a_row_pushes_out_one_day_at_most() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let clock = TestClock::at(1_700_000_000_000);
    let mut f = Fixture::by(&clock).await;
    for sequence in 1..=3 {
        f.vault().put_state(&f.owner, sequence, Bytes::from(format!("state {sequence}"))).await.unwrap();
        clock.pass(DAY);
    }
    for sequence in 100..200 {
        f.vault().put_state(&f.owner, sequence, Bytes::from_static(b"rubbish")).await.unwrap();
    }
    for _ in 0..2 {
        let kept: Vec<u64> = (1..=3).chain(190..200).collect();
        assert_eq!(f.vault().state_sequences(&f.owner).await.unwrap(), kept);
        let older = f.vault().older_state(&f.owner, 10).await.unwrap();
        assert_eq!(older, Some((3, Bytes::from_static(b"state 3"))));
        f.stop();
        f.start(&clock).await;
    }
}
