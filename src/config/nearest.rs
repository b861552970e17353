//! The known name that a person may have meant.

use std::fmt::Write;

/// How similar a name must be, from 0 to 1, to be the one that was meant.
const SIMILAR: f64 = 0.75;

/// Returns the advice for a name that is not among `known`: the nearest one, or all of them.
pub(super) fn advice(name: &str, known: &[&str]) -> String {
    let known: Vec<_> = known.iter().filter(|name| !name.starts_with('$')).collect();
    let similar = known.iter().map(|known| (similarity(name, known), known));
    match similar.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        None => "remove it".to_owned(),
        Some((similarity, nearest)) if similarity >= SIMILAR => format!("did you mean `{nearest}`?"),
        Some(_) => known.iter().enumerate().fold("use one of".to_owned(), |mut list, (at, name)| {
            let _ = write!(list, "{} `{name}`", if at == 0 { "" } else { "," });
            list
        }),
    }
}

/// Returns how similar two names are, from 0 to 1.
fn similarity(name: &str, known: &str) -> f64 {
    // Of short names, one wrong letter is a large part.
    if strsim::osa_distance(name, known) <= 1 { 1.0 } else { strsim::jaro_winkler(name, known) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_name_is_the_one_that_was_meant() {
        let known = ["$place", "client_id", "client_secret", "url", "grant"];
        for (name, meant) in [
            ("clinet_id", "client_id"),
            ("clientid", "client_id"),
            ("Client_ID", "client_id"),
            ("client-secret", "client_secret"),
            ("urls", "url"),
            ("grants", "grant"),
            ("rl", "url"),
        ] {
            assert_eq!(advice(name, &known), format!("did you mean `{meant}`?"), "{name}");
        }
        assert_eq!(advice("x", &known), "use one of `client_id`, `client_secret`, `url`, `grant`");
        assert_eq!(advice("$place", &[]), "remove it");
    }
}
