//! Many requests while the token is renewed each second and revoked now and then. None may fail.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tower_bearer::testing::{Issuer, TokenFormat};

use crate::{
    gateway::{Gateway, Settings},
    load::{Callers, Outcome, Record, shown},
    upstream,
};

/// The token is renewed after half of it.
const LIFETIME: Duration = Duration::from_secs(2);

/// How many requests are in progress at most.
const AT_ONCE: u32 = 64;

/// After that time it has failed.
const FOR_AT_MOST: Duration = Duration::from_secs(3600);

/// So many requests for each revocation. One that comes 30 s after another is not held back by the budget.
const FOR_EACH_REVOCATION: u64 = 45_000;

#[derive(Default)]
struct Ends {
    counts: BTreeMap<Outcome, usize>,
    micros: Vec<u32>,
    revoked: u64,
}

/// Returns whether all requests were answered.
pub async fn run(binary: &Path, requests: u64, rate: u32) -> io::Result<bool> {
    let issuer = Issuer::builder().lifetime(LIFETIME).token_format(TokenFormat::Opaque).build();
    let server = issuer.listen().await?;
    let settings = Settings {
        token_url: server.token_url(),
        upstream: format!("http://127.0.0.1:{}", upstream::http1(&issuer).await),
        store: None,
        identity: String::new(),
        timeout: Duration::from_secs(30),
        own_names: false,
    };
    let gateway = Gateway::start(binary, &settings).await?;
    let callers = Callers::new(vec![gateway.url.clone()], AT_ONCE);
    let ends = Arc::new(Mutex::new(Ends::default()));
    let begin = Instant::now();
    let (note, revoker) = (Arc::clone(&ends), issuer.clone());
    let each = FOR_EACH_REVOCATION.min(requests / 3);
    let note = move |record: Record| {
        let mut ends = note.lock().unwrap_or_else(PoisonError::into_inner);
        *ends.counts.entry(record.outcome).or_default() += 1;
        ends.micros.push(u32::try_from((record.end - record.start).as_micros()).unwrap_or(u32::MAX));
        if (ends.micros.len() as u64).is_multiple_of(each) {
            ends.revoked += 1;
            if ends.revoked % 2 == 0 { revoker.revoke_all() } else { revoker.revoke_current() }
        }
    };
    callers.each((rate, requests), begin + FOR_AT_MOST, |_| None, note).await;
    let (took, counts) = (begin.elapsed(), issuer.counts());
    let mut ends = std::mem::take(&mut *ends.lock().unwrap_or_else(PoisonError::into_inner));
    ends.micros.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = (ends.micros.len().saturating_sub(1) as f64 * share) as usize;
        f64::from(ends.micros.get(index).copied().unwrap_or_default()) / 1000.0
    };
    println!("{} requests in {took:.0?}: {}", ends.micros.len(), shown(&ends.counts));
    println!(
        "{} tokens issued, {} revocations, {} answers 401 before a second attempt",
        counts.issued, ends.revoked, counts.api_rejected
    );
    println!("p50 {} ms, p99 {} ms, p99.9 {} ms, slowest {} ms", at(0.5), at(0.99), at(0.999), at(1.0));
    println!("{}", gateway.usage().await?);
    let held = ends.counts.keys().all(|outcome| *outcome == Outcome::Answered)
        && ends.micros.len() as u64 >= requests
        && counts.issued >= requests / 10_000
        && ends.revoked >= requests / 50_000;
    println!("{}", if held { "no request failed" } else { "FAILED" });
    Ok(held)
}
