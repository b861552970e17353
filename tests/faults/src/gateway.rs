//! The example gateway as a process, and what it uses.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::tls::Tls;

/// The gateway's timeout for an answer, and for each further part of it.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// What a gateway may use in the end more than in the beginning. The allocator keeps some memory.
const MORE: Usage = Usage { kib: 16 * 1024, threads: 4, descriptors: 8, tasks: 8 };

/// How long a gateway without requests may take to give back what it used. Its client looks each 30 s for connections that were idle
/// for 30 s, so the last one goes after up to 60 s.
const SETTLES: Duration = Duration::from_secs(75);

/// The longest wait between two renewals that fail. The first is [`FIRST_BACKOFF`].
pub const BACKOFF: Duration = Duration::from_millis(500);

pub const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// Where the gateway finds its servers.
pub struct Settings {
    pub token_url: String,
    pub upstream: String,
    /// The section `[store]` without its keys, or nothing.
    pub store: Option<String>,
    /// What follows the section `[token]`, without the user.
    pub identity: String,
    pub timeout: Duration,
    /// Whether names are looked up in a file of this gateway alone, so that they can disappear.
    pub own_names: bool,
}

/// A running gateway. It is killed when it is dropped.
pub struct Gateway {
    child: Child,
    folder: PathBuf,
    pub url: String,
    pub admin: String,
}

/// What a gateway uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub kib: u64,
    pub threads: u64,
    pub descriptors: u64,
    pub tasks: u64,
}

impl Gateway {
    pub async fn start(binary: &Path, settings: &Settings) -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("faults-gateway-{:x}", fastrand::u64(..)));
        fs::create_dir_all(&folder)?;
        let file = folder.join("gateway.toml");
        fs::write(&file, settings.toml())?;
        let mut command = if settings.own_names { with_own_names(&folder, binary)? } else { Command::new(binary) };
        command
            .arg("--config")
            .arg(file)
            .env("GATEWAY_SECRET", "client-secret")
            .env("USER_PASSWORD", "user-password")
            .env("SEALING_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            // Hundreds of warnings of faults that were asked for.
            .env("RUST_LOG", env::var("FAULTS_LOG").unwrap_or_else(|_| "error".into()));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut line = async |start: &str| {
            let line = timeout(Duration::from_secs(30), lines.next_line()).await??;
            let line = line.ok_or_else(|| io::Error::other("the gateway did not start"))?;
            Ok::<_, io::Error>(line.trim_start_matches(start).to_owned())
        };
        let (url, admin) = (line("listening on ").await?, line("admin on ").await?);
        Ok(Self { child, folder, url, admin })
    }

    /// Lets the names of the servers be found, or not. For a gateway with its own names.
    pub fn names(&self, found: bool) -> io::Result<()> {
        fs::write(self.folder.join("hosts"), if found { "127.0.0.1 localhost\n" } else { "127.0.0.1 another\n" })
    }

    pub async fn usage(&self) -> io::Result<Usage> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id().unwrap_or_default()));
        let status = fs::read_to_string(process.join("status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
        };
        let descriptors = fs::read_dir(process.join("fd"))?.count() as u64;
        let tasks = self.metric("gateway_tasks").await.unwrap_or_default();
        Ok(Usage { kib: number("VmRSS:"), threads: number("Threads:"), descriptors, tasks })
    }

    /// Returns the value of a metric without labels.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let answer = client.get(format!("{}/metrics", self.admin).parse().ok()?).await.ok()?;
        let page = answer.into_body().collect().await.ok()?.to_bytes();
        let page = String::from_utf8_lossy(&page);
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}

impl Usage {
    /// Waits until the gateway uses about as little as this. Returns whether it does.
    pub async fn returns(self, gateway: &Gateway) -> io::Result<bool> {
        let idle = Instant::now();
        loop {
            let end = gateway.usage().await?;
            let is_back = end.kib <= self.kib + MORE.kib
                && end.threads <= self.threads + MORE.threads
                && end.descriptors <= self.descriptors + MORE.descriptors
                && end.tasks <= self.tasks + MORE.tasks;
            if is_back || idle.elapsed() > SETTLES {
                let verdict = if is_back { "idle" } else { "BROKEN: NOT BACK" };
                println!("{verdict} after {:.0?}: {self} in the beginning, {end} in the end", idle.elapsed());
                return Ok(is_back);
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kib, threads, descriptors, tasks } = self;
        write!(f, "{} MiB, {threads} threads, {descriptors} descriptors, {tasks} tasks", kib / 1024)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Settings {
    fn toml(&self) -> String {
        let Self { token_url, upstream, identity, timeout, .. } = self;
        let ca =
            if upstream.starts_with("https") { format!("ca_file = \"{}\"\n", Tls::ca_file()) } else { String::new() };
        let store = self.store.as_ref().map_or(String::new(), |store| {
            format!("[store]\n{store}\nkeys = [{{ env = \"SEALING_KEY\" }}]\nlease = \"300ms\"\nwait = \"500ms\"\n")
        });
        // A request that waits for a token gets the error of its renewal, and not that of the timeout.
        let [timeout, deadline, backoff, first] =
            [*timeout, *timeout * 4 / 5, BACKOFF, FIRST_BACKOFF].map(|time| format!("{}ms", time.as_millis()));
        format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\ntimeout = \"{timeout}\"\n{ca}\
             [token]\nurl = \"{token_url}\"\ngrant = \"password\"\nclient_id = \"client1\"\n\
             client_secret = {{ env = \"GATEWAY_SECRET\" }}\nusername = \"user1\"\npassword = {{ env = \"USER_PASSWORD\" }}\n\
             [cache]\nrenewal_deadline = \"{deadline}\"\nstale_before_expiry = {{ max = \"1h\", share = 0.5 }}\nstale_jitter = 0.0\n\
             transient_backoff = {{ first = \"{first}\", max = \"{backoff}\" }}\n\
             unexplained_backoff = {{ first = \"{first}\", max = \"{backoff}\" }}\n{store}{identity}"
        )
    }
}

/// Returns a command that runs the gateway with another `/etc/hosts`, in a mount namespace of its own.
fn with_own_names(folder: &Path, binary: &Path) -> io::Result<Command> {
    let hosts = folder.join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n")?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.args(["mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts).arg(binary);
    Ok(command)
}

/// Returns whether a process can have names of its own here. Some containers do not allow it.
pub async fn can_have_own_names() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", "mount --bind /etc/hosts /etc/hosts"]);
    command.stderr(Stdio::null()).status().await.is_ok_and(|status| status.success())
}
