//! Sealed state objects.

use bytes::Bytes;
use kith_vault::layout::{MAX_STATE_BYTES, STATE_VERSIONS};
use kith_vault::{Accepting, StateError};

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
    assert_eq!(f.vault().read_state(&f.owner, 16).await.unwrap(), Some(Bytes::from_static(b"state 16")));
    assert_eq!(f.vault().read_state(&f.owner, 15).await.unwrap(), None);
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
