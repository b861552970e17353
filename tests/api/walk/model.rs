//! A slow and obvious model of one cache: what it must do and must not do, as the documentation states it.
//!
//! It is told what the issuer, the API and the callers see, in the order in which it happens. It knows nothing of how the
//! crate does it, so where the documentation gives a range, the model has a range.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use tokio::time::Instant;
use tower_bearer::{
    Error, FailureClass, NotRetried, Reason,
    cache::{Age, CacheStatus},
};

use crate::support::{HOUR, MINUTE, SECOND};

/// The longest wait after a failure, and the longest `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// The longest interval of the budget.
const LONGEST_INTERVAL: Duration = Duration::from_secs(150);
/// So long without a rejection, and the free renewal is restored.
const QUIET: Duration = Duration::from_secs(300);

pub(crate) struct Model {
    /// How often a renewal that requests wait for is tried again.
    retries: usize,
    newest: Option<Token>,
    generation: u64,
    renewals: u64,
    /// How many token requests are in progress, and when the last one ended.
    in_progress: u64,
    last_end: Option<Instant>,
    resets: u64,
    pub(super) credentials_version: u64,
    failures: Failures,
    budget: Budget,
    /// When the issuer last returned the newest token again.
    same_at: Option<Instant>,
    /// The rules that were broken, each with an example.
    pub(super) broken: BTreeMap<&'static str, String>,
    pub(super) seen: BTreeSet<Event>,
}

/// What must happen in some walk. Otherwise the rules were not put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Issued,
    Void,
    Failed,
    HeldBack,
    SentAgain,
    Proven,
    Struck,
    BudgetSpent,
    Withheld,
    Evicted,
}

/// A token of the issuer.
struct Token {
    number: u64,
    issued_at: Instant,
    /// It becomes stale between these.
    stale: [Instant; 2],
    expires_at: Instant,
    forgotten_at: Option<Instant>,
    is_rejected: bool,
    /// Whether it was rejected while a token request was in progress.
    is_rejected_meanwhile: bool,
    /// Since when it must not be sent, because its renewal is in progress.
    withheld_since: Option<Instant>,
    /// Whether its renewal was caused by a rejection, or one came meanwhile: for certain, and maybe.
    by_rejection: [bool; 2],
    was_predecessor_accepted: bool,
    proof: Proof,
    /// Whether its rejection was a strike for certain. `None` before the first one.
    is_struck: Option<bool>,
}

/// What shows that a token is good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    Missing,
    /// A request was accepted.
    Accepted,
    /// A second attempt was accepted.
    Retried,
}

/// Failures in a row.
#[derive(Default)]
struct Failures {
    version: u64,
    transient: u32,
    answered: u32,
    unexplained: u32,
    terminal: u32,
    hold: Option<Hold>,
}

/// The source is not asked until a time between these.
#[derive(Clone, Copy)]
struct Hold {
    until: [Instant; 2],
    /// The refused credentials, after a refusal.
    version: Option<u64>,
}

/// What rejections have cost.
#[derive(Default)]
struct Budget {
    last_rejection: Option<Instant>,
    /// The last one while no renewal was in progress.
    last_cause: Option<Instant>,
    /// How many new tokens were rejected, at least and at most.
    strikes: [u32; 2],
    /// When each token was issued of which nothing has shown yet whether its renewal helped.
    owed: Vec<(u64, Instant)>,
    young_deaths: u32,
    renewals: Vec<Instant>,
    proofs: Vec<Instant>,
}

/// A token request.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    resets: u64,
    version: u64,
    is_due_by_age: bool,
    by_rejection: bool,
}

/// What a request knows of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    began: Instant,
    resets: u64,
    is_renewing: bool,
    version: u64,
    failures: u32,
    pub(super) sent: u32,
    /// The token of its first attempt, and when that was rejected.
    rejected: Option<(u64, Instant)>,
    /// Whether the budget may have been spent then.
    may_be_spent: bool,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The API accepted it.
    Accepted,
    /// The API rejected it. If it was not sent again, it says why.
    Rejected(Option<NotRetried>),
    /// There was no token.
    Failed(Error),
}

