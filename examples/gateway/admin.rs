//! `/healthz`, `/metrics` and `/reset`, for operators. They show no secrets, but they are not meant for everybody.

use std::{convert::Infallible, fmt::Write, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Handle};
use tower_bearer::{CacheStatus, cache::Age, pool::PoolStatus};

use crate::{counters::Ending, proxy::Proxy, serve, store::Store, token::Tokens};

pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>, store: Option<Store>) {
    let server = serve::builder();
    loop {
        let stream = serve::accept_next(&listener).await;
        let (proxy, store) = (Arc::clone(&proxy), store.clone());
        let service = service_fn(move |request| {
            let response = respond(&request, &proxy, store.as_ref());
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::spawn(connection);
    }
}

fn respond(request: &Request<Incoming>, proxy: &Proxy, store: Option<&Store>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (status, kind, text) = match (request.method(), path) {
        (&Method::GET | &Method::HEAD, "/healthz") => {
            let (ready, mut status) = health(proxy);
            if let Some(store) = store {
                status["store"] = store.health();
            }
            let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (code, "application/json", status.to_string())
        }
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4", metrics(proxy, store))
        }
        (&Method::POST, "/reset") if proxy.reset() => (
            StatusCode::OK,
            "text/plain",
            "the token and all failures are forgotten; the next token is requested now\n".to_owned(),
        ),
        (&Method::POST, "/reset") => {
            (StatusCode::CONFLICT, "text/plain", "there is no token to forget: --no-auth is set\n".to_owned())
        }
        (_, "/healthz" | "/metrics" | "/reset") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
        _ => (StatusCode::NOT_FOUND, "text/plain", String::new()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = if path == "/reset" { "POST" } else { "GET, HEAD" };
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// Returns whether a request would now be sent without a wait, and why.
fn health(proxy: &Proxy) -> (bool, Value) {
    let draining = proxy.is_draining();
    let cache = match &proxy.tokens {
        Tokens::One(cache) => cache,
        Tokens::None => return (!draining, json!({ "ready": !draining, "draining": draining, "token": null })),
        // One without a token is a problem of that tenant or user.
        Tokens::Tenants(tenants) => {
            let (counts, failing) = (all(&tenants.pool.status()), tenants.failing());
            let health =
                json!({ "ready": !draining, "draining": draining, "tenants": counts, "failing_tenants": failing });
            return (!draining, health);
        }
        Tokens::Users(users) => {
            let users = all(&users.status());
            return (!draining, json!({ "ready": !draining, "draining": draining, "users": users }));
        }
    };
    let status = cache.status();
    let ready = status.is_ready() && !draining;
    (ready, json!({ "ready": ready, "draining": draining, "token": token(&status) }))
}

fn all(status: &PoolStatus) -> Value {
    json!({
        "in_use": status.identities,
        "ready": status.ready,
        "failing": status.failing,
        "limited": status.limited,
        "renewing": status.renewing,
        "evicted": status.evicted,
    })
}

fn token(status: &CacheStatus) -> Value {
    let age = match status.age {
        Age::Fresh => "fresh",
        Age::Stale => "stale",
        Age::Expired => "expired",
        _ => "missing",
    };
    let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0);
    json!({
        "age": age,
        "generation": status.generation,
        "expires_in": seconds(status.expires_in),
        "renewing": status.renewing,
        "renewals": status.renewals,
        "failures": status.failures,
        "last_error": status.last_error.as_ref().map(ToString::to_string),
        "retry_in": seconds(status.retry_in),
        "rejections_limited": status.rejections_limited,
    })
}

fn metrics(proxy: &Proxy, store: Option<&Store>) -> String {
    let mut page = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, f64)]| {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(page, "{name}{labels} {value}");
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    let number = |count: u64| count as f64;

    let labelled = Ending::ALL.map(|ending| format!("{{outcome=\"{}\"}}", ending.label()));
    let counts = Ending::ALL.map(|ending| number(proxy.counters.count(ending)));
    let samples: Vec<_> = labelled.iter().map(String::as_str).zip(counts).collect();
    family("gateway_requests_total", "counter", "Requests by outcome.", &samples);
    let retries = number(proxy.counters.count(Ending::Retried));
    family("gateway_retries_total", "counter", "Requests answered at the second attempt.", &[("", retries)]);

    let tasks = number(Handle::current().metrics().num_alive_tasks() as u64);
    family("gateway_tasks", "gauge", "Tasks of the runtime: connections and what serves them.", &[("", tasks)]);

    let many = match &proxy.tokens {
        Tokens::None | Tokens::One(_) => None,
        Tokens::Tenants(tenants) => {
            Some(("gateway_tenants", "Tenants by the state of their tokens.", tenants.pool.status()))
        }
        Tokens::Users(users) => Some(("gateway_users", "Users by the state of their tokens.", users.status())),
    };
    if let Some((name, help, status)) = many {
        let counts = [status.identities, status.ready, status.failing, status.limited, status.renewing];
        let labels =
            ["in_use", "ready", "failing", "limited", "renewing"].map(|state| format!("{{state=\"{state}\"}}"));
        let counts = counts.map(|count| number(count as u64));
        let samples: Vec<_> = labels.iter().map(String::as_str).zip(counts).collect();
        family(name, "gauge", help, &samples);
    }
    if let Tokens::One(cache) = &proxy.tokens {
        let status = cache.status();
        let left = status.expires_in.filter(|_| status.is_ready()).unwrap_or_default();
        for (name, kind, help, value) in [
            (
                "gateway_token_renewals_total",
                "counter",
                "Tokens received from the authorization server.",
                number(status.renewals),
            ),
            ("gateway_token_failures", "gauge", "Failed token requests in a row.", f64::from(status.failures)),
            ("gateway_token_remaining_seconds", "gauge", "How long the token can still be used.", left.as_secs_f64()),
            (
                "gateway_token_generation",
                "gauge",
                "The number of the current token; the first is 1.",
                number(status.generation),
            ),
            (
                "gateway_token_ready",
                "gauge",
                "Whether there is a usable token: 1 or 0.",
                f64::from(u8::from(status.is_ready())),
            ),
        ] {
            family(name, kind, help, &[("", value)]);
        }
    }
    for metric in store.map(Store::metrics).unwrap_or_default() {
        let samples: Vec<_> = metric.samples.into_iter().map(|(labels, count)| (labels, number(count))).collect();
        family(metric.name, metric.kind, metric.help, &samples);
    }
    page
}
