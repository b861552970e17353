//! Looks after records, so that what one process rejected or revoked is not used by another for longer than a second.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use crate::{
    runtime,
    store::{
        news::{News, NewsReceiver},
        store_key::StoreKey,
    },
};

/// How often a record is read without news of it. With the deadline of a reading, this is less than a second.
const INTERVAL: Duration = Duration::from_millis(700);

/// The shortest time between two rounds over all records, however often news is lost.
const SHORTEST: Duration = Duration::from_millis(100);

/// How many records are read at once.
const AT_ONCE: usize = 32;

/// A record that is looked after while something of this lives.
pub(super) trait Watched: Send + Sync {
    /// Returns the name of its record, if it is known.
    fn key(&self) -> Option<StoreKey>;
    /// Reads the record, and does what follows from it.
    fn check(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// All records that are looked after, and the task that does it.
#[derive(Default)]
pub(super) struct Watch {
    watched: Mutex<Vec<Weak<dyn Watched>>>,
    task: Mutex<Option<AbortHandle>>,
}

impl Watch {
    pub(super) fn add(&self, watched: Weak<dyn Watched>) {
        let mut all = lock(&self.watched);
        if all.len() == all.capacity() {
            all.retain(|watched| watched.strong_count() > 0);
        }
        all.push(watched);
    }

    /// Starts the task in the runtime that is running, unless it runs. It ends when this is dropped.
    pub(super) fn start(self: &Arc<Self>, news: impl FnOnce() -> NewsReceiver) {
        let mut task = lock(&self.task);
        let is_running = task.as_ref().is_some_and(|task| !task.is_finished());
        if !is_running && let Ok(runtime) = runtime::current() {
            *task = Some(runtime.spawn(run(Arc::downgrade(self), news())).abort_handle());
        }
    }

    fn all(&self) -> Vec<Arc<dyn Watched>> {
        lock(&self.watched).iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

async fn run(watch: Weak<Watch>, mut news: NewsReceiver) {
    let (mut last, mut next) = (None::<Instant>, Instant::now() + INTERVAL);
    loop {
        // Many news must not keep it from the round.
        let is_due = Instant::now() >= next;
        let of = match if is_due { None } else { timeout_at(next, news.next()).await.ok() } {
            Some(News::Changed(key)) => Some(key),
            Some(News::Missed) => match last.map(|last| last + SHORTEST) {
                Some(soonest) if Instant::now() < soonest => {
                    next = next.min(soonest);
                    continue;
                }
                _ => None,
            },
            None => None,
        };
        let Some(all) = watch.upgrade().map(|watch| watch.all()) else { return };
        if of.is_none() {
            let now = Instant::now();
            (last, next) = (Some(now), now + INTERVAL);
        }
        let due = all.into_iter().filter(|watched| of.is_none() || watched.key() == of);
        stream::iter(due).for_each_concurrent(AT_ONCE, |watched| async move { watched.check().await }).await;
    }
}

/// Locks one of the two. Nothing of a user's runs or is dropped under it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use tokio::time::sleep;

    use super::*;
    use crate::store::news::NewsChannel;

    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Watched for Counting {
        fn key(&self) -> Option<StoreKey> {
            Some(StoreKey::new([7; 32]))
        }

        fn check(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            self.0.fetch_add(1, Relaxed);
            Box::pin(async {})
        }
    }

    fn watching() -> (Arc<Watch>, Arc<Counting>) {
        let (watch, counting) = (Arc::<Watch>::default(), Arc::<Counting>::default());
        let watched: Arc<dyn Watched> = Arc::<Counting>::clone(&counting);
        watch.add(Arc::downgrade(&watched));
        (watch, counting)
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_is_looked_at_in_each_interval_however_often_it_was_started() {
        let (watch, counting) = watching();
        for _ in 0..3 {
            watch.start(NewsReceiver::none);
        }
        sleep(INTERVAL - Duration::from_millis(1)).await;
        assert_eq!(counting.0.load(Relaxed), 0);
        sleep(10 * INTERVAL).await;
        assert_eq!(counting.0.load(Relaxed), 10);
        drop(watch);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_always_misses_news_is_asked_ten_times_a_second() {
        let (watch, counting, news) = (watching().0, Arc::<Counting>::default(), NewsChannel::new());
        let watched: Arc<dyn Watched> = Arc::<Counting>::clone(&counting);
        watch.add(Arc::downgrade(&watched));
        watch.start(|| news.receiver());
        for _ in 0..1000 {
            news.missed();
            sleep(Duration::from_millis(1)).await;
        }
        assert!((9..=11).contains(&counting.0.load(Relaxed)), "{:?}", counting.0);
    }

    #[test]
    fn those_that_are_gone_are_removed_and_the_others_are_kept() {
        let (watch, counting) = watching();
        for _ in 0..1000 {
            let gone: Arc<dyn Watched> = Arc::<Counting>::default();
            watch.add(Arc::downgrade(&gone));
        }
        assert_eq!(watch.all().len(), 1);
        assert!(lock(&watch.watched).len() <= 16, "{}", lock(&watch.watched).len());
        drop(counting);
    }
}
