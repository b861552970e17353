//! The places of renewals in progress: how many run at once over a whole pool, and who is next.
//!
//! Renewals that somebody waits for come before those in the background, and each kind comes in its order. The renewals of one
//! issuer get at most [three quarters](Queue::limit) of the places while the issuer does not answer, or if there are several
//! issuers. So one that hangs does not hold up the others. The rest of the crate is not known here, so this is tested alone.
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
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
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
    /// When an issuer answered last, in milliseconds since the queue began.
    answered: AtomicU64,
}

struct Queue {
    max: usize,
    lent: Vec<Lent>,
    foreground: Line,
    background: Line,
    last_number: u64,
    /// The first issuer that lined up, and whether another one has.
    first: Option<IssuerId>,
    has_several: bool,
}

/// Those who wait, in the order of their numbers.
#[derive(Default)]
struct Line {
    /// The first of each issuer, by its number.
    heads: BTreeMap<u64, Option<IssuerId>>,
    tickets: HashMap<Option<IssuerId>, VecDeque<Ticket>>,
}

struct Lent {
    number: u64,
    sign: Sign,
    issuer: Option<IssuerId>,
}

struct Ticket {
    number: u64,
    sign: Sign,
    call: oneshot::Sender<()>,
    share: Option<Arc<Share>>,
}

/// What the renewals of one issuer have in common.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Whether the issuer answered last, and did not fail.
    answers: AtomicBool,
}

