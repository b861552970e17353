//! The command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::Path,
    str::FromStr,
    time::Duration,
};

use lexopt::{Arg, Parser};
use tower_bearer::grant::{ClientAuth, Secret};

use crate::{base::Base, trouble::Trouble};

pub const HELP: &str = "\
A reverse proxy that puts a bearer token on every request.

    cargo run --example gateway -- --upstream URL --token-url URL --client-id ID [OPTION]...

  --upstream URL             where requests go: their path and query are kept below this URL
  --listen ADDR              where users connect; port 0 picks one [127.0.0.1:0]
  --admin ADDR               where /healthz and /metrics are [nowhere]
  --token-url URL            where tokens are issued
  --client-id ID             the client that the issuer knows
  --client-auth METHOD       basic, post or none [basic]
  --username NAME            a user, by the password grant [the client's own token, by client credentials]
  --scope SCOPE              the scope to ask for, space-delimited [the issuer chooses]
  --client-secret-file FILE  the client's secret, else it is taken from BEARER_CLIENT_SECRET
  --password-file FILE       the user's password, else it is taken from BEARER_PASSWORD
  --revoke-on-exit URL       revoke the token there (RFC 7009) at the end
  --timeout SECONDS          how long an answer may take to begin, once the upload has ended or stands still [30]
  --drain SECONDS            how long requests may go on after SIGINT or SIGTERM [30]
  --ca-file PEM              trust these certificates as well
  --allow-plain-http         let the upstream be plain http on another host than loopback
  --no-auth                  pass requests on without a token, for measuring
  --help                     print this

It asks nobody who they are: whoever reaches it uses its token. Files of secrets are read at each token request, so that they
can be rotated. RUST_LOG says what is logged, to standard error. Standard output has the addresses: `listening on http://ADDR`,
and with --admin `admin on http://ADDR`.
Exit status: 0 told to end, 1 it could not begin, 2 a wrong command line.
";

/// They have values; so do those [of a token's](OF_AUTH).
const VALUES: [&str; 6] = ["upstream", "listen", "admin", "timeout", "drain", "ca-file"];

const FLAGS: [&str; 2] = ["allow-plain-http", "no-auth"];

/// Of no use without a token.
const OF_AUTH: [&str; 8] = [
    "token-url",
    "client-id",
    "client-auth",
    "username",
    "scope",
    "client-secret-file",
    "password-file",
    "revoke-on-exit",
];

/// What the command line asks for.
pub enum Asked {
    Help,
    Serve(Box<Plan>),
}

pub struct Plan {
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub base: Base,
    /// `None`: requests are passed on without a token.
    pub auth: Option<Auth>,
    /// PEM of certificates to trust besides the system's.
    pub ca: Option<Vec<u8>>,
    pub plain_http: bool,
    pub timeout: Duration,
    pub drain: Duration,
}

/// How the gateway gets its token.
pub struct Auth {
    pub token_url: String,
    pub client: ClientAuth,
    pub user: Option<(String, Secret)>,
    pub scope: Option<String>,
    pub revoke_url: Option<String>,
}

pub fn parse(mut parser: Parser) -> Result<Asked, Trouble> {
    let (mut given, mut flags) = (Given::default(), BTreeSet::new());
    while let Some(arg) = parser.next().map_err(usage)? {
        let Arg::Long(name) = arg else {
            if arg == Arg::Short('h') {
                return Ok(Asked::Help);
            }
            // Not shown, since it may be a secret that lost its option.
            return Err(Trouble::usage("there is an argument that belongs to no --option"));
        };
        let known = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
        if name == "help" {
            return Ok(Asked::Help);
        } else if let Some(name) = known(&FLAGS) {
            flags.insert(name);
        } else if let Some(name) = known(&VALUES).or_else(|| known(&OF_AUTH)) {
            given.0.insert(name, parser.value().map_err(usage)?);
        } else if matches!(name, "password" | "client-secret") {
            return Err(Trouble::usage(
                "a secret is never an argument, where `ps` shows it: use the environment or a file",
            ));
        } else {
            return Err(Trouble::usage("there is an option that it does not know"));
        }
    }
    given.plan(flags.contains("no-auth"), flags.contains("allow-plain-http")).map(Box::new).map(Asked::Serve)
}

/// Options with their values.
#[derive(Default)]
struct Given(BTreeMap<&'static str, OsString>);

impl Given {
    fn plan(&self, no_auth: bool, plain_http: bool) -> Result<Plan, Trouble> {
        let base = Base::parse(&self.required("upstream")?)
            .map_err(|wrong| Trouble::usage(format!("the URL of --upstream {wrong}")))?;
        if !plain_http && !base.is_private() {
            return Err(Trouble::usage(
                "--upstream is plain http, where anybody on the way can read the token: use https, or --allow-plain-http \
                 where the way is private by other means",
            ));
        }
        let useless = OF_AUTH.into_iter().find(|name| no_auth && self.0.contains_key(name));
        if let Some(name) = useless {
            return Err(Trouble::usage(format!("--{name} is of no use with --no-auth")));
        }
        let ca = self.file("ca-file").map(fs::read).transpose();
        Ok(Plan {
            listen: self.parsed("listen", "an address with a port, such as 127.0.0.1:8080")?.unwrap_or(ANY_PORT),
            admin: self.parsed("admin", "an address with a port, such as 127.0.0.1:9090")?,
            base,
            auth: if no_auth { None } else { Some(self.auth()?) },
            ca: ca.map_err(|error| Trouble::usage(format!("--ca-file: {error}")))?,
            plain_http,
            timeout: self.seconds("timeout")?,
            drain: self.seconds("drain")?,
        })
    }

    fn auth(&self) -> Result<Auth, Trouble> {
        let token_url = self.required("token-url")?;
        let id = self.required("client-id")?;
        let secret = || self.secret("client-secret-file", "BEARER_CLIENT_SECRET", "client secret");
        let client = match self.text("client-auth")?.as_deref().unwrap_or("basic") {
            "basic" => ClientAuth::basic(id, secret()?),
            "post" => ClientAuth::post(id, secret()?),
            "none" => ClientAuth::none(id),
            _ => return Err(Trouble::usage("--client-auth is basic, post or none")),
        };
        let user = match self.text("username")? {
            Some(name) => Some((name, self.secret("password-file", "BEARER_PASSWORD", "password")?)),
            None if self.0.contains_key("password-file") => {
                return Err(Trouble::usage("--password-file is of no use without --username"));
            }
            None => None,
        };
        Ok(Auth { token_url, client, user, scope: self.text("scope")?, revoke_url: self.text("revoke-on-exit")? })
    }

    fn text(&self, name: &str) -> Result<Option<String>, Trouble> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        match value.to_str() {
            None => Err(Trouble::usage(format!("--{name} is no UTF-8 text"))),
            Some("") => Err(Trouble::usage(format!("--{name} is empty"))),
            Some(text) => Ok(Some(text.to_owned())),
        }
    }

    fn required(&self, name: &str) -> Result<String, Trouble> {
        self.text(name)?.ok_or_else(|| Trouble::usage(format!("--{name} is missing")))
    }

    fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Trouble> {
        let parsed = self.text(name)?.map(|text| text.parse()).transpose();
        parsed.map_err(|_| Trouble::usage(format!("--{name} is {what}")))
    }

    fn seconds(&self, name: &str) -> Result<Duration, Trouble> {
        let seconds = self.parsed(name, "a number of seconds, 1 to 86400")?.unwrap_or(30);
        if !(1..=86_400).contains(&seconds) {
            return Err(Trouble::usage(format!("--{name} is a number of seconds, 1 to 86400")));
        }
        Ok(Duration::from_secs(seconds))
    }

    fn file(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(Path::new)
    }

    /// Where a secret is. That it is there is looked at now; it is read when it is needed.
    fn secret(&self, option: &str, variable: &str, what: &str) -> Result<Secret, Trouble> {
        match self.file(option) {
            Some(file) => match fs::File::open(file) {
                Ok(_) => Ok(Secret::file(file)),
                Err(error) => Err(Trouble::usage(format!("--{option} {}: {error}", file.display()))),
            },
            None if env::var_os(variable).is_some_and(|value| !value.is_empty()) => Ok(Secret::env(variable)),
            None => Err(Trouble::usage(format!("no {what}: put it into {variable}, or into a file for --{option}"))),
        }
    }
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn usage(error: lexopt::Error) -> Trouble {
    Trouble::usage(match error {
        lexopt::Error::MissingValue { option: Some(option) } => format!("{option} takes a value"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        _ => "the command line cannot be read".to_owned(),
    })
}
