//! Checks of a token source.

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Builder, task::yield_now, time::timeout};

use crate::{
    cache::TokenCache,
    source::{Narrowing, Reason, SourceIdentity, TokenSource},
    token::{AccessToken, Lifetime},
};

/// Longer than any issuer should take.
const LONG: Duration = Duration::from_secs(20);

/// At how many places a token request is dropped.
const DROPS: u32 = 8;

/// What a source can do besides getting a token. Assert what yours must be able to do.
#[expect(clippy::struct_excessive_bools, reason = "each is an ability of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceReport {
    /// After the rejection of a token, it brings another one. If not, a rejected request is not sent again.
    pub replaces_rejected_tokens: bool,
    /// It can be [narrowed](TokenSource::narrowed) to a scope of its tokens.
    pub narrows: bool,
    /// It says whose its tokens are ([`TokenSource::identity`]), so that a [store](crate::store) finds them without a name.
    pub has_identity: bool,
    /// It says which client it is ([`TokenSource::client`]), so that a refusal of the client is known to all identities of a pool.
    pub has_client: bool,
    /// It can [revoke](TokenSource::revoke) its tokens.
    pub revokes: bool,
    /// The longest time for which its future did not let others run. More than some milliseconds are blocking work on the
    /// runtime's thread: move it into `tokio::task::spawn_blocking`.
    pub longest_poll: Duration,
}

/// Checks that a source does what caches, pools and stores rely on, and returns what else it can do. It sends about a dozen token
/// requests, and revokes a token at the end if the source can.
///
/// `make` creates the source, each time from the same settings, as another process would. Its issuer must be up, and its credentials
/// right.
///
/// ```
/// use tower_bearer::{PasswordGrant, conformance, grant::ClientAuth, testing::Issuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let issuer = Issuer::new();
/// let report = conformance::check_source(|| {
///     PasswordGrant::builder("https://auth.example.org/token")
///         .client_auth(ClientAuth::basic("client1", "client-secret"))
///         .credentials("user1", "user-password")
///         .build_with(issuer.service())
///         .unwrap()
/// })
/// .await;
/// assert!(report.replaces_rejected_tokens && report.has_identity);
/// # }
/// ```
///
/// # Panics
/// When the source does not do one of these. The message says which.
pub async fn check_source<S: TokenSource>(make: impl Fn() -> S) -> SourceReport {
    let source = make();
    assert!(source.check().is_ok(), "`check` says that the source cannot get a token: {:?}", source.check().err());
    let (first, longest_poll) = measured(&source).await;
    the_token_can_be_used(&first);
    a_dropped_token_request_harms_no_later_one(&source).await;
    another_runtime_can_use_it(&source);
    numbers_do_not_change_by_themselves(&source);
    let has_identity = two_of_the_same_settings_have_one_identity(&source, &make()).await;
    a_refresh_token_is_taken_over(&source).await;
    many_callers_get_one_token(make()).await;
    let narrows = a_narrowed_source_has_tokens_of_its_own(&source, &first).await;

    let again = obtained(&source, Reason::rejected(first.clone())).await;
    SourceReport {
        replaces_rejected_tokens: again.secret() != first.secret(),
        narrows,
        has_identity,
        has_client: source.client().is_some(),
        revokes: revoked(&source, &again).await,
        longest_poll,
    }
}

async fn obtained<S: TokenSource>(source: &S, why: Reason) -> AccessToken {
    let asked = timeout(LONG, source.obtain(why)).await;
    let result = asked.unwrap_or_else(|_| panic!("`obtain` did not end within {LONG:?}"));
    result.unwrap_or_else(|error| panic!("`obtain` returned an error, although the issuer is up: {error}"))
}

/// Returns a token, and the longest time of one poll.
#[expect(clippy::disallowed_methods, reason = "what blocks takes real time")]
async fn measured<S: TokenSource>(source: &S) -> (AccessToken, Duration) {
    let mut longest = Duration::ZERO;
    let mut asked = pin!(obtained(source, Reason::First));
    let token = poll_fn(|cx| {
        let start = Instant::now();
        let polled = asked.as_mut().poll(cx);
        longest = longest.max(start.elapsed());
        polled
    })
    .await;
    (token, longest)
}

fn the_token_can_be_used(token: &AccessToken) {
    assert!(
        token.lifetime() != Lifetime::from(Duration::ZERO),
        "the token had expired when it came: if it is older than the answer, create it with `AccessToken::stored`, or say its age with \
         `with_issue_time`"
    );
}

