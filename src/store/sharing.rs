//! How a process gets a token that others may have: read, or get the lease, or wait for the one who has it.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::RwLock,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    error::Error,
    events, runtime,
    secret_string::SecretString,
    source::{BoxTokenSource, CacheHandle, Reason, SourceIdentity, TokenSource},
    store::{
        fields::{Hash, Millis, millis},
        link::{Unavailable, Urgency},
        names::{Names, refresh_token_hash},
        news::{News, NewsReceiver},
        record::{Record, SharedRefresh},
        shared_store::{Shared, SharedStore},
        shared_token::{SharedToken, issued},
        store_key::StoreKey,
        token_store::{LeaseAnswer, LeaseOwner, Loaded},
        watch::Watched,
    },
    token::AccessToken,
};

/// How many rejected tokens a process remembers, in case that the store does not.
const MAX_REJECTED: usize = 16;

/// A token that was issued so long before another one was rejected may have ended together with it.
const SAME_EVENT: Duration = Duration::from_secs(1);

/// The shortest and the longest wait between two readings while another process has the lease.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// A source whose tokens are shared.
pub(super) struct Sharing {
    pub(super) source: BoxTokenSource,
    pub(super) store: SharedStore,
    pub(super) name: Option<Box<str>>,
    /// What a source without an identity was narrowed to.
    pub(super) narrowing: SourceIdentity,
    /// Read during a token request, so that the source's refresh token is not replaced by an older one meanwhile. Narrowed sources
    /// share it, as they may share a refresh token.
    pub(super) requesting: Arc<RwLock<()>>,
    caches: Mutex<Vec<CacheHandle>>,
    memory: Mutex<Memory>,
}

/// What a process remembers of a source.
#[derive(Default)]
pub(super) struct Memory {
    /// The names, with the version of the credentials that they were made with.
    names: Option<(u64, Arc<Names>)>,
    /// Whether the cache was reset since the last request for a token.
    pub(super) was_reset: bool,
    /// A hash of the record and of the tokens that were compared last.
    checked: Option<u64>,
    /// The token that the source's cache has, and when it was issued.
    pub(super) given: Option<(Hash, Millis)>,
    /// The last tokens that were rejected.
    pub(super) rejected: Vec<Hash>,
    /// The hash of the refresh token of the source, if others have it too.
    pub(super) shared_refresh: Option<Hash>,
    /// The hash of the stored refresh token from which the source's own one came that could not be stored.
    pub(super) outdated_refresh: Option<Hash>,
}

/// What a request wants.
pub(super) struct Wanted {
    pub(super) why: Reason,
    pub(super) names: Arc<Names>,
    pub(super) rejected: Option<Hash>,
    began: Millis,
    /// A stored token that may have ended together with the rejected one. It is used only if no other one can be had.
    pub(super) doubtful: Option<SharedToken>,
    /// The fence of the failure that the last reading found, or 0. `None` before the first reading.
    known_failure: Option<u64>,
    waited: bool,
    /// Whether earlier failures do not count.
    was_reset: bool,
    /// Whether the record says that the rejected token ended.
    pub(super) is_told: bool,
}

/// What a record says to a request.
pub(super) enum Said {
    /// Another process has done it: here is the token or the failure.
    Done(Result<AccessToken, Error>),
    /// Nothing that can be used.
    Nothing,
}

/// What came of a token request under a lease.
pub(super) enum Outcome {
    Done(Result<AccessToken, Error>),
    /// The lease was lost: read again.
    Again,
}

