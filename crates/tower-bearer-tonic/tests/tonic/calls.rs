//! Each kind of call: unary, and the three kinds of streams.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tower_bearer::{Outcome, testing::Counts};
use tower_bearer_tonic::outcome;

use crate::server::{Client, Codec, Message, World, message, path, unary, unary_request};

async fn collect(
    client: &mut Client,
    messages: impl Stream<Item = Message> + Send + 'static,
) -> Result<Response<Message>, Status> {
    client.ready().await?;
    client.client_streaming(Request::new(messages), path("/echo/collect"), Codec::default()).await
}

async fn server_streaming(
    client: &mut Client,
    method: &'static str,
    text: &str,
) -> Result<Response<Streaming<Message>>, Status> {
    client.ready().await?;
    client.server_streaming(Request::new(message(text)), path(method), Codec::default()).await
}

async fn texts(answer: Response<Streaming<Message>>) -> String {
    answer.into_inner().map(|message| message.unwrap().service).collect().await
}

fn is_retried<T>(answer: &Response<T>) -> bool {
    answer.extensions().get().is_some_and(Outcome::retried)
}

/// Returns a stream with the first message, and what sends the others. The stream is read at most one message ahead.
fn stream(first: &str) -> (mpsc::Sender<Message>, ReceiverStream<Message>) {
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(message(first)).unwrap();
    (sender, ReceiverStream::new(receiver))
}

fn rejected(counts: &Counts) -> (u64, u64) {
    (counts.api_rejected, counts.token_requests)
}

#[tokio::test]
async fn a_unary_call_is_retried_with_a_new_token() {
    let world = World::new();
    let mut client = world.client();
    let answer = unary(&mut client, "/echo/unary", "hello").await.unwrap();
    assert_eq!(answer.get_ref().service, "hello");
    assert!(answer.extensions().get().is_some_and(Outcome::waited), "for the first token");

    let answer = unary(&mut client, "/echo/unary", "again").await.unwrap();
    assert!(answer.extensions().get::<Outcome>().is_none(), "a plain hit");

    world.issuer.revoke_current();
    let answer = unary(&mut client, "/echo/unary", "once more").await.unwrap();
    assert_eq!((&*answer.get_ref().service, is_retried(&answer)), ("once more", true));
    assert_eq!(rejected(&world.issuer.counts()), (1, 2));
}

/// The greatest that a server takes by default. One more byte, and the server refuses it.
#[tokio::test]
async fn a_message_of_four_mebibytes_is_retried() {
    let world = World::new();
    let mut client = world.client();
    unary(&mut client, "/echo/unary", "").await.unwrap();
    world.issuer.revoke_current();
    // A field of this length has a tag and four bytes for its length.
    let greatest = "x".repeat(4 * 1024 * 1024 - 5);
    let answer = unary(&mut client, "/echo/unary", &greatest).await.unwrap();
    assert!(is_retried(&answer) && answer.get_ref().service == greatest);
    let refused = unary(&mut client, "/echo/unary", &(greatest + "x")).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

/// The server refuses the token after the first message, while the client has not sent the rest.
#[tokio::test]
async fn a_client_stream_is_retried_with_what_it_sent_and_continues() {
    let world = World::new();
    let mut client = world.client();
    unary(&mut client, "/echo/unary", "").await.unwrap();
    world.issuer.revoke_current();
    let (sender, messages) = stream("a");
    let call = tokio::spawn(async move { collect(&mut client, messages).await });
    while world.issuer.counts().api_rejected == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for text in ["b", "c", "d"] {
        sender.send(message(text)).await.unwrap();
    }
    drop(sender);
    let answer = call.await.unwrap().unwrap();
    assert_eq!((&*answer.get_ref().service, is_retried(&answer)), ("abcd", true));
    assert_eq!(rejected(&world.issuer.counts()), (1, 2));
}

#[tokio::test]
async fn a_server_stream_is_retried() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(texts(server_streaming(&mut client, "/echo/split", "abc").await.unwrap()).await, "abc");
    world.issuer.revoke_current();
    let answer = server_streaming(&mut client, "/echo/split", "def").await.unwrap();
    assert!(is_retried(&answer));
    assert_eq!(texts(answer).await, "def");
    assert_eq!(rejected(&world.issuer.counts()), (1, 2));
}

