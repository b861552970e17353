//! Wall-clock times and durations in words.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Formats a time as `2026-11-26 08:00:00 UTC`. Returns `None` before the year 1970 and after 9999.
pub fn utc(time: SystemTime) -> Option<String> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    time.duration_since(UNIX_EPOCH).ok().filter(|since| *since < YEAR_10000)?;
    // `Thu, 26 Nov 2026 08:00:00 GMT`: each part has a fixed position.
    let text = httpdate::fmt_http_date(time);
    let month = MONTHS.find(&text[8..11])? / 3 + 1;
    Some(format!("{}-{month:02}-{} {} UTC", &text[12..16], &text[5..7], &text[17..25]))
}

/// Formats a time in UTC with its distance from now: `2026-11-26 08:00:00 UTC, in 1 day 23 hours`.
pub fn with_distance(time: SystemTime, now: SystemTime) -> Option<String> {
    let distance = match time.duration_since(now) {
        Ok(ahead) if ahead.as_secs() == 0 => "now".to_owned(),
        Ok(ahead) => format!("in {}", words(ahead)),
        Err(behind) if behind.duration().as_secs() == 0 => "now".to_owned(),
        Err(behind) => format!("{} ago", words(behind.duration())),
    };
    Some(format!("{}, {distance}", utc(time)?))
}

/// Formats a duration in its largest unit and the next smaller one, rounded down.
pub fn words(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let seconds = duration.as_secs();
    let largest = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in UNITS.iter().skip(largest).take(2) {
        let count = rest / size;
        rest %= size;
        if count > 0 || seconds == 0 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_time_is_shown_in_utc_and_in_words() {
        let expiry = at(1_795_680_000);
        for (now, line) in [
            (1_795_680_000 - 86_400 - 83_000, "2026-11-26 08:00:00 UTC, in 1 day 23 hours"),
            (1_795_680_000 - 86_400, "2026-11-26 08:00:00 UTC, in 1 day"),
            (1_795_680_000, "2026-11-26 08:00:00 UTC, now"),
            (1_795_680_000 + 61, "2026-11-26 08:00:00 UTC, 1 minute 1 second ago"),
        ] {
            assert_eq!(with_distance(expiry, at(now)).as_deref(), Some(line));
        }
    }

    #[test]
    fn leap_days_and_the_first_and_last_dates_are_correct() {
        assert_eq!(utc(at(1_709_164_800)).as_deref(), Some("2024-02-29 00:00:00 UTC"));
        assert_eq!(utc(at(0)).as_deref(), Some("1970-01-01 00:00:00 UTC"));
        assert_eq!(utc(at(253_402_300_799)).as_deref(), Some("9999-12-31 23:59:59 UTC"));
        assert_eq!(utc(at(253_402_300_800)), None);
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    #[test]
    fn a_duration_has_at_most_two_units() {
        for (seconds, line) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (3600, "1 hour"),
            (3659, "1 hour"),
            (172_800, "2 days"),
            (90_061, "1 day 1 hour"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), line);
        }
    }
}
