//! Settings in TOML, JSON or environment variables, which the first line chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use tower_bearer::{
    BearerAuthLayer, Error, FixedToken, TokenCache, TokenPool,
    config::{self, CacheConfig, LayerConfig, PoolConfig, TokenConfig},
    replay::CloneBody,
};
use tower_bearer_fuzz::{answer, debugged, server, shown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    token: Option<TokenConfig>,
    #[serde(default)]
    cache: CacheConfig,
    #[serde(default)]
    layer: LayerConfig,
    #[serde(default)]
    pool: PoolConfig,
}

/// Text that the fuzzer puts into values. No error shows a value.
const IN_VALUES: &str = "S3cr3t";

fuzz_target!(|text: &str| {
    let (format, text) = text.split_once('\n').unwrap_or((text, ""));
    let read = read(format, text);
    assert_eq!(
        read.as_ref().err().map(Error::to_string),
        self::read(format, text).err().map(|error| error.to_string())
    );
    match read {
        Err(error) => check_error(&error, format, text),
        Ok(settings) => {
            for error in use_settings(&settings) {
                check_error(&error, format, text);
            }
        }
    }
});

fn read(format: &str, text: &str) -> Result<Settings, Error> {
    match format {
        "json" => config::read(&mut serde_json::Deserializer::from_str(text)),
        "env" => config::from_vars("APP_", text.split('\n').filter_map(|line| line.split_once('='))),
        _ => match toml::Deserializer::parse(text) {
            Ok(document) => config::read(document),
            // The error of the format itself is not the crate's.
            Err(_) => config::from_vars("APP_", [("APP_CACHE__NO_SUCH_KEY", "")]),
        },
    }
}

/// Builds what the settings are for. Returns the errors.
fn use_settings(settings: &Settings) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(token) = &settings.token {
        let http = server(|_| answer(b"500"));
        errors.extend(token.source_with(http.clone()).err());
        errors.extend(token.for_users_with(http).err());
        let _ = (debugged(token), token.replaced_by(token).source_with(server(|_| answer(b"500"))));
    }
    let source = || FixedToken::new("t").unwrap();
    let cache: TokenCache = settings.cache.builder(source()).build();
    errors.extend(settings.layer.apply(BearerAuthLayer::with_cache(cache), |_| CloneBody).err());
    let pool = settings.pool.apply(TokenPool::builder(move |_: &String| Ok(source())));
    let _ = pool.build();
    errors
}

fn check_error(error: &Error, format: &str, text: &str) {
    let line = error.to_string();
    assert!(error.is_config() && !line.is_empty() && !line.contains(['\n', '\r']), "{line}");
    assert!(!shown(error).contains(IN_VALUES) || key_has_it(format, text), "{line}");
}

/// Returns whether the text is in a key, or may be.
fn key_has_it(format: &str, text: &str) -> bool {
    let in_lower_case = |text: &str| text.to_lowercase().contains(&IN_VALUES.to_lowercase());
    match format {
        // In a text that breaks off, a key is what a colon follows.
        "json" => serde_json::from_str(text).map_or_else(
            |_| {
                text.split(IN_VALUES)
                    .skip(1)
                    .filter_map(|rest| rest.split_once('"'))
                    .any(|(_, rest)| rest.trim_start().starts_with(':'))
            },
            |json| json_key(&json),
        ),
        "env" => text.split('\n').filter_map(|line| line.split_once('=')).any(|(name, _)| in_lower_case(name)),
        _ => text.parse::<toml::Table>().map_or(true, |table| {
            json_key(&serde_json::to_value(&table).unwrap_or_default()) || text.contains("nan") || text.contains("inf")
        }),
    }
}

fn json_key(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains(IN_VALUES) || json_key(value))
        }
        serde_json::Value::Array(items) => items.iter().any(json_key),
        _ => false,
    }
}
