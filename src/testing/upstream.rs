//! A scripted API: it answers as a test says, and records what came.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, Bytes};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::testing::failure::Outage;
use crate::testing::gate::{Barrier, Gate};
use crate::testing::issuer::Issuer;
use crate::testing::received::{ReceivedRequest, TokenNames};
use crate::testing::reply::{End, Reply};

/// The number of requests that are recorded.
const MAX_RECORDED: usize = 1024;

/// A scripted API that records its requests. Clones are handles to the same API.
///
/// ```
/// use http::Request;
/// use tower::{Layer, ServiceExt};
/// use tower_bearer::{BearerAuthLayer, FixedToken, testing::{Reply, Upstream}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_bearer::BoxError> {
/// let api = Upstream::new();
/// api.answer_next([Reply::status(503), Reply::status(200).body("welcome")]);
///
/// let client = BearerAuthLayer::new(FixedToken::new("t")?).layer(api.service());
/// for _ in 0..2 {
///     client.clone().oneshot(Request::put("https://api.example.org/note").body("hello".to_owned())?).await?;
/// }
///
/// api.assert_statuses([503, 200]);
/// api.assert_tokens(["token 1", "token 1"]);
/// api.assert_bodies("hello");
/// assert_eq!(api.requests()[0].path(), "/note");
/// # Ok(()) }
/// ```
///
/// [`listen`](Self::listen) serves it on loopback, for any client. [`service`](Self::service) is the same in process.
#[derive(Clone)]
pub struct Upstream(Arc<Mutex<State>>);

struct State {
    next: VecDeque<Reply>,
    otherwise: Otherwise,
    received: VecDeque<ReceivedRequest>,
    /// The number of requests before those of `received`.
    earlier: u64,
    tokens: TokenNames,
    gate: Option<Arc<Barrier>>,
}

/// The answer to a request for which nothing is scripted.
#[derive(Clone)]
enum Otherwise {
    Reply(Reply),
    Check(Issuer),
}

impl Upstream {
    /// Returns an API that answers 200 with an empty body, whatever the token.
    #[must_use]
    pub fn new() -> Self {
        Self::answering(Otherwise::Reply(Reply::status(200)))
    }

    /// Returns an API that accepts the tokens of this issuer, and answers 401 with a challenge to all other requests.
    #[must_use]
    pub fn protected_by(issuer: &Issuer) -> Self {
        Self::answering(Otherwise::Check(issuer.clone()))
    }

    fn answering(otherwise: Otherwise) -> Self {
        Self(Arc::new(Mutex::new(State {
            next: VecDeque::new(),
            otherwise,
            received: VecDeque::new(),
            earlier: 0,
            tokens: TokenNames::default(),
            gate: None,
        })))
    }

    /// Gives the next requests these replies, one each, after those that were scripted before.
    ///
    /// A request takes its reply when its head arrives.
    pub fn answer_next(&self, replies: impl IntoIterator<Item = Reply>) {
        // The iterator is user code, so it runs before the lock is taken.
        let replies: Vec<_> = replies.into_iter().collect();
        self.state().next.extend(replies);
    }

    /// Gives each request for which nothing else is scripted this reply. Default: 200, or a check of the token.
    pub fn answer_otherwise(&self, reply: Reply) {
        self.state().otherwise = Otherwise::Reply(reply);
    }

    /// Holds all requests that arrive from now on, until the gate is released or dropped.
    ///
    /// A held request is recorded. Its body is read after the release.
    pub fn hold(&self) -> Gate {
        let (gate, barrier) = Barrier::closed();
        self.state().gate = Some(barrier);
        gate
    }

    /// Returns the newest 1,024 requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.state().received.iter().cloned().collect()
    }

    /// Forgets the requests so far. What was scripted stays, and so do the names of tokens.
    pub fn forget_requests(&self) {
        let mut state = self.state();
        state.earlier += state.received.len() as u64;
        let forgotten = std::mem::take(&mut state.received);
        // A header value may be user code.
        drop(state);
        drop(forgotten);
    }

    /// Answers a request. Also returns its body, if that was not read, and the number by which the request is known.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Result<(Response<Bytes>, Option<(u64, B)>), Outage>
    where
        B: Body + Unpin,
    {
        let (head, body) = request.into_parts();
        let (number, reply, gate) = self.arrived(&head);
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let unread = if reply.before_reading {
            Some((number, body))
        } else {
            self.read(number, body).await?;
            None
        };
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        match reply.end {
            End::Answer(response) => {
                self.change(number, |received| received.status = Some(response.status().as_u16()));
                Ok((response, unread))
            }
            End::Close => Err(Outage(())),
            End::Hang => std::future::pending().await,
        }
    }

    /// Reads and records a body.
    pub(super) async fn read<B: Body + Unpin>(&self, number: u64, mut body: B) -> Result<(), Outage> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Outage(()))?;
            if let Ok(mut data) = frame.into_data() {
                let bytes = data.copy_to_bytes(data.remaining());
                self.change(number, |received| received.body.extend_from_slice(&bytes));
            }
        }
        self.change(number, |received| received.is_whole = true);
        Ok(())
    }

    fn arrived(&self, head: &Parts) -> (u64, Reply, Option<Arc<Barrier>>) {
        let mut state = self.state();
        let received = ReceivedRequest::new(head, &mut state.tokens);
        let oldest = if state.received.len() == MAX_RECORDED { state.received.pop_front() } else { None };
        state.earlier += u64::from(oldest.is_some());
        let number = state.earlier + state.received.len() as u64;
        state.received.push_back(received);
        let (reply, gate) = (state.next.pop_front(), state.gate.clone());
        let reply = reply.map_or_else(|| state.otherwise.clone(), Otherwise::Reply);
        // The check locks the issuer, and a header value may be user code.
        drop(state);
        drop(oldest);
        (number, reply.to(head), gate)
    }

    /// Changes what is recorded about a request, if it was not forgotten.
    fn change(&self, number: u64, change: impl FnOnce(&mut ReceivedRequest)) {
        let mut state = self.state();
        let index = number.checked_sub(state.earlier).and_then(|index| usize::try_from(index).ok());
        if let Some(received) = index.and_then(|index| state.received.get_mut(index)) {
            change(received);
        }
    }

    /// Locks the state, which is consistent after a panic of another thread.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Otherwise {
    fn to(self, head: &Parts) -> Reply {
        match self {
            Self::Reply(reply) => reply,
            Self::Check(issuer) => Reply::answering(issuer.resource(&head.headers)),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("requests", &self.requests()).finish_non_exhaustive()
    }
}
