//! One exchange at a time. An exchange that no runtime runs any more loses its turn.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep, sleep_until},
};

/// How often an exchange shows that it runs.
const BEAT: Duration = Duration::from_millis(250);

/// How long an exchange may be without a beat. It is many beats, because a second use of a refresh token looks like theft.
const STALLED: Duration = Duration::from_secs(2);

/// How long a stalled exchange has to beat again when another one waits for it. A runtime that did not run for some
/// time may run both of them now.
const GRACE: Duration = Duration::from_millis(100);

/// Gives turns to the exchanges of one refresh token.
///
/// To a server that rotates refresh tokens, two simultaneous uses of one look like theft. So an exchange has the turn
/// until it ends or is dropped. But its runtime may never run again, as after a `block_on` that has returned. While an
/// exchange runs, it notes the time at each beat. Without a beat for [`STALLED`], the exchange that waits replaces
/// the lock. An exchange that lost its turn finds that out by comparing the locks.
pub(crate) struct Turns(Mutex<CurrentTurn>);

struct CurrentTurn {
    lock: Lock,
    last_beat: Instant,
}

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The turn of one exchange. It ends when this is dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    held: OwnedMutexGuard<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Mutex::new(CurrentTurn { lock: Lock::default(), last_beat: Instant::now() }))
    }
}

impl Turns {
    /// Waits for the turn.
    pub(crate) async fn take(&self) -> Turn<'_> {
        loop {
            let lock = Arc::clone(&self.current().lock);
            let free = pin!(Arc::clone(&lock).lock_owned());
            let lost = pin!(self.until_lost(&lock));
            if let Either::Left((held, _)) = select(free, lost).await {
                let turn = Turn { turns: self, held };
                if turn.beat() {
                    return turn;
                }
            }
        }
    }

    /// Waits until this lock is replaced, and replaces it if its exchange has stalled.
    async fn until_lost(&self, lock: &Lock) {
        loop {
            let Some(last_beat) = self.last_beat(lock) else { return };
            sleep_until(last_beat + STALLED).await;
            sleep(GRACE).await;
            let mut current = self.current();
            if Arc::ptr_eq(&current.lock, lock) && current.last_beat == last_beat {
                *current = CurrentTurn { lock: Lock::default(), last_beat: Instant::now() };
            }
        }
    }

    /// Returns when the exchange with this lock last beat, or `None` if the lock was replaced.
    fn last_beat(&self, lock: &Lock) -> Option<Instant> {
        let current = self.current();
        Arc::ptr_eq(&current.lock, lock).then_some(current.last_beat)
    }

    /// Locks the turn. Under this lock no exchange is polled and none is woken: that is user code.
    fn current(&self) -> MutexGuard<'_, CurrentTurn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Runs an exchange, and notes that it runs.
    pub(crate) async fn drive<F: Future>(&self, exchange: F) -> F::Output {
        match select(pin!(exchange), pin!(self.keep_beating())).await {
            Either::Left((output, _)) => output,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Returns whether the turn was not lost.
    pub(crate) fn is_held(&self) -> bool {
        self.turns.last_beat(OwnedMutexGuard::mutex(&self.held)).is_some()
    }

    async fn keep_beating(&self) -> Infallible {
        loop {
            sleep(BEAT).await;
            self.beat();
        }
    }

    /// Notes that this exchange runs. Returns whether the turn was not lost.
    fn beat(&self) -> bool {
        let mut current = self.turns.current();
        let is_held = Arc::ptr_eq(&current.lock, OwnedMutexGuard::mutex(&self.held));
        if is_held {
            current.last_beat = Instant::now();
        }
        is_held
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_driven_exchange_keeps_its_turn_however_long_it_takes() {
        let turns = Turns::default();
        let turn = turns.take().await;
        let exchange = Box::pin(turn.drive(sleep(Duration::from_secs(60))));
        let next = pin!(turns.take());
        let Either::Left(((), next)) = select(exchange, next).await else { panic!("the turn was lost") };
        assert!(turn.is_held());
        drop(turn);
        assert!(next.await.is_held());
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_that_nobody_drives_loses_its_turn() {
        let turns = Turns::default();
        let stalled = turns.take().await;
        let started = Instant::now();
        let (first, second) = (pin!(turns.take()), pin!(turns.take()));
        let Either::Left((first, second)) = select(first, second).await else { panic!("the first one is first") };
        assert_eq!(started.elapsed().as_millis(), (STALLED + GRACE).as_millis());
        assert!(first.is_held() && !stalled.is_held() && !stalled.beat());
        drop(stalled);
        let mut second = second;
        assert!(second.as_mut().now_or_never().is_none(), "the old lock is not the turn");
        drop(first);
        assert!(second.await.is_held());
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_that_is_driven_again_in_time_keeps_its_turn() {
        let turns = Turns::default();
        let turn = turns.take().await;
        advance(Duration::from_secs(3600)).await;
        let mut next = pin!(turns.take());
        assert!(next.as_mut().now_or_never().is_none());
        let exchange = pin!(turn.drive(sleep(GRACE / 2)));
        assert!(matches!(select(exchange, &mut next).await, Either::Left(_)));
        assert!(turn.is_held());
    }
}