#[tokio::test]
async fn a_stream_in_both_directions_is_retried_and_continues() {
    let world = World::new();
    let mut client = world.client();
    unary(&mut client, "/echo/unary", "").await.unwrap();
    world.issuer.revoke_current();
    let (sender, messages) = stream("a");
    client.ready().await.unwrap();
    let answer = client.streaming(Request::new(messages), path("/echo/chat"), Codec::default()).await.unwrap();
    assert!(is_retried(&answer));
    let mut answers = answer.into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().service, "a");
    for text in ["b", "c"] {
        sender.send(message(text)).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().service, text, "each is answered before the next is sent");
    }
    drop(sender);
    assert!(answers.message().await.unwrap().is_none());
}

/// The receiver has messages already, so the call cannot start again.
#[tokio::test]
async fn a_status_after_messages_is_passed_on_and_the_token_is_kept() {
    let world = World::new();
    let mut client = world.client();
    let mut answers = server_streaming(&mut client, "/echo/cut", "").await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().service, "a");
    let status = answers.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "the token has ended"));
    unary(&mut client, "/echo/unary", "").await.unwrap();
    assert_eq!(rejected(&world.issuer.counts()), (0, 1));
}

/// Each attempt has the whole time, and the server sees the same deadline twice.
#[tokio::test]
async fn the_second_attempt_has_the_same_grpc_timeout_and_metadata() {
    let world = World::new();
    let mut client = world.client();
    unary(&mut client, "/echo/unary", "").await.unwrap();
    world.take_calls();
    world.issuer.revoke_current();
    let mut request = Request::new(message("x"));
    request.set_timeout(Duration::from_secs(30));
    request.metadata_mut().insert("x-own", "1".parse().unwrap());
    assert!(is_retried(&unary_request(&mut client, "/echo/unary", request).await.unwrap()));
    let mut calls = world.take_calls();
    let tokens: Vec<_> = calls.iter_mut().map(|headers| headers.remove("authorization").unwrap()).collect();
    assert_eq!((calls.len(), &calls[0]), (2, &calls[1]));
    assert_ne!(tokens[0], tokens[1]);
    assert!(calls[1]["grpc-timeout"] == "30000000u" && calls[1]["x-own"] == "1", "{:?}", calls[1]);
}

/// Half of the calls wait for the first token, and the others for its successor.
#[tokio::test]
async fn calls_at_the_same_time_share_one_renewal() {
    let world = World::new();
    let client = world.client();
    for requests in 1..=2 {
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { unary(&mut client, "/echo/unary", "x").await.map(drop) })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(world.issuer.counts().token_requests, requests);
        world.issuer.revoke_current();
    }
}

#[tokio::test]
async fn twelve_thousand_calls_lose_none_to_revocations() {
    let world = World::new();
    let client = world.client();
    let revoked = tokio::spawn({
        let issuer = world.issuer.clone();
        async move {
            // In the middle of each round but the first.
            for round in 1..12 {
                while issuer.counts().api_accepted < round * 1000 + 500 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                issuer.revoke_current();
            }
        }
    });
    let start = tokio::time::Instant::now();
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let mut lost = Vec::new();
                for number in 0..1500 {
                    // Tokens that are revoked again and again within half a second of their issue would look like a server that
                    // rejects everything. So a round takes longer.
                    if number % 125 == 0 {
                        tokio::time::sleep_until(start + Duration::from_millis(600) * (number / 125)).await;
                    }
                    if let Err(status) = unary(&mut client, "/echo/unary", &number.to_string()).await {
                        lost.push(format!("{status}: {:?}", outcome(&status)));
                    }
                }
                lost
            })
        })
        .collect();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), Vec::<String>::new());
    }
    revoked.await.unwrap();
    let counts = world.issuer.counts();
    assert_eq!((counts.api_accepted, counts.token_requests), (12_000, 12));
}
