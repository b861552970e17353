//! The settings in a `--config` file.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::de::DeTable;
use tower_bearer::{
    Error, TokenSource,
    config::{self, CacheConfig, LayerConfig, Span, TokenConfig},
    grant::HttpClient,
};

use crate::{
    addresses::{Addresses, FORMS, Wrong},
    args::{ANY_PORT, Config},
    base::Base,
    cli::CliError,
    config_identity::{Common, IdentitySection},
    config_store::{self, StoreSection},
    config_values::{certificates, in_file, wrong},
    token::Tokens,
    token_rules::LayerRules,
};

pub const HELP: &str = r#"
A --config file. Only `upstream` and `token` are required. Paths are relative to the file.

  upstream = "https://fhir.example.org/r4"
  listen = "127.0.0.1:8080"
  admin = "127.0.0.1:9090"
  ca_file = "ca.pem"
  allow_plain_http = false           # as --allow-plain-http, for the upstream
  timeout = "30s"
  drain = "30s"                      # at the end: how long requests may go on, and then how long revocations may take
  revoke_on_exit = false             # at token.revocation_url, or where the issuer's metadata says
  forwarded = "keep"
  trust_forwarded = false
  rewrite_location = false
  [token]
  url = "https://auth.example.org/token"
  grant = "password"                 # client_credentials, password, refresh_token, jwt_bearer, token_exchange
  client_id = "gateway"
  client_auth = "basic"              # basic, basic_raw, post, none, private_key_jwt, ...
  client_secret = { env = "GATEWAY_SECRET" }
  username = "svc"
  password = { file = "password" }
  scope = "patient/*.rs"
  [cache]                            # the documentation of CacheConfig has all keys
  name = "fhir"                      # of the token in log lines
  renewal_deadline = "10s"
  [layer]                            # the documentation of LayerConfig has all keys
  reject_on = [403, "/login"]
"#;

/// The keys that are in no section.
const TOP: [&str; 11] = [
    "upstream",
    "listen",
    "admin",
    "ca_file",
    "allow_plain_http",
    "timeout",
    "drain",
    "revoke_on_exit",
    "forwarded",
    "trust_forwarded",
    "rewrite_location",
];

#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file")]
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    upstream: Option<String>,
    listen: Option<String>,
    admin: Option<String>,
    ca_file: Option<PathBuf>,
    allow_plain_http: bool,
    timeout: Option<Span>,
    drain: Option<Span>,
    revoke_on_exit: bool,
    forwarded: Option<String>,
    trust_forwarded: bool,
    rewrite_location: bool,
    token: Option<TokenConfig>,
    cache: CacheConfig,
    layer: LayerConfig,
    identity: Option<IdentitySection>,
    store: Option<StoreSection>,
}

