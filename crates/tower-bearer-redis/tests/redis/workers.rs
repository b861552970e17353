//! Worker processes: each is this test binary, started again, with a cache of its own. A test tells it by a line what to do, and it
//! reports by lines.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, stdin},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_bearer::{
    BearerAuthLayer, BoxTokenSource, PasswordGrant, TokenCache, TokenSource,
    grant::{ClientAuth, ClientCredentials, RefreshToken},
    store::{SealingKey, SealingKeys, SharedStore, Stored},
    testing::IssuerServer,
};
use tower_bearer_redis::RedisStore;

use crate::marks::{self, Mark, MarkedStore};

/// What stands before each setting in the environment, and before each line of a report.
const SETTING: &str = "WORKER_";
pub(crate) const LINE: &str = "@worker ";

/// A worker that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many requests of a worker are sent to the API at the same time. The others wait behind the layer, with their token.
const CONNECTIONS: usize = 16;

/// The settings of a worker. All have the same sealing key.
#[derive(Clone)]
pub(crate) struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    /// Returns the settings of a worker that is patient with the store: a slow machine is not an outage.
    ///
    /// - `TOKEN_URL`, `API`: the issuer's.
    /// - `REDIS`: URLs, with commas between them. `SENTINEL`: the master's name. `CLUSTER`: set to have one.
    /// - `GRANT`: `password` (default), `client_credentials` or `refresh_token`, with `CLIENT_ID`, `CLIENT_SECRET`, `USERNAME`,
    ///   `PASSWORD`, `REFRESH_TOKEN` and, for a refresh token, the `NAME` of what is shared.
    /// - `MARKS`: set to have [marks](Worker::next_mark). `PAUSE_MS`: the time between two requests of a task under load.
    /// - `LEASE_MS`, `WAIT_MS`, `STORE_MS` (the deadline of a call to the store), `RENEWAL_MS` (the deadline of a renewal).
    pub(crate) fn new(issuer: &IssuerServer, redis: &str) -> Self {
        Self::at(&issuer.token_url(), &issuer.url("/fhir/Patient"), redis)
    }

    pub(crate) fn at(token_url: &str, api: &str, redis: &str) -> Self {
        let settings = [
            ("TOKEN_URL", token_url.to_owned()),
            ("API", api.to_owned()),
            ("REDIS", redis.to_owned()),
            ("GRANT", "password".to_owned()),
            ("CLIENT_ID", "client1".to_owned()),
            ("CLIENT_SECRET", "client-secret".to_owned()),
            ("USERNAME", "user1".to_owned()),
            ("PASSWORD", "user-password".to_owned()),
            ("LEASE_MS", "5000".to_owned()),
            ("WAIT_MS", "30000".to_owned()),
            ("STORE_MS", "5000".to_owned()),
            ("RENEWAL_MS", "40000".to_owned()),
            ("PAUSE_MS", "5".to_owned()),
        ];
        Self(settings.into())
    }

    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(name, value.into());
        self
    }
}

/// A worker process. It is killed when it is dropped, and ends when this process does.
pub(crate) struct Worker {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    marks: VecDeque<Mark>,
}

/// What a worker has done since its last report.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Its answers, by status, and its errors, by text.
    pub(crate) answers: BTreeMap<String, u64>,
    /// The figures of its `StoreStatus`, by name, since it started.
    pub(crate) status: BTreeMap<String, u64>,
    /// From the creation of the cache to the first token.
    pub(crate) first_token: Option<Duration>,
    /// The token, if it was asked for.
    pub(crate) token: Option<String>,
}

