//! The compiler says what to do about a body, a service, a response body or a body function that the middleware cannot use.
//!
//! The target `wrong` of this package does not compile. It is built here with the features and the profile of this test,
//! so that cargo has its dependencies already. Only the crate's own words are looked for, not the compiler's.

use std::{env, process::Command};

/// The features that this test was built with. One that is missing here costs a build of its own, and nothing else.
fn features() -> String {
    let all = [
        ("client", cfg!(feature = "client")),
        ("http2", cfg!(feature = "http2")),
        ("system-roots", cfg!(feature = "system-roots")),
        ("webpki-roots", cfg!(feature = "webpki-roots")),
        ("jwt", cfg!(feature = "jwt")),
        ("testing", cfg!(feature = "testing")),
    ];
    all.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// What the compiler says about `tests/diagnostics/wrong.rs`.
fn compiler_output() -> String {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // These describe this test. Build scripts of dependencies watch them, and would run again.
    for (name, _) in env::vars_os() {
        let of_this_test = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "OUT_DIR"];
        if name.to_str().is_some_and(|name| of_this_test.iter().any(|begin| name.starts_with(begin))) {
            cargo.env_remove(name);
        }
    }
    cargo.args(["test", "--no-run", "--offline", "--color=never", "--test=wrong", "--no-default-features"]);
    cargo.args(["--features", &features()]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(!output.status.success(), "tests/diagnostics/wrong.rs must not compile");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_compiler_says_what_to_do() {
    let output = compiler_output();
    let without_client = [
        "`build` needs the feature `client` of tower-bearer, which is off",
        "turn the feature on in Cargo.toml: `features = [\"client\", \"system-roots\"]` of `tower-bearer`",
        "`.build_with(http)` in place of `.build()`",
    ];
    let without_client = without_client.into_iter().filter(|_| !cfg!(feature = "client"));
    for says in [
        // A request body that is not `Clone`.
        "`CloneBody` cannot keep a request body of type `hyper::body::Incoming` for the retry",
        "for a body that boxes another one, such as those of axum and tonic: `.replay(Tee::of(Body::new))`",
        "for any other stream: `.replay(Tee::in_place())`",
        "to send each request once, call `.without_retry()`",
        // A service that is not `Clone`.
        "the service inside `BearerAuth` has to be `Clone`, and `OnlyOne` is not",
        "the service inside `BearerAuth` has to be `Clone`, and `OnlyReady` is not",
        "put tower's `Buffer` around it",
        // A service of other requests.
        "the service inside `BearerAuth` has to be a `Service<http::Request<String>>`, and `a_service_of_other_requests::Client` is not",
        "for a `reqwest::Client`, use `BearerClient` of the crate `tower-bearer-reqwest`, or `HttpClient` in a stack",
        "for a `reqwest::Body`: `.replay(KeepBody::new())`, of the crate `tower-bearer-reqwest`",
        // A response body that is not a `Body`.
        "the response body of the service inside `BearerAuth` has to be an `http_body::Body`, and `u64` is not",
        "map the response to a body",
        // A body that is not made by a function, and a function that makes another one.
        "`&str` is not a function that makes the body of an answer from a `JudgedBody`",
        "`JudgeBodyLayer::body` needs a function from a `JudgedBody<B>` to a `B`",
        "the function of `JudgeBodyLayer::body` does not make the type of body that the inner service's answers have, `String`",
        "the function has to return a `String`",
        // A source of another type.
        "`&str` is not a token source",
        "for the text of a token: `FixedToken::new`",
        "`TokenCache` is not a token source",
        "a `TokenCache` goes into `BearerAuthLayer::with_cache`",
    ]
    .into_iter()
    .chain(without_client)
    {
        assert!(output.contains(says), "the compiler does not say: {says}\n{output}");
    }
}
