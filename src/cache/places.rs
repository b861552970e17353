//! The places of renewals in progress: how many run at once over a whole pool, and who is next.
//!
//! Renewals that somebody waits for come before those in the background, and each kind comes in its order. The rest of the
//! crate is not known here, so this is tested alone.
//!
//! # Why no place is lost
//!
//! A place is lent to a number, and each number has one [`Place`], which gives it back when it is dropped: during the wait, at
//! the end of the renewal, or with its runtime. Giving back does nothing if the number has no place. Who gives a place back
//! calls the next one. If that one has gone meanwhile, the call fails, and the caller takes the next.
//!
//! A runtime may stop without being dropped, as after a `block_on` that has returned. Then nothing gives the place back. So
//! whoever waits or has a place shows that it is driven, more often than every [`STALLED`]. One that waits and has not is not called. A
//! place whose holder has not is taken back by those who wait.
//!
//! # Why no user code runs under the lock
//!
//! Nothing is woken and no channel is dropped under the lock, because wakers are user code.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    sync::{Mutex, MutexGuard},
    timer::sleep,
};

/// How often the holder of a place shows that it is driven.
const BEAT: Duration = Duration::from_millis(250);

/// How often one that waits shows that it is driven, and looks whether those that have a place are.
const LOOK: Duration = Duration::from_secs(1);

/// How long one may be without a sign.
const STALLED: Duration = Duration::from_secs(2);

/// How long a stalled holder has to give a sign after somebody noticed. A runtime that did not run for some time may run both
/// of them now.
const GRACE: Duration = Duration::from_millis(100);

/// A bounded number of places, and those who wait for one.
pub(crate) struct Places {
    locked: Mutex<Queue>,
    began: Instant,
}

struct Queue {
    max: usize,
    lent: Vec<Lent>,
    foreground: VecDeque<Ticket>,
    background: VecDeque<Ticket>,
    last_number: u64,
}

struct Lent {
    number: u64,
    sign: Sign,
}

struct Ticket {
    number: u64,
    sign: Sign,
    call: oneshot::Sender<()>,
}

/// When one was driven last, in milliseconds since the queue began.
type Sign = Arc<AtomicU64>;

