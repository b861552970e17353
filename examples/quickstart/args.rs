//! The command line.

use std::{
    ffi::OsString,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::Uri;
use lexopt::{Arg, Parser};

use crate::{
    plan::{Client, Login, Plan},
    secrets,
    trouble::Trouble,
};

pub const HELP: &str = "\
The life of a bearer token, told by real requests.

Without arguments it runs offline against a scripted issuer on loopback:

    cargo run --example quickstart

Against servers of your own:

    cargo run --example quickstart -- --token-url URL --api-url URL --client-id ID --username NAME [OPTION]...

  --token-url URL            where tokens are issued, by the password grant of RFC 6749
  --api-url URL              what to GET with the token
  --client-id ID             the client that the issuer knows
  --username NAME            the user
  --scope SCOPE              the scope to ask for, space-delimited [the issuer chooses]
  --client-auth METHOD       basic, basic-raw (not form-encoded), post or none [basic]
  --revoke-url URL           revoke a token there (RFC 7009), to see it replaced
  --requests N               how many requests reuse one token, 1 to 10000 [20]
  --ca-file PEM              trust these certificates as well
  --password-file FILE       the user's password, else it is taken from BEARER_PASSWORD
  --client-secret-file FILE  the client's secret, else it is taken from BEARER_CLIENT_SECRET
  --help                     print this

Secrets are never arguments, and no token is ever printed.
Exit status: 0 as told, 1 a server or a count was not as it should be, 2 a wrong command line.
";

/// What the command line asks for.
pub enum Asked {
    Help,
    Offline { requests: u32 },
    Real(Box<Plan>),
}

#[derive(Default)]
struct Given {
    token_url: Option<String>,
    api_url: Option<Uri>,
    client_id: Option<String>,
    username: Option<String>,
    scope: Option<String>,
    client_auth: Option<String>,
    revoke_url: Option<Uri>,
    requests: Option<u32>,
    ca_file: Option<PathBuf>,
    password_file: Option<PathBuf>,
    client_secret_file: Option<PathBuf>,
    /// Any option that only real servers need.
    real: bool,
}

pub fn parse() -> Result<Asked, Trouble> {
    let mut parser = Parser::from_env();
    let mut given = Given::default();
    while let Some(arg) = parser.next().map_err(usage)? {
        let name = match arg {
            Arg::Long(name) => name.to_owned(),
            Arg::Short('h') => "help".to_owned(),
            // Not shown, since it may be a secret that lost its option.
            _ => return Err(Trouble::usage("there is an argument that belongs to no --option")),
        };
        given.real |= !matches!(name.as_str(), "help" | "requests");
        match name.as_str() {
            "help" => return Ok(Asked::Help),
            "token-url" => given.token_url = Some(text(&mut parser, &name)?),
            "api-url" => given.api_url = Some(url(&mut parser, &name)?),
            "client-id" => given.client_id = Some(text(&mut parser, &name)?),
            "username" => given.username = Some(text(&mut parser, &name)?),
            "scope" => given.scope = Some(text(&mut parser, &name)?),
            "client-auth" => given.client_auth = Some(text(&mut parser, &name)?),
            "revoke-url" => given.revoke_url = Some(url(&mut parser, &name)?),
            "requests" => given.requests = Some(requests(&text(&mut parser, &name)?)?),
            "ca-file" => given.ca_file = Some(value(&mut parser)?.into()),
            "password-file" => given.password_file = Some(value(&mut parser)?.into()),
            "client-secret-file" => given.client_secret_file = Some(value(&mut parser)?.into()),
            "password" => return Err(never("password", "BEARER_PASSWORD")),
            "client-secret" => return Err(never("client-secret", "BEARER_CLIENT_SECRET")),
            _ => return Err(Trouble::usage(format!("there is no option --{name}"))),
        }
    }
    given.into_asked()
}

impl Given {
    fn into_asked(self) -> Result<Asked, Trouble> {
        let requests = self.requests.unwrap_or(20);
        if !self.real {
            return Ok(Asked::Offline { requests });
        }
        let client = Client { id: required(self.client_id.clone(), "client-id")?, login: self.login()? };
        let password_file = self.password_file.as_deref();
        Ok(Asked::Real(Box::new(Plan {
            token_url: required(self.token_url, "token-url")?,
            api_url: required(self.api_url, "api-url")?,
            revoke_url: self.revoke_url,
            client,
            username: required(self.username, "username")?,
            password: secrets::read("password", "--password-file", password_file, "BEARER_PASSWORD")?,
            scope: self.scope,
            ca: self.ca_file.as_deref().map(certificates).transpose()?,
            requests,
        })))
    }

    fn login(&self) -> Result<Login, Trouble> {
        let file = self.client_secret_file.as_deref();
        let secret = || secrets::read("client secret", "--client-secret-file", file, "BEARER_CLIENT_SECRET");
        Ok(match self.client_auth.as_deref().unwrap_or("basic") {
            "basic" => Login::Basic(secret()?),
            "basic-raw" => Login::BasicRaw(secret()?),
            "post" => Login::Post(secret()?),
            "none" => Login::None,
            _ => return Err(Trouble::usage("--client-auth is basic, basic-raw, post or none")),
        })
    }
}

fn value(parser: &mut Parser) -> Result<OsString, Trouble> {
    parser.value().map_err(usage)
}

fn text(parser: &mut Parser, name: &str) -> Result<String, Trouble> {
    let text = value(parser)?.into_string().map_err(|_| Trouble::usage(format!("--{name} is no UTF-8 text")))?;
    if text.is_empty() { Err(Trouble::usage(format!("--{name} is empty"))) } else { Ok(text) }
}

/// The crate checks the token URL by itself; tokens go to these.
fn url(parser: &mut Parser, name: &str) -> Result<Uri, Trouble> {
    let uri = text(parser, name)?.parse::<Uri>().ok();
    let uri = uri
        .filter(|uri| matches!(uri.scheme_str(), Some("https" | "http")))
        .filter(|uri| uri.authority().is_some_and(|authority| !authority.as_str().contains('@')))
        .ok_or_else(|| Trouble::usage(format!("--{name} is a whole URL, such as https://fhir.example.org/Patient")))?;
    if uri.scheme_str() == Some("http") && !is_loopback(uri.host().unwrap_or_default()) {
        let line = format!("--{name} is plain http, which would send the token in the clear: use https");
        return Err(Trouble::usage(line));
    }
    Ok(uri)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn requests(text: &str) -> Result<u32, Trouble> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| Trouble::usage("--requests is a number from 1 to 10000"))
}

fn certificates(file: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(file).map_err(|error| Trouble::usage(format!("--ca-file {}: {error}", file.display())))
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Trouble> {
    value.ok_or_else(|| Trouble::usage(format!("--{name} is missing")))
}

/// The value is neither read nor shown.
fn never(option: &str, variable: &str) -> Trouble {
    Trouble::usage(format!(
        "a secret is never an argument, where `ps` and the shell's history show it: \
         put it into {variable}, or into a file for --{option}-file"
    ))
}

fn usage(error: lexopt::Error) -> Trouble {
    let text = match error {
        lexopt::Error::MissingValue { option: Some(option) } => format!("{option} takes a value"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        _ => "the command line cannot be read".to_owned(),
    };
    Trouble::usage(text)
}
