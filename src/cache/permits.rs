//! The permits of a renewal in a pool: for each client and issuer that it asks, and what these said.
//!
//! A renewal gets the permit to ask as its source's client just before the source is asked. A source that
//! [announces](Asking::announces) what it sends gives that permit back, and gets its permits at the moment of sending. So what it
//! does before, such as reading a secret, holds up nobody, and a failure there says nothing about the client and the issuer.
//!
//! Permits are got in one order: the turn of the credentials, then the client, then the issuer. So no two renewals wait for each
//! other.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    asking::{Asking, Asks, Numbers, Permission},
    cache::{
        cache_core::CacheCore,
        client_state::ClientState,
        family::{Server, Shared},
        issuer_state::{Failed, IssuerState, LastRenewal, Prober, Recovery},
        places::Share,
        refusals::Admission,
        single_flight::{Joined, Leader, Noted, Waiter},
    },
    error::Error,
    recursion::Renewing,
    sync::{Mutex, MutexGuard},
    timer::timeout,
};

/// The permits of one renewal.
pub(crate) struct Permits {
    core: Arc<CacheCore>,
    shared: Arc<Shared>,
    /// What its source says of itself.
    own: Option<Server>,
    announces: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    permits: Vec<Permit>,
    /// Why a permit was refused.
    refused: Option<Error>,
    /// How long it has waited for the tries of others, and since when it waits.
    waited: Duration,
    waiting_since: Option<Instant>,
}

/// A permit to ask an issuer, maybe as a client.
struct Permit {
    server: Server,
    last: LastRenewal,
    /// Set if it may ask as the client.
    as_client: bool,
    /// Set if others wait to learn whether the client is accepted.
    trial: Option<Leader<()>>,
    /// Set if the issuer has an outage.
    prober: Option<Prober>,
    asked: Instant,
    outcome: Outcome,
}

enum Outcome {
    /// Nothing was sent.
    None,
    /// It was sent, or the source does not announce that.
    Sent,
    Answered,
    Failed(Error),
}

/// Whether a renewal is permitted to ask.
pub(crate) enum Permitted {
    Yes,
    /// It may not, because of this failure.
    Refused(Error),
    /// Another renewal tries the client, since some time.
    Wait(Try),
}

/// The try of a client by another renewal.
pub(crate) struct Try {
    waiter: Waiter<()>,
    server: Server,
    patience: Duration,
}

/// What came out, for the other identities. Its drop wakes those who wait.
pub(crate) struct Told {
    _notes: Vec<Notes>,
    _permits: Vec<Permit>,
}

type Notes = (Noted<ClientState, ()>, Noted<IssuerState, ()>);

impl Try {
    /// Waits for the outcome. If it takes too long, another one may try.
    pub(crate) async fn wait(mut self) {
        if timeout(self.patience, self.waiter.wait()).await.is_none() {
            self.server.client.abandon(&self.waiter, |_| {});
        }
    }
}

impl Permits {
    pub(crate) fn new(core: &Arc<CacheCore>, shared: &Arc<Shared>) -> Arc<Self> {
        let own = core.family.server(core.numbers());
        Arc::new(Self {
            core: Arc::clone(core),
            shared: Arc::clone(shared),
            own,
            announces: AtomicBool::new(false),
            held: Mutex::default(),
        })
    }

    /// Returns whether the renewal may go on to ask as its source's client. It gets no permit for that yet. One that is part of
    /// another renewal must not wait for it.
    pub(crate) fn look(&self, may_wait: bool) -> Permitted {
        let Some(own) = &self.own else { return Permitted::Yes };
        if let Some(error) = self.held_back(own, self.last_renewal(own), false) {
            return Permitted::Refused(error);
        }
        let (admission, joined) = own.client.join(|client, is_trying| {
            let admission = if is_trying { client.admit(true, Instant::now()) } else { Admission::Ask };
            let joins = may_wait && matches!(admission, Admission::Try { .. });
            (admission, joins)
        });
        self.wait_for_try(own, admission, joined).map_or_else(|not_now| not_now, |_| Permitted::Yes)
    }

