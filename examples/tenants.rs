//! One layer for many tenants: a token for each, one wrong password, and requests without a tenant.
//!
//! ```text
//! cargo run --example tenants
//! ```
//!
//! It needs no network. The authorization server is [`tower_bearer::testing::Issuer`], in process, and the API answers with the
//! name of the user whose token it got. The example compares what happens with what it expects, and fails if that is wrong.
//! `docs/identities.md` says how to choose the size of a pool and what a key must hold.

use std::{borrow::Cow, error::Error as _, fmt::Debug, future::ready};

use futures::future::join_all;
use http::{Request, Response, StatusCode};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, PasswordGrant, TokenPool,
    grant::ClientAuth,
    testing::{Issuer, TokenStatus},
};

const TENANTS: [&str; 4] = ["acme", "globex", "hooli", "initech"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // The authorization server. It expects another password of initech than the program has.
    let issuer = TENANTS
        .iter()
        .fold(Issuer::builder().client("gateway", "secret"), |issuer, name| {
            issuer.user(*name, if *name == "initech" { "new" } else { "password" })
        })
        .build();

    // The pool makes the cache of a tenant at its first request.
    let server = issuer.clone();
    let pool = TokenPool::builder(move |tenant: &String| {
        if !TENANTS.contains(&tenant.as_str()) {
            return Err(Error::terminal("this tenant is not known"));
        }
        PasswordGrant::builder("https://auth.example/token")
            .client_auth(ClientAuth::basic("gateway", "secret"))
            .credentials(tenant.as_str(), "password")
            .build_with(server.service())
    })
    .max_identities(100_000)
    .build();

    // The layer reads the tenant from a header. A real gateway takes it from what it has verified.
    let layer = BearerAuthLayer::with_pool(pool.clone(), |head| {
        head.headers().get("x-tenant")?.to_str().ok().map(Cow::Borrowed)
    });
    let checking = issuer.clone();
    let api = ServiceBuilder::new().layer(layer).service(service_fn(move |request: Request<String>| {
        let (status, text) = match checking.check(request.headers()) {
            TokenStatus::Accepted { subject, .. } => (StatusCode::OK, subject),
            _ => (StatusCode::UNAUTHORIZED, String::new()),
        };
        ready(Response::builder().status(status).body(text))
    }));

    // Returns for whom the API answered.
    let send = async |tenant: Option<&str>| -> Result<String, BoxError> {
        let request =
            tenant.iter().fold(Request::get("https://api.example"), |request, name| request.header("x-tenant", *name));
        Ok(api.clone().oneshot(request.body(String::new())?).await?.into_body())
    };
    // Sends 25 requests of each tenant at once. Returns how many were answered for their own tenant, and the last error.
    let send_all = async || {
        let all = TENANTS.iter().flat_map(|name| [*name; 25]);
        let answers = join_all(all.map(async |name| (name, send(Some(name)).await))).await;
        TENANTS.map(|name| {
            let own: Vec<_> = answers.iter().filter(|(tenant, _)| *tenant == name).map(|(_, answer)| answer).collect();
            let answered = own.iter().filter(|answer| answer.as_ref().is_ok_and(|user| user == name)).count();
            let error = own.iter().find_map(|answer| answer.as_ref().err()?.downcast_ref::<Error>().cloned());
            (name, answered, error)
        })
    };

    println!("1. Four tenants send 25 requests each, all at once. The password of initech is wrong.");
    for (name, answered, error) in send_all().await {
        let code = error.as_ref().and_then(Error::oauth_code);
        println!(
            "   {name:8} {answered} answered{}",
            code.map(|code| format!(", 25 not sent: {code}")).unwrap_or_default()
        );
        expect("answers", answered, if name == "initech" { 0 } else { 25 })?;
        expect("a refusal", code, (name == "initech").then_some("invalid_grant"))?;
    }
    println!("   Token requests: {}, one for each tenant.", issuer.counts().token_requests);
    expect("token requests", issuer.counts().token_requests, 4)?;

    println!("2. They do so again. The wrong password is not tried again so soon, or the account might be locked.");
    let again = send_all().await;
    let answered: usize = again.iter().map(|(_, answered, _)| answered).sum();
    let backing_off = again.iter().find_map(|(_, _, error)| error.as_ref().filter(|error| error.is_backing_off()));
    println!("   {answered} answered with the tokens from before. initech backs off:");
    println!("   {}", backing_off.map(ToString::to_string).unwrap_or_default());
    let retry_in = backing_off.and_then(Error::retry_in);
    println!("   `retry_in` is {:.1?}, the `Retry-After` of a gateway's 503.", retry_in.unwrap_or_default());
    println!("   Token requests: {}", issuer.counts().token_requests);
    expect("answers", answered, 75)?;
    expect("a backoff", retry_in.is_some(), true)?;
    expect("token requests", issuer.counts().token_requests, 4)?;

    println!("3. A request without a tenant never gets the token of another one, and nor does an unknown tenant.");
    let (nobody, unknown) = (send(None).await, send(Some("umbrella")).await);
    let not_sent = |answer: &Result<String, BoxError>| answer.as_ref().err()?.downcast_ref::<Error>().cloned();
    let (nobody, unknown) = (not_sent(&nobody), not_sent(&unknown));
    let has_no_identity = nobody.as_ref().is_some_and(Error::is_no_identity);
    let cause = unknown.as_ref().and_then(|error| error.source()).map(ToString::to_string);
    println!("   Without a tenant: {}", nobody.map(|error| error.to_string()).unwrap_or_default());
    println!("   With the tenant umbrella: not sent, {}", cause.as_deref().unwrap_or_default());
    expect("an error for no tenant", has_no_identity, true)?;
    expect("an error for an unknown one", cause.as_deref(), Some("this tenant is not known"))?;

    println!("4. The operator corrects the password of initech at the server, then makes the pool forget initech.");
    issuer.set_password("initech", "password");
    pool.forget("initech");
    let answered: usize = send_all().await.iter().map(|(_, answered, _)| answered).sum();
    println!("   {answered} answered. Token requests: {}", issuer.counts().token_requests);
    expect("answers", answered, 100)?;
    expect("token requests", issuer.counts().token_requests, 5)?;

    let (status, counts) = (pool.status(), issuer.counts());
    println!(
        "In total: {} tenants with a token, {} requests to the API, none rejected.",
        status.ready, counts.api_requests
    );
    expect("tenants with a token", status.ready, 4)?;
    expect("requests to the API, and rejections", (counts.api_requests, counts.api_rejected), (75 + 75 + 100, 0))
}

/// The example checks itself: an error ends it with a non-zero exit status.
fn expect<T: Copy + Debug + PartialEq>(what: &str, actual: T, expected: T) -> Result<(), BoxError> {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, but it was {actual:?}").into())
}
