//! One rotating refresh token for eight processes, on oidc-provider. Its tokens live for three seconds, and a second use of a refresh
//! token ends the session. `tests/real/run.sh` starts it, for these tests alone with:
//!
//! ```text
//! TOWER_BEARER_REAL_ONLY=oidc-provider tests/real/run.sh \
//!     cargo nextest run --package tower-bearer-redis --test redis --run-ignored only -E 'test(families::)'
//! ```
//!
//! `TOWER_BEARER_FAMILY_SECONDS` is how long each test takes (60). They run at the same time.

use std::{collections::BTreeMap, env, fs, process::Command, time::Duration};

use futures_util::future::select_all;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    marks::{self, Mark},
    server::{Server, Version},
    workers::{Settings, Worker, all, sum},
};

const PROCESSES: usize = 8;

/// How many tasks send requests in each process, and the time between two requests of a task.
const TASKS: usize = 2;
const PAUSE_MS: &str = "200";

/// A mark that came so long ago tells nothing of what the process does now.
const RECENT: Duration = Duration::from_millis(2);

/// When a process is killed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kill {
    /// Some process at some time.
    AtRandom,
    /// One that renews, within three milliseconds after its commit.
    AfterCommit,
    /// One that renews, within ten milliseconds after it got the lease.
    AmidRenewal,
}

/// A server that is strict with a second use: it ends the session.
const STRICT: &str = "OIDC_PROVIDER_FLEET_CLIENT_ID";
/// One that accepts it for thirty seconds.
const LENIENT: &str = "OIDC_PROVIDER_LENIENT_CLIENT_ID";

#[tokio::test]
#[ignore = "needs oidc-provider, which tests/real/run.sh starts"]
async fn eight_processes_use_each_refresh_token_once() {
    let Some(mut fleet) = Fleet::start(STRICT).await else { return };
    fleet.run(&[]).await;
    let figures = fleet.stop().await;
    assert_eq!(figures.failed, [""; 0]);
    assert_eq!((figures.revoked, figures.used_twice, figures.second_uses), (0, 0, 0));
    assert_eq!(figures.token_requests, figures.commits, "each is committed once");

    // The same server would have said so.
    let answer = curl(STRICT, &format!("grant_type=refresh_token&refresh_token={}", fleet.session.first));
    assert!(answer.contains("invalid_grant"), "{answer}");
    let events = fleet.session.events();
    assert_eq!((count(&events, "second_use"), count(&events, "revoked")), (1, 1));
}

#[tokio::test]
#[ignore = "needs oidc-provider, which tests/real/run.sh starts"]
async fn the_session_survives_when_processes_are_killed() {
    let Some(mut fleet) = Fleet::start(STRICT).await else { return };
    fleet.run(&[Kill::AtRandom, Kill::AfterCommit]).await;
    let figures = fleet.stop().await;
    assert_eq!(figures.failed, [""; 0]);
    // A process that is killed between its token request and its commit takes the new refresh token with it: see `docs/fleet.md`.
    assert!(fleet.lost <= fleet.hits, "a session ended without a reason");
    assert_eq!((figures.revoked, figures.used_twice, figures.second_uses), (0, 0, 0));
}

#[tokio::test]
#[ignore = "needs oidc-provider, which tests/real/run.sh starts"]
async fn the_session_survives_kills_amid_renewals_where_a_second_use_is_accepted_for_some_seconds() {
    let Some(mut fleet) = Fleet::start(LENIENT).await else { return };
    fleet.run(&[Kill::AmidRenewal]).await;
    let figures = fleet.stop().await;
    assert_eq!(figures.failed, [""; 0]);
    assert_eq!((figures.revoked, fleet.lost), (0, 0));
    assert!(figures.used_twice <= fleet.hits as u64, "a refresh token is used again after a kill alone");
}

/// Eight workers with one refresh token.
struct Fleet {
    /// It lives as long as the fleet.
    _redis: Server,
    client: &'static str,
    settings: Settings,
    session: Session,
    workers: Vec<Worker>,
    renewals: Vec<Renewal>,
    failed: Vec<String>,
    issuer_took: Vec<Duration>,
    commit_took: Vec<Duration>,
    kills: BTreeMap<Kill, usize>,
    /// How many kills may have been between a token request and its commit, and how many of them ended the session.
    hits: usize,
    lost: usize,
    began: Instant,
}

/// What a worker does now.
#[derive(Clone, Copy, Default)]
struct Renewal {
    asked: Option<Duration>,
    answered: Option<Duration>,
}