    /// Waits for the permit to ask as the source's client.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn permit_own(&self) -> Result<(), Error> {
        match &self.own {
            Some(own) => self.permission(own.numbers, Asks::TokenRequest).await,
            None => Ok(()),
        }
    }

    /// Returns the share of the places that its issuer has.
    pub(crate) fn share_of_places(&self) -> Option<Arc<Share>> {
        self.own.as_ref().map(|own| Arc::clone(&own.issuer.share))
    }

    fn permit(&self, server: &Server, asks: Asks, may_wait: bool) -> Permitted {
        let last = self.last_renewal(server);
        let is_prober = match self.held().permit(server.numbers) {
            Some(permit) if permit.as_client || !asks.needs_client() => {
                permit.asks(asks);
                return Permitted::Yes;
            }
            Some(permit) => permit.prober.is_some(),
            None => false,
        };
        if let Some(error) = self.held_back(server, last, is_prober) {
            return Permitted::Refused(error);
        }
        let trial = match self.admit_client(server, asks, may_wait) {
            Ok(trial) => trial,
            Err(not_now) => return not_now,
        };
        // Last, so that nothing waits with it.
        let (now, patience) = (Instant::now(), self.core.patience_with_tries());
        let admit = |issuer: &mut IssuerState, _| if is_prober { Ok(None) } else { issuer.admit(last, patience, now) };
        match server.issuer.known.look(admit) {
            Ok(prober) => self.held().add(server, last, asks, trial, prober),
            Err(error) => return Permitted::Refused(error),
        }
        Permitted::Yes
    }

    /// Returns the error if the client was refused or the issuer has an outage. An outage does not hold back its prober.
    fn held_back(&self, server: &Server, last: LastRenewal, is_prober: bool) -> Option<Error> {
        let (now, patience) = (Instant::now(), self.core.patience_with_tries());
        let outage = server.issuer.known.look(|issuer, _| issuer.backing_off(last, patience, now));
        outage.filter(|_| !is_prober).or_else(|| server.client.look(|client, _| client.backing_off(now)))
    }

    /// Returns the trial of the client, if others wait for its outcome.
    fn admit_client(&self, server: &Server, asks: Asks, may_wait: bool) -> Result<Option<Leader<()>>, Permitted> {
        if !asks.needs_client() {
            return Ok(None);
        }
        let (admission, joined) = server.client.join(|client, is_trying| {
            let admission = client.admit(is_trying, Instant::now());
            let joins = matches!(admission, Admission::Try { .. }) && (may_wait || !is_trying);
            (admission, joins)
        });
        self.wait_for_try(server, admission, joined)
    }

    fn wait_for_try(
        &self,
        server: &Server,
        admission: Admission,
        joined: Option<Joined<()>>,
    ) -> Result<Option<Leader<()>>, Permitted> {
        match (admission, joined) {
            (Admission::Refuse(error), _) => Err(Permitted::Refused(error)),
            (Admission::Try { began }, Some(Joined::Waiting(waiter))) => {
                let patience = self.core.patience_with_try(began);
                Err(Permitted::Wait(Try { waiter, server: server.clone(), patience }))
            }
            (_, Some(Joined::Leading(_, leader))) => Ok(Some(leader)),
            (_, _) => Ok(None),
        }
    }

    fn last_renewal(&self, server: &Server) -> LastRenewal {
        let recovery = server.issuer.known.look(|issuer, _| issuer.recovery());
        self.core.flight.look(|state, _| state.last_renewal(recovery))
    }

    /// Returns why a permit was refused, if one was.
    pub(crate) fn refused(&self) -> Option<Error> {
        self.held().refused.clone()
    }

    /// Returns how long the renewal has waited for the tries of others since the last call.
    pub(crate) fn take_waited(&self) -> Duration {
        let (mut held, now) = (self.held(), Instant::now());
        let going_on = held
            .waiting_since
            .as_mut()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(std::mem::replace(since, now)));
        std::mem::take(&mut held.waited) + going_on
    }

    /// Returns whether an issuer is probably down.
    pub(crate) fn is_outage_likely(&self) -> bool {
        let held: Vec<_> = self.held().permits.iter().map(|permit| permit.server.clone()).collect();
        let mut servers = held.iter().chain(&self.own);
        servers.any(|server| server.issuer.known.look(|issuer, _| issuer.is_outage_likely()))
    }

    /// Returns whether what it has is still permitted. `now` is what the source says of itself now.
    pub(crate) fn are_valid(&self, now: Option<Numbers>) -> bool {
        let patience = self.core.patience_with_tries();
        self.own.as_ref().map(|own| own.numbers) == now
            && self.held().permits.iter().all(|permit| permit.is_valid(patience))
    }

    /// Returns whether the client is one that others may know.
    pub(crate) fn share_client(&self) -> bool {
        self.own.is_some() || self.held().permits.iter().any(|permit| permit.as_client)
    }

    /// Returns the end of the last outage of the source's own issuer.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        self.own.as_ref()?.issuer.known.look(|issuer, _| issuer.recovery())
    }

    /// Tells the other identities what came out. `now` is what the source says of itself now.
    ///
    /// It is called under the lock of its cache.
    pub(crate) fn tell(&self, now: Option<Numbers>, error: Option<&Error>) -> Told {
        let mut permits = std::mem::take(&mut self.held().permits);
        let announces = self.announces.load(Relaxed);
        let mut notes = Vec::with_capacity(permits.len());
        for permit in &mut permits {
            let outcome = std::mem::replace(&mut permit.outcome, Outcome::None);
            let failure = match &outcome {
                Outcome::None => continue,
                Outcome::Sent => error,
                Outcome::Answered => None,
                Outcome::Failed(error) => Some(error),
            };
            // Otherwise it is not known which client was asked for.
            let is_known = announces || now == Some(permit.server.numbers);
            notes.push(self.note(permit, is_known, failure));
            permit.outcome = outcome;
        }
        Told { _notes: notes, _permits: permits }
    }

    fn note(&self, permit: &mut Permit, is_known: bool, error: Option<&Error>) -> Notes {
        let Permit { server: Server { client, issuer, .. }, last, as_client, trial, prober, asked, .. } = permit;
        let (now, settings, identity) = (Instant::now(), &self.core.settings, self.core.family.id());
        self.shared.places.note(Some(&issuer.share), !error.is_some_and(Error::is_outage));
        let is_try = trial.is_some();
        let trial = trial.take();
        let client = client.note(trial, |state| match error {
            _ if !is_known || !*as_client => {}
            None => state.succeeded(),
            Some(error) => state.failed(error, *asked, is_try, now, settings),
        });
        let issuer = issuer.known.note(None, |state| match error {
            None => state.answered(now),
            Some(error) => {
                let (last, asked, prober) = (*last, *asked, prober.as_ref());
                state.failed(&Failed { error, identity, last, asked, prober }, now, settings);
            }
        });
        (client, issuer)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking for Permits {
    fn announces(&self) {
        let is_first = !self.announces.swap(true, Relaxed);
        let given_back = if is_first { std::mem::take(&mut self.held().permits) } else { Vec::new() };
        // After the lock is released: it wakes those who wait.
        drop(given_back);
    }

    fn permission(&self, numbers: Numbers, asks: Asks) -> Permission<'_> {
        Box::pin(async move {
            let Some(server) = self.core.family.server(Some(numbers)) else { return Ok(()) };
            loop {
                match self.permit(&server, asks, !Renewing::is_nested()) {
                    Permitted::Yes => return Ok(()),
                    Permitted::Refused(error) => {
                        self.held().refused = Some(error.clone());
                        return Err(error);
                    }
                    Permitted::Wait(others) => {
                        self.held().waiting_since = Some(Instant::now());
                        self.core.while_queued(others.wait()).await;
                        let waited = self.take_waited();
                        let mut held = self.held();
                        (held.waited, held.waiting_since) = (waited, None);
                    }
                }
            }
        })
    }

    fn ended(&self, numbers: Numbers, error: Option<&Error>) {
        let mut held = self.held();
        let Some(permit) = held.permit(numbers) else { return };
        let outcome = error.map_or(Outcome::Answered, |error| Outcome::Failed(error.clone()));
        let replaced = std::mem::replace(&mut permit.outcome, outcome);
        // A success is told at once: another server may still have to be asked.
        let told = error.is_none().then(|| self.note(permit, true, None));
        drop((held, replaced, told));
    }
}