/// The address of a [`Share`], which is kept by those who line up.
type IssuerId = usize;

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
    share: Option<Arc<Share>>,
    /// When it looks next whether others are driven.
    next_look: Instant,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        let queue = Queue {
            max: max.max(1),
            lent: Vec::new(),
            foreground: Line::default(),
            background: Line::default(),
            last_number: 0,
            first: None,
            has_several: false,
        };
        Self { locked: Mutex::new(queue), began: Instant::now(), answered: AtomicU64::new(0) }
    }

    /// Lines up for a place for a renewal at an issuer, if that is known. [`Place::wait`] waits for it.
    pub(crate) fn line_up(self: &Arc<Self>, is_foreground: bool, share: Option<Arc<Share>>) -> Place {
        let sign = Arc::new(AtomicU64::new(self.millis()));
        let (number, called) = self.add_ticket(&sign, is_foreground, share.clone());
        let next_look = Instant::now() + LOOK;
        Place { places: Arc::clone(self), number, sign, called: Some(called), is_foreground, share, next_look }
    }

    /// Notes that an issuer answered, or failed as in an outage.
    pub(crate) fn note(&self, share: Option<&Share>, answers: bool) {
        if let Some(share) = share {
            share.answers.store(answers, Relaxed);
        }
        if answers {
            self.answered.store(self.millis(), Relaxed);
        }
    }

    /// Returns whether an issuer has answered since then.
    pub(crate) fn has_moved_since(&self, then: Instant) -> bool {
        let answered = self.answered.load(Relaxed);
        answered > 0 && answered >= millis(then.saturating_duration_since(self.began))
    }

    fn add_ticket(&self, sign: &Sign, is_foreground: bool, share: Option<Arc<Share>>) -> (u64, oneshot::Receiver<()>) {
        let (call, called) = oneshot::channel();
        let mut queue = self.queue();
        queue.last_number += 1;
        let number = queue.last_number;
        if let Some(issuer) = issuer_of(share.as_ref()) {
            queue.has_several |= *queue.first.get_or_insert(issuer) != issuer;
        }
        let ticket = Ticket { number, sign: Arc::clone(sign), call, share };
        if is_foreground { &mut queue.foreground } else { &mut queue.background }.push(ticket);
        drop(queue);
        self.call();
        (number, called)
    }

    /// Calls those who are next, as long as there are places.
    fn call(&self) {
        loop {
            let now = self.millis();
            let mut queue = self.queue();
            let Some(Ticket { number, sign, call, share }) = queue.next() else { return };
            let is_driven = now.saturating_sub(sign.load(Relaxed)) <= millis(STALLED);
            if is_driven {
                sign.store(now, Relaxed);
                queue.lent.push(Lent { number, sign, issuer: issuer_of(share.as_ref()) });
            }
            drop(queue);
            drop(share);
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

impl Queue {
    /// Takes the next one out of its line, if there is a place for it.
    fn next(&mut self) -> Option<Ticket> {
        if self.lent.len() >= self.max {
            return None;
        }
        let is_foreground = self.foreground.next(|share| self.has_room(share));
        if let Some(head) = is_foreground {
            return self.foreground.pop(head);
        }
        let head = self.background.next(|share| self.has_room(share))?;
        self.background.pop(head)
    }

    fn has_room(&self, share: Option<&Arc<Share>>) -> bool {
        let Some(issuer) = issuer_of(share) else { return true };
        let is_free = share.is_some_and(|share| share.answers.load(Relaxed)) && !self.has_several;
        is_free || self.lent.iter().filter(|lent| lent.issuer == Some(issuer)).count() < self.limit()
    }

    /// Returns how many places one issuer may have of those that several share.
    fn limit(&self) -> usize {
        (self.max - self.max / 4).min(self.max - 1).max(1)
    }
}

impl Line {
    fn push(&mut self, ticket: Ticket) {
        let issuer = issuer_of(ticket.share.as_ref());
        let tickets = self.tickets.entry(issuer).or_default();
        if tickets.is_empty() {
            self.heads.insert(ticket.number, issuer);
        }
        tickets.push_back(ticket);
    }

    /// Returns the first head that has room. Few issuers can have no room, so few heads are passed over.
    fn next(&self, has_room: impl Fn(Option<&Arc<Share>>) -> bool) -> Option<u64> {
        let of_head = |issuer| self.tickets.get(issuer)?.front()?.share.as_ref();
        self.heads.iter().find(|(_, issuer)| has_room(of_head(issuer))).map(|(number, _)| *number)
    }

    fn pop(&mut self, head: u64) -> Option<Ticket> {
        let issuer = self.heads.remove(&head)?;
        let tickets = self.tickets.get_mut(&issuer)?;
        let ticket = tickets.pop_front();
        match tickets.front() {
            Some(next) => drop(self.heads.insert(next.number, issuer)),
            None => drop(self.tickets.remove(&issuer)),
        }
        ticket
    }
}

fn issuer_of(share: Option<&Arc<Share>>) -> Option<IssuerId> {
    share.map(|share| Arc::as_ptr(share).addr())
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

    /// Goes to the end of the foreground, because somebody waits for it now, or to that of the background, because nobody does any
    /// more. Returns whether it went.
    pub(crate) fn move_to(&mut self, is_foreground: bool) -> bool {
        // One that just got its place keeps it if somebody waits for it.
        let stays = self.is_foreground == is_foreground || (is_foreground && self.has_place());
        if !stays {
            self.is_foreground = is_foreground;
            self.line_up_again();
        }
        !stays
    }

    fn has_place(&self) -> bool {
        self.called.is_none() || self.places.is_lent(self.number)
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
        let (number, called) = self.places.add_ticket(&self.sign, self.is_foreground, self.share.clone());
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
        let mut first = places.line_up(false, None);
        assert!(has_place(&mut first));
        let (mut back_1, mut back_2) = (places.line_up(false, None), places.line_up(false, None));
        let (mut front_1, mut front_2) = (places.line_up(true, None), places.line_up(true, None));
        drop(first);
        for next in [&mut front_1, &mut front_2, &mut back_1, &mut back_2] {
            assert!(has_place(next));
            next.places.give_back(next.number);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_moves_up_is_the_last_of_the_foreground() {
        let places = places(1);
        let mut first = places.line_up(true, None);
        assert!(has_place(&mut first));
        let (mut back_1, mut back_2, mut front) =
            (places.line_up(false, None), places.line_up(false, None), places.line_up(true, None));
        back_2.move_to(true);
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
        let mut held: Vec<_> = (0..2).map(|_| places.line_up(true, None)).collect();
        assert!(held.iter_mut().all(has_place));
        let (leaves, called, moved, mut last) = (
            places.line_up(true, None),
            places.line_up(true, None),
            places.line_up(false, None),
            places.line_up(true, None),
        );
        let mut moved = moved;
        moved.move_to(true);
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
        let (mut driven, mut stalled) = (places.line_up(true, None), places.line_up(true, None));
        assert!(has_place(&mut driven) && has_place(&mut stalled));
        let began = Instant::now();
        let wait = async {
            let mut next = places.line_up(true, None);
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
        let mut first = places.line_up(true, None);
        assert!(has_place(&mut first));
        let mut stopped: Vec<_> = (0..1000).map(|_| places.line_up(true, None)).collect();
        advance(STALLED * 3).await;
        let mut last = places.line_up(true, None);
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
        let mut late = places.line_up(true, None);
        advance(STALLED * 2).await;
        places.take_back(&places.stalled());
        let mut next = places.line_up(true, None);
        assert!(has_place(&mut next) && !has_place(&mut late));
        drop(next);
        assert!(has_place(&mut late));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_waits_for_any_more_goes_behind_the_foreground() {
        let places = places(1);
        let mut first = places.line_up(true, None);
        assert!(has_place(&mut first));
        let (mut left, mut front) = (places.line_up(true, None), places.line_up(true, None));
        assert!(left.move_to(false) && !left.move_to(false));
        drop(first);
        assert!(has_place(&mut front) && !has_place(&mut left));
        drop(front);
        assert!(has_place(&mut left));
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_does_not_answer_leaves_a_quarter_of_the_places() {
        let places = places(64);
        let (hung, good) = (Arc::<Share>::default(), Arc::<Share>::default());
        let mut all: Vec<_> = (0..2_000).map(|_| places.line_up(true, Some(Arc::clone(&hung)))).collect();
        assert_eq!(all.iter_mut().filter_map(|place| has_place(place).then_some(())).count(), 48);
        let mut others: Vec<_> = (0..20).map(|_| places.line_up(true, Some(Arc::clone(&good)))).collect();
        let mut unknown = places.line_up(false, None);
        assert_eq!(others.iter_mut().filter_map(|place| has_place(place).then_some(())).count(), 16);
        drop(others);
        assert!(has_place(&mut unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_answers_gets_all_places_if_it_is_the_only_one() {
        let places = places(64);
        let (one, other) = (Arc::<Share>::default(), Arc::<Share>::default());
        places.note(Some(&one), true);
        let count = |all: &mut Vec<Place>| all.iter_mut().filter_map(|place| has_place(place).then_some(())).count();
        let mut all: Vec<_> = (0..100).map(|_| places.line_up(true, Some(Arc::clone(&one)))).collect();
        assert_eq!(count(&mut all), 64);
        all.clear();
        drop(places.line_up(true, Some(other)));
        let mut all: Vec<_> = (0..100).map(|_| places.line_up(true, Some(Arc::clone(&one)))).collect();
        assert_eq!(count(&mut all), 48);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_moves_the_queue_for_those_who_came_before_it() {
        let places = places(1);
        let before = Instant::now();
        assert!(!places.has_moved_since(before));
        advance(LOOK).await;
        places.note(None, true);
        let at_the_answer = Instant::now();
        advance(LOOK).await;
        assert!(places.has_moved_since(before) && places.has_moved_since(at_the_answer));
        assert!(!places.has_moved_since(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_its_place_keeps_it_when_somebody_begins_to_wait() {
        let places = places(1);
        let mut called = places.line_up(false, None);
        assert!(!called.move_to(true), "it was called, and does not know it yet");
        assert!(has_place(&mut called) && !called.move_to(true));
        let mut next = places.line_up(false, None);
        assert!(next.move_to(true), "it has no place");
    }

    #[tokio::test(start_paused = true)]
    async fn one_issuer_of_several_leaves_a_place_of_two() {
        let places = places(2);
        let hung = Arc::<Share>::default();
        let mut all: Vec<_> = (0..3).map(|_| places.line_up(true, Some(Arc::clone(&hung)))).collect();
        assert_eq!(all.iter_mut().filter_map(|place| has_place(place).then_some(())).count(), 1);
    }
}
