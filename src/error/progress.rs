//! How far a request got before its HTTP client failed, read from the client's error.

use std::{error::Error as StdError, io, iter};

use crate::error::error::Error;

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It was not sent, or the error does not say.
    Unsent,
    /// It was sent, and the connection closed before an answer came.
    Unanswered,
    /// It was sent, and what came back is not HTTP.
    NotHttp,
}

/// Reads the errors of hyper and of everything that is built on it, and plain I/O errors.
///
/// A reset may come while a connection is set up. So an I/O error counts only if the client returns it as its own error or
/// if hyper had the connection already. An error that says neither is [`Unsent`](Progress::Unsent), and so is one of this
/// crate, which is about another request.
pub(super) fn progress(error: &(dyn StdError + 'static)) -> Progress {
    if error.is::<Error>() {
        return Progress::Unsent;
    }
    if error.downcast_ref::<io::Error>().is_some_and(is_closed) {
        return Progress::Unanswered;
    }
    let mut chain = iter::successors(Some(error), |error| (*error).source());
    match chain.find_map(|error| error.downcast_ref::<hyper::Error>()) {
        Some(hyper) if hyper.is_parse() => Progress::NotHttp,
        // All of these happen before a request is written, or on our side. A timeout is not an answer either, but it is
        // not a closed connection.
        Some(hyper) if hyper.is_canceled() || hyper.is_closed() || hyper.is_user() || hyper.is_timeout() => {
            Progress::Unsent
        }
        Some(_) => Progress::Unanswered,
        None => Progress::Unsent,
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// The error of a client that is built on another one.
    #[derive(Debug)]
    struct Wrapped<E>(E);

    impl<E: fmt::Debug> fmt::Display for Wrapped<E> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the request failed")
        }
    }

    impl<E: StdError + 'static> StdError for Wrapped<E> {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    /// Returns hyper's error for a server that reads the request, sends this and closes the connection.
    async fn hyper_error(answer: &[u8]) -> hyper::Error {
        let (ours, mut theirs) = duplex(1024);
        let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let request = sender.send_request(Request::new(Empty::<Bytes>::new()));
        let server = async move {
            let _ = theirs.read(&mut [0; 1024]).await;
            let _ = theirs.write_all(answer).await;
        };
        tokio::join!(request, server).0.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_that_closes_after_the_request_is_known_from_hypers_error_at_any_depth() {
        for answer in [&b""[..], b"HTTP/1.1 20"] {
            let error = hyper_error(answer).await;
            assert_eq!(progress(&error), Progress::Unanswered, "{error:?}");
            assert_eq!(progress(&Wrapped(Wrapped(error))), Progress::Unanswered);
        }
        assert_eq!(progress(&Wrapped(hyper_error(b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n").await)), Progress::NotHttp);
    }

    #[tokio::test]
    async fn a_request_that_found_its_connection_closed_was_not_sent() {
        let (ours, theirs) = duplex(1024);
        let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(ours)).await.unwrap();
        drop(theirs);
        let _ = connection.await;
        let error = sender.send_request(Request::new(Empty::new())).await.unwrap_err();
        assert_eq!(progress(&Wrapped(error)), Progress::Unsent);
    }

    #[test]
    fn an_io_error_counts_only_if_it_is_the_clients_own() {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
        for (kind, known) in [
            (ConnectionReset, Progress::Unanswered),
            (UnexpectedEof, Progress::Unanswered),
            (ConnectionRefused, Progress::Unsent),
            (TimedOut, Progress::Unsent),
        ] {
            assert_eq!(progress(&io::Error::from(kind)), known, "{kind:?}");
            assert_eq!(progress(&Wrapped(io::Error::from(kind))), Progress::Unsent, "{kind:?}");
        }
    }
}
