//! A Redis server on loopback, and the few of its commands that the tests need.

#![expect(clippy::disallowed_methods, reason = "processes take real time")]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A server. It is killed when it is dropped.
pub(crate) struct Redis {
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts a server, if there is one on `PATH`. Otherwise the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same, with these arguments besides the usual ones.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Self> {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let path = env::var_os("PATH").unwrap_or_default();
        let Some(binary) = env::split_paths(&path).map(|dir| dir.join("redis-server")).find(|file| file.exists())
        else {
            let what = "redis-server is not installed: run crates/tower-bearer-redis/tests/servers.sh";
            assert!(env::var_os("TOWER_BEARER_REDIS_REQUIRED").is_none(), "{what}");
            eprintln!("SKIPPED: {what}");
            return None;
        };
        loop {
            let port = fastrand::u16(10_000..30_000);
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gateway-redis-{port}"));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            let child = run(&binary, &folder, port, &arguments);
            let mut server = Self { binary: binary.clone(), folder, port, arguments: arguments.clone(), child };
            // It ends if another process has the port.
            if server.is_up() {
                return Some(server);
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts a killed server again, without its data.
    pub(crate) fn restart(&mut self) {
        self.child = run(&self.binary, &self.folder, self.port, &self.arguments);
        assert!(self.is_up());
    }

    /// Runs a command. Returns the strings of the answer.
    pub(crate) fn ask(&self, command: &[&[u8]]) -> Vec<Vec<u8>> {
        self.try_ask(command).unwrap()
    }

    /// Returns all that can be read from the server: names and values.
    pub(crate) fn everything(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for name in self.ask(&[b"KEYS", b"*"]) {
            let kind = self.ask(&[b"TYPE", &name]).concat();
            let read: &[u8] = if kind == b"hash" { b"HGETALL" } else { b"GET" };
            all.extend(self.ask(&[read, &name]).concat());
            all.extend(name);
        }
        all
    }

    fn is_up(&mut self) -> bool {
        loop {
            if self.try_ask(&[b"PING"]).is_ok_and(|answer| answer == [b"PONG"]) {
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn try_ask(&self, command: &[&[u8]]) -> io::Result<Vec<Vec<u8>>> {
        let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", self.port))?);
        let mut sent = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            sent.extend(format!("${}\r\n", word.len()).into_bytes());
            sent.extend_from_slice(word);
            sent.extend(b"\r\n");
        }
        connection.get_mut().write_all(&sent)?;
        let mut answer = Vec::new();
        read(&mut connection, &mut answer)?;
        Ok(answer)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(binary: &Path, folder: &Path, port: u16, arguments: &[String]) -> Child {
    let mut command = Command::new(binary);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    command
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads an answer in RESP2, and adds its strings.
fn read(connection: &mut BufReader<TcpStream>, into: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or(io::ErrorKind::UnexpectedEof)?;
    match (kind, rest.parse::<usize>()) {
        ("$", Ok(length)) => {
            let mut string = vec![0; length + 2];
            connection.read_exact(&mut string)?;
            string.truncate(length);
            into.push(string);
        }
        ("*", Ok(length)) => (0..length).try_for_each(|_| read(connection, into))?,
        _ => into.push(rest.into()),
    }
    Ok(())
}
