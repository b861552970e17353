//! The command line.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use lexopt::Parser;

use crate::{
    addresses::{self, Addresses},
    base::Base,
    cli::{CliError, GRANT_HELP, GRANT_OPTIONS, GrantOptions, Options},
    config_file, config_identity, config_store,
    store::Store,
    token::{self, Tokens},
    token_rules::{self, LayerRules, TokenRules},
};

const USAGE: &str = "\
A reverse proxy that adds a bearer token to every request.

    cargo run --example gateway -- --upstream URL --token-url URL --client-id ID [OPTION]...
    cargo run --example gateway -- --config FILE

  --config FILE              read all settings from this TOML file, which has more of them than there are options here; other
                             options cannot be given with it
  --upstream URL             where requests go; their path and query are appended to this URL
  --listen ADDR              the address for users; port 0 chooses a free port [127.0.0.1:0]
  --admin ADDR               the address of /healthz, /metrics and /reset [none]
";

const MORE_OPTIONS: &str = "  --revoke-on-exit URL       revoke the token at this URL (RFC 7009) when the gateway ends
  --timeout SECONDS          how long to wait for a response after the last progress of the request's body, and then for each
                             further part of the response [30]
  --drain SECONDS            how long requests may continue after SIGINT or SIGTERM [30]
  --ca-file PEM              trust these certificates in addition to the system's
  --allow-plain-http         allow an upstream with plain http on a host that is not loopback
  --no-auth                  forward requests without a token, for measurements
  --help                     print this text

A request is sent once more if the upstream has certainly not processed it, or if it is idempotent and its connection, kept
from an earlier request, closed before an answer.
A POST to /reset at the --admin address, or SIGHUP, forgets the token and all failures, and gets a new token at once. Use it
when the authorization server was wrong and is right again.
Token requests use the proxy that HTTPS_PROXY and NO_PROXY name; requests to the upstream do not.
The gateway does not authenticate its users: everybody who can reach it uses its token. With `subject_token` in a
--config file, each request needs a token that the authorization server accepts. Secret files are read for each token request,
so a secret can be rotated without a restart. RUST_LOG selects the log lines, which go to standard error. Standard output has
the addresses: `listening on http://ADDR`, and with --admin `admin on http://ADDR`.
Exit status: 0 ended by a signal, 1 could not start, 2 wrong command line or --config file.
";

const WITH_VALUE: [&str; 8] = ["config", "upstream", "listen", "admin", "timeout", "drain", "ca-file", REVOKE];

const REVOKE: &str = "revoke-on-exit";

const FLAGS: [&str; 2] = ["allow-plain-http", "no-auth"];

pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub fn help() -> String {
    let (rules, addresses) = (token_rules::HELP, addresses::HELP);
    let file = [config_file::HELP, config_identity::HELP, config_store::HELP].concat();
    format!("{USAGE}{GRANT_HELP}{rules}{addresses}{MORE_OPTIONS}{file}")
}

pub struct Config {
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub base: Base,
    pub tokens: Tokens,
    /// By which the tokens are shared, if they are.
    pub store: Option<Store>,
    /// Whether the tokens are revoked when the gateway ends.
    pub revokes: bool,
    pub layer_rules: LayerRules,
    pub addresses: Addresses,
    /// PEM certificates to trust in addition to the system's.
    pub ca: Option<Vec<u8>>,
    pub plain_http: bool,
    pub timeout: Duration,
    pub drain: Duration,
}

/// Reads the command line. Returns `None` for `--help`.
pub fn parse(parser: Parser) -> Result<Option<Config>, CliError> {
    let with_value = [&WITH_VALUE[..], &GRANT_OPTIONS, &token_rules::OPTIONS, &addresses::OPTIONS].concat();
    let flags = [FLAGS, addresses::FLAGS].concat();
    let Some(options) = Options::parse(parser, &with_value, &flags)? else { return Ok(None) };
    let Some(file) = options.path("config") else { return config(&options).map(Some) };
    let mut others = with_value.into_iter().filter(|name| *name != "config" && options.has(name));
    if let Some(other) = others.next().or_else(|| flags.into_iter().find(|name| options.flag(name))) {
        return Err(CliError::usage(format!("--{other} is of no use with --config: write this setting into the file")));
    }
    config_file::read(file).map(Some)
}

fn config(options: &Options) -> Result<Config, CliError> {
    let base = Base::parse(&options.required("upstream")?)
        .map_err(|wrong| CliError::usage(format!("the URL of --upstream {wrong}")))?;
    let plain_http = options.flag("allow-plain-http");
    if !plain_http && !base.is_secure() {
        return Err(CliError::usage(
            "--upstream is plain http, so others on the network could read the token: use https, or --allow-plain-http \
             if the network is protected in another way",
        ));
    }
    let no_auth = options.flag("no-auth");
    let of_tokens = GRANT_OPTIONS.into_iter().chain(token_rules::OPTIONS).chain([REVOKE]);
    let useless = of_tokens.into_iter().find(|name| no_auth && options.has(name));
    if let Some(name) = useless {
        return Err(CliError::usage(format!("--{name} is of no use with --no-auth")));
    }
    let grant = if no_auth { None } else { Some(GrantOptions::from_options(options, Some(REVOKE))?) };
    Ok(Config {
        listen: options.parsed("listen", "an address with a port, such as 127.0.0.1:8080")?.unwrap_or(ANY_PORT),
        admin: options.parsed("admin", "an address with a port, such as 127.0.0.1:9090")?,
        base,
        tokens: grant.as_ref().map_or(Ok(Tokens::None), |grant| token::cache(grant).map(Tokens::One))?,
        store: None,
        revokes: grant.is_some_and(|grant| grant.revocation_url.is_some()),
        layer_rules: LayerRules::Options(TokenRules::from_options(options)?),
        addresses: Addresses::from_options(options)?,
        ca: options.file("ca-file")?,
        plain_http,
        timeout: seconds(options, "timeout")?,
        drain: seconds(options, "drain")?,
    })
}

fn seconds(options: &Options, name: &str) -> Result<Duration, CliError> {
    const RANGE: &str = "a number of seconds, 1 to 86400";
    let seconds = options.parsed(name, RANGE)?.unwrap_or(30);
    if !(1..=86_400).contains(&seconds) {
        return Err(CliError::usage(format!("--{name} must be {RANGE}")));
    }
    Ok(Duration::from_secs(seconds))
}
