//! The scripts. Each call is one script, so that it happens as a whole, and each can run twice: an answer may be lost.

use std::sync::LazyLock;

use redis::{Cmd, RedisResult, Script, ServerErrorKind, Value, aio::MultiplexedConnection, cmd, pipe};

/// A script and its hash.
pub(crate) struct StoredScript {
    text: &'static str,
    hash: String,
}

/// What a script is called with.
pub(crate) struct Call {
    pub(crate) script: &'static LazyLock<StoredScript>,
    pub(crate) keys: Vec<String>,
    pub(crate) arguments: Vec<Vec<u8>>,
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(crate) static $name: LazyLock<StoredScript> = LazyLock::new(|| StoredScript::new(include_str!($file)));
    };
}

script!(LOAD, "scripts/load.lua");
script!(LEASE, "scripts/lease.lua");
script!(COMMIT, "scripts/commit.lua");
script!(RELEASE, "scripts/release.lua");

impl StoredScript {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }
}

impl Call {
    /// Runs the script by its hash or, where the server does not know it, by its text. That needs no permission to load scripts.
    pub(crate) async fn run(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        if asking {
            // The node serves the key for the one command that follows.
            let mut both = pipe();
            both.cmd("ASKING").ignore().add_command(self.command("EVAL", self.script.text));
            let mut answers: Vec<Value> = both.query_async(connection).await?;
            return Ok(answers.pop().unwrap_or(Value::Nil));
        }
        match self.command("EVALSHA", &self.script.hash).query_async(connection).await {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                self.command("EVAL", self.script.text).query_async(connection).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
