# Formatting, lints and links: a minute, before each commit.
check:
    cargo fmt --all --check
    cargo fmt --check --manifest-path benches/Cargo.toml
    cargo fmt --check --manifest-path fuzz/Cargo.toml
    cargo fmt --check --manifest-path compare/rust/Cargo.toml
    cargo clippy --all-targets --all-features -- -D warnings
    cargo clippy --all-targets --no-default-features -- -D warnings
    cargo clippy --package tower-bearer-redis --all-targets --all-features -- -D warnings
    cargo clippy --package tower-bearer-reqwest --all-targets -- -D warnings
    cargo clippy --package tower-bearer-tonic --all-targets -- -D warnings
    cargo clippy --package tower-bearer-faults -- -D warnings
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

# The recipes of docs/cookbook.md.
cookbook:
    cargo test --package tower-bearer-cookbook --doc

# Draws docs/grafana.json as docs/grafana.png, from what a real Prometheus answers; needs prometheus and chromium.
dashboard seconds="240":
    .ci/dashboard {{seconds}}

# Thousands of interleavings of the cache's threads.
shuttle:
    RUSTFLAGS="--cfg shuttle" cargo test --lib --no-default-features --target-dir target/shuttle interleavings

# A random walk of the cache beside a model of its rules: so many operations. `PROPTEST_RNG_SEED` repeats one.
model operations="100000":
    TOWER_BEARER_MODEL_OPERATIONS={{operations}} cargo test --all-features --test api walk:: -- --nocapture

# Renews .ci/public-api.txt after a change of the public API, and checks that no type of another crate came in.
api:
    .ci/public_api renew
    .ci/public_api external

# So many seconds of random inputs for each target, or for these; needs cargo-fuzz and a C++ compiler. `fuzz/README.md` lists them.
fuzz seconds="60" *targets:
    .ci/fuzz {{seconds}} {{targets}}

# Other OAuth clients under the same servers: installs them, runs all of them for 25 minutes, and writes COMPARE.md.
compare *args:
    compare/install.sh
    compare/run.py {{args}}
    compare/table.py

# Changes the code in two thousand ways, one at a time, and lists the changes that no test fails for; needs cargo-mutants. Some hours
# for all; a FILTER such as `src/pool` runs those whose name contains it.
mutants *args:
    nice python3 .ci/mutants/run.py {{args}}

bench *args:
    cargo bench --manifest-path benches/Cargo.toml {{args}}

# Puts each fault between the gateway and its servers; with minutes, random combinations after that. A seed repeats a run.
faults seed=`shuf -i 0-999999 -n 1` minutes="0": (_faults "")
    cargo run --package tower-bearer-faults -- matrix --seed {{seed}} --minutes {{minutes}}

# A million requests through the gateway, while its token is renewed each second and revoked now and then. None may fail.
million requests="1000000": (_faults "--release")
    cargo run --release --package tower-bearer-faults -- million --requests {{requests}}

# Two gateways under load, with faults, revocations, tenants that come and go, and a Redis that fails over.
soak minutes="30" seed=`shuf -i 0-999999 -n 1` rate="500": (_faults "--release")
    mkdir -p target
    cargo run --release --package tower-bearer-faults -- soak --minutes {{minutes}} --seed {{seed}} --rate {{rate}} --csv target/soak.csv
    python3 tests/faults/draw.py target/soak.csv docs/reliability-soak.svg

_faults profile:
    crates/tower-bearer-redis/tests/servers.sh
    cargo build {{profile}} --example gateway

doc:
    cargo doc --no-deps --all-features --open

# Builds each crate from what would be published of it. All changes must be committed.
publishable:
    cargo publish --workspace --dry-run

# All that must hold before a merge.
ci:
    .ci/run
