//! Requests to the gateway at a fixed rate, and how each of them ended.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Collected, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::upstream::ANSWER;

/// A request without an answer for so long hangs: the gateway's own limits are far shorter.
pub const HANG: Duration = Duration::from_secs(10);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The API's whole answer to a request with a good token.
    Answered,
    /// The gateway's own answer, which is problem+json.
    Problem(u16),
    /// Another answer of the API, such as a 401.
    Status(u16),
    /// The answer's body ended with an error.
    Cut,
    /// The connection to the gateway ended without an answer.
    Lost,
    Hung,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Problem(status) => write!(f, "{status}"),
            Self::Status(status) => write!(f, "{status} of the API"),
            Self::Cut => f.write_str("cut"),
            Self::Lost => f.write_str("lost"),
            Self::Hung => f.write_str("HUNG"),
        }
    }
}

#[derive(Clone, Copy)]
pub struct Record {
    pub start: Instant,
    pub end: Instant,
    pub outcome: Outcome,
}

/// Callers with one pool of connections to each gateway.
#[derive(Clone)]
pub struct Callers {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: Vec<String>,
    /// How many requests are in progress at most. With fewer than the rate needs, the rate is lower.
    at_once: u32,
}

impl Callers {
    pub fn new(urls: Vec<String>, at_once: u32) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut client = Client::builder(TokioExecutor::new());
        // The gateway closes idle connections after 30 s.
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(10));
        Self { client: client.build(connector), urls, at_once }
    }

    /// Sends requests until `end`, and waits for all of them. Each fourth is a POST. `tenant` chooses the tenant of each.
    pub async fn load(&self, rate: u32, end: Instant, tenant: impl Fn(u64) -> Option<String>) -> Vec<Record> {
        let records = Arc::new(Mutex::new(Vec::new()));
        let collect = Arc::clone(&records);
        self.each((rate, u64::MAX), end, tenant, move |record| {
            collect.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        })
        .await;
        std::mem::take(&mut records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends this many requests, or until `end`. The function gets the record of each.
    pub async fn each(
        &self,
        (rate, most): (u32, u64),
        end: Instant,
        tenant: impl Fn(u64) -> Option<String>,
        note: impl Fn(Record) + Clone + Send + Sync + 'static,
    ) {
        let places = Arc::new(Semaphore::new(self.at_once as usize));
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0.. {
            let due = ticks.tick().await;
            if due >= end || number >= most {
                break;
            }
            let place = Arc::clone(&places).acquire_owned().await;
            let (request, callers, note) = (self.request(number, tenant(number)), self.clone(), note.clone());
            tokio::spawn(async move {
                note(callers.record(request).await);
                drop(place);
            });
        }
        drop(places.acquire_many(self.at_once).await);
    }

    fn request(&self, number: u64, tenant: Option<String>) -> Request<Full<Bytes>> {
        let url = &self.urls[usize::try_from(number).unwrap_or_default() % self.urls.len()];
        let (request, body) = match number % 4 {
            0 => (Request::post(format!("{url}/Patient")), Bytes::from_static(&[b'p'; 1024])),
            _ => (Request::get(format!("{url}/Patient")), Bytes::new()),
        };
        let request = tenant.into_iter().fold(request, |request, tenant| request.header("x-tenant", tenant));
        request.body(Full::new(body)).expect("a valid request")
    }

    pub async fn record(&self, request: Request<Full<Bytes>>) -> Record {
        let start = Instant::now();
        let outcome = timeout(HANG, self.send(request)).await.unwrap_or(Outcome::Hung);
        Record { start, end: Instant::now(), outcome }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Outcome {
        let Ok(answer) = self.client.request(request).await else { return Outcome::Lost };
        let (head, body) = answer.into_parts();
        let status = head.status.as_u16();
        let is_problem = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
        match body.collect().await.map(Collected::to_bytes) {
            Err(_) => Outcome::Cut,
            Ok(body) if status == 200 && body.len() == ANSWER => Outcome::Answered,
            Ok(_) if is_problem => Outcome::Problem(status),
            Ok(_) => Outcome::Status(status),
        }
    }
}

/// Returns how many requests ended in each way.
pub fn counts(records: &[Record]) -> BTreeMap<Outcome, usize> {
    records.iter().fold(BTreeMap::new(), |mut counts, record| {
        *counts.entry(record.outcome).or_default() += 1;
        counts
    })
}

pub fn shown(counts: &BTreeMap<Outcome, usize>) -> String {
    counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}
