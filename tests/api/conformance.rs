//! The checks of sources: good ones pass, and each mistake is named.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use tower_bearer::{
    AccessToken, BoxTokenSource, Error, FixedToken, PasswordGrant, Reason, SecretString, TokenSource,
    conformance::check_source,
    grant::ClientAuth,
    source::{Narrowing, SourceIdentity},
    testing::{Issuer, RefreshTokens},
};

use crate::support::token;

#[tokio::test]
async fn a_grant_passes_with_and_without_refresh_tokens() {
    for refresh_tokens in [RefreshTokens::None, RefreshTokens::Rotating] {
        let issuer = Issuer::builder().refresh_tokens(refresh_tokens).build();
        let report = check_source(|| {
            PasswordGrant::builder("https://issuer.test/token")
                .client_auth(ClientAuth::basic("client1", "client-secret"))
                .credentials("user1", "user-password")
                .revocation_url("https://issuer.test/revoke")
                .build_with(issuer.service())
                .unwrap()
        })
        .await;
        assert!(report.replaces_rejected_tokens && report.narrows && report.has_identity, "{report:?}");
        assert!(report.has_client && report.revokes, "{report:?}");
    }
}

#[tokio::test]
async fn a_fixed_token_passes_and_can_do_little_else() {
    let report = check_source(|| FixedToken::new("t").unwrap()).await;
    assert!(!report.replaces_rejected_tokens && !report.narrows && !report.revokes && !report.has_client, "{report:?}");
}

#[tokio::test]
async fn blocking_work_is_measured() {
    let blocks = || {
        tower_bearer::source::from_fn(|_| async {
            #[expect(clippy::disallowed_methods, reason = "the mistake")]
            std::thread::sleep(Duration::from_millis(30));
            Ok(token(1))
        })
    };
    assert!(check_source(blocks).await.longest_poll >= Duration::from_millis(30));
}

/// A source with one mistake.
#[derive(Clone)]
struct Wrong {
    mistake: Mistake,
    calls: Arc<AtomicU64>,
    made: u64,
    gate: Arc<Semaphore>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    Fails,
    Expired,
    KeepsItsPlaceWhenDropped,
    VersionCounts,
    IdentityOfTheProcess,
    ForgetsTheRefreshToken,
    NarrowsWithTheSameIdentity,
    NarrowsToMore,
}

impl TokenSource for Wrong {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        let n = self.calls.fetch_add(1, Relaxed);
        if self.mistake == Mistake::KeepsItsPlaceWhenDropped {
            // A permit that only the end of the call gives back.
            self.gate.acquire().await.unwrap().forget();
            tokio::task::yield_now().await;
            self.gate.add_permits(1);
        }
        let all = token(n).with_scope("a b");
        match self.mistake {
            Mistake::Fails => Err(Error::transient("the vault is sealed")),
            Mistake::Expired => Ok(all.with_expires_in(Duration::ZERO)),
            Mistake::NarrowsToMore if self.made == 99 => Ok(all.with_scope("a b c")),
            _ => Ok(all),
        }
    }

    fn credentials_version(&self) -> u64 {
        if self.mistake == Mistake::VersionCounts { self.calls.fetch_add(1, Relaxed) } else { 0 }
    }

    async fn identity(&self) -> Result<Option<SourceIdentity>, Error> {
        let own = if self.mistake == Mistake::IdentityOfTheProcess { self.made.to_string() } else { String::new() };
        Ok(Some(SourceIdentity::new().with("process", own)))
    }

    fn refresh_token(&self) -> Option<SecretString> {
        let n = self.calls.load(Relaxed);
        (self.mistake == Mistake::ForgetsTheRefreshToken).then(|| format!("r{n}").into())
    }

    async fn continue_with(&self, _: Option<SecretString>) {
        self.calls.fetch_add(1, Relaxed);
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        let narrows = [Mistake::NarrowsWithTheSameIdentity, Mistake::NarrowsToMore].contains(&self.mistake);
        narrows.then(|| Self { made: 99, ..self.clone() }.boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn each_mistake_is_named() {
    for (mistake, says) in [
        (Mistake::Fails, "`obtain` returned an error, although the issuer is up"),
        (Mistake::Expired, "the token had expired when it came"),
        (Mistake::KeepsItsPlaceWhenDropped, "after a token request was dropped, the next one does not end"),
        (Mistake::VersionCounts, "`credentials_version` changed without a change of the credentials"),
        (Mistake::IdentityOfTheProcess, "two sources of the same settings have different identities"),
        (Mistake::ForgetsTheRefreshToken, "`refresh_token` does not return what `continue_with` was given"),
        (Mistake::NarrowsWithTheSameIdentity, "a narrowed source has the same identity"),
        (Mistake::NarrowsToMore, "a narrowed source got a token with more scope"),
    ] {
        let count = AtomicU64::new(0);
        let (calls, gate) = (Arc::default(), Arc::new(Semaphore::new(1)));
        let make = move || Wrong {
            mistake,
            calls: Arc::clone(&calls),
            made: count.fetch_add(1, Relaxed),
            gate: Arc::clone(&gate),
        };
        let panic = tokio::spawn(async move { check_source(make).await }).await.unwrap_err().into_panic();
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned());
        assert!(message.contains(says), "{message}");
    }
}
