//! What others see of the layer: a span for each attempt, and metrics on a page for Prometheus. Only loopback is used.
//!
//! ```text
//! cargo run --package tower-bearer-observed
//! ```

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_bearer::{BearerAuthLayer, PasswordGrant, ResendCount, TokenCache, grant::ClientAuth, testing::Issuer};
use tower_http::trace::TraceLayer;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // Traces. A program would export them by OTLP, and not keep them.
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("observed"))).init();

    // Metrics. The recorder comes first, then the descriptions and the caches.
    let recorder = PrometheusBuilder::new().install_recorder()?;
    tower_bearer::events::describe_metrics();
    let page = Router::new().route("/metrics", get(async move || recorder.render()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, page).await });

    // The cache has a name. The spans of the attempts are made below the layer.
    let issuer = Issuer::new();
    let source = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password");
    let cache = TokenCache::builder(source.build_with(issuer.service())?).name("patients").build();
    let span_of_attempt = |request: &Request<Full<Bytes>>| {
        let resend_count = request.extensions().get::<ResendCount>().map(|count| count.0);
        let method = request.method().as_str();
        let (status, resend_count) = (tracing::field::Empty, resend_count.map(i64::from));
        tracing::info_span!(
            "GET",
            otel.kind = "client",
            http.request.method = method,
            http.request.resend_count = resend_count,
            http.response.status_code = status
        )
    };
    let note_status = |answer: &Response<_>, _, span: &tracing::Span| {
        span.record("http.response.status_code", answer.status().as_u16());
    };
    let service = ServiceBuilder::new()
        .layer(BearerAuthLayer::with_cache(cache))
        .layer(TraceLayer::new_for_http().make_span_with(span_of_attempt).on_response(note_status))
        .service(issuer.api());
    let send =
        || service.clone().oneshot(Request::get("https://api.test/fhir").body(Full::default()).expect("a request"));
    send().await?;
    issuer.revoke_current();
    assert_eq!(send().await?.status(), 200, "the token was revoked, and the request was sent again");

    let mut resent = 0;
    for span in spans.get_finished_spans()?.iter().filter(|span| span.name == "GET") {
        let attributes = span.attributes.iter().filter(|attribute| attribute.key.as_str().starts_with("http."));
        let shown: Vec<_> = attributes.map(|attribute| format!("{}={}", attribute.key, attribute.value)).collect();
        resent += usize::from(shown.contains(&"http.request.resend_count=1".to_owned()));
        println!("span GET {}", shown.join(" "));
    }
    assert_eq!(resent, 1, "one span has the number of its attempt");

    let mut scrape = tokio::net::TcpStream::connect(address).await?;
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    scrape.read_to_string(&mut text).await?;
    println!("{text}");
    assert!(text.contains(r#"tower_bearer_retries_total{cache="patients",outcome="retried"} 1"#));
    Ok(())
}