/// # Errors
/// When the file cannot be read, or a setting is wrong. The error is one line with the path of the key.
pub fn read(path: &Path) -> Result<Config, CliError> {
    let text = fs::read_to_string(path)
        .map_err(|error| CliError::config(format!("--config {}: {error}; check the path", path.display())))?;
    let table = parse(&text, path)?;
    check_layer(table.get_ref())?;
    let needs_name = config_store::needs_name(table.get_ref());
    let file: Settings = config::read(toml::Deserializer::from(table))
        .map_err(|error| misplaced(&error).unwrap_or_else(|| in_file(error)))?;
    let folder = path.parent().unwrap_or(Path::new(""));

    let upstream =
        file.upstream.as_deref().ok_or_else(|| wrong("upstream", "this key is missing; give the URL of the API"))?;
    let base =
        Base::parse(upstream).map_err(|problem| wrong("upstream", &format!("this URL {problem}; give a base URL")))?;
    if !file.allow_plain_http && !base.is_secure() {
        return Err(wrong(
            "upstream",
            "this is plain http, so others on the network could read the token; use https, or set allow_plain_http = true if \
             the network is protected in another way",
        ));
    }
    let ca = file.ca_file.as_deref().map(|ca| certificates("ca_file", &folder.join(ca))).transpose()?;
    let mut http = HttpClient::builder();
    if let Some(pem) = &ca {
        http = http.root_certificates(pem.clone());
    }
    let http = http.build().map_err(|error| wrong("ca_file", &error.to_string()))?;
    let store = file.store.map(|store| store.store(needs_name.as_deref(), folder)).transpose()?;
    let token = file.token.map(|token| token.with_files_in(folder));
    let tokens = if let Some(identity) = file.identity {
        identity.tokens(token.as_ref(), Common { cache: file.cache, http, store: store.clone() }, folder)?
    } else {
        let token = token.ok_or_else(|| wrong("token", "this section is missing; say how to get a token"))?;
        let source = token.source_with(http).map_err(in_file)?;
        token.check_secrets().map_err(in_file)?;
        let source = match &store {
            Some(store) => store.share(source, None).boxed(),
            None => source,
        };
        Tokens::One(file.cache.builder(source).build())
    };

    let addresses = Addresses::new(file.forwarded.as_deref(), file.trust_forwarded, file.rewrite_location);
    Ok(Config {
        listen: address("listen", file.listen.as_deref())?.unwrap_or(ANY_PORT),
        admin: address("admin", file.admin.as_deref())?,
        base,
        tokens,
        store,
        revokes: file.revoke_on_exit,
        layer_rules: LayerRules::File(Box::new(file.layer)),
        addresses: addresses.map_err(|problem| match problem {
            Wrong::Form => wrong("forwarded", &format!("unknown value; give {FORMS}")),
            Wrong::Trust => {
                wrong("trust_forwarded", "this is of no use alone; set `forwarded` to x-forwarded, forwarded or both")
            }
        })?,
        ca,
        plain_http: file.allow_plain_http,
        timeout: period("timeout", file.timeout)?,
        drain: period("drain", file.drain)?,
    })
}

/// It reads no values, because an error about one would show it.
fn parse<'a>(text: &'a str, path: &Path) -> Result<toml::Spanned<DeTable<'a>>, CliError> {
    DeTable::parse(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let problem = error.message().lines().next().unwrap_or_default();
        CliError::config(format!("{} line {line}: this is not TOML ({problem}); correct the line", path.display()))
    })
}

/// The gateway sets these itself.
fn check_layer(table: &DeTable<'_>) -> Result<(), CliError> {
    for (key, problem) in [
        ("origins", "this is of no use here, because the token goes only to `upstream`; remove it"),
        ("assume_origin", "this is of no use here, because each request has the URL of `upstream`; remove it"),
        ("allow_plain_http", "this is of no use here; set `allow_plain_http` at the top of the file"),
    ] {
        if table.get("layer").and_then(|layer| layer.get_ref().get(key)).is_some() {
            return Err(wrong(&format!("layer.{key}"), problem));
        }
    }
    Ok(())
}

/// Returns what is wrong if a key of the top of the file is in a section.
fn misplaced(error: &Error) -> Option<CliError> {
    let text = error.to_string();
    let (place, _) = text.split_once(": unknown key; ")?;
    let (_, key) = place.rsplit_once('.')?;
    let problem = format!("unknown key; `{key}` belongs at the top of the file, before the first section");
    TOP.contains(&key).then(|| wrong(place, &problem))
}

fn address(key: &str, text: Option<&str>) -> Result<Option<SocketAddr>, CliError> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| wrong(key, "this is not an address with a port; give one such as \"127.0.0.1:8080\""))
}

fn period(key: &str, given: Option<Span>) -> Result<Duration, CliError> {
    let Span(period) = given.unwrap_or(Span(Duration::from_secs(30)));
    if !(1..=86_400).contains(&period.as_secs()) {
        return Err(wrong(key, "this is too short or too long; give a duration from \"1s\" to \"24h\""));
    }
    Ok(period)
}