impl Held {
    fn permit(&mut self, numbers: Numbers) -> Option<&mut Permit> {
        self.permits.iter_mut().find(|permit| permit.server.numbers == numbers)
    }

    fn add(
        &mut self,
        server: &Server,
        last: LastRenewal,
        asks: Asks,
        trial: Option<Leader<()>>,
        prober: Option<Prober>,
    ) {
        if let Some(permit) = self.permit(server.numbers) {
            permit.trial = permit.trial.take().or(trial);
            permit.prober = permit.prober.take().or(prober);
            return permit.asks(asks);
        }
        let (server, as_client, asked) = (server.clone(), false, Instant::now());
        let mut permit = Permit { server, last, as_client, trial, prober, asked, outcome: Outcome::None };
        permit.asks(asks);
        self.permits.push(permit);
    }
}

impl Permit {
    fn asks(&mut self, asks: Asks) {
        self.as_client |= asks.needs_client();
        if asks != Asks::Nothing {
            (self.asked, self.outcome) = (Instant::now(), Outcome::Sent);
        }
    }

    fn is_valid(&self, patience: Duration) -> bool {
        let Server { client, issuer, .. } = &self.server;
        let now = Instant::now();
        let is_client_valid = match &self.trial {
            Some(trial) => client.is_wanted(trial),
            None => !self.as_client || client.look(|client, _| client.backing_off(now).is_none()),
        };
        let is_issuer_valid = issuer.known.look(|issuer, _| match &self.prober {
            Some(prober) => issuer.is_probed_by(prober),
            None => issuer.backing_off(self.last, patience, now).is_none(),
        });
        is_client_valid && is_issuer_valid
    }
}
