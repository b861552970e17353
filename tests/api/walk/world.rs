//! The issuer and the API of a walk. Both tell the model what they see.

use std::{
    convert::Infallible,
    panic::resume_unwind,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::Duration,
};

use http::Response;
use tokio::time::{Instant, sleep};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_bearer::{AccessToken, Error, Reason, TokenSource};

use super::model::{Asked, Ended, Model, Ticket};
use crate::support::{Answer, Ask, HOUR, SECOND, errors_of};

/// How the issuer answers, and after which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) reply: Reply,
    pub(crate) after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A new token, which lives so many seconds. `None` if the issuer does not say it.
    Token(Option<u32>),
    /// The same token as before.
    SameToken,
    /// 400 `invalid_grant`.
    Refused,
    /// 401 without an error code.
    Unauthorized,
    /// 429 with a `Retry-After` in seconds.
    Busy(u32),
    /// 503.
    Unavailable,
    Unreachable,
    /// It never answers.
    Silent,
    Panic,
}

impl Default for Script {
    fn default() -> Self {
        Self { reply: Reply::Token(Some(3600)), after: Duration::ZERO }
    }
}

/// What a request of the walk carries in its extensions.
pub(crate) type SharedTicket = Arc<Mutex<Ticket>>;

#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) model: Model,
    pub(crate) script: Script,
    /// The newest token that was issued. Tokens are numbered.
    pub(crate) issued: u64,
    /// The API rejects tokens up to this one.
    pub(crate) revoked: u64,
    pub(crate) rejects_everything: bool,
    /// Tokens that callers have.
    pub(crate) tokens: Vec<AccessToken>,
}

impl World {
    pub(crate) fn new(retries: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            model: Model::new(retries),
            script: Script::default(),
            issued: 0,
            revoked: 0,
            rejects_everything: false,
            tokens: Vec::new(),
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn begun(&self) -> SharedTicket {
        Arc::new(Mutex::new(self.state().model.begun()))
    }

    pub(crate) fn sent(&self, ticket: &SharedTicket, token: &str) {
        self.state().model.sent(&mut ticket.lock().unwrap(), number(token));
    }

    /// Answers a request after its latency. Returns whether it is accepted.
    pub(crate) async fn answer(&self, ticket: &SharedTicket, token: &str, path: &str) -> bool {
        sleep(if path == "/slow" { 2 * SECOND } else { SECOND / 100 }).await;
        let number = number(token);
        let mut state = self.state();
        let is_accepted = path != "/bad" && number > state.revoked && !state.rejects_everything;
        state.model.answered(&mut ticket.lock().unwrap(), number, is_accepted);
        is_accepted
    }

    pub(crate) fn finished(&self, ticket: &SharedTicket, waits: u32, ended: &Ended) {
        self.state().model.finished(&ticket.lock().unwrap(), waits, ended);
    }

    /// Returns the API as a service.
    pub(crate) fn api(&self) -> BoxCloneSyncService<Ask, Answer, Infallible> {
        let world = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let world = world.clone();
            let ticket: SharedTicket = request.extensions().get::<SharedTicket>().unwrap().clone();
            let authorization = request.headers()["authorization"].to_str().unwrap();
            let token = authorization.strip_prefix("Bearer ").unwrap().to_owned();
            world.sent(&ticket, &token);
            async move {
                let is_accepted = world.answer(&ticket, &token, request.uri().path()).await;
                let status = if is_accepted { 200 } else { 401 };
                Ok(Response::builder().status(status).body(Answer::default().into_body()).unwrap())
            }
        }))
    }
}

/// Returns the number of a token.
pub(crate) fn number(token: &str) -> u64 {
    token.parse().unwrap()
}

/// The issuer, as a token source.
pub(crate) struct Source(pub(crate) World);

impl TokenSource for Source {
    async fn obtain(&self, reason: Reason) -> Result<AccessToken, Error> {
        let (script, asked) = {
            let mut state = self.0.state();
            (state.script, state.model.asked(&reason))
        };
        let in_progress = InProgress { world: self.0.clone(), asked: Some(asked) };
        sleep(script.after).await;
        match script.reply {
            Reply::Token(lifetime) => Ok(in_progress.issue(lifetime, false)),
            Reply::SameToken => Ok(in_progress.issue(Some(3600), true)),
            Reply::Refused => Err(in_progress.fail(ERRORS[0].clone())),
            Reply::Unauthorized => Err(in_progress.fail(ERRORS[1].clone())),
            Reply::Busy(seconds) => {
                Err(in_progress.fail(ERRORS[2].clone().with_retry_after(Duration::from_secs(seconds.into()))))
            }
            Reply::Unavailable => Err(in_progress.fail(ERRORS[3].clone())),
            Reply::Unreachable => Err(in_progress.fail(unreachable())),
            Reply::Silent => std::future::pending().await,
            Reply::Panic => {
                drop(in_progress);
                // It prints nothing, unlike `panic!`.
                resume_unwind(Box::new("scripted"))
            }
        }
    }

    fn credentials_version(&self) -> u64 {
        self.0.state().model.credentials_version
    }
}

/// A token request. If it is dropped, it has failed.
struct InProgress {
    world: World,
    asked: Option<Asked>,
}

impl InProgress {
    fn issue(mut self, lifetime: Option<u32>, is_same: bool) -> AccessToken {
        let asked = self.asked.take().unwrap();
        let mut state = self.world.state();
        state.issued += u64::from(!is_same || state.issued == 0);
        let number = state.issued;
        let lifetime = lifetime.map(|seconds| Duration::from_secs(seconds.into()));
        state.model.issued(asked, number, lifetime.unwrap_or(HOUR));
        let token = AccessToken::new(number.to_string()).unwrap();
        match lifetime {
            Some(lifetime) => token.with_expires_in(lifetime),
            None => token,
        }
    }

    fn fail(mut self, error: Error) -> Error {
        let asked = self.asked.take().unwrap();
        self.world.state().model.failed(asked, &error);
        error
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.world.state().model.failed(asked, &unreachable());
        }
    }
}

fn unreachable() -> Error {
    Error::transient("refused")
}

/// Errors that only a grant can make.
static ERRORS: LazyLock<[Error; 4]> = LazyLock::new(|| {
    let answers = [(400, r#"{"error":"invalid_grant"}"#), (401, ""), (429, ""), (503, "")];
    errors_of(answers)
});

/// Makes the errors, outside of any runtime.
pub(crate) fn prepare() {
    LazyLock::force(&ERRORS);
}

/// Returns the time from now until then, and a millisecond before or after it.
pub(crate) fn until(then: Instant, is_before: bool) -> Duration {
    let left = then.saturating_duration_since(Instant::now());
    if is_before { left.saturating_sub(SECOND / 1000) } else { left + SECOND / 1000 }
}