impl Worker {
    /// Starts a worker, which has no token yet.
    pub(crate) async fn start(settings: &Settings) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "workers::a_worker", "--ignored", "--nocapture"]);
        command.envs(settings.0.iter().map(|(name, value)| (format!("{SETTING}{name}"), value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut worker = Self { process, input, output, marks: VecDeque::new() };
        worker.report().await;
        worker
    }

    /// Starts several workers at the same time.
    pub(crate) async fn start_all(count: usize, settings: &Settings) -> Vec<Self> {
        join_all((0..count).map(|_| Self::start(settings))).await
    }

    /// Sends requests to the API, all at once.
    pub(crate) async fn burst(&mut self, requests: usize) -> Report {
        self.tell(&format!("burst {requests}")).await;
        self.report().await
    }

    /// Sends requests to the API until [`stop`](Self::stop), one each few milliseconds in each of some tasks.
    pub(crate) async fn load(&mut self, tasks: usize) -> Report {
        self.tell(&format!("load {tasks}")).await;
        self.report().await
    }

    /// Sends requests to the API, all at once. [`stop`](Self::stop) waits for their answers.
    pub(crate) async fn start_burst(&mut self, requests: usize) -> Report {
        self.tell(&format!("start {requests}")).await;
        self.report().await
    }

    pub(crate) async fn stop(&mut self) -> Report {
        self.tell("stop").await;
        self.report().await
    }

    /// Gets the token of the cache.
    pub(crate) async fn token(&mut self) -> Report {
        self.tell("token").await;
        self.report().await
    }

    /// Returns what it has done, which goes on.
    pub(crate) async fn look(&mut self) -> Report {
        self.tell("look").await;
        self.report().await
    }

    /// Ends the process at once, as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Waits for the next mark, or returns `None` after the last one of a worker that has ended.
    ///
    /// # Cancel safety
    /// No mark is lost.
    pub(crate) async fn next_mark(&mut self) -> Option<Mark> {
        if let Some(mark) = self.marks.pop_front() {
            return Some(mark);
        }
        loop {
            let line = self.output.next_line().await.unwrap()?;
            if let Some(mark) = line.split_once(LINE).and_then(|(_, line)| Mark::read(line)) {
                return Some(mark);
            }
        }
    }

    async fn tell(&mut self, what: &str) {
        self.input.write_all(format!("{what}\n").as_bytes()).await.unwrap();
    }

    async fn report(&mut self) -> Report {
        let mut report = Report::default();
        loop {
            let line = timeout(PATIENCE, self.output.next_line()).await.expect("a worker hangs").unwrap();
            let line = line.expect("a worker has ended");
            // The test harness prints lines of its own, and the beginning of one.
            let Some((_, line)) = line.split_once(LINE) else { continue };
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            match what {
                "answers" => {
                    let (count, answer) = rest.split_once(' ').unwrap();
                    report.answers.insert(answer.to_owned(), count.parse().unwrap());
                }
                "status" => {
                    let (name, value) = rest.split_once(' ').unwrap();
                    report.status.insert(name.to_owned(), value.parse().unwrap());
                }
                "first" => report.first_token = Some(Duration::from_micros(rest.parse().unwrap())),
                "token" => report.token = Some(rest.to_owned()),
                "mark" => self.marks.extend(Mark::read(line)),
                "end" => return report,
                _ => panic!("{line}"),
            }
        }
    }
}

/// Does the same with all workers at the same time.
pub(crate) async fn all(workers: &mut [Worker], act: impl AsyncFn(&mut Worker) -> Report) -> Vec<Report> {
    join_all(workers.iter_mut().map(|worker| act(worker))).await
}

/// Returns the sum of a figure of the `StoreStatus`.
pub(crate) fn sum(reports: &[Report], name: &str) -> u64 {
    reports.iter().map(|report| report.count(name)).sum()
}

impl Report {
    /// Returns a figure of the `StoreStatus`.
    pub(crate) fn count(&self, name: &str) -> u64 {
        *self.status.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.status))
    }

    /// Returns how many requests got status 200. All others are a failed test.
    pub(crate) fn answered(&self) -> u64 {
        let answered = self.answers.get("200").copied().unwrap_or(0);
        assert_eq!(self.answers.values().sum::<u64>(), answered, "{:?}", self.answers);
        answered
    }
}

/// The process of a worker. Without settings, it does nothing.
#[tokio::test]
#[ignore = "the tests start it"]
async fn a_worker() {
    if env::var_os(format!("{SETTING}TOKEN_URL")).is_none() {
        return;
    }
    let at_work = AtWork::new();
    let mut load: Option<(Arc<AtomicBool>, Vec<JoinHandle<()>>)> = None;
    at_work.print(None);
    let mut input = BufReader::new(stdin()).lines();
    while let Some(line) = input.next_line().await.unwrap() {
        let (what, number) = line.split_once(' ').unwrap_or((&line, ""));
        let mut token = None;
        match what {
            "burst" => drop(join_all((0..number.parse().unwrap()).map(|_| at_work.request())).await),
            "start" => {
                let at_work = at_work.clone();
                let count: usize = number.parse().unwrap();
                let all = async move { drop(join_all((0..count).map(|_| at_work.request())).await) };
                load = Some((Arc::default(), vec![tokio::spawn(all)]));
            }
            "load" => {
                let goes_on = Arc::new(AtomicBool::new(true));
                let tasks = (0..number.parse().unwrap()).map(|_| tokio::spawn(at_work.clone().load(goes_on.clone())));
                let tasks = tasks.collect();
                load = Some((goes_on, tasks));
            }
            "stop" => {
                let (goes_on, tasks) = load.take().unwrap();
                goes_on.store(false, Relaxed);
                for task in tasks {
                    task.await.unwrap();
                }
            }
            "token" => token = Some(at_work.token().await),
            "look" => {}
            _ => panic!("{line}"),
        }
        at_work.print(token);
    }
}

