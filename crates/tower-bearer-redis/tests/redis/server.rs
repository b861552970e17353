//! A server process on loopback, with a port and a folder of its own.

#![expect(clippy::disallowed_methods, reason = "processes take real time")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{Client, Connection, Value};

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Redis7,
    Redis62,
    Valkey9,
}

/// A server. It is killed when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    binary: PathBuf,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

impl Version {
    /// Returns the binary, or says that the test is skipped.
    pub(crate) fn find(self) -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../redis-servers");
        let on_path = || {
            std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join("redis-server")).find(|it| it.exists())
        };
        let found = match self {
            Self::Redis7 => on_path(),
            Self::Redis62 => Some(folder.join("redis-6.2")).filter(|path| path.exists()),
            Self::Valkey9 => Some(folder.join("valkey-9")).filter(|path| path.exists()),
        };
        if found.is_none() {
            let what = format!("{self:?} is not installed: run crates/tower-bearer-redis/tests/servers.sh");
            assert!(std::env::var_os("TOWER_BEARER_REDIS_REQUIRED").is_none(), "{what}");
            eprintln!("SKIPPED: {what}");
        }
        found
    }
}

impl Server {
    /// Starts a server with these arguments besides the usual ones, and waits until it answers.
    pub(crate) fn start(version: Version, arguments: &[&str]) -> Option<Self> {
        let server = Self::spawn(version.find()?, arguments);
        server.wait();
        Some(server)
    }

    /// Starts a server without waiting.
    pub(crate) fn spawn(binary: PathBuf, arguments: &[&str]) -> Self {
        let port = free_port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{port}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = run(&binary, &folder, port, &arguments);
        Self { port, binary, folder, arguments, child }
    }

    pub(crate) fn wait(&self) {
        eventually("a server that answers", || {
            let answer = redis::cmd("PING").query::<Value>(&mut self.try_connect()?);
            // One that wants a password or is loading is up as well.
            (!answer.is_err_and(|error| error.is_io_error())).then_some(())
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command, with a connection of its own.
    pub(crate) fn run(&self, command: &str) -> Value {
        let mut connection = self.try_connect().expect("a connection");
        query(&mut connection, command)
    }

    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().expect("a connection")
    }

    fn try_connect(&self) -> Option<Connection> {
        Client::open(self.url()).unwrap().get_connection_with_timeout(Duration::from_secs(1)).ok()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        // The shell has it built in. The program is not on every machine.
        assert!(Command::new("sh").args(["-c", "kill $1 $0", &id, signal]).status().unwrap().success());
    }

    /// Returns all that the server has, as it writes it to its disk.
    pub(crate) fn dump(&self) -> Vec<u8> {
        self.run("SAVE");
        fs::read(self.folder.join("dump.rdb")).unwrap()
    }

    /// Ends the server at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts a killed server on its port, with its folder.
    pub(crate) fn restart(&mut self) {
        self.child = run(&self.binary, &self.folder, self.port, &self.arguments);
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn query(connection: &mut Connection, command: &str) -> Value {
    let mut words = command.split(' ');
    redis::cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>()).query(connection).unwrap()
}

/// Tries until it succeeds, for at most 30 seconds.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "there is not {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn run(binary: &Path, folder: &Path, port: u16, arguments: &[String]) -> Child {
    let is_sentinel = arguments.iter().any(|argument| argument == "--sentinel");
    let mut command = Command::new(binary);
    if is_sentinel {
        // It writes what it learns into its file.
        let file = folder.join("sentinel.conf");
        fs::write(&file, "").unwrap();
        command.arg(file);
    }
    command.args(arguments).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    if !is_sentinel {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// Returns a port that is free, and so is the one that a cluster uses besides it.
fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(10_000..30_000);
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