impl Model {
    pub(crate) fn new(retries: usize) -> Self {
        Self {
            retries,
            newest: None,
            generation: 0,
            renewals: 0,
            in_progress: 0,
            last_end: None,
            resets: 0,
            credentials_version: 0,
            failures: Failures::default(),
            budget: Budget::default(),
            same_at: None,
            broken: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    pub(crate) fn check(&mut self, rule: &'static str, holds: bool, details: &dyn Debug) {
        if !holds {
            self.broken.entry(rule).or_insert_with(|| format!("{details:?}"));
        }
    }

    // The issuer.

    /// The cache asks the issuer.
    pub(crate) fn asked(&mut self, reason: &Reason) -> Asked {
        let now = Instant::now();
        self.check("one token request at a time", self.in_progress == 0, reason);
        let is_held = self.hold().is_some_and(|hold| now < hold.until[0]);
        self.check("no token request during the wait after a failure", !is_held, reason);
        let newest = self.newest.as_ref();
        let is_due_by_age = newest.is_none_or(|newest| newest.is_forgotten() || now >= newest.stale[0]);
        let is_needed = is_due_by_age || newest.is_some_and(|newest| newest.is_rejected);
        let barred_since = newest.filter(|newest| newest.is_barred() && !is_due_by_age).map(|newest| newest.issued_at);
        self.check("no token request without need", is_needed, reason);
        if let Some(issued_at) = barred_since {
            let earliest = issued_at + interval(self.budget.strikes[0]);
            let early = earliest.saturating_duration_since(now);
            let details = format!("{early:?} too early, after {} strikes", self.budget.strikes[0]);
            self.check("no renewal because of rejections within the interval", now >= earliest, &details);
        }
        self.in_progress += 1;
        let by_rejection = matches!(reason, Reason::Rejected { .. });
        Asked { resets: self.resets, version: self.credentials_version, is_due_by_age, by_rejection }
    }

    /// The issuer answers with a token.
    pub(crate) fn issued(&mut self, asked: Asked, number: u64, lifetime: Duration) {
        let now = self.ended();
        if asked.resets != self.resets {
            self.seen.insert(Event::Void);
            return;
        }
        self.seen.insert(Event::Issued);
        let before = self.newest.take();
        let is_same = before.as_ref().is_some_and(|before| before.number == number);
        let is_certain = asked.by_rejection || before.as_ref().is_some_and(|before| before.is_rejected_meanwhile);
        // Between two tries of a renewal, nothing is seen of it.
        let is_possible = is_certain || self.retries > 0 && before.as_ref().is_some_and(|before| before.is_rejected);
        let was_predecessor_accepted = before.is_some_and(|before| before.is_accepted());
        self.generation += u64::from(!is_same);
        self.renewals += 1;
        self.failures = Failures::default();
        self.budget.recover_when_quiet();
        let margin = (lifetime / 4).min(5 * MINUTE);
        let expires_at = now + lifetime - (lifetime / 10).min(MINUTE);
        let stale = [margin, margin * 9 / 10].map(|margin| (now + lifetime - margin).min(expires_at));
        self.newest = Some(Token {
            number,
            issued_at: now,
            stale,
            expires_at,
            forgotten_at: None,
            is_rejected: false,
            is_rejected_meanwhile: false,
            withheld_since: None,
            by_rejection: [is_certain, is_possible],
            was_predecessor_accepted,
            proof: Proof::Missing,
            is_struck: None,
        });
        if is_same {
            self.same_at = Some(now);
        }
        if is_possible {
            self.budget.owed.push((number, now));
            if is_same {
                // As if a second attempt was rejected.
                self.budget.last_rejection = Some(now);
                self.strike(true);
            }
            if !asked.is_due_by_age {
                self.budget.renewals.push(now);
                let (renewals, proofs) = self.budget.in_an_hour(now);
                let limit = 37 + 14 * proofs;
                let details = format!("{renewals} renewals, {proofs} of them proven");
                self.check("no renewal beyond the budget of an hour", renewals <= limit, &details);
            }
        }
    }

    /// The issuer refuses, is busy, or cannot be reached.
    pub(crate) fn failed(&mut self, asked: Asked, error: &Error) {
        let now = self.ended();
        if asked.resets != self.resets {
            self.seen.insert(Event::Void);
            return;
        }
        self.seen.insert(Event::Failed);
        if let Some(newest) = &mut self.newest {
            newest.withheld_since = None;
        }
        if self.failures.version != asked.version {
            self.failures = Failures { version: asked.version, ..Failures::default() };
        }
        let (least, most) = self.failures.count(error);
        let requested = error.retry_in().unwrap_or_default().min(LONGEST_WAIT);
        let is_refusal = error.class() != FailureClass::Transient;
        // Before another try that is not made after all, because the credentials changed or nobody waits any more.
        let is_tried_again = self.retries > 0 && !is_refusal && requested < 10 * SECOND;
        let most = if is_tried_again { most.max(requested) + requested.max(SECOND) } else { most };
        self.failures.hold = Some(Hold {
            until: [least, most].map(|wait| now + wait.max(requested)),
            version: is_refusal.then_some(asked.version),
        });
    }

    fn ended(&mut self) -> Instant {
        let now = Instant::now();
        self.in_progress -= 1;
        self.last_end = Some(now);
        now
    }

    // The API.

    /// A request reaches the API with a token.
    pub(crate) fn sent(&mut self, ticket: &mut Ticket, number: u64) {
        let now = Instant::now();
        ticket.sent += 1;
        self.check("a request is sent at most twice", ticket.sent <= 2, ticket);
        let Some(newest) = &self.newest else {
            return self.check("no request is sent with a token that does not count", false, &number);
        };
        // At the same instant, the request may have come first.
        let is_newest = newest.number == number || newest.issued_at == now;
        let is_forgotten = newest.forgotten_at.is_some_and(|at| at < now);
        // Those that waited for it use it, however short it lives.
        let is_live = now < newest.expires_at || newest.issued_at == now;
        let is_withheld = newest.number == number && newest.withheld_since.is_some_and(|at| at < now);
        let details = (number, newest.number, now - newest.issued_at, *ticket);
        self.check("no request is sent with an older token than the newest", is_newest, &details);
        self.check("no request is sent with a token from before a reset", !is_forgotten, &details);
        self.check("no request is sent with an expired token", is_live, &details);
        self.check("no request is sent with a rejected token during its renewal", !is_withheld, &details);
        if ticket.sent > 1 {
            self.seen.insert(Event::SentAgain);
        }
    }

    /// The API answers a request, or a caller says so.
    pub(crate) fn answered(&mut self, ticket: &mut Ticket, number: u64, is_accepted: bool) {
        let is_retry = ticket.sent > 1 && ticket.rejected.is_none_or(|(first, _)| first != number);
        match (is_accepted, is_retry) {
            (true, _) => self.accepted(number, is_retry),
            (false, true) => self.retry_rejected(number),
            (false, false) if ticket.rejected.is_none() => {
                ticket.may_be_spent = self.rejected(number);
                ticket.rejected = Some((number, Instant::now()));
            }
            (false, false) => {}
        }
    }

    pub(crate) fn accepted(&mut self, number: u64, is_retry: bool) {
        let now = Instant::now();
        let Some(newest) = self.newest.as_mut().filter(|newest| newest.number == number) else { return };
        newest.proof = newest.proof.max(Proof::Accepted);
        if is_retry && newest.by_rejection[1] {
            self.seen.insert(Event::Proven);
            newest.proof = Proof::Retried;
            self.budget.owed.retain(|(owed, _)| *owed != number);
            self.budget.proofs.push(now);
        }
    }

    pub(crate) fn retry_rejected(&mut self, number: u64) {
        if self.newest.as_ref().is_some_and(|newest| newest.number == number) {
            self.budget.recover_when_quiet();
            self.budget.last_rejection = Some(Instant::now());
            self.strike(true);
        }
    }

    /// Notes that a first attempt was rejected. Returns whether the budget may be spent.
    pub(crate) fn rejected(&mut self, number: u64) -> bool {
        let (now, is_renewing) = (Instant::now(), self.may_be_renewing());
        let is_failing = self.failures.total() > 0;
        let Some(newest) = self.newest.as_mut().filter(|newest| newest.number == number) else { return false };
        let budget = &mut self.budget;
        let is_quiet = budget.recover_when_quiet();
        let is_clean = budget.is_clean() || newest.is_accepted() && budget.is_clean_with(11);
        let may_be_spent = !(is_clean || is_quiet && budget.owed.is_empty());
        budget.last_rejection = Some(now);
        if !is_renewing && newest.forgotten_at.is_none() {
            budget.last_cause = Some(now);
        }
        newest.is_rejected = true;
        newest.is_rejected_meanwhile |= self.in_progress > 0;
        if is_clean && !is_failing && newest.forgotten_at.is_none() {
            self.seen.insert(Event::Withheld);
            newest.withheld_since.get_or_insert(now);
        }
        if newest.proof == Proof::Retried {
            let is_young = now - newest.issued_at < SECOND / 2;
            budget.young_deaths = if is_young { budget.young_deaths + 1 } else { 0 };
        }
        self.strike(!is_renewing);
        may_be_spent
    }

    /// The newest token was rejected.
    fn strike(&mut self, is_certain: bool) {
        let Some(newest) = self.newest.as_mut().filter(|newest| newest.by_rejection[1]) else { return };
        if newest.is_struck.is_some() {
            return;
        }
        let is_certain = is_certain && newest.by_rejection[0] && !newest.is_accepted();
        newest.is_struck = Some(is_certain);
        let number = newest.number;
        self.budget.strikes[1] += 1;
        if is_certain {
            self.seen.insert(Event::Struck);
            self.budget.strikes[0] += 1;
            self.budget.owed.retain(|(owed, _)| *owed != number);
        }
    }

    // The callers.

    pub(crate) fn begun(&self) -> Ticket {
        Ticket {
            began: Instant::now(),
            resets: self.resets,
            is_renewing: self.in_progress > 0,
            version: self.credentials_version,
            failures: self.failures.total(),
            sent: 0,
            rejected: None,
            may_be_spent: false,
        }
    }

    /// A request has ended, which may wait this often for a renewal.
    pub(crate) fn finished(&mut self, ticket: &Ticket, waits: u32, ended: &Ended) {
        let now = Instant::now();
        let details = (now - ticket.began, *ticket, ended);
        // A renewal and a second for each wait; the API takes two seconds at most. A reset has it wait for the next renewal,
        // and so may one before it began.
        let resets = u32::try_from(self.resets - ticket.resets).unwrap() + u32::from(ticket.is_renewing);
        let limit = (waits + resets) * 11 * SECOND + waits * 3 * SECOND;
        self.check("every request ends in time", now - ticket.began <= limit, &details);
        let began = ticket.rejected.map_or(ticket.began, |(_, at)| at);
        // Whatever is served was served then, or came since.
        let was_asked = ticket.is_renewing || self.in_progress > 0 || self.last_end.is_some_and(|at| at >= began);
        let has_new_credentials = self.credentials_version != ticket.version;
        let hold = if has_new_credentials { self.failures.hold } else { self.hold() };
        let may_fail = was_asked || hold.is_some_and(|hold| began < hold.until[1]);
        match ended {
            Ended::Accepted | Ended::Rejected(None) => {}
            Ended::Failed(error) => {
                // It waited for the renewal from its first try on, and there was time for all of them.
                let is_short = error.is_transient() && !error.is_panic() && now - ticket.began < 5 * SECOND;
                let is_busy = error.retry_in().is_some_and(|wait| wait > 3 * SECOND);
                let began_it = !ticket.is_renewing && ticket.failures == 0 && self.failures.total() > 0;
                let is_undisturbed = self.resets == ticket.resets && !has_new_credentials && !is_busy;
                let must_be_tried = self.retries == 3 && is_short && began_it && is_undisturbed;
                let is_tried = !must_be_tried || self.failures.total() > 3;
                self.check("a short failure is tried again while requests wait", is_tried, &details);
                self.seen.insert(Event::HeldBack);
                let live = self.newest.as_ref().filter(|newest| !newest.is_forgotten() && now < newest.expires_at);
                let is_live = live.is_some_and(|newest| newest.issued_at < ticket.began || !newest.is_rejected);
                self.check("no request fails while there is a token that has not expired", !is_live, &details);
                self.check(
                    "no request fails after the wait of a failure, unless the issuer was asked",
                    may_fail,
                    &details,
                );
            }
            Ended::Rejected(Some(why)) => match why {
                NotRetried::BudgetSpent => {
                    self.seen.insert(Event::BudgetSpent);
                    self.check("a rejection is passed on only if the budget is spent", ticket.may_be_spent, &details);
                }
                NotRetried::SameToken => {
                    let came_again = self.same_at.is_some_and(|at| at >= ticket.began);
                    self.check("the same token came again", came_again, &details);
                }
                NotRetried::RenewalFailed { .. } => {
                    self.check("a renewal has failed if that is the reason", may_fail, &details);
                }
                _ => self.check("there is no other reason not to send again", false, &details),
            },
        }
    }

    pub(crate) fn reset(&mut self) {
        self.resets += 1;
        self.failures = Failures::default();
        self.budget = Budget::default();
        if let Some(newest) = &mut self.newest {
            newest.forgotten_at.get_or_insert(Instant::now());
            (newest.is_rejected, newest.by_rejection, newest.withheld_since) = (false, [false; 2], None);
            newest.is_rejected_meanwhile = false;
        }
    }

    /// The pool has evicted the cache.
    pub(crate) fn evicted(&mut self) {
        let now = Instant::now();
        self.seen.insert(Event::Evicted);
        let is_held = self.failures.hold.is_some_and(|hold| now < hold.until[0]);
        let is_rejected = self.budget.last_cause.is_some_and(|at| now - at < QUIET);
        let must_stay = self.in_progress > 0 || is_held || is_rejected;
        self.check("no identity is evicted that protects its issuer", !must_stay, &self.in_progress.clone());
        let Self { retries, credentials_version, resets, .. } = *self;
        let (broken, seen) = (std::mem::take(&mut self.broken), std::mem::take(&mut self.seen));
        *self = Self { resets, credentials_version, broken, seen, ..Self::new(retries) };
    }

    /// Checks what the cache says of itself while nothing happens.
    pub(crate) fn check_status(&mut self, status: &CacheStatus) {
        let now = Instant::now();
        self.check("each token is counted", status.renewals == self.renewals, &(status, self.renewals));
        self.check("each token has a generation", status.generation == self.generation, &(status, self.generation));
        let is_renewing = self.in_progress > 0;
        let is_exact = self.retries == 0;
        let says_renewing = status.renewing == is_renewing || !is_exact && status.renewing;
        self.check("the status says whether a renewal is in progress", says_renewing, status);
        let failures = self.failures.total();
        let counted = status.failures == failures || !is_exact && status.failures <= failures;
        self.check("each failure is counted", counted, &(status, failures));
        let is_age = match &self.newest {
            Some(newest) if !newest.is_forgotten() => newest.may_be(status.age, now),
            _ => status.age == Age::Missing,
        };
        self.check("the age is that of the newest token", is_age, status);
        let left = |at: Instant| at.saturating_duration_since(now);
        let [least, most] = self.failures.hold.map_or([Duration::ZERO; 2], |hold| hold.until.map(left));
        let retry_in = status.retry_in.unwrap_or_default();
        let is_within = retry_in <= most && (retry_in >= least || !is_exact);
        self.check("the wait after a failure is as stated", is_within, &(status, least, most));
        let may_be_limited = !self.budget.is_clean();
        self.check("the budget is limited only by rejections", may_be_limited || !status.rejections_limited, status);
        let next = status.next_rejection_renewal_in.unwrap_or_default();
        self.check("the budget waits at most two intervals", next <= 2 * LONGEST_INTERVAL, status);
    }

    /// Returns when a request must succeed, at the latest, if all faults end now.
    pub(crate) fn recovery(&self) -> Duration {
        let now = Instant::now();
        let hold = self.failures.hold.map_or(Duration::ZERO, |hold| hold.until[1].saturating_duration_since(now));
        let budget = if self.budget.is_clean() { Duration::ZERO } else { 2 * LONGEST_INTERVAL };
        // A renewal that is in progress may still fail, and is waited for.
        let in_progress = if self.in_progress > 0 { 11 * SECOND + LONGEST_WAIT } else { Duration::ZERO };
        hold.max(budget) + in_progress + 5 * SECOND
    }

    /// Returns when the newest token becomes stale and expires.
    pub(crate) fn next_ages(&self) -> Option<[Instant; 2]> {
        self.newest.as_ref().map(|newest| [newest.stale[0], newest.expires_at])
    }

    /// Returns the number of the newest token, unless it was forgotten.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.newest.as_ref().filter(|newest| !newest.is_forgotten()).map(|newest| newest.number)
    }

    /// Returns what holds the source back now.
    fn hold(&self) -> Option<Hold> {
        self.failures.hold.filter(|hold| hold.version.is_none_or(|version| version == self.credentials_version))
    }

    /// Returns whether a renewal may be in progress: between two of its tries, nothing is seen of it.
    fn may_be_renewing(&self) -> bool {
        let is_between_tries = self.retries > 0 && self.last_end.is_some_and(|at| Instant::now() - at < 10 * SECOND);
        self.in_progress > 0 || is_between_tries
    }
}

impl Token {
    fn is_accepted(&self) -> bool {
        self.proof > Proof::Missing
    }

