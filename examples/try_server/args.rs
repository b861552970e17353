//! The command line.

use http::Uri;
use lexopt::Parser;

use crate::cli::{CliError, GRANT_HELP, GRANT_OPTIONS, GrantOptions, Options};

const USAGE: &str = "\
Tries an authorization server and an API: gets a token, uses it, renews it and recovers from its revocation.

    cargo run --example try_server -- --token-url URL --api-url URL --client-id ID [OPTION]...

  --api-url URL              the URL to GET with the token
";

const MORE_OPTIONS: &str = "  --ca-file PEM              trust these certificates in addition to the system's
  --revoke-url URL           revoke a token at this URL (RFC 7009), to see it replaced
  --requests N               how many requests reuse one token, 1 to 10000 [20]
  --help                     print this text

Secrets are never arguments, and no token is ever printed.
Exit status: 0 success, 1 a server failed or a count is not as expected, 2 wrong command line.
";

const WITH_VALUE: [&str; 4] = ["api-url", "ca-file", "revoke-url", "requests"];

pub struct Config {
    pub grant: GrantOptions,
    pub api_url: Uri,
    /// How many requests reuse one token.
    pub requests: u32,
}

pub fn help() -> String {
    format!("{USAGE}{GRANT_HELP}{MORE_OPTIONS}")
}

/// Reads the command line. Returns `None` for `--help`.
pub fn parse(parser: Parser) -> Result<Option<Config>, CliError> {
    let with_value = [&WITH_VALUE[..], &GRANT_OPTIONS].concat();
    let Some(options) = Options::parse(parser, &with_value, &[])? else { return Ok(None) };
    Ok(Some(Config {
        grant: GrantOptions::from_options(&options, Some("revoke-url"))?,
        api_url: url(&options.required("api-url")?)?,
        requests: requests(&options)?,
    }))
}

/// The layer itself refuses to send a token over plain http.
fn url(text: &str) -> Result<Uri, CliError> {
    let uri = text.parse::<Uri>().ok();
    uri.filter(|uri| matches!(uri.scheme_str(), Some("https" | "http")))
        .filter(|uri| uri.authority().is_some_and(|authority| !authority.as_str().contains('@')))
        .ok_or_else(|| CliError::usage("--api-url must be a complete URL, such as https://fhir.example.org/Patient"))
}

fn requests(options: &Options) -> Result<u32, CliError> {
    const RANGE: &str = "a number from 1 to 10000";
    let number = options.parsed("requests", RANGE)?.unwrap_or(20);
    let number = Some(number).filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| CliError::usage(format!("--requests must be {RANGE}")))
}