impl Sharing {
    pub(super) fn new(source: BoxTokenSource, store: SharedStore) -> Self {
        Self {
            source,
            store,
            name: None,
            narrowing: SourceIdentity::new(),
            requesting: Arc::default(),
            caches: Mutex::default(),
            memory: Mutex::default(),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.store.shared()
    }

    /// Gets a token: the one that is stored or, with a lease, one from the source.
    pub(super) async fn obtain(self: &Arc<Self>, why: Reason) -> Result<AccessToken, Error> {
        runtime::current()?;
        let shared = self.shared();
        let names = self.names().await?;
        shared.watch.start(|| shared.link.news());
        let rejected = match &why {
            Reason::Rejected { token } => Some(self.token_hash(token)),
            _ => None,
        };
        if let Some(rejected) = &rejected {
            self.memory().note_rejected(rejected);
        }
        let was_reset = mem::take(&mut self.memory().was_reset);
        let began = shared.now();
        let mut wanted = Wanted {
            why,
            names,
            rejected,
            began,
            doubtful: None,
            known_failure: None,
            waited: false,
            was_reset,
            is_told: false,
        };
        let obtained = self.obtain_wanted(&mut wanted).await;
        if let (Some(rejected), false) = (&wanted.rejected, wanted.is_told) {
            self.end_later(Arc::clone(&wanted.names), rejected.clone());
        }
        // It is better than none.
        obtained.or_else(|error| self.doubtful(&wanted).ok_or(error))
    }

    async fn obtain_wanted(self: &Arc<Self>, wanted: &mut Wanted) -> Result<AccessToken, Error> {
        let shared = self.shared();
        let owner = LeaseOwner(fastrand::u128(..));
        let ends = Instant::now() + shared.wait;
        let (mut news, mut has_lost) = (None, false);
        loop {
            let Ok(loaded) = self.load(&wanted.names).await else { return self.alone(wanted).await };
            if let Said::Done(done) = self.ask_record(loaded.1.as_ref(), wanted).await {
                return done;
            }
            if loaded.0.leased_for.is_none() {
                let asked = Instant::now();
                match shared.link.lease(wanted.names.key, owner, shared.lease, Urgency::Usual).await {
                    Err(Unavailable) => return self.alone(wanted).await,
                    Ok(LeaseAnswer::Given(lease)) => {
                        if wanted.waited {
                            shared.link.counters.takeovers.add();
                        }
                        match self.exchange(lease, asked, wanted).await {
                            Outcome::Done(done) => return done,
                            // A store that never commits is of no use.
                            Outcome::Again if has_lost => return self.alone(wanted).await,
                            Outcome::Again => has_lost = true,
                        }
                    }
                    Ok(LeaseAnswer::Held(_)) => {}
                }
            }
            match &mut news {
                // First the news, then another reading, so that nothing is missed between them.
                None => {
                    shared.link.counters.waits.add();
                    news = Some(shared.link.news());
                    wanted.waited = true;
                }
                Some(news) if Instant::now() < ends => wait(news, wanted.names.key, ends).await,
                Some(_) => {
                    return Err(Error::unreadable(
                        "another process has requested a token for longer than this one waits; check that the issuer is not slow, or \
                         raise the `wait` of the `SharedStore` and the deadline of the cache"
                            .into(),
                    ));
                }
            }
        }
    }

    /// Gets a token without the store.
    pub(super) async fn alone(&self, wanted: &Wanted) -> Result<AccessToken, Error> {
        if wanted.names.given.is_some() {
            // Another process may use the same refresh token now, and to the issuer the second use looks like theft.
            return Err(Error::unreadable(
                "the token store does not answer, and without it a shared refresh token must not be used; check the store".into(),
            ));
        }
        self.shared().link.counters.alone.add();
        let is_shared = {
            let current = self.source.refresh_token().map(|token| refresh_token_hash(self.shared(), &token));
            let memory = self.memory();
            current.is_some() && current == memory.shared_refresh
        };
        if is_shared {
            // The grant itself is used instead.
            self.source.continue_with(None).await;
        }
        let token = self.source.obtain(wanted.why.clone()).await?;
        self.note_issued(&token);
        Ok(token)
    }

    /// Notes a token that the source brought. If the issuer returned a rejected token again, nothing else can be had.
    pub(super) fn note_issued(&self, token: &AccessToken) {
        let (hash, issued) = (self.token_hash(token), issued(token, self.shared().now()));
        let mut memory = self.memory();
        memory.rejected.retain(|rejected| *rejected != hash);
        memory.given = Some((hash, issued));
    }

    /// Reads the record.
    pub(super) async fn load(&self, names: &Names) -> Result<(Loaded, Option<Record>), Unavailable> {
        let shared = self.shared();
        let loaded = shared.link.load(names.key).await?;
        let record = loaded.record.as_ref().and_then(|sealed| {
            let opened = names.open(shared, sealed);
            if opened.is_none() {
                shared.link.counters.unreadable.add();
            }
            opened
        });
        Ok((loaded, record))
    }

    /// Looks in a record for what a request wants.
    pub(super) async fn ask_record(&self, record: Option<&Record>, wanted: &mut Wanted) -> Said {
        let counters = &self.shared().link.counters;
        let slot = record.and_then(|record| record.slot(&wanted.names.slot));
        let Some((record, slot)) = record.zip(slot) else {
            wanted.known_failure.get_or_insert(0);
            counters.absent.add();
            return Said::Nothing;
        };
        wanted.is_told |= wanted.rejected.as_ref().is_some_and(|rejected| slot.is_ended(rejected));
        let now = self.shared().now();
        if let Some(token) = self.usable(record, slot.token.as_ref().map(|token| token.is_over(now)), wanted, now) {
            self.take_refresh_token(record.refresh.as_ref(), wanted).await;
            counters.hits.add();
            return Said::Done(Ok(token));
        }
        let failure = slot.failure(&wanted.names.tag);
        let fence = failure.map_or(0, |failure| failure.fence);
        let is_new = wanted.known_failure.replace(fence).is_some_and(|known| known != fence);
        let error = failure.and_then(|failure| {
            let awaited = if is_new { failure.error(&wanted.names.tag) } else { None };
            awaited.or_else(|| failure.holds_back(&wanted.names.tag, now).filter(|_| !wanted.was_reset))
        });
        match error {
            Some(error) => {
                counters.passed_on.add();
                Said::Done(Err(error))
            }
            None => Said::Nothing,
        }
    }

    /// Returns the stored token, if the request can use it.
    fn usable(&self, record: &Record, is_over: Option<bool>, wanted: &mut Wanted, now: Millis) -> Option<AccessToken> {
        let counters = &self.shared().link.counters;
        let slot = record.slot(&wanted.names.slot)?;
        let (Some(stored), Some(false)) = (&slot.token, is_over) else {
            counters.expired.add();
            return None;
        };
        let mut memory = self.memory();
        let is_rejected = wanted.rejected.as_ref() == Some(&stored.hash)
            || slot.is_ended(&stored.hash)
            || memory.rejected.contains(&stored.hash);
        if is_rejected {
            // A recorder of metrics is user code.
            drop(memory);
            counters.rejected.add();
            return None;
        }
        // Another process may have got an older one than this process got alone.
        let is_older = |(hash, issued): &(Hash, Millis)| *hash == stored.hash || *issued > stored.issued;
        if matches!(wanted.why, Reason::Ageing) && memory.given.as_ref().is_some_and(is_older) {
            drop(memory);
            counters.unchanged.add();
            return None;
        }
        // Nobody asked for this one because the other was rejected. What ended the other one, such as the end of a session, may have
        // ended this one too, and the request is sent again only once.
        let is_doubtful = wanted.rejected.as_ref().is_some_and(|rejected| !slot.is_ended(rejected))
            && stored.issued.saturating_add(millis(SAME_EVENT)) < wanted.began;
        if is_doubtful {
            counters.rejected.add();
            wanted.doubtful = Some(stored.clone());
            return None;
        }
        let token = stored.token(now)?;
        memory.given = Some((stored.hash.clone(), stored.issued));
        Some(token)
    }

    /// Returns the stored token that may have ended together with the rejected one.
    fn doubtful(&self, wanted: &Wanted) -> Option<AccessToken> {
        let stored = wanted.doubtful.as_ref()?;
        let token = stored.token(self.shared().now())?;
        self.memory().given = Some((stored.hash.clone(), stored.issued));
        Some(token)
    }

    /// Lets the source continue with the stored refresh token, unless a request of this process is using one now.
    async fn take_refresh_token(&self, stored: Option<&SharedRefresh>, wanted: &Wanted) {
        if let Ok(_nobody_requests) = Arc::clone(&self.requesting).try_write_owned() {
            self.continue_with_stored(stored, &wanted.names).await;
        }
    }

    /// Lets the source continue with the stored refresh token, unless its own one is newer.
    pub(super) async fn continue_with_stored(&self, stored: Option<&SharedRefresh>, names: &Names) {
        let Some(stored) = stored else { return };
        let hash = stored.token.as_ref().map(|token| refresh_token_hash(self.shared(), &token.0));
        let is_outdated = hash.is_some() && hash == self.memory().outdated_refresh;
        if names.differ_from(stored) || is_outdated {
            return;
        }
        let current = self.source.refresh_token();
        let stored = stored.token.as_ref().map(|token| token.0.clone());
        if current.as_ref().map(SecretString::expose) != stored.as_ref().map(SecretString::expose) {
            self.source.continue_with(stored).await;
        }
        let mut memory = self.memory();
        memory.shared_refresh = hash;
        memory.outdated_refresh = None;
    }

    /// Returns the names of what is stored, which change with the credentials.
    pub(super) async fn names(&self) -> Result<Arc<Names>, Error> {
        let version = self.source.credentials_version();
        if let Some((of, names)) = &self.memory().names
            && *of == version
        {
            return Ok(Arc::clone(names));
        }
        let identity = self.source.identity().await?;
        let names = Arc::new(Names::new(self.shared(), self.name.as_deref(), identity, &self.narrowing)?);
        self.memory().names = Some((version, Arc::clone(&names)));
        Ok(names)
    }

    pub(super) fn token_hash(&self, token: &AccessToken) -> Hash {
        self.shared().short_hash("token", token.secret().as_bytes())
    }

    /// Takes the handle of a cache that keeps these tokens.
    pub(super) fn attach(self: &Arc<Self>, cache: CacheHandle) {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        if caches.is_empty() {
            let watched: Arc<dyn Watched> = Arc::<Self>::clone(self);
            self.shared().watch.add(Arc::downgrade(&watched));
        }
        caches.retain(|cache| !cache.is_gone());
        caches.push(cache);
    }

    /// Withdraws from the caches what another process rejected or revoked.
    async fn withdraw_ended(&self) {
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let served: Vec<_> = caches.iter().filter_map(|cache| Some((cache, cache.served()?))).collect();
        let names = self.memory().names.as_ref().map(|(_, names)| Arc::clone(names));
        let (Some(names), false) = (names, served.is_empty()) else { return };
        let Ok(loaded) = self.shared().link.load(names.key).await else { return };
        let Some(sealed) = loaded.record else { return };
        // Most records are the same as before, and need not be opened.
        let mut hash = DefaultHasher::new();
        sealed.hash(&mut hash);
        for (_, token) in &served {
            token.secret().hash(&mut hash);
        }
        if self.memory().checked.replace(hash.finish()) == Some(hash.finish()) {
            return;
        }
        let Some(record) = names.open(self.shared(), &sealed) else { return };
        let Some(slot) = record.slot(&names.slot) else { return };
        for (cache, token) in served {
            if slot.is_ended(&self.token_hash(&token)) && cache.withdraw(&token) {
                self.shared().link.counters.withdrawn.add();
                events::token_withdrawn(self.shared().link.name());
            }
        }
    }

    /// Locks the memory. Nothing of a user's runs or is dropped under this lock.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    pub(super) fn note_rejected(&mut self, hash: &Hash) {
        if !self.rejected.contains(hash) {
            self.rejected.push(hash.clone());
            let extra = self.rejected.len().saturating_sub(MAX_REJECTED);
            self.rejected.drain(..extra);
        }
    }
}

