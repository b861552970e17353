//! Checks of a token store.

use std::{array, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::store::{Lease, LeaseAnswer, LeaseOwner, News, NewsReceiver, StoreKey, TokenStore};

/// Long enough for any step of a check.
const LONG: Duration = Duration::from_secs(20);

/// A lease whose end a check waits for.
const SHORT: Duration = Duration::from_millis(400);

/// How long a check waits after the end of a short lease.
const AFTER: Duration = Duration::from_millis(200);

/// How long news may take.
const NEWS: Duration = Duration::from_secs(2);

/// Checks that a store that has [news](TokenStore::news) keeps the contract of [`TokenStore`].
///
/// It takes a few seconds, because it waits for leases to end. It uses keys of its own at random, so the store may be in use.
///
/// ```
/// use tower_bearer::{conformance, store::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// conformance::check_store(MemoryStore::new()).await;
/// # }
/// ```
///
/// # Panics
/// When the store does not keep the contract, or fails. The message says which part.
pub async fn check_store<S: TokenStore>(store: S) {
    check_store_without_news(&store).await;
    news_tells_of_commits_and_releases(&store).await;
}

/// Checks a store that has no news: its [`news`](TokenStore::news) returns [`NewsReceiver::none`].
///
/// # Panics
/// As [`check_store`].
pub async fn check_store_without_news<S: TokenStore>(store: &S) {
    nothing_is_found_where_nothing_was_committed(store).await;
    a_lease_is_given_to_its_owner_again(store).await;
    a_lease_keeps_others_out(store).await;
    each_new_lease_has_a_greater_fence(store).await;
    only_the_lease_that_is_held_commits(store).await;
    a_lease_is_released_by_its_holder_alone(store).await;
    a_lease_that_is_extended_does_not_end(store).await;
    the_lease_of_a_process_that_died_ends(store).await;
    a_short_time_is_not_rounded_to_none(store).await;
    records_come_back_byte_for_byte(store).await;
    keys_are_kept_apart(store).await;
    one_of_many_owners_gets_the_lease(store).await;
}

async fn nothing_is_found_where_nothing_was_committed<S: TokenStore>(store: &S) {
    let loaded = store.load(key()).await.expect("load of a key that was never used");
    assert_eq!(loaded.record, None, "load found a record that was never committed");
    assert_eq!(loaded.leased_for, None, "load found a lease that was never given");
}

async fn a_lease_is_given_to_its_owner_again<S: TokenStore>(store: &S) {
    let (key, owner) = (key(), owner());
    let first = given(store, key, owner, LONG).await;
    assert_eq!(first.owner, owner, "the lease names another owner than the one that asked");
    let again = given(store, key, owner, LONG).await;
    assert_eq!(again, first, "an owner that asked again got another lease: its first answer may have been lost");
}

async fn a_lease_keeps_others_out<S: TokenStore>(store: &S) {
    let key = key();
    given(store, key, owner(), LONG).await;
    let LeaseAnswer::Held(left) = store.lease(key, owner(), LONG).await.expect("lease") else {
        panic!("a lease was given while another owner held it");
    };
    assert!(!left.is_zero() && left <= LONG, "a lease of {LONG:?} is said to be held for another {left:?}");
    let loaded = store.load(key).await.expect("load");
    let left = loaded.leased_for.expect("load does not say that the lease is held");
    assert!(!left.is_zero() && left <= LONG, "load says that a lease of {LONG:?} is held for another {left:?}");
}

async fn each_new_lease_has_a_greater_fence<S: TokenStore>(store: &S) {
    let key = key();
    let mut last = 0;
    for turn in 0..4 {
        let lease = given(store, key, owner(), SHORT).await;
        assert!(turn == 0 || lease.fence > last, "the fence {} came after {last}", lease.fence);
        last = lease.fence;
        if turn % 2 == 0 {
            store.release(key, lease).await.expect("release");
        } else {
            sleep(SHORT + AFTER).await;
        }
    }
}

async fn only_the_lease_that_is_held_commits<S: TokenStore>(store: &S) {
    let key = key();
    let lost = given(store, key, owner(), SHORT).await;
    assert!(commit(store, key, lost, b"first").await, "the holder of the lease could not commit");
    sleep(SHORT + AFTER).await;
    assert!(!commit(store, key, lost, b"late").await, "a lease that had ended committed");
    let held = given(store, key, owner(), LONG).await;
    for (what, other) in [
        ("the lease that was lost", lost),
        ("the holder with another fence", Lease { fence: lost.fence, ..held }),
        ("another owner with the holder's fence", Lease { owner: lost.owner, ..held }),
        ("a greater fence", Lease { fence: held.fence + 1, ..held }),
    ] {
        assert!(!commit(store, key, other, b"wrong").await, "{what} committed");
    }
    assert_eq!(record(store, key).await.as_deref(), Some(&b"first"[..]), "a refused commit changed the record");
    assert!(commit(store, key, held, b"second").await, "the holder of the lease could not commit");
    assert!(commit(store, key, held, b"third").await, "the lease did not stay after a commit");
    assert_eq!(
        record(store, key).await.as_deref(),
        Some(&b"third"[..]),
        "the last record is not the one that is found"
    );
    store.release(key, held).await.expect("release");
    assert!(!commit(store, key, held, b"late").await, "a lease that was released committed");
    assert_eq!(record(store, key).await.as_deref(), Some(&b"third"[..]), "the record did not outlive the lease");
}

async fn a_lease_is_released_by_its_holder_alone<S: TokenStore>(store: &S) {
    let key = key();
    let held = given(store, key, owner(), LONG).await;
    for other in [Lease { owner: owner(), ..held }, Lease { fence: held.fence + 1, ..held }] {
        store.release(key, other).await.expect("release of a lease that is not held is not an error");
        assert!(is_held(store, key).await, "a lease was released with another owner or fence than its holder's");
    }
    store.release(key, held).await.expect("release");
    assert_eq!(store.load(key).await.expect("load").leased_for, None, "load says that a released lease is held");
    given(store, key, owner(), LONG).await;
}

async fn a_lease_that_is_extended_does_not_end<S: TokenStore>(store: &S) {
    let (key, owner) = (key(), owner());
    let held = given(store, key, owner, SHORT).await;
    let until = Instant::now() + SHORT * 2;
    while Instant::now() < until {
        sleep(SHORT / 4).await;
        assert_eq!(given(store, key, owner, SHORT).await, held, "an extended lease is another one");
    }
    assert!(commit(store, key, held, b"late").await, "an extended lease ended");
}

async fn the_lease_of_a_process_that_died_ends<S: TokenStore>(store: &S) {
    let key = key();
    given(store, key, owner(), SHORT).await;
    assert!(is_held(store, key).await, "the lease ended at once");
    sleep(SHORT + AFTER).await;
    assert_eq!(store.load(key).await.expect("load").leased_for, None, "load says that a lease that ended is held");
    given(store, key, owner(), LONG).await;
}

async fn a_short_time_is_not_rounded_to_none<S: TokenStore>(store: &S) {
    for keep in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(999), Duration::from_micros(1500)] {
        let key = key();
        let held = given(store, key, owner(), LONG).await;
        assert!(commit(store, key, held, b"kept").await);
        let committed = store.commit(key, held, b"short".to_vec(), keep).await;
        let committed = committed.unwrap_or_else(|error| panic!("a commit with `keep` of {keep:?} failed: {error}"));
        assert!(committed, "a commit with `keep` of {keep:?} was refused");
        assert_ne!(record(store, key).await.as_deref(), Some(&b"kept"[..]), "`keep` of {keep:?} left the old record");
        sleep(AFTER).await;
        assert_eq!(record(store, key).await, None, "a record with `keep` of {keep:?} is kept for ever");
    }
    for length in [Duration::from_nanos(1), Duration::from_micros(1500)] {
        let key = key();
        store.lease(key, owner(), length).await.unwrap_or_else(|error| panic!("a lease of {length:?} failed: {error}"));
        sleep(AFTER).await;
        assert!(!is_held(store, key).await, "a lease of {length:?} is held for ever");
    }
}

