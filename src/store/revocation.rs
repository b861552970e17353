//! A revocation, which all processes learn of.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    error::Error,
    runtime,
    source::TokenSource,
    store::{
        fields::Hash,
        link::Urgency,
        names::Names,
        sharing::Sharing,
        token_store::{Lease, LeaseAnswer, LeaseOwner},
    },
    token::AccessToken,
};

/// How long a revocation waits for a token request of another process.
const WAIT: Duration = Duration::from_secs(2);

/// How long it is tried in the background to tell the others that a token ended. An issuer that is asked meanwhile may be slow.
const ENDS_LATER_FOR: Duration = Duration::from_secs(120);

/// How often it tries to get the lease.
const POLL: Duration = Duration::from_millis(100);

impl Sharing {
    /// Revokes the token of a cache, if it has one, with the stored one and the refresh token. No process uses them any more.
    pub(super) async fn revoke(self: &Arc<Self>, token: Option<&AccessToken>) -> Result<(), Error> {
        runtime::current()?;
        let names = self.names().await.ok();
        let lease = match &names {
            Some(names) => self.lease_to_revoke(names).await,
            None => None,
        };
        let mut stored = None;
        if let (Some(names), Some(lease)) = (&names, lease) {
            stored = self.end_stored(names, lease, token).await;
        } else if let (Some(names), Some(token)) = (&names, token) {
            let hash = self.token_hash(token);
            self.memory().note_rejected(&hash);
            self.end_later(Arc::clone(names), hash);
        }
        let stored = stored.filter(|stored| token.is_none_or(|token| token.secret() != stored.secret()));
        let revoked = match (token, &stored) {
            (Some(token), Some(stored)) => {
                let (one, other) = (self.source.revoke(token).await, self.source.revoke(stored).await);
                one.and(other)
            }
            (Some(token), None) | (None, Some(token)) => self.source.revoke(token).await,
            (None, None) => self.source.revoke_unused().await,
        };
        if let (Some(names), Some(lease)) = (&names, lease) {
            self.shared().link.release(names.key, lease).await;
        }
        revoked
    }

    /// Ends the stored token and this one for all, before the issuer is asked. Returns the stored one.
    async fn end_stored(&self, names: &Names, lease: Lease, token: Option<&AccessToken>) -> Option<AccessToken> {
        let (shared, now) = (self.shared(), self.shared().now());
        let mut record = self.load(names).await.ok()?.1.unwrap_or_default();
        if record.refresh.as_ref().is_some_and(|refresh| refresh.token.is_some()) {
            // It is the newest one, which the source revokes.
            self.continue_with_stored(record.refresh.as_ref(), names).await;
        }
        if let Some(refresh) = &mut record.refresh {
            refresh.token = None;
        }
        let slot = record.slot_mut(&names.slot);
        let stored = slot.token.as_ref().and_then(|stored| stored.token(now));
        for ended in stored.iter().chain(token) {
            let hash = self.token_hash(ended);
            slot.end(&hash, now);
            self.memory().note_rejected(&hash);
        }
        record.fence = lease.fence;
        let keep = record.keep(now);
        if let Ok(sealed) = names.seal(shared, &record) {
            let _ = shared.link.commit(names.key, lease, sealed, keep).await;
        }
        stored
    }

    /// Tells the others in the background that a token ended. While another process requests a token, its lease is in the way.
    pub(super) fn end_later(self: &Arc<Self>, names: Arc<Names>, ended: Hash) {
        let Ok(runtime) = runtime::current() else { return };
        let sharing = Arc::clone(self);
        runtime.spawn(async move {
            let (shared, owner, began) = (sharing.shared(), LeaseOwner(fastrand::u128(..)), Instant::now());
            while began.elapsed() < ENDS_LATER_FOR {
                let Ok((loaded, record)) = sharing.load(&names).await else { return };
                // Another process may have told them, or the issuer has returned the token again.
                let slot = record.as_ref().and_then(|record| record.slot(&names.slot));
                if slot.is_some_and(|slot| slot.is_ended(&ended)) || !sharing.memory().rejected.contains(&ended) {
                    return;
                }
                if loaded.leased_for.is_none() {
                    match shared.link.lease(names.key, owner, shared.lease, Urgency::Usual).await {
                        Ok(LeaseAnswer::Given(lease)) => return sharing.end_now(&names, lease, &ended).await,
                        Ok(LeaseAnswer::Held(_)) => {}
                        Err(_) => return,
                    }
                }
                sleep(POLL).await;
            }
        });
    }

    async fn end_now(&self, names: &Names, lease: Lease, ended: &Hash) {
        let shared = self.shared();
        if let Ok((_, record)) = self.load(names).await {
            // It keeps the fence of the last outcome: a process that lost its lease can still commit a newer one.
            let mut record = record.unwrap_or_default();
            if record.slot_mut(&names.slot).end(ended, shared.now()) {
                self.commit(names, lease, &record).await;
            }
        }
        shared.link.release(names.key, lease).await;
    }

    async fn lease_to_revoke(&self, names: &Names) -> Option<Lease> {
        let (shared, owner, began) = (self.shared(), LeaseOwner(fastrand::u128(..)), Instant::now());
        while began.elapsed() < WAIT {
            match shared.link.lease(names.key, owner, shared.lease, Urgency::Usual).await.ok()? {
                LeaseAnswer::Given(lease) => return Some(lease),
                LeaseAnswer::Held(_) => sleep(POLL).await,
            }
        }
        None
    }
}