/// The cache drops a token request at its deadline.
async fn a_dropped_token_request_harms_no_later_one<S: TokenSource>(source: &S) {
    for polls in 1..=DROPS {
        let mut asked = Box::pin(source.obtain(Reason::Ageing));
        for _ in 0..polls {
            let polled = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx))).await;
            if polled.is_ready() {
                break;
            }
            yield_now().await;
        }
        drop(asked);
    }
    let next = timeout(LONG, source.obtain(Reason::Ageing)).await;
    let next = next.expect("after a token request was dropped, the next one does not end");
    next.unwrap_or_else(|error| panic!("after a token request was dropped, the next one fails: {error}"));
}

/// An SDK may be used from several runtimes, one after another.
fn another_runtime_can_use_it<S: TokenSource>(source: &S) {
    let run = || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { timeout(LONG, source.obtain(Reason::Ageing)).await })
    };
    let asked = thread::scope(|scope| scope.spawn(run).join());
    let asked = asked.unwrap_or_else(|_| panic!("`obtain` panics in another runtime than the first one"));
    let result = asked.expect("`obtain` does not end in another runtime than the first one");
    result.unwrap_or_else(|error| panic!("`obtain` fails in another runtime than the first one: {error}"));
}

fn numbers_do_not_change_by_themselves<S: TokenSource>(source: &S) {
    let version = source.credentials_version();
    assert_eq!(
        source.credentials_version(),
        version,
        "`credentials_version` changed without a change of the credentials: each change ends the wait after a refusal"
    );
    assert_eq!(source.client(), source.client(), "`client` changed without a change of the client");
    assert_eq!(source.issuer(), source.issuer(), "`issuer` changed without a change of the issuer");
}

async fn two_of_the_same_settings_have_one_identity<S: TokenSource>(one: &S, other: &S) -> bool {
    let identity = async |source: &S| -> Option<SourceIdentity> {
        source.identity().await.unwrap_or_else(|error| panic!("`identity` failed: {error}"))
    };
    let (one, other) = (identity(one).await, identity(other).await);
    let parts = |identity: &Option<SourceIdentity>| identity.as_ref().map(|it| (it.who().to_vec(), it.what().to_vec()));
    assert!(
        parts(&one) == parts(&other),
        "two sources of the same settings have different identities, so processes would not share their token: leave out what differs \
         between processes"
    );
    one.is_some_and(|identity| !identity.is_unnamed())
}

/// Another process may have received the newest one.
async fn a_refresh_token_is_taken_over<S: TokenSource>(source: &S) {
    let Some(newest) = source.refresh_token() else { return };
    source.continue_with(Some(newest.clone())).await;
    let kept = source.refresh_token();
    assert!(
        kept.is_some_and(|kept| kept.expose() == newest.expose()),
        "`refresh_token` does not return what `continue_with` was given: implement both or neither"
    );
    obtained(source, Reason::Ageing).await;
}

async fn many_callers_get_one_token<S: TokenSource>(source: S) {
    let cache = TokenCache::new(source);
    let tokens = timeout(LONG, futures_util::future::join_all((0..100).map(|_| cache.token()))).await;
    let tokens = tokens.expect("a hundred callers of a new cache do not all get a token");
    let first = tokens[0].as_ref().unwrap_or_else(|error| panic!("a new cache gets no token: {error}"));
    for token in &tokens {
        assert!(
            token.as_ref().is_ok_and(|token| token.secret() == first.secret()),
            "a hundred callers of a new cache did not get the same token"
        );
    }
}

/// Narrows to the first scope that was granted.
async fn a_narrowed_source_has_tokens_of_its_own<S: TokenSource>(source: &S, token: &AccessToken) -> bool {
    let Some(scope) = token.scopes().and_then(|granted| granted.iter().next().map(str::to_owned)) else { return false };
    let to = Narrowing::new().with_scope(scope).expect("a granted scope");
    let Some(narrowed) = source.narrowed(&to) else { return false };
    let less = obtained(&narrowed, Reason::First).await;
    let has_less = less.scopes().zip(token.scopes()).is_none_or(|(less, all)| all.covers(less));
    assert!(has_less, "a narrowed source got a token with more scope than the source's own");
    let (own, other) = (source.identity().await, TokenSource::identity(&narrowed).await);
    if let (Ok(Some(own)), Ok(Some(other))) = (own, other) {
        assert!(
            own.who() != other.who() || own.what() != other.what(),
            "a narrowed source has the same identity, so other processes would take its token for that of the whole scope"
        );
    }
    true
}

async fn revoked<S: TokenSource>(source: &S, token: &AccessToken) -> bool {
    match timeout(LONG, source.revoke(token)).await.expect("`revoke` does not end") {
        Ok(()) => true,
        Err(error) if error.is_config() => false,
        Err(error) => panic!("`revoke` failed: {error}"),
    }
}