async fn records_come_back_byte_for_byte<S: TokenStore>(store: &S) {
    let key = key();
    let held = given(store, key, owner(), LONG).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = every_byte.repeat(256);
    for sent in [&b"\0"[..], b"\r\n", b"\"", "ä".as_bytes(), &every_byte, &long] {
        assert!(commit(store, key, held, sent).await, "the holder could not commit {} bytes", sent.len());
        let found = record(store, key).await;
        assert!(found.as_deref() == Some(sent), "a record of {} bytes came back changed", sent.len());
    }
}

async fn keys_are_kept_apart<S: TokenStore>(store: &S) {
    let hash: [u8; 32] = array::from_fn(|_| fastrand::u8(..));
    let mut other = hash;
    other[31] ^= 1;
    let (one, other) = (StoreKey::new(hash), StoreKey::new(other));
    let of_one = given(store, one, owner(), LONG).await;
    let of_other = given(store, other, owner(), LONG).await;
    assert!(commit(store, one, of_one, b"one").await && commit(store, other, of_other, b"other").await);
    assert!(!commit(store, other, of_one, b"wrong").await, "the lease of one key committed to another");
    assert_eq!(record(store, one).await.as_deref(), Some(&b"one"[..]), "the record of another key was found");
    assert_eq!(record(store, other).await.as_deref(), Some(&b"other"[..]), "the record of another key was found");
    store.release(one, of_one).await.expect("release");
    assert!(is_held(store, other).await, "a release ended the lease of another key");
}