/// What came out.
struct Figures {
    failed: Vec<String>,
    token_requests: u64,
    commits: u64,
    revoked: u64,
    used_twice: u64,
    second_uses: u64,
}

impl Fleet {
    async fn start(client: &'static str) -> Option<Self> {
        let redis = Server::start(Version::Redis7, &[])?;
        let session = Session::sign_in(client);
        let settings = Settings::at(&var("OIDC_PROVIDER_TOKEN_URL"), &var("OIDC_PROVIDER_USERINFO_URL"), &redis.url())
            .set("GRANT", "refresh_token")
            .set("CLIENT_ID", var(client))
            .set("CLIENT_SECRET", var("REAL_CLIENT_SECRET"))
            .set("NAME", "user1")
            .set("REFRESH_TOKEN", &session.first)
            .set("PAUSE_MS", PAUSE_MS)
            .set("MARKS", "1");
        let mut fleet = Self {
            _redis: redis,
            client,
            workers: Worker::start_all(PROCESSES, &settings).await,
            settings,
            session,
            renewals: vec![Renewal::default(); PROCESSES],
            failed: vec![],
            issuer_took: vec![],
            commit_took: vec![],
            kills: BTreeMap::new(),
            hits: 0,
            lost: 0,
            began: Instant::now(),
        };
        all(&mut fleet.workers, async |worker| worker.load(TASKS).await).await;
        Some(fleet)
    }

