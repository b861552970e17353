# Formatting, lints and links: a minute, before each commit.
check:
    cargo fmt --all --check
    cargo fmt --check --manifest-path benches/Cargo.toml
    cargo fmt --check --manifest-path fuzz/Cargo.toml
    cargo clippy --all-targets --all-features -- -D warnings
    cargo clippy --all-targets --no-default-features -- -D warnings
    cargo clippy --package tower-bearer-redis --all-targets --all-features -- -D warnings
    cargo clippy --package tower-bearer-reqwest --all-targets -- -D warnings
    cargo clippy --package tower-bearer-tonic --all-targets -- -D warnings
    cargo clippy --manifest-path benches/Cargo.toml --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features

# The tests that need nothing but the crate.
test *args:
    cargo nextest run --all-features {{args}}
    cargo test --doc --all-features

# The tests against real servers; installs and starts them.
real *args:
    tests/real/run.sh cargo nextest run --all-features --test real --run-ignored only --test-threads 1 {{args}}

# The tests of the Redis store; installs the servers, which the tests start.
redis *args:
    crates/tower-bearer-redis/tests/servers.sh
    TOWER_BEARER_REDIS_REQUIRED=1 cargo nextest run --package tower-bearer-redis --all-features {{args}}

# One refresh token for eight processes, with and without kills, on oidc-provider: three tests at once, which take so many seconds.
families seconds="600":
    crates/tower-bearer-redis/tests/servers.sh
    TOWER_BEARER_FAMILY_SECONDS={{seconds}} TOWER_BEARER_REAL_ONLY=oidc-provider TOWER_BEARER_REDIS_REQUIRED=1 \
        tests/real/run.sh cargo nextest run --package tower-bearer-redis --all-features --test redis --run-ignored only \
        --test-threads 3 --success-output immediate -E 'test(families::)'

# The tests of the crate for reqwest.
reqwest *args:
    cargo nextest run --package tower-bearer-reqwest {{args}}
    cargo test --package tower-bearer-reqwest --doc

# The tests of the gRPC layer.
tonic *args:
    cargo nextest run --package tower-bearer-tonic {{args}}

# Thousands of interleavings of the cache's threads.
shuttle:
    RUSTFLAGS="--cfg shuttle" cargo test --lib --no-default-features --target-dir target/shuttle interleavings

# Renews .ci/public-api.txt after a change of the public API, and checks that no type of another crate came in.
api:
    .ci/public_api renew
    .ci/public_api external

# So many seconds of random inputs for each target, or for these; needs cargo-fuzz and a C++ compiler. `fuzz/README.md` lists them.
fuzz seconds="60" *targets:
    .ci/fuzz {{seconds}} {{targets}}

bench *args:
    cargo bench --manifest-path benches/Cargo.toml {{args}}

doc:
    cargo doc --no-deps --all-features --open

# All that must hold before a merge.
ci:
    .ci/run
