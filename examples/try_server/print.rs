//! The output: plain lines. Nothing here prints a token.

use std::{
    fmt::Display,
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use http::Uri;
use serde_json::{Map, Value};
use tower_bearer::AccessToken;

use crate::{cli::printable, session::Session};

/// Prints a line. An error is ignored, because the reader may close the pipe.
pub fn print_line(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

pub fn heading(title: &str) {
    print_line(format!("\n{title}\n{}", "-".repeat(title.len())));
}

/// Prints the main claims of a JWT. They are not verified, because that is the work of the API.
pub fn claims(token: &AccessToken) {
    let Some(claims) = token.claims::<Map<String, Value>>() else {
        print_line("The token is not a JWT, so only its issuer can read it.");
        return;
    };
    print_line("The token is a JWT with these claims:");
    for (name, value) in &claims {
        let value = match (name.as_str(), value) {
            ("iat" | "nbf" | "exp", Value::Number(seconds)) => date(seconds.as_f64().unwrap_or_default()),
            ("iss" | "sub" | "aud" | "scope" | "client_id", Value::String(text)) => text.clone(),
            ("aud" | "scope", list) => list.to_string(),
            _ => continue,
        };
        print_line(format!("  {name:<9}  {}", printable(&value)));
    }
}

/// Formats a `NumericDate` (RFC 7519 §2). A server chose it, so it can be any number.
fn date(seconds: f64) -> String {
    const YEAR_10000: f64 = 253_402_300_800.0;
    if (0.0..YEAR_10000).contains(&seconds) {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs_f64(seconds))
    } else {
        seconds.to_string()
    }
}

pub fn summary(session: &Session<'_>) {
    let counts = session.counts();
    heading("Summary");
    for (name, count) in [
        ("requests", session.requests),
        ("token requests", counts.token_requests),
        ("401 responses", counts.rejected),
        ("retries", session.retries),
    ] {
        print_line(format!("{name:<14} {count:>6}"));
    }
}

/// Returns a URL without its query and user, which may be secret.
pub fn without_query(uri: &Uri) -> String {
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}{}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or("?"), uri.path())
}

pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Formats a duration in the unit that fits it.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