/// A place, or the wait for one. It is given back when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    sign: Sign,
    /// What calls the one that waits. `None` once it was called.
    called: Option<oneshot::Receiver<()>>,
    is_foreground: bool,
    /// When it looks next whether others are driven.
    next_look: Instant,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        let queue = Queue {
            max: max.max(1),
            lent: Vec::new(),
            foreground: VecDeque::new(),
            background: VecDeque::new(),
            last_number: 0,
        };
        Self { locked: Mutex::new(queue), began: Instant::now() }
    }

    /// Lines up for a place. [`Place::wait`] waits for it.
    pub(crate) fn line_up(self: &Arc<Self>, is_foreground: bool) -> Place {
        let sign = Arc::new(AtomicU64::new(self.millis()));
        let (number, called) = self.add_ticket(&sign, is_foreground);
        let next_look = Instant::now() + LOOK;
        Place { places: Arc::clone(self), number, sign, called: Some(called), is_foreground, next_look }
    }

    fn add_ticket(&self, sign: &Sign, is_foreground: bool) -> (u64, oneshot::Receiver<()>) {
        let (call, called) = oneshot::channel();
        let mut queue = self.queue();
        queue.last_number += 1;
        let number = queue.last_number;
        let ticket = Ticket { number, sign: Arc::clone(sign), call };
        if is_foreground { &mut queue.foreground } else { &mut queue.background }.push_back(ticket);
        drop(queue);
        self.call();
        (number, called)
    }

    /// Calls those who are next, as long as there are places.
    fn call(&self) {
        loop {
            let now = self.millis();
            let mut queue = self.queue();
            if queue.lent.len() >= queue.max {
                return;
            }
            let next = queue.foreground.pop_front();
            let Some(Ticket { number, sign, call }) = next.or_else(|| queue.background.pop_front()) else { return };
            let is_driven = now.saturating_sub(sign.load(Relaxed)) <= millis(STALLED);
            if is_driven {
                sign.store(now, Relaxed);
                queue.lent.push(Lent { number, sign });
            }
            drop(queue);
            // One that is not driven finds that nobody can call it any more, and lines up again.
            if is_driven && call.send(()).is_err() {
                self.remove(number);
            }
        }
    }

    fn give_back(&self, number: u64) {
        self.remove(number);
        self.call();
    }

    /// Takes the place of this number back, if it has one.
    fn remove(&self, number: u64) {
        let mut queue = self.queue();
        let found = queue.lent.iter().position(|lent| lent.number == number);
        let removed = found.map(|at| queue.lent.swap_remove(at));
        drop((queue, removed));
    }

    /// Returns whose signs are too old, with those signs.
    fn stalled(&self) -> Vec<(u64, u64)> {
        let now = self.millis();
        let is_stalled = |sign: u64| now.saturating_sub(sign) >= millis(STALLED);
        let queue = self.queue();
        let signs = queue.lent.iter().map(|lent| (lent.number, lent.sign.load(Relaxed)));
        signs.filter(|(_, sign)| is_stalled(*sign)).collect()
    }

    /// Takes the places back whose holders have given no sign since.
    fn take_back(&self, stalled: &[(u64, u64)]) {
        let mut queue = self.queue();
        queue.lent.retain(|lent| !stalled.contains(&(lent.number, lent.sign.load(Relaxed))));
        drop(queue);
        self.call();
    }

    fn is_lent(&self, number: u64) -> bool {
        self.queue().lent.iter().any(|lent| lent.number == number)
    }

    fn millis(&self) -> u64 {
        millis(Instant::now().saturating_duration_since(self.began))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits for the place, and returns whether it is there. Otherwise some time has passed: wait again.
    ///
    /// # Cancel safety
    /// The wait goes on, at the same position, when this is called again.
    pub(crate) async fn wait(&mut self) -> bool {
        self.give_sign();
        let Some(called) = &mut self.called else { return true };
        let until_look = self.next_look.saturating_duration_since(Instant::now());
        let is_called = match select(called, pin!(sleep(until_look))).await {
            Either::Left((called, _)) => Some(called.is_ok()),
            Either::Right(_) => None,
        };
        match is_called {
            // It may have been taken back before this task was driven again.
            Some(true) if self.places.is_lent(self.number) => {
                self.called = None;
                return true;
            }
            Some(_) => self.line_up_again(),
            None => {
                self.next_look = Instant::now() + LOOK;
                let stalled = self.places.stalled();
                if !stalled.is_empty() {
                    sleep(GRACE).await;
                    self.places.take_back(&stalled);
                }
            }
        }
        false
    }

    /// Goes to the end of the foreground, because somebody waits for it now.
    pub(crate) fn move_up(&mut self) {
        let has_place = self.called.is_none() || self.places.is_lent(self.number);
        if !self.is_foreground && !has_place {
            self.is_foreground = true;
            self.line_up_again();
        }
    }

    /// Runs what has the place, and shows that it is driven.
    pub(crate) async fn drive<F: Future>(&self, renewal: F) -> F::Output {
        match select(pin!(renewal), pin!(self.keep_giving_signs())).await {
            Either::Left((output, _)) => output,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Takes a new ticket. The old one has no effect: its call fails, and its place, if it just got one, is given back.
    fn line_up_again(&mut self) {
        let (number, called) = self.places.add_ticket(&self.sign, self.is_foreground);
        self.called = Some(called);
        self.places.give_back(std::mem::replace(&mut self.number, number));
    }

    async fn keep_giving_signs(&self) -> Infallible {
        loop {
            sleep(BEAT).await;
            self.give_sign();
        }
    }

    fn give_sign(&self) {
        self.sign.store(self.places.millis(), Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // First, so that nobody calls it any more.
        self.called = None;
        self.places.give_back(self.number);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    fn places(max: usize) -> Arc<Places> {
        Arc::new(Places::new(max))
    }

    fn has_place(place: &mut Place) -> bool {
        place.wait().now_or_never() == Some(true)
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_order_foreground_first() {
        let places = places(1);
        let mut first = places.line_up(false);
        assert!(has_place(&mut first));
        let (mut back_1, mut back_2) = (places.line_up(false), places.line_up(false));
        let (mut front_1, mut front_2) = (places.line_up(true), places.line_up(true));
        drop(first);
        for next in [&mut front_1, &mut front_2, &mut back_1, &mut back_2] {
            assert!(has_place(next));
            next.places.give_back(next.number);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_moves_up_is_the_last_of_the_foreground() {
        let places = places(1);
        let mut first = places.line_up(true);
        assert!(has_place(&mut first));
        let (mut back_1, mut back_2, mut front) = (places.line_up(false), places.line_up(false), places.line_up(true));
        back_2.move_up();
        drop(first);
        assert!(has_place(&mut front) && !has_place(&mut back_2));
        drop(front);
        assert!(has_place(&mut back_2) && !has_place(&mut back_1));
        drop(back_2);
        assert!(has_place(&mut back_1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_at_any_moment_keeps_no_place() {
        let places = places(2);
        let mut held: Vec<_> = (0..2).map(|_| places.line_up(true)).collect();
        assert!(held.iter_mut().all(has_place));
        let (leaves, called, moved, mut last) =
            (places.line_up(true), places.line_up(true), places.line_up(false), places.line_up(true));
        let mut moved = moved;
        moved.move_up();
        drop(leaves);
        held.clear();
        drop(called);
        drop(moved);
        assert!(has_place(&mut last));
        drop(last);
        assert!(places.queue().lent.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_whose_holder_is_not_driven_is_taken_back_and_a_driven_one_is_kept() {
        let places = places(2);
        let (mut driven, mut stalled) = (places.line_up(true), places.line_up(true));
        assert!(has_place(&mut driven) && has_place(&mut stalled));
        let began = Instant::now();
        let wait = async {
            let mut next = places.line_up(true);
            while !next.wait().await {}
            next
        };
        let Either::Right((next, _)) = select(pin!(driven.drive(sleep(STALLED * 10))), pin!(wait)).await else {
            panic!("nothing was taken back")
        };
        assert_eq!(began.elapsed().as_millis(), (STALLED + GRACE).as_millis());
        assert!(places.is_lent(driven.number) && places.is_lent(next.number) && !places.is_lent(stalled.number));
        drop(stalled);
        assert!(places.is_lent(driven.number) && places.is_lent(next.number));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_and_are_not_driven_are_not_called() {
        let places = places(1);
        let mut first = places.line_up(true);
        assert!(has_place(&mut first));
        let mut stopped: Vec<_> = (0..1000).map(|_| places.line_up(true)).collect();
        advance(STALLED * 3).await;
        let mut last = places.line_up(true);
        drop(first);
        assert!(has_place(&mut last));
        // One that is driven again lines up again.
        assert!(!has_place(&mut stopped[0]));
        drop(last);
        assert!(has_place(&mut stopped[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_taken_back_before_it_was_noticed_is_waited_for_again() {
        let places = places(1);
        let mut late = places.line_up(true);
        advance(STALLED * 2).await;
        places.take_back(&places.stalled());
        let mut next = places.line_up(true);
        assert!(has_place(&mut next) && !has_place(&mut late));
        drop(next);
        assert!(has_place(&mut late));
    }
}
