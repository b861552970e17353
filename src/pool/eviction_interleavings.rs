//! What may take an identity out of its pool during its renewal, each in thousands of interleavings.

use std::sync::Arc;

use futures_util::FutureExt;
use shuttle::future::block_on;

use crate::{
    cache::{Issuer, Source, TokenCache, at_once, explore},
    pool::token_pool::TokenPool,
};

/// How many schedules each test tries, of each of two kinds.
const SCHEDULES: usize = 1_500;

/// A pool with room for two identities, and the issuer that each has of its own. Three of them must stay while they are renewed:
/// only with more than twice the bound, the oldest leaves in any case.
#[derive(Clone)]
struct Subject {
    pool: TokenPool<usize>,
    issuers: Arc<[Arc<Issuer>; 3]>,
}

impl Subject {
    fn new() -> Self {
        let issuers = Arc::<[Arc<Issuer>; 3]>::default();
        let sources = Arc::clone(&issuers);
        let make =
            move |identity: &usize| Ok(TokenCache::builder(Source(Arc::clone(&sources[*identity]))).renewal_retries(0));
        Self { pool: TokenPool::builder(make).max_identities(2).max_renewals(2).build(), issuers }
    }

    fn gets_token(&self, identity: usize) {
        block_on(self.pool.cache(&identity).unwrap().token()).unwrap();
    }

    /// Begins a renewal, and keeps nothing of its cache.
    fn begins_renewal(&self, identity: usize) {
        drop(self.pool.cache(&identity).unwrap().token().now_or_never());
    }
}

#[test]
fn an_identity_is_not_evicted_during_its_renewal() {
    explore(SCHEDULES, || {
        let subject = Subject::new();
        let acts: [fn(&Subject); 4] = [
            |subject| subject.begins_renewal(0),
            |subject| subject.gets_token(0),
            |subject| subject.gets_token(1),
            |subject| subject.gets_token(2),
        ];
        at_once(&subject, &acts);
        for (identity, issuer) in subject.issuers.iter().enumerate() {
            assert!(!issuer.has_overlapped(), "{identity} was evicted during its renewal");
        }
    });
}

#[test]
fn those_who_wait_for_the_renewal_of_a_forgotten_identity_get_its_token() {
    explore(SCHEDULES, || {
        let subject = Subject::new();
        let acts: [fn(&Subject); 4] = [
            |subject| subject.gets_token(0),
            |subject| subject.gets_token(0),
            |subject| _ = subject.pool.forget(&0),
            |subject| subject.gets_token(1),
        ];
        at_once(&subject, &acts);
        assert!((1..=2).contains(&subject.issuers[0].begun()), "one for each time that it was made");
    });
}
