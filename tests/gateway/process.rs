//! The example as a process.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use tower_bearer::testing::IssuerServer;

/// A step that takes longer has hung.
const HANG: Duration = Duration::from_secs(30);

/// A running gateway. It is killed when it is dropped.
pub(crate) struct Gateway {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<String>>,
    pub(crate) url: String,
    pub(crate) admin: String,
}

/// Returns the arguments for an issuer with default settings.
pub(crate) fn password_grant(issuer: &IssuerServer) -> Vec<String> {
    ["--token-url", &issuer.token_url(), "--client-id", "client1", "--username", "user1"].map(str::to_owned).into()
}

/// Returns the command with the issuer's secrets in its environment, and without `RUST_LOG`.
pub(crate) fn command() -> Command {
    let mut command = Command::new(built());
    command
        .env("BEARER_CLIENT_SECRET", "client-secret")
        .env("BEARER_PASSWORD", "user-password")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Gateway {
    /// Starts the gateway in front of `upstream`.
    pub(crate) async fn start(upstream: &str, args: &[String]) -> Self {
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream]).args(args);
        Self::run(command).await
    }

    pub(crate) async fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = Arc::default();
        tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&stderr)));
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = async |start: &str| {
            let line = timeout(HANG, stdout.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("the gateway ended: {}", stderr.lock().unwrap()));
            line.strip_prefix(start).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let url = line("listening on ").await;
        let admin = line("admin on ").await;
        Self { child, stdout, stderr, url, admin }
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Blocking::new("sh").args(["-c", "kill -$1 $0", &id, name]).status().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. Returns the exit status, and everything that it printed after the addresses.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let status = timeout(HANG, self.child.wait()).await.unwrap().unwrap();
        let mut said = String::new();
        while let Some(line) = self.stdout.next_line().await.unwrap() {
            said += &line;
        }
        // The collector has a handle until it has read everything.
        while Arc::strong_count(&self.stderr) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        said += &self.stderr.lock().unwrap();
        (status.code(), said)
    }
}

async fn collect(stderr: impl AsyncRead + Unpin, into: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut text = into.lock().unwrap();
        text.push_str(&line);
        text.push('\n');
    }
}

/// Returns the path of the example's executable. Cargo builds it before all tests, but not for `--test gateway` alone.
/// Then it is built here.
fn built() -> PathBuf {
    // target/debug/deps/gateway-…
    let target = env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let executable = target.join("examples").join(format!("gateway{}", env::consts::EXE_SUFFIX));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["crates/tower-bearer-redis/src", "examples/cli", "examples/gateway", "src"]
        .map(|folder| newest(&root.join(folder)));
    let newest = sources.into_iter().max().unwrap();
    if modified(&executable).is_none_or(|built| built < newest) {
        let mut cargo = Blocking::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "gateway", "--target-dir"]).arg(target.parent().unwrap());
        if cfg!(feature = "webpki-roots") {
            cargo.arg("--all-features");
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.current_dir(root).status().unwrap().success());
    }
    executable
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let times = entries.map(|path| if path.is_dir() { newest(&path) } else { modified(&path).unwrap() });
    times.max().unwrap()
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|data| data.modified()).ok()
}