async fn one_of_many_owners_gets_the_lease<S: TokenStore>(store: &S) {
    for _ in 0..4 {
        let key = key();
        let answers = join_all((0..32).map(|_| store.lease(key, owner(), LONG))).await;
        let given = answers.into_iter().filter(|answer| matches!(answer, Ok(LeaseAnswer::Given(_)))).count();
        assert_eq!(given, 1, "{given} of 32 owners that asked at once got the lease");
    }
}

async fn news_tells_of_commits_and_releases<S: TokenStore>(store: &S) {
    let key = key();
    let mut news = store.news();
    // A subscription may need a moment.
    sleep(AFTER).await;
    let held = given(store, key, owner(), LONG).await;
    assert!(commit(store, key, held, b"news").await);
    assert!(
        tells_of(&mut news, key).await,
        "no news of a commit within {NEWS:?}; check a store that has no news with `check_store_without_news`"
    );
    // News of the lease itself is allowed, and must not be taken for that of its release.
    while timeout(AFTER, news.next()).await.is_ok() {}
    store.release(key, held).await.expect("release");
    assert!(tells_of(&mut news, key).await, "no news of a release within {NEWS:?}");
}

async fn tells_of(news: &mut NewsReceiver, key: StoreKey) -> bool {
    let until_told = async {
        loop {
            match news.next().await {
                News::Changed(changed) if changed == key => return,
                News::Missed => return,
                News::Changed(_) => {}
            }
        }
    };
    timeout(NEWS, until_told).await.is_ok()
}

async fn given<S: TokenStore>(store: &S, key: StoreKey, owner: LeaseOwner, length: Duration) -> Lease {
    match store.lease(key, owner, length).await.expect("lease") {
        LeaseAnswer::Given(lease) => lease,
        LeaseAnswer::Held(left) => panic!("a free lease is said to be held for another {left:?}"),
    }
}

async fn commit<S: TokenStore>(store: &S, key: StoreKey, lease: Lease, record: &[u8]) -> bool {
    store.commit(key, lease, record.to_vec(), LONG).await.expect("commit")
}

async fn record<S: TokenStore>(store: &S, key: StoreKey) -> Option<Vec<u8>> {
    store.load(key).await.expect("load").record
}

/// Returns whether an owner that comes now is kept out.
async fn is_held<S: TokenStore>(store: &S, key: StoreKey) -> bool {
    store.load(key).await.expect("load").leased_for.is_some()
}

fn key() -> StoreKey {
    StoreKey::new(array::from_fn(|_| fastrand::u8(..)))
}

fn owner() -> LeaseOwner {
    LeaseOwner(fastrand::u128(..))
}