    /// Lets the workers work, and kills one each one to four seconds, in these ways in turn.
    async fn run(&mut self, kills: &[Kill]) {
        let seconds = env::var("TOWER_BEARER_FAMILY_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
        let ends = self.began + Duration::from_secs(seconds);
        for kill in kills.iter().cycle() {
            self.wait(ends.min(Instant::now() + Duration::from_millis(fastrand::u64(1000..4000)))).await;
            let Some(index) = self.choose(*kill, ends).await else { break };
            self.kill(index).await;
            *self.kills.entry(*kill).or_default() += 1;
        }
        self.wait(ends).await;
    }

    /// Waits until this time, and notes what the workers do.
    async fn wait(&mut self, until: Instant) {
        while timeout_at(until, self.next()).await.is_ok() {}
    }

    /// Waits for the next mark of any worker.
    async fn next(&mut self) -> (usize, Mark) {
        let marks = self.workers.iter_mut().map(|worker| Box::pin(worker.next_mark()));
        let (mark, index, _) = select_all(marks).await;
        let mark = mark.expect("a worker has ended");
        self.note(index, &mark);
        (index, mark)
    }

    fn note(&mut self, index: usize, mark: &Mark) {
        let renewal = &mut self.renewals[index];
        match &*mark.what {
            "asked" => *renewal = Renewal { asked: Some(mark.at), answered: None },
            "answered" => {
                renewal.answered = Some(mark.at);
                self.issuer_took.extend(renewal.asked.map(|asked| mark.at.saturating_sub(asked)));
            }
            "committed" => {
                self.commit_took.extend(renewal.answered.map(|answered| mark.at.saturating_sub(answered)));
                *renewal = Renewal::default();
            }
            what => self.failed.extend(what.strip_prefix("failed ").map(str::to_owned)),
        }
    }

    /// Returns the worker to kill, at the moment to kill it.
    async fn choose(&mut self, kill: Kill, ends: Instant) -> Option<usize> {
        let (mark, within) = match kill {
            Kill::AtRandom => return (Instant::now() < ends).then(|| fastrand::usize(..PROCESSES)),
            Kill::AfterCommit => ("committed", 3000),
            Kill::AmidRenewal => ("leased", 10_000),
        };
        loop {
            let (index, Mark { what, at }) = timeout_at(ends, self.next()).await.ok()?;
            if what == mark && marks::now() < at + RECENT {
                // A timer has only milliseconds.
                let until = at + Duration::from_micros(fastrand::u64(..within));
                while marks::now() < until {
                    std::thread::yield_now();
                }
                return Some(index);
            }
        }
    }

    /// Kills a worker and starts another one in its place. If the new refresh token may be lost, waits for what comes of it.
    async fn kill(&mut self, index: usize) {
        self.workers[index].kill().await;
        while let Some(mark) = self.workers[index].next_mark().await {
            self.note(index, &mark);
        }
        let is_hit = std::mem::take(&mut self.renewals[index]).asked.is_some();
        let (commits, failed) = (self.commit_took.len(), self.failed.len());
        self.workers[index] = Worker::start(&self.settings).await;
        self.workers[index].load(TASKS).await;
        if !is_hit {
            return;
        }
        self.hits += 1;
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_revoked = loop {
            if count(&self.session.events(), "revoked") > 0 {
                break true;
            }
            // The killed process may be answered after its end, so the server does not say it.
            if self.commit_took.len() > commits {
                break false;
            }
            assert!(Instant::now() < deadline, "nobody takes over");
            self.wait(Instant::now() + Duration::from_millis(20)).await;
        };
        if is_revoked {
            self.lost += 1;
            self.failed.truncate(failed);
            self.sign_in_again().await;
        }
    }

    /// Starts all workers again, with the refresh token of a new session.
    async fn sign_in_again(&mut self) {
        self.session = Session::sign_in(self.client);
        self.settings = self.settings.clone().set("REFRESH_TOKEN", &self.session.first);
        self.workers = Worker::start_all(PROCESSES, &self.settings).await;
        self.renewals.fill(Renewal::default());
        all(&mut self.workers, async |worker| worker.load(TASKS).await).await;
    }

    /// Stops the workers, and prints what came out.
    async fn stop(&mut self) -> Figures {
        let reports = all(&mut self.workers, Worker::stop).await;
        for index in 0..PROCESSES {
            while let Ok(Some(mark)) = timeout(Duration::ZERO, self.workers[index].next_mark()).await {
                self.note(index, &mark);
            }
        }
        let events = self.session.events();
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        for event in events.iter().filter(|event| event.what == "used") {
            *used.entry(&event.refresh_token).or_default() += 1;
        }
        let answered: u64 = reports.iter().filter_map(|report| report.answers.get("200")).sum();
        let lost_leases = sum(&reports, "lost_leases");
        println!(
            "{:.0?}: {answered} requests answered to the processes that are left, {} failed; {} refresh tokens used; {lost_leases} leases lost; kills: {:?}, {} of \
             them between a token request and its commit, of which {} ended the session",
            self.began.elapsed(),
            self.failed.len(),
            used.len(),
            self.kills,
            self.hits,
            self.lost,
        );
        println!("from the token request to its answer: {}", spread(&mut self.issuer_took));
        println!("from the answer to the commit: {}", spread(&mut self.commit_took));
        Figures {
            failed: std::mem::take(&mut self.failed),
            token_requests: used.values().sum(),
            commits: self.commit_took.len() as u64,
            revoked: count(&events, "revoked"),
            used_twice: used.values().filter(|times| **times > 1).count() as u64,
            second_uses: count(&events, "second_use"),
        }
    }
}

/// What a user's consent has brought: a family of refresh tokens.
struct Session {
    first: String,
    grant: String,
}

/// What the server has written about a session.
struct Event {
    what: String,
    refresh_token: String,
}

impl Session {
    fn sign_in(client: &str) -> Self {
        let (user, password) = (var("REAL_USERNAME"), var("REAL_PASSWORD"));
        let answer = curl(client, &format!("grant_type=password&username={user}&password={password}&scope=openid"));
        let (_, first) = answer.split_once(r#""refresh_token":""#).unwrap_or_else(|| panic!("{answer}"));
        let first = first.split_once('"').unwrap().0.to_owned();
        let all = all_events();
        let saved = all.lines().find(|line| line.starts_with("saved ") && line.ends_with(&first));
        let grant = saved.unwrap().split(' ').nth(1).unwrap().to_owned();
        Self { first, grant }
    }

    fn events(&self) -> Vec<Event> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let of_this = all_events().lines().map(words).filter(|words| words[1] == self.grant).collect::<Vec<_>>();
        let event = |mut words: Vec<String>| Event {
            refresh_token: words.get(2).cloned().unwrap_or_default(),
            what: words.swap_remove(0),
        };
        of_this.into_iter().map(event).collect()
    }
}

fn count(events: &[Event], what: &str) -> u64 {
    events.iter().filter(|event| event.what == what).count() as u64
}

fn all_events() -> String {
    fs::read_to_string(var("OIDC_PROVIDER_EVENTS")).unwrap()
}

fn curl(client: &str, form: &str) -> String {
    let user = format!("{}:{}", var(client), var("REAL_CLIENT_SECRET"));
    let output = Command::new("curl").args(["-s", "-u", &user, "-d", form, &var("OIDC_PROVIDER_TOKEN_URL")]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let Some(last) = times.len().checked_sub(1) else { return "never".to_owned() };
    let at = |share: usize| times[(times.len() * share / 100).min(last)];
    format!("{} times, half within {:?}, 99 % within {:?}, all within {:?}", times.len(), at(50), at(99), times[last])
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set; use tests/real/run.sh to run these tests"))
}
