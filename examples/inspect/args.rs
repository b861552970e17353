//! The command line.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use lexopt::{Arg, Parser};
use tower_bearer::SecretString;
use tower_bearer::grant::ClientAuth;

use crate::{secrets, trouble::Trouble};

pub const HELP: &str = "\
What a token says: header, claims, scopes in words, and how long it still lives. It is decoded here and sent nowhere.

    xclip -o | cargo run --example inspect

takes a token, with or without `Bearer`, or the JSON of a token response. To get a token by the password grant:

    cargo run --example inspect -- --token-url URL --client-id ID --username NAME [OPTION]...

  --token-url URL            where tokens are issued
  --client-id ID             the client that the issuer knows
  --username NAME            the user
  --scope SCOPE              the scope to ask for, space-delimited [the issuer chooses]
  --client-auth METHOD       basic, basic-raw (not form-encoded), post or none [basic]
  --ca-file PEM              trust these certificates as well
  --password-file FILE       the user's password, else it is taken from BEARER_PASSWORD
  --client-secret-file FILE  the client's secret, else it is taken from BEARER_CLIENT_SECRET
  --show-signature           show the signature as well: with the rest, it makes the token
  --help                     print this

Exit status: 0 as told, 1 no token or one that cannot be read, 2 a wrong command line.
";

const VALUES: [&str; 8] =
    ["token-url", "client-id", "username", "scope", "client-auth", "ca-file", "password-file", "client-secret-file"];

/// What the command line asks for.
pub enum Asked {
    Help,
    Pasted { show_signature: bool },
    Granted { grant: Box<Grant>, show_signature: bool },
}

/// A password grant.
pub struct Grant {
    pub token_url: String,
    pub auth: ClientAuth,
    pub username: String,
    pub password: SecretString,
    pub scope: Option<String>,
    /// PEM of certificates to trust besides the system's.
    pub ca: Option<Vec<u8>>,
}

pub fn parse(mut parser: Parser) -> Result<Asked, Trouble> {
    let (mut given, mut show_signature) = (BTreeMap::new(), false);
    while let Some(arg) = parser.next().map_err(usage)? {
        let name = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Asked::Help),
            Arg::Long("show-signature") => {
                show_signature = true;
                continue;
            }
            Arg::Long(name) => VALUES.into_iter().find(|known| *known == name),
            _ => None,
        };
        // Not shown, since it may be a token or a secret.
        let name = name.ok_or_else(|| {
            Trouble::usage("there is an argument that it does not know: tokens and secrets are never arguments")
        })?;
        given.insert(name, parser.value().map_err(usage)?);
    }
    if given.is_empty() {
        return Ok(Asked::Pasted { show_signature });
    }
    Ok(Asked::Granted { grant: Box::new(grant(&given)?), show_signature })
}

fn grant(given: &BTreeMap<&str, OsString>) -> Result<Grant, Trouble> {
    let text = |name| match given.get(name).map(|value| value.to_str()) {
        Some(None) => Err(Trouble::usage(format!("--{name} is no UTF-8 text"))),
        value => Ok(value.flatten().map(str::to_owned)),
    };
    let required = |name| text(name)?.ok_or_else(|| Trouble::usage(format!("--{name} is missing")));
    let file = |name| given.get(name).map(Path::new);
    let ca = file("ca-file").map(|pem| fs::read(pem).map_err(|error| Trouble::usage(format!("--ca-file: {error}"))));
    Ok(Grant {
        token_url: required("token-url")?,
        auth: client_auth(required("client-id")?, text("client-auth")?.as_deref(), file("client-secret-file"))?,
        username: required("username")?,
        password: secrets::read("password", "--password-file", file("password-file"), "BEARER_PASSWORD")?,
        scope: text("scope")?,
        ca: ca.transpose()?,
    })
}

fn client_auth(id: String, method: Option<&str>, file: Option<&Path>) -> Result<ClientAuth, Trouble> {
    let secret = || secrets::read("client secret", "--client-secret-file", file, "BEARER_CLIENT_SECRET");
    Ok(match method.unwrap_or("basic") {
        "basic" => ClientAuth::basic(id, secret()?),
        "basic-raw" => ClientAuth::basic_raw(id, secret()?),
        "post" => ClientAuth::post(id, secret()?),
        "none" => ClientAuth::none(id),
        _ => return Err(Trouble::usage("--client-auth is basic, basic-raw, post or none")),
    })
}

fn usage(error: lexopt::Error) -> Trouble {
    Trouble::usage(match error {
        lexopt::Error::MissingValue { option: Some(option) } => format!("{option} takes a value"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        _ => "the command line cannot be read".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Asked, String> {
        parse(Parser::from_args(args)).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn without_a_grant_the_token_is_pasted() {
        assert!(matches!(parsed(&[]), Ok(Asked::Pasted { show_signature: false })));
        assert!(matches!(parsed(&["--show-signature"]), Ok(Asked::Pasted { show_signature: true })));
        assert!(matches!(parsed(&["--show-signature", "-h"]), Ok(Asked::Help)));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named_and_a_secret_is_not() {
        for (args, line) in [
            (&["--client-id", "c"][..], "--token-url is missing"),
            (&["--token-url"], "--token-url takes a value"),
            (&["--show-signature=yes"], "--show-signature takes no value"),
            (&["eyJsecret"], "never arguments"),
            (&["--password", "eyJsecret"], "never arguments"),
            (&["--token-url", "u", "--client-id", "c", "--client-auth", "eyJsecret"], "--client-auth is"),
        ] {
            let Err(trouble) = parsed(args) else { panic!("{args:?} is taken") };
            assert!(trouble.contains(line) && !trouble.contains("eyJsecret"), "{trouble}");
        }
    }
}