    fn is_forgotten(&self) -> bool {
        self.forgotten_at.is_some()
    }

    /// Returns whether only the schedule of the budget allows its renewal: it replaced a rejected token, was rejected itself,
    /// and nothing was ever accepted.
    fn is_barred(&self) -> bool {
        self.is_struck == Some(true) && self.is_rejected && !self.is_accepted() && !self.was_predecessor_accepted
    }

    fn may_be(&self, age: Age, now: Instant) -> bool {
        match age {
            Age::Missing => self.is_rejected,
            Age::Fresh => now <= self.stale[1] && self.withheld_since.is_none(),
            Age::Stale => now >= self.stale[0] && now <= self.expires_at && self.withheld_since.is_none(),
            Age::Expired => now >= self.expires_at && self.withheld_since.is_none(),
            _ => false,
        }
    }
}

impl Failures {
    fn total(&self) -> u32 {
        self.transient + self.unexplained + self.terminal
    }

    /// Counts a failure, and returns the least and the longest wait after it.
    fn count(&mut self, error: &Error) -> (Duration, Duration) {
        match error.class() {
            FailureClass::Transient => {
                self.transient += 1;
                self.answered += u32::from(error.status().is_some());
                let longest = if self.answered > 24 { LONGEST_WAIT } else { 30 * SECOND };
                (Duration::ZERO, doubled(SECOND / 4, self.transient).min(longest))
            }
            FailureClass::Unexplained => {
                self.unexplained += 1;
                let wait = doubled(5 * SECOND, self.unexplained).min(LONGEST_WAIT);
                (wait, wait)
            }
            _ => {
                self.terminal += 1;
                let wait = doubled(MINUTE, self.terminal).min(LONGEST_WAIT);
                (wait, wait)
            }
        }
    }
}

impl Budget {
    /// Returns whether nothing has cost anything: the next rejection must be followed by a renewal.
    fn is_clean(&self) -> bool {
        self.is_clean_with(1)
    }

