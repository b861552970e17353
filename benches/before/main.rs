//! The cost to fill the map of narrowed caches as it was before pools. `identities.rs` runs it beside a pool.

use std::time::Instant;

use tokio::runtime::Builder;
use tower_bearer::{
    AccessToken, Error, TokenCache,
    source::{BoxTokenSource, Narrowing, Reason, TokenSource},
};

/// The map needs minutes for more.
const SIZES: [usize; 3] = [1_000, 4_000, 8_000];

/// A source of the token of one identity, which is named by the scope.
struct Source(String);

impl TokenSource for Source {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        AccessToken::new(token(&self.0))
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        Some(BoxTokenSource::new(Self(to.scope()?.to_owned())))
    }
}

/// Returns the token of an identity, which is as long as an opaque token usually is.
fn token(name: &str) -> String {
    format!("{name:-<43}")
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
fn main() {
    let mut one = None;
    let alone = allocation_counter::measure(|| one = AccessToken::new(token("")).ok()).bytes_current as f64;
    for identities in SIZES {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let cache = TokenCache::builder(Source(String::new())).max_narrowed(identities).build();
        let mut micros = 0.0;
        let memory = allocation_counter::measure(|| {
            let began = Instant::now();
            runtime.block_on(async {
                for n in 0..identities {
                    let to = Narrowing::new().with_scope(&format!("tenant-{n}")).expect("a scope");
                    cache.narrowed(&to).expect("a cache").token().await.expect("a token");
                }
            });
            micros = began.elapsed().as_secs_f64() * 1e6 / identities as f64;
        });
        let each = memory.bytes_current as f64 / identities as f64;
        println!("{:<28} {identities:>10} {micros:>12.1} {each:>18.0} {:>18.0}", "narrowed, before", each - alone);
    }
}
