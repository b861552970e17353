//! Plain lines. Nothing here ever prints a token.

use std::{
    fmt::Display,
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use tower_bearer::AccessToken;

use crate::story::Story;

/// A line on standard output. Whoever reads may stop reading.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

pub fn chapter(title: &str) {
    say(format!("\n{title}\n{}", "-".repeat(title.len())));
}

/// What a JWT says of itself. It is read, not verified: that is the API's work.
pub fn claims(token: &AccessToken) {
    let Ok(claims) = jsonwebtoken::dangerous::insecure_decode_claims::<Map<String, Value>>(token.secret()) else {
        say("It is no JWT: only its issuer can read it.");
        return;
    };
    say("It is a JWT, which says:");
    for (name, value) in &claims {
        let value = match (name.as_str(), value) {
            ("iat" | "nbf" | "exp", Value::Number(seconds)) => date(seconds.as_f64().unwrap_or_default()),
            ("iss" | "sub" | "aud" | "scope" | "client_id", Value::String(text)) => text.clone(),
            ("aud" | "scope", several) => several.to_string(),
            _ => continue,
        };
        say(format!("  {name:<9}  {}", plain(&value)));
    }
}

/// A `NumericDate` (RFC 7519 §2), which is a server's and may be anything.
fn date(seconds: f64) -> String {
    const YEAR_10000: f64 = 253_402_300_800.0;
    if (0.0..YEAR_10000).contains(&seconds) {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs_f64(seconds))
    } else {
        seconds.to_string()
    }
}

pub fn table(story: &Story<'_>) {
    let counts = story.counts();
    let rows = [
        ("requests", story.requests),
        ("token requests", counts.token_requests),
        ("401s seen", counts.rejected),
        ("retries", story.retries),
    ];
    chapter("In all");
    for (name, count) in rows {
        say(format!("{name:<14} {count:>6}"));
    }
}

/// Text of a server's, without what could move a terminal's cursor.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

pub fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A duration in the unit that suits it.
pub fn span(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