/// What a worker works with.
#[derive(Clone)]
struct AtWork {
    api: String,
    cache: TokenCache,
    shared: SharedStore,
    client: BoxCloneSyncService<Request<Full<Bytes>>, StatusCode, BoxError>,
    created: Instant,
    first_token: Arc<Mutex<Option<Duration>>>,
    answers: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl AtWork {
    fn new() -> Self {
        let created = Instant::now();
        let (cache, shared) = cache();
        let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        // Behind the layer, so that all requests ask for a token at once.
        let limited = service_fn(move |request| {
            let (http, connections) = (http.clone(), connections.clone());
            async move {
                let _permit = connections.acquire().await?;
                let (head, body) = http.request(request).await?.into_parts();
                body.collect().await?;
                Ok::<_, BoxError>(http::Response::from_parts(head, Full::<Bytes>::default()))
            }
        });
        let client = ServiceBuilder::new().layer(BearerAuthLayer::with_cache(cache.clone())).service(limited);
        let client = BoxCloneSyncService::new(client.map_response(|answer| answer.status()).map_err(Into::into));
        let (first_token, answers) = (Arc::default(), Arc::default());
        Self { api: setting("API").unwrap(), cache, shared, client, created, first_token, answers }
    }

    async fn request(&self) {
        let request = Request::get(&self.api).body(Full::default()).unwrap();
        let answer = match self.client.clone().oneshot(request).await {
            Ok(status) => status.as_u16().to_string(),
            Err(error) => causes(&*error),
        };
        if answer != "200" {
            marks::mark(&format!("failed {answer}"));
        }
        self.note_token();
        *self.answers.lock().unwrap().entry(answer).or_default() += 1;
    }

    async fn token(&self) -> String {
        let token = self.cache.token().await.map_or_else(|error| error.to_string(), |token| token.secret().to_owned());
        self.note_token();
        token
    }

    fn note_token(&self) {
        self.first_token.lock().unwrap().get_or_insert_with(|| self.created.elapsed());
    }

    async fn load(self, goes_on: Arc<AtomicBool>) {
        let pause = millis("PAUSE_MS");
        while goes_on.load(Relaxed) {
            self.request().await;
            sleep(pause).await;
        }
    }

    fn print(&self, token: Option<String>) {
        for (answer, count) in std::mem::take(&mut *self.answers.lock().unwrap()) {
            println!("\n{LINE}answers {count} {answer}");
        }
        // `StoreStatus { is_available: true, hits: 0, … }`
        let status = format!("{:?}", self.shared.status()).replace("true", "1").replace("false", "0");
        let fields = status.split_once('{').unwrap().1.trim_end_matches('}');
        for (name, value) in fields.split(',').filter_map(|field| field.split_once(':')) {
            println!("\n{LINE}status {} {}", name.trim(), value.trim());
        }
        if let Some(took) = *self.first_token.lock().unwrap() {
            println!("\n{LINE}first {}", took.as_micros());
        }
        if let Some(token) = token {
            println!("\n{LINE}token {token}");
        }
        println!("\n{LINE}end");
    }
}

fn cache() -> (TokenCache, SharedStore) {
    let text = |name| setting(name).unwrap_or_default();
    let mut store = RedisStore::builder(&text("REDIS")).timeout(millis("STORE_MS"));
    if let Some(master) = setting("SENTINEL") {
        store = store.sentinel(master);
    }
    if setting("CLUSTER").is_some() {
        store = store.cluster();
    }
    let keys = SealingKeys::new(SealingKey::new(&[7; 32]));
    let shared = SharedStore::builder(MarkedStore(store.build().unwrap()), keys)
        .deadline(millis("STORE_MS"))
        .lease(millis("LEASE_MS"))
        .wait(millis("WAIT_MS"))
        .build();
    let (url, client) = (text("TOKEN_URL"), ClientAuth::basic(text("CLIENT_ID"), text("CLIENT_SECRET")));
    let grant: BoxTokenSource = match &*text("GRANT") {
        "client_credentials" => ClientCredentials::builder(url).client_auth(client).build().unwrap().boxed(),
        "refresh_token" => {
            let first = text("REFRESH_TOKEN");
            let grant = RefreshToken::builder(url).client_auth(client).refresh_token(first);
            grant.build_with(marks::marked_client()).unwrap().boxed()
        }
        _ => {
            let password = PasswordGrant::builder(url).client_auth(client);
            password.credentials(text("USERNAME"), text("PASSWORD")).build().unwrap().boxed()
        }
    };
    let mut stored = Stored::new(grant, &shared);
    if let Some(name) = setting("NAME") {
        stored = stored.named(name);
    }
    (TokenCache::builder(stored).renewal_deadline(millis("RENEWAL_MS")).build(), shared)
}

fn millis(name: &str) -> Duration {
    Duration::from_millis(setting(name).unwrap().parse().unwrap())
}

pub(crate) fn setting(name: &str) -> Option<String> {
    env::var(format!("{SETTING}{name}")).ok()
}

/// Returns the text of an error with its causes, on one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<_> = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    texts.join(": ").replace('\n', " ")
}