    /// Returns whether fewer than this many renewals are owed, and no new token was rejected.
    fn is_clean_with(&self, most: usize) -> bool {
        self.strikes[1] == 0 && self.owed.len() < most && self.young_deaths < 7
    }

    /// Forgets the strikes after a quiet time, which at least restores the free renewal. Returns whether it was quiet.
    fn recover_when_quiet(&mut self) -> bool {
        let is_quiet = self.last_rejection.is_none_or(|at| Instant::now() - at > QUIET);
        if is_quiet {
            self.strikes[0] = 0;
        }
        is_quiet
    }

    /// Returns how many renewals there were in the last hour, and how many proofs.
    fn in_an_hour(&self, now: Instant) -> (usize, usize) {
        let recent = |all: &[Instant]| all.iter().filter(|at| now - **at < HOUR).count();
        (recent(&self.renewals), recent(&self.proofs))
    }
}

/// Returns the interval of the budget after so many strikes: 1 s, growing by half.
fn interval(strikes: u32) -> Duration {
    let growths = strikes.saturating_sub(1).min(20);
    (0..growths).fold(SECOND, |interval, _| interval * 3 / 2).min(LONGEST_INTERVAL)
}

/// Returns the wait after so many failures in a row.
fn doubled(first: Duration, failures: u32) -> Duration {
    first * 2_u32.pow((failures - 1).min(12))
}
