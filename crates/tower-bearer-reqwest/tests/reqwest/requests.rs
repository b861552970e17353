//! Heads of requests, and what comes back.

use futures::StreamExt;
use reqwest::{Client, StatusCode};
use tower_bearer::{Outcome, SkipBearerAuth};
use tower_bearer_reqwest::{BearerClient, Error, RequestBuilderExt};

use crate::{
    server::{Server, answer, checked},
    support::{call, is_not_replayable, issuer, layer, outcome, revoked, spawned},
};

#[tokio::test]
async fn requests_carry_one_token_which_is_requested_once() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let client = Client::new();
    let api = BearerClient::new(client.clone(), layer(&issuer));
    for _ in 0..3 {
        let response = client.get(server.url("/fhir/Patient")).send_with(&api).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let tokens: Vec<_> = server.seen().iter().map(|seen| seen.token().unwrap().to_owned()).collect();
    assert!(tokens[0].starts_with("Bearer ") && tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(issuer.counts().issued, 1);
}

#[tokio::test]
async fn a_request_whose_token_was_revoked_is_sent_again_with_a_new_one() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let headers = [("x-client", "default".parse().unwrap())].map(|(name, value)| (name.parse().unwrap(), value));
    let client = Client::builder().default_headers(headers.into_iter().collect()).build().unwrap();
    let api = BearerClient::new(client.clone(), layer(&issuer));
    api.cache().token().await.unwrap();
    issuer.revoke_all();

    let request =
        client.put(server.url("/fhir/Patient/1?_pretty=true")).header("x-a", "1").header("x-b", "2").header("x-a", "3");
    let response = request.send_with(&api).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(outcome(&response).is_some_and(Outcome::retried));

    let [first, second] = &server.seen()[..] else { panic!("{:?}", server.seen()) };
    assert_ne!(first.token(), second.token());
    assert_eq!(
        (&first.method, &first.path, first.other_headers()),
        (&second.method, &second.path, second.other_headers())
    );
    assert_eq!(first.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(second.headers["x-client"], "default");
    assert_eq!(issuer.counts().issued, 2);
}

#[tokio::test]
async fn the_second_answer_is_final() {
    let issuer = issuer();
    let server = Server::start(|_| answer(401, "never")).await;
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let response = api.client().get(server.url("/")).send_with(&api).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.text().await.unwrap(), "never");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn without_a_retry_the_401_is_passed_on_and_the_token_renewed() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let api = BearerClient::with_replay(Client::new(), layer(&issuer).without_retry());
    api.cache().token().await.unwrap();
    issuer.revoke_all();
    let response = api.client().get(server.url("/")).send_with(&api).await.unwrap();
    assert!(response.status() == StatusCode::UNAUTHORIZED && is_not_replayable(&response));
    let response = api.client().get(server.url("/")).send_with(&api).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_response_is_one_of_reqwest_with_its_url_and_address() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    // Also after a retry.
    let api = revoked(&issuer).await;
    for _ in 0..2 {
        let url = server.url("/fhir/Patient?name=a%20b");
        let response = api.client().get(format!("{url}#fragment")).send_with(&api).await.unwrap();
        assert_eq!((response.url().as_str(), response.remote_addr()), (&*url, Some(server.addr)));
        assert_eq!((response.content_length(), response.version()), (Some(11), http::Version::HTTP_11));
        let json: serde_json::Value = response.error_for_status().unwrap().json().await.unwrap();
        assert_eq!(json["total"], 0);
    }
}

#[tokio::test]
async fn a_long_response_is_streamed() {
    let issuer = issuer();
    let checks = issuer.clone();
    let server = Server::start(move |seen| match checked(&checks, seen) {
        accepted if accepted.status() == 200 => answer(200, vec![b'a'; 3 << 20]),
        rejected => rejected,
    });
    let (server, api) = (server.await, revoked(&issuer).await);
    let response = api.client().get(server.url("/")).send_with(&api).await.unwrap();
    let (mut chunks, mut bytes) = (0, 0);
    let mut stream = std::pin::pin!(response.bytes_stream());
    while let Some(chunk) = stream.next().await {
        (chunks, bytes) = (chunks + 1, bytes + chunk.unwrap().len());
    }
    assert!(chunks > 1 && bytes == 3 << 20, "{bytes} bytes in {chunks} chunks");
}

#[tokio::test]
async fn a_request_can_go_without_a_token() {
    let issuer = issuer();
    let server = Server::start(|_| answer(200, "")).await;
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let request = api.client().get(server.url("/health")).header("x-a", "1").with_extension(SkipBearerAuth).unwrap();
    request.send_with(&api).await.unwrap();
    let elsewhere = layer(&issuer).origins(["https://api.example.org"]).unwrap();
    let elsewhere = BearerClient::new(Client::new(), elsewhere);
    elsewhere.client().get(server.url("/")).bearer_auth("own").send_with(&elsewhere).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[0].token(), &seen[0].headers["x-a"]), (None, &"1".parse().unwrap()));
    assert_eq!(seen[1].token(), Some("Bearer own"));
    assert_eq!(issuer.counts().token_requests, 0);
}

#[tokio::test]
async fn requests_of_clones_run_in_tasks_and_share_one_token() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let client = Client::new();
    let api = BearerClient::new(client.clone(), layer(&issuer));
    let requests = (0..50).map(|_| {
        // The future borrows neither the client nor the API.
        spawned(client.post(server.url("/")).json(&[1, 2]).send_with(&api.clone()))
    });
    for response in futures::future::join_all(requests).await {
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
    let (client, url) = (client.clone(), server.url("/"));
    let other = api.clone();
    // A whole function of a user, with reqwest's own errors in it.
    let total = spawned(async move {
        let response = client.get(url).send_with(&other).await?.error_for_status()?;
        Ok::<_, Error>(response.json::<serde_json::Value>().await?["total"].as_u64())
    });
    assert_eq!(total.await.unwrap(), Some(0));
    assert_eq!(issuer.counts().issued, 1);
}

#[tokio::test]
async fn it_is_a_tower_service_of_requests() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let response = call(&api, api.client().get(server.url("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // reqwest's client alone is one, too.
    let response = api.client().get(server.url("/")).send_with(api.client()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
