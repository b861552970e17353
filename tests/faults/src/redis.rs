//! Redis servers, alone and watched by sentinels.

use std::{env, fs, io, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// A server. It is killed when it is dropped.
pub struct Redis {
    pub port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts `redis-server` from `PATH`, and waits until it answers.
    pub async fn start(arguments: &[&str]) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let folder = env::temp_dir().join(format!("faults-redis-{port}"));
        fs::create_dir_all(&folder)?;
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let child = run(&folder, port, &arguments)?;
        let server = Self { port, folder, arguments, child };
        server.wait().await?;
        Ok(server)
    }

    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Starts a killed server again.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.child = run(&self.folder, self.port, &self.arguments)?;
        self.wait().await
    }

    /// Runs a command. Returns the bytes of the answer, at most 64 KiB of them.
    pub async fn ask(&self, command: &str) -> io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).await?;
        connection.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = vec![0; 64 * 1024];
        let length = timeout(Duration::from_secs(1), connection.read(&mut answer)).await??;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    async fn wait(&self) -> io::Result<()> {
        for _ in 0..1_000 {
            if self.ask("PING").await.is_ok_and(|answer| answer.starts_with("+PONG")) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(io::Error::other("redis-server does not answer"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(folder: &PathBuf, port: u16, arguments: &[String]) -> io::Result<Child> {
    let mut command = Command::new("redis-server");
    if arguments.iter().any(|argument| argument == "--sentinel") {
        // It writes what it learns into its file.
        let file = folder.join("sentinel.conf");
        fs::write(&file, "")?;
        command.arg(file);
    } else {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(arguments).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()
}

/// One master, two replicas and three sentinels.
pub struct Watched {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Redis>,
}

impl Watched {
    pub async fn start() -> io::Result<Self> {
        let master = Redis::start(&["--repl-diskless-sync-delay", "0"]).await?;
        let of_master = format!("127.0.0.1 {}", master.port);
        let mut servers = vec![master];
        let mut sentinels = Vec::new();
        for _ in 0..2 {
            servers.push(Redis::start(&["--repl-diskless-sync-delay", "0", "--replicaof", &of_master]).await?);
        }
        for _ in 0..3 {
            let sentinel = Redis::start(&["--sentinel"]).await?;
            sentinel.ask(&format!("SENTINEL MONITOR mymaster {of_master} 2")).await?;
            sentinel.ask("SENTINEL SET mymaster down-after-milliseconds 1000 failover-timeout 10000").await?;
            sentinels.push(sentinel);
        }
        for sentinel in &sentinels {
            while !is_complete(&sentinel.ask("SENTINEL MASTER mymaster").await?) {
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(Self { servers, sentinels })
    }

    pub fn urls(&self) -> String {
        self.sentinels
            .iter()
            .map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Returns the server that the first sentinel calls the master.
    pub async fn master(&mut self) -> Option<&mut Redis> {
        let answer = self.sentinels[0].ask("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").await.ok()?;
        self.servers.iter_mut().find(|server| answer.contains(&format!("\r\n{}\r\n", server.port)))
    }
}

/// Returns whether a sentinel knows both replicas and both other sentinels.
fn is_complete(answer: &str) -> bool {
    ["num-slaves", "num-other-sentinels"].iter().all(|name| answer.contains(&format!("{name}\r\n$1\r\n2\r\n")))
}