impl Watched for Sharing {
    fn key(&self) -> Option<StoreKey> {
        self.memory().names.as_ref().map(|(_, names)| names.key)
    }

    fn check(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.withdraw_ended())
    }
}

/// Waits for news of this key, for some random time, or until the end.
async fn wait(news: &mut NewsReceiver, key: StoreKey, ends: Instant) {
    let longest = LONGEST_WAIT.saturating_sub(SHORTEST_WAIT).mul_f64(fastrand::f64()) + SHORTEST_WAIT;
    let until = ends.min(Instant::now() + longest);
    loop {
        match timeout_at(until, news.next()).await {
            Ok(News::Changed(changed)) if changed != key => {}
            Ok(News::Changed(_)) | Err(_) => return,
            // A store that only says this must not be asked all the time.
            Ok(News::Missed) => return sleep_until(until).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::news::NewsChannel;

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_goes_on_at_news_of_its_own_key_alone() {
        let (channel, key, began) = (NewsChannel::new(), StoreKey::new([1; 32]), Instant::now());
        let mut news = channel.receiver();
        channel.changed(key);
        wait(&mut news, key, began + SAME_EVENT).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        channel.changed(StoreKey::new([2; 32]));
        wait(&mut news, key, began + SAME_EVENT).await;
        assert!((SHORTEST_WAIT..=LONGEST_WAIT).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
